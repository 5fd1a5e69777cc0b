//! How far something is, once it takes longer than a second.

use std::time::{Duration, Instant};

use cortex_proto::cortex::storage::v1::StorageProgress;

use super::{bytes, grouped};
use crate::output::Output;

/// What is shorter needs no progress.
const SILENCE: Duration = Duration::from_secs(1);
/// How often a line is printed where no line can be overwritten.
const LINES: Duration = Duration::from_secs(10);

/// Shows progress: on a terminal in one line that changes, else in a line now and then.
pub struct Progress<'a> {
    output: &'a Output,
    started: Instant,
    printed: Option<Instant>,
}

impl<'a> Progress<'a> {
    /// Begins now.
    pub fn new(output: &'a Output) -> Self {
        Self { output, started: Instant::now(), printed: None }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &StorageProgress) {
        if self.started.elapsed() < SILENCE {
            return;
        }
        if self.output.is_terminal() {
            self.output.progress(&line(progress));
        } else if self.printed.is_none_or(|printed| printed.elapsed() >= LINES) {
            self.printed = Some(Instant::now());
            self.output.note(&line(progress));
        }
    }
}

fn line(progress: &StorageProgress) -> String {
    let counted = |number| match progress.unit.as_str() {
        "bytes" => bytes(number),
        _ => grouped(number),
    };
    let unit = if progress.unit == "bytes" { String::new() } else { format!(" {}", progress.unit) };
    let (phase, done) = (&progress.phase, counted(progress.done));
    if progress.total <= 0 {
        return format!("{phase}: {done}{unit}");
    }
    let percent = progress.done.clamp(0, progress.total) * 100 / progress.total;
    format!("{phase}: {done} of {}{unit}, {percent} %", counted(progress.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = |done, total, unit: &str| StorageProgress {
            phase: "entries".into(),
            done,
            total,
            unit: unit.into(),
        };
        assert_eq!(line(&progress(1000, 4000, "rows")), "entries: 1,000 of 4,000 rows, 25 %");
        assert_eq!(line(&progress(7, 0, "sessions")), "entries: 7 sessions");
        assert_eq!(line(&progress(2048, 4096, "bytes")), "entries: 2.0 KiB of 4.0 KiB, 50 %");
    }
}

//! What is printed: tables for people, JSON for programs, colours only on a terminal.

use std::io::{IsTerminal, Write};

use cortex_proto::descriptor_pool;
use cortex_transcode::JsonCodec;
use prost::Message;

use crate::{cli::Global, exit::Failure};

/// Where and how to print.
#[derive(Debug, Clone)]
pub struct Output {
    colours: bool,
    progress: bool,
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy)]
pub enum Style {
    /// Less important.
    Dim,
    /// A heading.
    Bold,
    /// Good news.
    Good,
    /// Something to look at.
    Attention,
    /// Bad news.
    Bad,
}

impl Output {
    /// As the options and the terminal say.
    pub fn new(global: &Global) -> Self {
        let no_colour =
            global.no_color || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            colours: !no_colour && std::io::stdout().is_terminal(),
            progress: std::io::stderr().is_terminal(),
        }
    }

    /// Without colours and progress, for tests.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { colours: false, progress: false }
    }

    /// Text in a style.
    pub fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.colours => return text.to_owned(),
            Style::Dim => "2",
            Style::Bold => "1",
            Style::Good => "32",
            Style::Attention => "33",
            Style::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Prints a piece of text at once.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are, at once.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(closed)
    }

    /// Prints a line.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        self.write(&format!("{text}\n"))
    }

    /// Prints a remark beside the answer, so that scripts need not skip it.
    pub fn note(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // A closed standard error is no reason to stop.
        let _ = writeln!(stderr, "{text}");
    }

    /// Shows that something takes its time, on a terminal only. Cleared by [`Output::clear`].
    pub fn progress(&self, text: &str) {
        if self.progress {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[2K{text}");
            let _ = stderr.flush();
        }
    }

    /// Removes the last progress.
    pub fn clear(&self) {
        self.progress("");
    }

    /// Whether progress can be shown in a line that changes.
    pub fn is_terminal(&self) -> bool {
        self.progress
    }

    /// Prints a message of the contracts by the project's JSON rules.
    pub fn json<M: Message>(&self, full_name: &str, message: &M) -> Result<(), Failure> {
        let text = codec()
            .transcode(full_name, &message.encode_to_vec())
            .map_err(|error| Failure::other(format!("{full_name} cannot be printed: {error}")))?;
        self.line(&text)
    }

    /// Prints rows under headings, in columns.
    pub fn table(&self, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let mut widths: Vec<usize> =
            headings.iter().map(|heading| heading.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let heading: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
        self.line(&self.styled(Style::Bold, &columns(&heading, &widths)))?;
        rows.iter().try_for_each(|row| self.line(&columns(row, &widths)))
    }
}

fn codec() -> JsonCodec {
    JsonCodec::new(descriptor_pool())
}

fn columns(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

/// A reader that went away, such as `head`, ends the command quietly.
fn closed(error: std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::other(format!("standard output: {error}")),
    }
}

//! How the command ends: a code for scripts, a sentence for people.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use cortex_config::Problems;
use tonic::{Code, Status};

/// Reasons of the mesh that mean: nobody was reached.
const UNREACHED: [&str; 4] =
    ["CONNECT_FAILED", "CONNECTION_LOST", "CIRCUIT_OPEN", "NAME_NOT_RESOLVED"];

/// Why the command did not do what it was asked for.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Anything without a code of its own: 1.
    pub fn other(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// Wrong usage that only shows when the command runs: 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// A wrong configuration: 3.
    pub fn config(problems: &Problems) -> Self {
        Self { code: 3, message: format!("the configuration is wrong:\n{problems}") }
    }

    /// A wrong value that no section of the configuration knows: 3.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    /// The reader of standard output went away, as `head` does: no failure to speak of.
    pub fn reader_gone() -> Self {
        Self { code: 0, message: String::new() }
    }

    /// Nobody answers: 4.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { code: 4, message: message.into() }
    }

    /// A turn that failed or was cancelled: 6.
    pub fn turn(message: impl Into<String>) -> Self {
        Self { code: 6, message: message.into() }
    }

    /// Stopped by ctrl-c: 130.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self { code: 130, message: message.into() }
    }

    /// What a service answered.
    pub fn of(url: &str, status: &Status) -> Self {
        let unanswered =
            cortex_rpc::reason(status).is_none_or(|reason| UNREACHED.contains(&reason.as_str()));
        match status.code() {
            Code::Unavailable if unanswered => Self::unreachable(format!(
                "nobody answers at {url}: {}\nstart the mesh with `cortex up`, or name another \
                 address with --url or CORTEX_URL",
                status.message()
            )),
            Code::NotFound => Self { code: 5, message: told(status) },
            _ => Self::other(told(status)),
        }
    }
}

fn told(status: &Status) -> String {
    let reason =
        cortex_rpc::reason(status).map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut text = format!("{}{reason}", status.message());
    let fault = cortex_rpc::fault(status);
    if let Some(detail) = fault.metadata.get("detail").filter(|detail| !text.contains(*detail)) {
        text.push_str("\n  ");
        text.push_str(detail);
    }
    for violation in fault.violations {
        let line = format!("{}: {}", violation.field, violation.description);
        if !text.contains(&line) {
            text.push_str("\n  ");
            text.push_str(&line);
        }
    }
    text
}

/// Prints the failure and gives its code.
pub fn report(failure: &Failure) -> ExitCode {
    if failure.message.is_empty() {
        return ExitCode::from(failure.code);
    }
    let mut stderr = std::io::stderr().lock();
    let (bold, plain) = if stderr.is_terminal() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    // Nowhere left to say that standard error is closed.
    let _ = writeln!(stderr, "{bold}error{plain}: {}", failure.message);
    ExitCode::from(failure.code)
}

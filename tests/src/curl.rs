//! The real `curl`: what a user types is what is tested.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

/// What curl got.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The body.
    pub body: String,
    /// The header lines, in lower case.
    pub headers: Vec<String>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.body))
    }

    /// The reason in the `ErrorInfo` of a JSON error.
    pub fn reason(&self) -> String {
        let details = self.json()["error"]["details"].clone();
        let reason =
            details.as_array().into_iter().flatten().find_map(|detail| detail["reason"].as_str());
        reason.unwrap_or_else(|| panic!("no reason in {}", self.body)).to_owned()
    }
}

/// Runs curl with these arguments, for at most 60 s.
///
/// # Panics
/// When curl is not installed.
pub async fn curl<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    let headers = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut command = Command::new("curl");
    command.args(["-sS", "-N", "-m", "60", "-w", "\n%{http_code}", "-D"]).arg(headers.path());
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("curl is missing: apt-get install curl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    Answer {
        status: status.trim().parse().unwrap_or(0),
        body: body.to_owned(),
        headers: header_lines(headers.path()),
    }
}

fn header_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.trim().to_lowercase()).filter(|line| !line.is_empty()).collect()
}

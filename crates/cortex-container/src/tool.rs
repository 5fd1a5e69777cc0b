//! What a tool run is asked for: a command, parsed; and what a tool is declared as.

use std::{collections::BTreeMap, fmt, time::Duration};

use cortex_core::{ExecutionId, SessionId};

use crate::config::LimitsConfig;

/// A request to run a tool.
#[derive(Debug, Clone)]
pub(crate) struct ToolCommand {
    /// The execution of the journal that the run is. `None`: a run outside any turn.
    pub execution: Option<Dispatch>,
    /// The tool.
    pub tool: ToolName,
    /// The session that it runs for.
    pub session_id: SessionId,
    /// The parameters.
    pub parameters: Parameters,
    /// What it is made of. `None`: as its manifest says.
    pub source: Option<ToolSource>,
    /// What it may use, as far as the request says.
    pub limits: LimitsRequest,
    /// Variables for it.
    pub environment: BTreeMap<String, String>,
    /// Its network. `None`: as its manifest says.
    pub network: Option<Network>,
    /// The closure that the tool is looked up in. Empty: the current manifests.
    pub closure_digest: String,
}

/// An execution of the journal, sent by the holder of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatch {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The epoch of the holder.
    pub epoch: i64,
}

/// A tool's manifest name: a letter, then letters, digits, `_` and `-`, 128 characters at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolName(String);

impl ToolName {
    const MAX: usize = 128;

    /// Reads a name. `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let fits = bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        (starts && fits && text.len() <= Self::MAX).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a path component of an image's name: lower case, single `-` between words, at
    /// most 64 characters (<https://docs.docker.com/reference/cli/docker/image/tag>).
    pub(crate) fn as_image_component(&self) -> String {
        let mut component = String::with_capacity(self.0.len());
        for character in self.0.chars().take(64) {
            if character.is_ascii_alphanumeric() {
                component.push(character.to_ascii_lowercase());
            } else if !component.ends_with('-') {
                component.push('-');
            }
        }
        component.trim_end_matches('-').to_owned()
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parameters of a tool: the text of one JSON object, exactly as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Parameters(String);

impl Parameters {
    /// Longest parameters, in bytes: the largest message that a client may send.
    pub(crate) const MAX: usize = 4 << 20;
    /// Longest parameters that are also given as an argument and in a variable, in bytes. Linux
    /// limits each of these strings to 128 KiB, its name and its end included (MAX_ARG_STRLEN).
    pub(crate) const MAX_ARGUMENT: usize = (128 << 10) - 64;

    /// Reads parameters; an empty text is an empty object. `None`: it is no JSON object.
    pub(crate) fn parse(text: String) -> Option<Self> {
        if text.trim().is_empty() {
            return Some(Self("{}".into()));
        }
        let object = text.trim_start().starts_with('{')
            && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        object.then_some(Self(text))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, if it fits into an argument and a variable.
    pub(crate) fn as_argument(&self) -> Option<&str> {
        (self.0.len() <= Self::MAX_ARGUMENT).then_some(&self.0)
    }
}

/// Shows the length only: parameters are payload.
impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({} bytes)", self.0.len())
    }
}

/// Whether a text can be the reference of an image. Stricter than the engine's own grammar
/// (<https://github.com/distribution/reference>) in nothing that is used, and safe within a path:
/// the client library puts references into paths as they are.
pub(crate) fn is_image_reference(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let climbs = text.contains("..") || text.contains("//") || text.ends_with(['/', ':', '@']);
    starts && !climbs && text.len() <= 512 && text.bytes().all(fits)
}

/// Where a tool's container comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolSource {
    /// What holds its files.
    pub content: Content,
    /// What runs it. Empty: as the image says.
    pub runtime: String,
    /// The program. Empty: as the image says.
    pub entrypoint: String,
}

/// What holds a tool's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// An image of the engine.
    Image(String),
    /// A bundle of the manifest service: its digest.
    Bundle(String),
    /// A tool of the toolbox: its name.
    Toolbox(String),
}

/// A tool as its manifest declares it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolDeclaration {
    /// Its source.
    pub source: ToolSource,
    /// What it may use.
    pub limits: LimitsRequest,
    /// Variables for it.
    pub environment: BTreeMap<String, String>,
    /// Its network.
    pub network: Network,
}

/// What a tool's container can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Network {
    /// Nothing but itself.
    #[default]
    None,
    /// The private network of its session.
    Session,
}

/// What somebody wants a tool to be able to use. What is `None` is left to others.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LimitsRequest {
    /// Memory in MiB.
    pub memory_mb: Option<u32>,
    /// Processors.
    pub cpu: Option<f64>,
    /// Time.
    pub timeout: Option<Duration>,
    /// Writable space in MiB.
    pub disk_mb: Option<u32>,
    /// Processes and threads.
    pub processes: Option<u32>,
}

impl LimitsRequest {
    /// What this says, and where it is silent what `other` says.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            memory_mb: self.memory_mb.or(other.memory_mb),
            cpu: self.cpu.or(other.cpu),
            timeout: self.timeout.or(other.timeout),
            disk_mb: self.disk_mb.or(other.disk_mb),
            processes: self.processes.or(other.processes),
        }
    }

    /// The limits, each cut to its range.
    pub(crate) fn resolve(self, defaults: &LimitsConfig) -> Limits {
        let timeout = self.timeout.unwrap_or(defaults.timeout.get());
        Limits {
            memory_mb: self.memory_mb.unwrap_or(defaults.memory_mb).clamp(64, 8192),
            cpu: self.cpu.unwrap_or(defaults.cpu).clamp(0.1, 8.0),
            timeout: timeout.clamp(Duration::from_secs(1), Duration::from_secs(3600)),
            disk_mb: self.disk_mb.unwrap_or(defaults.disk_mb).clamp(100, 10_240),
            processes: self.processes.unwrap_or(defaults.processes).clamp(1, 4096),
        }
    }
}

/// What a tool's container may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// Memory in MiB, without any swap. Its writable space is part of it.
    pub memory_mb: u32,
    /// Processors.
    pub cpu: f64,
    /// Time from its start.
    pub timeout: Duration,
    /// Writable space in MiB.
    pub disk_mb: u32,
    /// Processes and threads.
    pub processes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_components_of_image_names() {
        let component = |name: &str| ToolName::parse(name).unwrap().as_image_component();
        assert_eq!(component("Word__Frequency-"), "word-frequency");
        assert_eq!(component("x"), "x");
        for bad in ["", "1a", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert!(ToolName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn references_cannot_leave_their_place_in_a_path() {
        for good in ["alpine", "python:3.12-slim", "host:5000/a/b_c:1", "a@sha256:00", "sha256:0f"]
        {
            assert!(is_image_reference(good), "{good}");
        }
        for bad in ["", "/a", "../../version", "a/../../b", "a?x=1", "a#b", "a b", "a%2f", "a/"] {
            assert!(!is_image_reference(bad), "{bad}");
        }
    }

    #[test]
    fn parameters_are_an_object_and_stay_as_they_were() {
        let text = " {\"b\": 1.0, \"a\": 9007199254740993} ";
        assert_eq!(Parameters::parse(text.into()).unwrap().as_str(), text);
        assert_eq!(Parameters::parse(" ".into()).unwrap().as_str(), "{}");
        for bad in ["[]", "1", "{", "{} {}", "{\"a\":}", "null"] {
            assert!(Parameters::parse(bad.into()).is_none(), "{bad}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(Parameters::MAX_ARGUMENT));
        assert_eq!(Parameters::parse(long).unwrap().as_argument(), None);
    }

    #[test]
    fn the_request_wins_over_the_manifest_and_the_default() {
        let request = LimitsRequest { memory_mb: Some(128), ..Default::default() };
        let manifest = LimitsRequest {
            memory_mb: Some(256),
            cpu: Some(0.01),
            timeout: Some(Duration::from_secs(7200)),
            ..Default::default()
        };
        let limits = request.or(manifest).resolve(&LimitsConfig::default());
        assert_eq!(limits.memory_mb, 128);
        assert!((limits.cpu - 0.1).abs() < f64::EPSILON);
        assert_eq!(limits.timeout, Duration::from_secs(3600));
        assert_eq!(limits.processes, 128);
    }
}

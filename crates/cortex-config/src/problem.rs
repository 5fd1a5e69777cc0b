//! What is wrong with a configuration, and where it was said.

use std::{fmt, path::PathBuf};

use crate::{path::KeyPath, yaml::Position};

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// A configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The place in it.
        at: Position,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// A flag of the command line, as the user writes it.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, at } => write!(f, "{}:{at}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The value it is about. The root for a whole file.
    pub path: KeyPath,
    /// What is wrong and what would be right. Lower case, no full stop.
    pub message: String,
    /// Where it was said.
    pub origin: Origin,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.path.steps().is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Records that the value at `path` is wrong. The loader fills in where it was given.
    pub fn add(&mut self, path: KeyPath, message: impl Into<String>) {
        self.push(Problem { path, message: message.into(), origin: Origin::Default });
    }

    /// Records a problem whose origin is known.
    pub fn push(&mut self, problem: Problem) {
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Orders the problems by where they were given: defaults, file by line, environment, flags.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|a, b| a.origin.cmp(&b.origin));
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Problem> {
        self.0.iter_mut()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Says what is wrong with a value beyond what its type says: ranges, and values that must fit
/// together. A section calls its parts with `path.key("name")`.
pub trait Validate {
    /// Adds what is wrong to `problems`. `path` is where this value stands.
    fn validate(&self, problems: &mut Problems, path: &KeyPath);
}

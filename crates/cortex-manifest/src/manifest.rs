//! A manifest that is registered.

use std::time::SystemTime;

use crate::{
    canonical,
    diagnostic::Diagnostic,
    document::{Body, Common},
    kind::ManifestRef,
    path::TreePath,
    tree::Layer,
};

/// A manifest that is valid in itself, with the texts of its files.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What it says.
    pub common: Common,
    /// Where it comes from.
    pub source: Source,
    /// The system prompt and how to talk to users: the texts of an agent's persona.
    pub prompts: Prompts,
    /// BLAKE3 of the canonical document.
    pub digest: String,
    /// What is doubtful about it by itself.
    pub warnings: Vec<Diagnostic>,
    /// When this content was first loaded.
    pub loaded_at: SystemTime,
}

/// Where a manifest comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of the tree.
    File {
        /// The file.
        path: TreePath,
        /// Its layer.
        layer: Layer,
    },
    /// A call of ApplyManifest.
    Applied,
}

/// The texts of an agent's persona.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts {
    /// The system prompt.
    pub system: String,
    /// How to talk to users.
    pub user: String,
}

impl Manifest {
    /// A manifest that was just read.
    pub fn new(common: Common, source: Source, prompts: Prompts, loaded_at: SystemTime) -> Self {
        let digest = canonical::digest(&common.document);
        Self { common, source, prompts, digest, warnings: Vec::new(), loaded_at }
    }

    /// Its kind and name.
    pub fn id(&self) -> &ManifestRef {
        &self.common.id
    }

    /// What its kind says.
    pub fn body(&self) -> &Body {
        &self.common.body
    }

    /// Whether its name, summary or tags contain a text, which is in lower case.
    pub fn contains(&self, needle: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(needle);
        needle.is_empty()
            || has(&self.id().name)
            || has(&self.common.summary)
            || self.common.tags.iter().any(|tag| has(tag))
    }

    /// The directory that its relative paths start in.
    pub fn directory(&self) -> TreePath {
        match &self.source {
            Source::File { path, .. } => path.parent(),
            Source::Applied => TreePath::root(),
        }
    }
}

impl Source {
    /// As callers see it: a path, or `applied`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::File { path, .. } => path.as_str(),
            Self::Applied => "applied",
        }
    }

    /// The file, or nothing.
    pub fn file(&self) -> &str {
        match self {
            Self::File { path, .. } => path.as_str(),
            Self::Applied => "",
        }
    }

    /// Whether it is this file.
    pub fn is_file(&self, path: Option<&TreePath>) -> bool {
        matches!(self, Self::File { path: own, .. } if Some(own) == path)
    }

    /// How strong it is in a dispute over a name; less is stronger.
    pub fn rank(&self) -> usize {
        match self {
            Self::Applied => 0,
            Self::File { layer, .. } => layer + 1,
        }
    }
}

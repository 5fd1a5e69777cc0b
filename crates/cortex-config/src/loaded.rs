//! A configuration that was loaded, and who gave each of its values.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{path::KeyPath, print, problem::Origin, tree::Tree};

/// A valid configuration, and who gave each of its values.
pub struct Loaded<T> {
    /// The configuration.
    pub value: T,
    pub(crate) tree: Tree,
    pub(crate) file: Option<PathBuf>,
}

impl<T: fmt::Debug> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the tree: it holds secrets as they were given.
        f.debug_struct("Loaded").field("value", &self.value).field("file", &self.file).finish()
    }
}

impl<T: Serialize> Loaded<T> {
    /// Who gave the value at a path such as `storage.path`.
    pub fn origin(&self, dotted: &str) -> &Origin {
        &self.tree.nearest(KeyPath::dotted(dotted).steps()).origin
    }

    /// The configuration file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The configuration as YAML that can be read again, except that secrets are `[redacted]`.
    pub fn print(&self) -> String {
        print::yaml(&self.as_json(), None)
    }

    /// As [`Loaded::print`], with a comment behind every value that is not a default: who gave it.
    pub fn print_with_origins(&self) -> String {
        print::yaml(&self.as_json(), Some(&self.tree))
    }

    fn as_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.value).unwrap_or_default()
    }
}

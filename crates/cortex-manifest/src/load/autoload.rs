//! `autoload.yml`: what its author wants loaded, first.
//!
//! The whole tree is loaded anyway. What is listed here must be there, and wins its name over other
//! manifests of that name.

use std::collections::BTreeSet;

use cortex_config::{
    KeyPath,
    yaml::{self, Content},
};

use super::LoadOptions;
use crate::{
    diagnostic::{Diagnostic, Report, code},
    kind::ManifestKind,
    path::TreePath,
    tree::FileTree,
};

const NAMES: [&str; 2] = ["autoload.yml", "autoload.yaml"];

/// What is listed.
#[derive(Debug, Default)]
pub(super) struct Autoload {
    paths: BTreeSet<TreePath>,
}

impl Autoload {
    /// Whether a file is listed.
    pub(super) fn lists(&self, path: &TreePath) -> bool {
        self.paths.contains(path)
    }
}

/// Reads `autoload.yml` at the root of the tree, if there is one.
pub(super) fn read(
    tree: &FileTree,
    options: &LoadOptions,
    diagnostics: &mut Vec<Diagnostic>,
) -> Autoload {
    let file = NAMES.iter().filter_map(|name| TreePath::parse(name).ok());
    let Some(file) = file.into_iter().find(|path| tree.layer_of(path).is_some()) else {
        return Autoload::default();
    };
    let report = Report::new(file.as_str());
    let autoload = parse(&file, tree, options, &report);
    diagnostics.extend(report.finish());
    autoload
}

fn parse(file: &TreePath, tree: &FileTree, options: &LoadOptions, report: &Report) -> Autoload {
    let limit = u64::try_from(options.limits.bytes).unwrap_or(u64::MAX);
    let root = KeyPath::root();
    let text = match tree.read(file, limit).map(|(_, bytes)| String::from_utf8(bytes)) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            report.warning(code::FILE_UNREADABLE, Default::default(), &root, "not text in UTF-8");
            return Autoload::default();
        }
        Err(error) => {
            report.warning(code::FILE_UNREADABLE, Default::default(), &root, error.to_string());
            return Autoload::default();
        }
    };
    let node = match yaml::parse(&text) {
        Ok(node) => node,
        Err(error) => {
            report.warning(code::PARSE_ERROR, error.at, &root, error.message);
            return Autoload::default();
        }
    };
    let mut autoload = Autoload::default();
    for kind in ManifestKind::ALL {
        let list = node.get(kind.collection()).map(|list| &list.content);
        let Some(Content::List(items)) = list else { continue };
        for (index, item) in items.iter().enumerate() {
            let field = root.key(kind.collection()).index(index);
            let Some(text) = item.as_text() else {
                report.warning(code::WRONG_TYPE, item.at, &field, "expected a path");
                continue;
            };
            match locate(text, tree) {
                Ok(path) => {
                    autoload.paths.insert(path);
                }
                Err(message) => report.warning(code::AUTOLOAD_NOT_FOUND, item.at, &field, message),
            }
        }
    }
    autoload
}

fn locate(text: &str, tree: &FileTree) -> Result<TreePath, String> {
    let path = if text.starts_with('/') {
        tree.in_tree(text).ok_or_else(|| format!("'{text}' is not in the manifests' directory"))?
    } else {
        TreePath::parse(text).map_err(|error| error.to_string())?
    };
    match tree.layer_of(&path) {
        Some(_) => Ok(path),
        None => Err(format!("no file '{path}'")),
    }
}

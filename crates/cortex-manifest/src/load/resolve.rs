//! Follows imports: from what is written to the manifest that is meant.
//!
//! A path that starts with `.` starts at the importing manifest; any other with a `/` or an extension
//! starts at the root; a bare word is a name; a directory stands for the manifest in it. An absolute
//! path is read as one of the tree where it is, and otherwise only where the configuration allows.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::SystemTime};

use cortex_config::{closest, did_you_mean};

use super::{LoadOptions, Loading, read};
use crate::{
    diagnostic::{Diagnostic, Severity, code},
    document::Import,
    kind::{ManifestKind, ManifestRef},
    manifest::Manifest,
    path::TreePath,
    ports::FilesError,
    text::Format,
    tree::FileTree,
};

/// An import, and where it leads.
#[derive(Debug, Clone)]
pub struct ResolvedImport {
    /// The import as it is written.
    pub import: Import,
    /// Where it leads.
    pub outcome: Outcome,
}

/// Where an import leads.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// To the manifest with this index.
    Found(usize),
    /// Nowhere, or to something that cannot be used, and why.
    Failed(Diagnostic),
}

impl Outcome {
    /// The manifest that it leads to.
    pub fn found(&self) -> Option<usize> {
        match self {
            Self::Found(index) => Some(*index),
            Self::Failed(_) => None,
        }
    }
}

/// Resolves the imports of every manifest. Files that are imported from outside of what was scanned
/// are read on the way, and their own imports too.
pub(super) fn all(
    loading: &mut Loading,
    names: &BTreeMap<ManifestRef, usize>,
    tree: &FileTree,
    options: &LoadOptions,
    now: SystemTime,
) -> Vec<Vec<ResolvedImport>> {
    let mut resolved = Vec::with_capacity(loading.manifests.len());
    while resolved.len() < loading.manifests.len() {
        let next = resolved.len();
        resolved.extend(some(next..next + 1, loading, names, tree, options, now));
    }
    resolved
}

/// Resolves the imports of some manifests.
pub(super) fn some(
    which: Range<usize>,
    loading: &mut Loading,
    names: &BTreeMap<ManifestRef, usize>,
    tree: &FileTree,
    options: &LoadOptions,
    now: SystemTime,
) -> Vec<Vec<ResolvedImport>> {
    let mut resolved = Vec::with_capacity(which.len());
    for index in which {
        let manifest = loading.manifests[index].clone();
        let imports = one(&manifest, loading, names, tree, options, now);
        for import in &imports {
            if let Outcome::Failed(diagnostic) = &import.outcome {
                loading.diagnostics.push(diagnostic.clone());
            }
        }
        resolved.push(imports);
    }
    resolved
}

fn one(
    manifest: &Arc<Manifest>,
    loading: &mut Loading,
    names: &BTreeMap<ManifestRef, usize>,
    tree: &FileTree,
    options: &LoadOptions,
    now: SystemTime,
) -> Vec<ResolvedImport> {
    let directory = manifest.directory();
    let imports = manifest.common.imports.iter();
    imports
        .map(|import| {
            let mut search = Search { loading, names, tree, options, now };
            let outcome = match search.find(import, &directory) {
                Ok(index) => Outcome::Found(index),
                Err(failure) => Outcome::Failed(failure.about(import, manifest)),
            };
            ResolvedImport { import: import.clone(), outcome }
        })
        .collect()
}

/// Why an import leads nowhere.
struct Failure {
    code: &'static str,
    message: String,
    hint: String,
}

impl Failure {
    fn new(code: &'static str, message: String) -> Self {
        Self { code, message, hint: String::new() }
    }

    fn about(self, import: &Import, manifest: &Manifest) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            code: self.code,
            message: format!(
                "the {} '{}' cannot be imported: {}",
                import.kind.lower(),
                import.target.0,
                self.message
            ),
            hint: self.hint,
            file: manifest.source.file().to_owned(),
            at: import.at,
            field: import.field.to_string(),
        }
    }
}

struct Search<'s> {
    loading: &'s mut Loading,
    names: &'s BTreeMap<ManifestRef, usize>,
    tree: &'s FileTree,
    options: &'s LoadOptions,
    now: SystemTime,
}

impl Search<'_> {
    fn find(&mut self, import: &Import, directory: &TreePath) -> Result<usize, Failure> {
        let text = import.target.0.as_str();
        let outside = |error: crate::path::OutsideRoot| {
            Failure::new(code::IMPORT_OUTSIDE_ROOT, error.to_string())
        };
        if text.starts_with('/') {
            let path = match self.tree.in_tree(text) {
                Some(path) => path,
                None => TreePath::parse(text).map_err(outside)?,
            };
            return self.at_path(import.kind, &path);
        }
        if text.starts_with("./") || text.starts_with("../") || matches!(text, "." | "..") {
            let path = directory.join(text).map_err(outside)?;
            return self.at_path(import.kind, &path);
        }
        if is_bare(text) {
            return self.by_name(import.kind, text);
        }
        let from_root = TreePath::parse(text).map_err(outside)?;
        let failure = match self.at_path(import.kind, &from_root) {
            Err(failure) if failure.code == code::IMPORT_NOT_FOUND => failure,
            found => return found,
        };
        let beside = directory.join(text).map_err(outside)?;
        self.at_path(import.kind, &beside).map_err(|_| failure)
    }

    fn by_name(&self, kind: ManifestKind, name: &str) -> Result<usize, Failure> {
        let id = ManifestRef::new(kind, name);
        if let Some(index) = self.names.get(&id) {
            return Ok(*index);
        }
        if let Some(broken) = self.loading.broken.iter().find(|b| b.id.as_ref() == Some(&id)) {
            return Err(invalid(read::first_error(broken)));
        }
        let of_kind = self.names.keys().filter(|id| id.kind == kind).map(|id| id.name.as_str());
        let mut failure =
            Failure::new(code::IMPORT_NOT_FOUND, format!("no {} has this name", kind.lower()));
        failure.hint = did_you_mean(name, of_kind).trim_start_matches("; ").to_owned();
        Err(failure)
    }

    fn at_path(&mut self, kind: ManifestKind, path: &TreePath) -> Result<usize, Failure> {
        let candidates = candidates(kind, path);
        for candidate in &candidates {
            if let Some(found) = self.in_file(kind, candidate) {
                return found;
            }
        }
        if let Some(index) = self.only_one_in(path, |found| found == kind) {
            return Ok(index);
        }
        for candidate in candidates.iter().filter(|path| path.is_absolute()) {
            if let Some(found) = self.outside(kind, candidate)? {
                return Ok(found);
            }
        }
        if !path.is_absolute()
            && let Some(found) = self.unscanned(kind, path)
        {
            return found;
        }
        Err(self.nothing_at(kind, path))
    }

    /// What a file that was read declares of this kind. None: it was not read, or is no manifest.
    fn in_file(&self, kind: ManifestKind, path: &TreePath) -> Option<Result<usize, Failure>> {
        let Some(indexes) = self.loading.by_path.get(path) else {
            let broken = self.loading.broken_paths.get(path)?;
            return Some(Err(invalid(read::first_error(&self.loading.broken[*broken]))));
        };
        let kind_of = |index: &usize| self.loading.manifests[*index].id().kind;
        if let Some(index) = indexes.iter().copied().find(|index| kind_of(index) == kind) {
            return Some(Ok(index));
        }
        let found = indexes.first().map(kind_of)?;
        Some(Err(wrong_kind(path, found)))
    }

    /// The one manifest of a kind that stands directly in a directory.
    fn only_one_in(
        &self,
        directory: &TreePath,
        wanted: impl Fn(ManifestKind) -> bool,
    ) -> Option<usize> {
        let inside = self.loading.by_path.iter().filter(|(path, _)| path.parent() == *directory);
        let mut of_kind = inside
            .flat_map(|(_, indexes)| indexes)
            .filter(|index| wanted(self.loading.manifests[**index].id().kind));
        match (of_kind.next(), of_kind.next()) {
            (Some(index), None) => Some(*index),
            _ => None,
        }
    }

    /// A file outside of the tree, if it may be read.
    fn outside(&mut self, kind: ManifestKind, path: &TreePath) -> Result<Option<usize>, Failure> {
        match self.tree.read(path, 1 << 20) {
            Ok(_) => self.unscanned(kind, path).transpose(),
            Err(FilesError::Outside(_)) => {
                let message = "it lies outside the manifests' directory".to_owned();
                let mut failure = Failure::new(code::IMPORT_OUTSIDE_ROOT, message);
                failure.hint = "allow its directory in manifest.import_roots".to_owned();
                Err(failure)
            }
            Err(_) => Ok(None),
        }
    }

    /// A file that the scan did not take for a manifest, but that somebody imports as one.
    fn unscanned(&mut self, kind: ManifestKind, path: &TreePath) -> Option<Result<usize, Failure>> {
        let there = path.is_absolute() || self.tree.layer_of(path).is_some();
        if !there || self.loading.by_path.contains_key(path) {
            return None;
        }
        let result = read::read_file(path, true, self.tree, self.options, self.now)?;
        if path.is_absolute() && result.manifests.is_empty() && result.broken.is_empty() {
            return None;
        }
        self.loading.take(result, None, Some(path));
        self.in_file(kind, path)
    }

    fn nothing_at(&self, kind: ManifestKind, path: &TreePath) -> Failure {
        if let Some(index) = self.only_one_in(path, |_| true) {
            return wrong_kind(path, self.loading.manifests[index].id().kind);
        }
        let what = if self.tree.is_directory(path) {
            format!("no {} in the directory '{path}'", kind.lower())
        } else {
            format!("no file '{path}'")
        };
        let mut failure = Failure::new(code::IMPORT_NOT_FOUND, what);
        let known = self.loading.by_path.iter().filter(|(_, indexes)| {
            indexes.iter().any(|index| self.loading.manifests[*index].id().kind == kind)
        });
        if let Some(near) = closest(path.as_str(), known.map(|(path, _)| path.as_str())) {
            failure.hint = format!("did you mean '{near}'?");
        }
        failure
    }
}

fn wrong_kind(path: &TreePath, found: ManifestKind) -> Failure {
    let message = format!("'{path}' declares a {}", found.lower());
    let mut failure = Failure::new(code::IMPORT_WRONG_KIND, message);
    failure.hint = format!("import it under '{}'", found.collection());
    failure
}

fn invalid(error: Option<&Diagnostic>) -> Failure {
    let reason = error.map(Diagnostic::to_string).unwrap_or_default();
    Failure::new(code::IMPORT_INVALID, format!("it is invalid: {reason}"))
}

/// Whether an import is a name rather than a path.
fn is_bare(text: &str) -> bool {
    let extension = text.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    !text.contains('/') && extension.is_none_or(|e| Format::of_extension(&e).is_none())
}

/// The files that a path may mean, the likeliest first.
fn candidates(kind: ManifestKind, path: &TreePath) -> Vec<TreePath> {
    let mut found = vec![path.clone()];
    if Format::of_extension(&path.extension()).is_some() {
        return found;
    }
    for name in [kind.lower(), "manifest"] {
        for extension in ["yml", "yaml", "md"] {
            found.extend(path.join(&format!("{name}.{extension}")));
        }
    }
    for suffix in ["yml", "yaml", "md"] {
        found.extend(TreePath::parse(&format!("{path}.{suffix}")));
        found.extend(TreePath::parse(&format!("{path}.{}.{suffix}", kind.lower())));
    }
    found
}

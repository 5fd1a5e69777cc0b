//! Loads the whole tree: reads files, settles names, follows imports, finds cycles.

mod autoload;
mod cycles;
mod names;
mod read;
mod resolve;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use cortex_config::yaml::Limits;
use serde_json::Value;

pub(crate) use cycles::components;
pub use read::{TextResult, read_text};
pub use resolve::{Outcome, ResolvedImport};

use crate::{
    diagnostic::{Diagnostic, Severity, code},
    kind::ManifestRef,
    manifest::{Manifest, Source},
    path::TreePath,
    snapshot::Snapshot,
    tree::FileTree,
    variables::Variables,
};

/// What loading depends on beside the files.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What variables stand for.
    pub variables: Variables,
    /// How much YAML is read.
    pub limits: Limits,
    /// Most manifests that are registered.
    pub max_manifests: usize,
}

/// Something that cannot be registered, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Broken {
    /// What it would have been, as far as that can be told.
    pub id: Option<ManifestRef>,
    /// Where it comes from.
    pub source: Source,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// What it says, if it could be parsed.
    pub document: Option<Value>,
}

/// What was read so far.
#[derive(Default)]
struct Loading {
    manifests: Vec<Arc<Manifest>>,
    broken: Vec<Broken>,
    by_path: BTreeMap<TreePath, Vec<usize>>,
    broken_paths: BTreeMap<TreePath, usize>,
    diagnostics: Vec<Diagnostic>,
}

/// Loads everything. Never fails: what is wrong is in the snapshot's diagnostics.
///
/// `applied` are manifests that calls have registered. Where a file that was good in `previous` is
/// broken now, what it declared stays in use.
pub fn load(
    tree: FileTree,
    applied: &[String],
    previous: Option<&Snapshot>,
    options: &LoadOptions,
    now: SystemTime,
) -> Snapshot {
    let mut loading = Loading::default();
    let autoload = autoload::read(&tree, options, &mut loading.diagnostics);
    for (path, reason) in tree.skipped() {
        loading.diagnostics.push(unreadable(path, reason));
    }
    for text in applied {
        let result = read_text(text, None, &tree, options, now);
        loading.take(result, previous, None);
    }
    for path in tree.files().into_keys() {
        let listed = autoload.lists(path);
        if let Some(result) = read::read_file(path, listed, &tree, options, now) {
            loading.take(result, previous, Some(path));
        }
    }
    loading.bound(options.max_manifests);
    let names =
        names::settle(&loading.manifests, &loading.broken, &autoload, &mut loading.diagnostics);
    let imports = resolve::all(&mut loading, &names, &tree, options, now);
    cycles::report(&loading.manifests, &imports, &mut loading.diagnostics);
    Snapshot::new(loading.finish(names, imports, tree), previous, now)
}

/// What one text says, and how it fits what is registered.
#[derive(Debug)]
pub struct Checked {
    /// What it declares.
    pub manifests: Vec<Arc<Manifest>>,
    /// Where the imports of each lead.
    pub imports: Vec<Vec<ResolvedImport>>,
    /// What of it cannot be used.
    pub broken: Vec<Broken>,
    /// Everything that is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// What the text says, if it could be parsed.
    pub fn document(&self) -> Option<&Value> {
        let good = self.manifests.first().map(|manifest| &manifest.common.document);
        good.or_else(|| self.broken.first()?.document.as_ref())
    }
}

/// Reads a text as if it stood at `path` of the tree of `snapshot`.
pub fn check(
    snapshot: &Snapshot,
    text: &str,
    path: Option<&TreePath>,
    options: &LoadOptions,
    now: SystemTime,
) -> Checked {
    let result = read_text(text, path, &snapshot.tree, options, now);
    let mut loading = Loading::default();
    for manifest in snapshot.all().filter(|old| !old.source.is_file(path)) {
        loading.add(manifest.clone());
    }
    for broken in snapshot.broken().iter().filter(|old| !old.source.is_file(path)) {
        loading.add_broken(broken.clone());
    }
    loading.diagnostics.clear();
    let (first, first_broken) = (loading.manifests.len(), loading.broken.len());
    loading.take(result, None, path);
    let count = loading.manifests.len();
    let mut names: BTreeMap<ManifestRef, usize> =
        names::settle(&loading.manifests, &loading.broken, &Default::default(), &mut Vec::new());
    names.extend((first..count).map(|index| (loading.manifests[index].id().clone(), index)));
    let imports = resolve::some(first..count, &mut loading, &names, &snapshot.tree, options, now);
    Checked {
        manifests: loading.manifests[first..count].to_vec(),
        imports,
        broken: loading.broken.split_off(first_broken),
        diagnostics: sorted(loading.diagnostics),
    }
}

/// What loading gives; [`Snapshot`] makes it readable.
pub(crate) struct Loaded {
    pub(crate) manifests: Vec<Arc<Manifest>>,
    pub(crate) imports: Vec<Vec<ResolvedImport>>,
    pub(crate) by_name: BTreeMap<ManifestRef, usize>,
    pub(crate) by_path: BTreeMap<TreePath, Vec<usize>>,
    pub(crate) broken: Vec<Broken>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) tree: FileTree,
}

impl Loading {
    /// Takes in what a file or text gave.
    fn take(&mut self, result: TextResult, previous: Option<&Snapshot>, path: Option<&TreePath>) {
        let was_broken = !result.broken.is_empty();
        for manifest in result.manifests {
            self.add(Arc::new(keep_time(manifest, previous)));
        }
        let stays = match (was_broken, previous, path) {
            (true, Some(previous), Some(path)) => previous.from_file(path),
            _ => Vec::new(),
        };
        for broken in result.broken {
            self.add_broken(broken);
        }
        let known: BTreeSet<ManifestRef> = path
            .and_then(|path| self.by_path.get(path))
            .map(|indexes| indexes.iter().map(|i| self.manifests[*i].id().clone()).collect())
            .unwrap_or_default();
        for manifest in stays.into_iter().filter(|manifest| !known.contains(manifest.id())) {
            self.add(manifest);
        }
    }

    fn add(&mut self, manifest: Arc<Manifest>) {
        let index = self.manifests.len();
        if let Source::File { path, .. } = &manifest.source {
            self.by_path.entry(path.clone()).or_default().push(index);
        }
        self.diagnostics.extend(manifest.warnings.iter().cloned());
        self.manifests.push(manifest);
    }

    fn add_broken(&mut self, broken: Broken) {
        let index = self.broken.len();
        if let Source::File { path, .. } = &broken.source {
            self.broken_paths.entry(path.clone()).or_insert(index);
        }
        self.diagnostics.extend(broken.diagnostics.iter().cloned());
        self.broken.push(broken);
    }

    fn bound(&mut self, most: usize) {
        if self.manifests.len() <= most {
            return;
        }
        let message =
            format!("{} manifests; only the first {most} are registered", self.manifests.len());
        self.manifests.truncate(most);
        self.by_path.retain(|_, indexes| {
            indexes.retain(|index| *index < most);
            !indexes.is_empty()
        });
        self.diagnostics.push(about_the_tree(Severity::Error, code::TOO_MANY_MANIFESTS, message));
    }

    fn finish(
        self,
        by_name: BTreeMap<ManifestRef, usize>,
        imports: Vec<Vec<ResolvedImport>>,
        tree: FileTree,
    ) -> Loaded {
        let diagnostics = sorted(self.diagnostics);
        Loaded {
            manifests: self.manifests,
            imports,
            by_name,
            by_path: self.by_path,
            broken: self.broken,
            diagnostics,
            tree,
        }
    }
}

/// Errors first, then by place.
fn sorted(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.severity, d.file.clone(), d.at, d.code, d.message.clone());
        key(a).cmp(&key(b))
    });
    diagnostics.dedup();
    diagnostics
}

/// Content that was there before keeps the time at which it was first loaded.
fn keep_time(mut manifest: Manifest, previous: Option<&Snapshot>) -> Manifest {
    let same = |old: &Arc<Manifest>| {
        old.id() == manifest.id() && old.source == manifest.source && old.digest == manifest.digest
    };
    let before = previous.and_then(|previous| match &manifest.source {
        Source::File { path, .. } => previous.from_file(path).into_iter().find(same),
        Source::Applied => previous.all().find(|old| same(old)).cloned(),
    });
    if let Some(before) = before {
        manifest.loaded_at = before.loaded_at;
    }
    manifest
}

fn unreadable(path: &TreePath, reason: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        code: code::FILE_UNREADABLE,
        message: format!("not read: {reason}"),
        hint: String::new(),
        file: path.to_string(),
        at: Default::default(),
        field: String::new(),
    }
}

fn about_the_tree(severity: Severity, code: &'static str, message: String) -> Diagnostic {
    Diagnostic {
        severity,
        code,
        message,
        hint: String::new(),
        file: String::new(),
        at: Default::default(),
        field: String::new(),
    }
}

#[cfg(test)]
mod tests;

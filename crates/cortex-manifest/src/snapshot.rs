//! The registry at one moment: everything that was loaded, never changed afterwards.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    changes,
    diagnostic::{Diagnostic, code},
    kind::{ManifestKind, ManifestRef},
    load::{Broken, Loaded, Outcome, ResolvedImport},
    manifest::Manifest,
    path::TreePath,
    tree::FileTree,
};

/// The registry at one moment.
#[derive(Debug)]
pub struct Snapshot {
    manifests: Vec<Arc<Manifest>>,
    imports: Vec<Vec<ResolvedImport>>,
    by_name: BTreeMap<ManifestRef, usize>,
    by_path: BTreeMap<TreePath, Vec<usize>>,
    broken: Vec<Broken>,
    broken_by_name: BTreeMap<ManifestRef, usize>,
    /// Everything that is wrong or doubtful.
    pub diagnostics: Vec<Diagnostic>,
    /// The files that it was loaded from.
    pub tree: FileTree,
    /// Rises with every change.
    pub revision: i64,
    /// When it last changed.
    pub changed_at: SystemTime,
}

/// What a lookup by name found.
#[derive(Debug)]
pub enum Lookup<'s> {
    /// The manifest with this index.
    Found(usize, &'s Arc<Manifest>),
    /// Something that cannot be used.
    Broken(&'s Broken),
    /// Nothing.
    Missing,
}

impl Snapshot {
    pub(crate) fn new(loaded: Loaded, previous: Option<&Self>, now: SystemTime) -> Self {
        let Loaded { manifests, imports, by_name, by_path, broken, diagnostics, tree } = loaded;
        let broken_names = broken.iter().enumerate().rev();
        let broken_by_name =
            broken_names.filter_map(|(index, broken)| Some((broken.id.clone()?, index))).collect();
        let mut snapshot = Self {
            manifests,
            imports,
            by_name,
            by_path,
            broken,
            broken_by_name,
            diagnostics,
            tree,
            revision: millis(now),
            changed_at: now,
        };
        if let Some(previous) = previous {
            let changes = i64::try_from(changes::between(previous, &snapshot).len()).unwrap_or(0);
            if changes == 0 && snapshot.diagnostics == previous.diagnostics {
                (snapshot.revision, snapshot.changed_at) = (previous.revision, previous.changed_at);
            } else {
                snapshot.revision = snapshot.revision.max(previous.revision + changes.max(1));
            }
        }
        snapshot
    }

    /// The manifest of a name.
    pub fn get(&self, id: &ManifestRef) -> Lookup<'_> {
        if let Some(index) = self.by_name.get(id) {
            return Lookup::Found(*index, &self.manifests[*index]);
        }
        match self.broken_by_name.get(id) {
            Some(index) => Lookup::Broken(&self.broken[*index]),
            None => Lookup::Missing,
        }
    }

    /// The manifest with an index, which [`Lookup`] or [`Outcome`] gave.
    pub fn at(&self, index: usize) -> &Arc<Manifest> {
        &self.manifests[index]
    }

    /// Where the imports of the manifest with this index lead.
    pub fn imports(&self, index: usize) -> &[ResolvedImport] {
        &self.imports[index]
    }

    /// The manifests that have their names, by kind and name.
    pub fn named(&self) -> impl Iterator<Item = (usize, &Arc<Manifest>)> {
        self.by_name.values().map(|index| (*index, &self.manifests[*index]))
    }

    /// The names of one kind, sorted.
    pub fn names(&self, kind: ManifestKind) -> impl Iterator<Item = &str> {
        self.by_name.keys().filter(move |id| id.kind == kind).map(|id| id.name.as_str())
    }

    /// Every manifest, also those that lost their names to others.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.manifests.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.manifests.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.manifests.is_empty()
    }

    /// What cannot be used.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// What a file declared.
    pub fn from_file(&self, path: &TreePath) -> Vec<Arc<Manifest>> {
        let indexes = self.by_path.get(path).into_iter().flatten();
        indexes.map(|index| self.manifests[*index].clone()).collect()
    }

    /// Whether a file declares a manifest, or tries to.
    pub fn is_manifest(&self, path: &TreePath) -> bool {
        let tries = |broken: &Broken| broken.source.is_file(Some(path));
        self.by_path.contains_key(path) || self.broken.iter().any(tries)
    }

    /// The cycles that start at a manifest's file.
    pub fn cycles_of(&self, index: usize) -> impl Iterator<Item = Diagnostic> {
        let id = self.manifests[index].id().to_string();
        let about = move |d: &&Diagnostic| {
            d.code == code::IMPORT_CYCLE && d.message.split([' ', ',']).any(|word| word == id)
        };
        self.diagnostics.iter().filter(about).cloned()
    }

    /// What is doubtful about a manifest: by itself, and in what it imports.
    pub fn warnings(&self, index: usize) -> Vec<Diagnostic> {
        let failed = self.imports[index].iter().filter_map(|import| match &import.outcome {
            Outcome::Failed(diagnostic) => Some(diagnostic.clone()),
            Outcome::Found(_) => None,
        });
        self.manifests[index].warnings.iter().cloned().chain(failed).collect()
    }
}

/// Revisions start at the time, so that they rise over restarts too.
fn millis(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(since).unwrap_or(i64::MAX)
}

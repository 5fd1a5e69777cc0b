//! The registry: the current snapshot, and what was handed out of earlier ones.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use bytes::Bytes;
use cortex_config::{did_you_mean, yaml::Limits};
use cortex_core::Clock;

use crate::{
    bundle,
    changes::Changes,
    closure::{self, Closure, ToolSpec},
    config::ManifestConfig,
    error::RegistryError,
    kind::{ManifestKind, ManifestRef},
    load::{self, Checked, LoadOptions},
    manifest::{Manifest, Source},
    path::TreePath,
    ports::Files,
    recent::Recent,
    snapshot::{Lookup, Snapshot},
    tree::FileTree,
    variables::Variables,
};

/// The registry. Its methods may read files: call them where blocking is allowed.
pub struct Registry {
    layers: Vec<Arc<dyn Files>>,
    root_aliases: Vec<String>,
    options: LoadOptions,
    max_bundle: u64,
    clock: Arc<dyn Clock>,
    /// Held while a new snapshot is loaded, so that the last one loaded is the newest.
    applied: Mutex<BTreeMap<ManifestRef, String>>,
    current: RwLock<Arc<Current>>,
    closures: Mutex<Recent<Arc<Closure>>>,
    bundles: Mutex<Recent<Bytes>>,
    changes: Changes,
}

/// A snapshot, and what was derived from it.
struct Current {
    snapshot: Arc<Snapshot>,
    bundle_digests: Mutex<HashMap<usize, String>>,
    closures: Mutex<HashMap<usize, Arc<Closure>>>,
}

impl Current {
    fn new(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self {
            snapshot: Arc::new(snapshot),
            bundle_digests: Mutex::default(),
            closures: Mutex::default(),
        })
    }
}

impl Registry {
    /// A registry over `layers`, the strongest first, loaded once.
    ///
    /// `environment` is the process's; manifests see only what the configuration allows.
    ///
    /// # Errors
    /// [`RegistryError::Directory`] when a layer cannot be listed.
    pub fn open(
        config: &ManifestConfig,
        layers: Vec<Arc<dyn Files>>,
        environment: impl IntoIterator<Item = (String, String)>,
        applied: BTreeMap<ManifestRef, String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let options = LoadOptions {
            variables: Variables::new(environment, &config.environment),
            limits: Limits { bytes: config.max_file.as_usize(), ..Limits::default() },
            max_manifests: usize::try_from(config.max_manifests).unwrap_or(usize::MAX),
        };
        let root_aliases = config.root_aliases.clone();
        let tree = FileTree::list(&layers, root_aliases.clone())?;
        let texts: Vec<String> = applied.values().cloned().collect();
        let snapshot = load::load(tree, &texts, None, &options, clock.now());
        Ok(Self {
            layers,
            root_aliases,
            options,
            max_bundle: config.max_bundle.get(),
            clock,
            applied: Mutex::new(applied),
            changes: Changes::new(snapshot.revision),
            current: RwLock::new(Current::new(snapshot)),
            closures: Mutex::new(Recent::new(u64::from(config.closures_kept))),
            bundles: Mutex::new(Recent::new(config.bundles_kept.get())),
        })
    }

    /// The registry as it is now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current().snapshot.clone()
    }

    /// What has changed lately.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What the layers are called, for people.
    pub fn title(&self) -> String {
        self.layers.first().map(|files| files.title()).unwrap_or_default()
    }

    /// Reads everything again.
    ///
    /// # Errors
    /// [`RegistryError::Directory`]; the registry then stays as it was.
    pub fn reload(&self) -> Result<Arc<Snapshot>, RegistryError> {
        let applied = lock(&self.applied);
        self.load(&applied)
    }

    /// Registers a text that [`Registry::check`] found valid, or forgets one.
    ///
    /// # Errors
    /// [`RegistryError::Directory`]; the registry then stays as it was.
    pub fn set_applied(
        &self,
        changes: Vec<(ManifestRef, Option<String>)>,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let mut applied = lock(&self.applied);
        for (id, text) in changes {
            match text {
                Some(text) => applied.insert(id, text),
                None => applied.remove(&id),
            };
        }
        self.load(&applied)
    }

    /// Replaces all applied texts, and reads everything again.
    ///
    /// # Errors
    /// [`RegistryError::Directory`]; the registry then stays as it was.
    pub fn replace_applied(
        &self,
        texts: BTreeMap<ManifestRef, String>,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let mut applied = lock(&self.applied);
        let snapshot = self.load(&texts)?;
        *applied = texts;
        Ok(snapshot)
    }

    /// The text that was applied for a manifest.
    pub fn applied(&self, id: &ManifestRef) -> Option<String> {
        lock(&self.applied).get(id).cloned()
    }

    fn load(
        &self,
        applied: &BTreeMap<ManifestRef, String>,
    ) -> Result<Arc<Snapshot>, RegistryError> {
        let tree = FileTree::list(&self.layers, self.root_aliases.clone())?;
        let texts: Vec<String> = applied.values().cloned().collect();
        let previous = self.snapshot();
        let snapshot = load::load(tree, &texts, Some(&previous), &self.options, self.clock.now());
        let current = Current::new(snapshot);
        let snapshot = current.snapshot.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        // After the swap: who is told of a change finds it.
        self.changes.record(&previous, &snapshot);
        Ok(snapshot)
    }

    /// Reads a text as if it stood at `path`, without registering it.
    pub fn check(&self, text: &str, path: Option<&TreePath>) -> Checked {
        load::check(&self.snapshot(), text, path, &self.options, self.clock.now())
    }

    /// The closure of an agent as it is now.
    ///
    /// # Errors
    /// [`RegistryError`] when there is no such agent, or something that it needs is not there.
    pub fn resolve_agent(&self, name: &str) -> Result<Arc<Closure>, RegistryError> {
        let current = self.current();
        let (index, _) = find(&current.snapshot, &ManifestRef::new(ManifestKind::Agent, name))?;
        if let Some(closure) = lock(&current.closures).get(&index) {
            return Ok(closure.clone());
        }
        let mut bundle = |index, manifest: &Manifest| self.bundle_digest(&current, index, manifest);
        let resolved = closure::resolve(&current.snapshot, index, &mut bundle)?;
        let mut known = lock(&current.closures);
        let mut kept = lock(&self.closures);
        for (index, closure) in resolved {
            let closure = Arc::new(closure);
            kept.put(&closure.digest, closure.clone(), 1);
            known.insert(index, closure);
        }
        let missing = || RegistryError::ClosureNotFound(name.to_owned());
        known.get(&index).cloned().ok_or_else(missing)
    }

    /// A closure that was handed out, by digest.
    ///
    /// # Errors
    /// [`RegistryError::ClosureNotFound`] when it was forgotten or never known.
    pub fn closure(&self, digest: &str) -> Result<Arc<Closure>, RegistryError> {
        let missing = || RegistryError::ClosureNotFound(digest.to_owned());
        lock(&self.closures).get(digest).ok_or_else(missing)
    }

    /// A tool as it is now.
    ///
    /// # Errors
    /// [`RegistryError`] when there is no such tool, or its files cannot be bundled.
    pub fn resolve_tool(&self, name: &str) -> Result<ToolSpec, RegistryError> {
        let current = self.current();
        let id = ManifestRef::new(ManifestKind::Tool, name);
        let (index, manifest) = find(&current.snapshot, &id)?;
        let mut bundle = |index, manifest: &Manifest| self.bundle_digest(&current, index, manifest);
        let spec = closure::tool_spec(index, manifest, &mut bundle)?;
        spec.ok_or(RegistryError::NotFound { id, hint: String::new() })
    }

    /// The archive of a bundle.
    ///
    /// # Errors
    /// [`RegistryError::BundleNotFound`] when it was never built here, or was forgotten and its files
    /// have changed since.
    pub fn bundle(&self, digest: &str) -> Result<Bytes, RegistryError> {
        if let Some(archive) = lock(&self.bundles).get(digest) {
            return Ok(archive);
        }
        let current = self.current();
        let known: Vec<usize> = lock(&current.bundle_digests)
            .iter()
            .filter(|(_, known)| *known == digest)
            .map(|(index, _)| *index)
            .collect();
        for index in known {
            let manifest = current.snapshot.at(index);
            let built = bundle::build(manifest, &current.snapshot, self.max_bundle)?;
            if let Some(built) = built.filter(|built| built.digest == digest) {
                self.keep(&built);
                return Ok(built.archive);
            }
        }
        Err(RegistryError::BundleNotFound(digest.to_owned()))
    }

    fn bundle_digest(
        &self,
        current: &Current,
        index: usize,
        manifest: &Manifest,
    ) -> Result<String, RegistryError> {
        if let Some(digest) = lock(&current.bundle_digests).get(&index) {
            return Ok(digest.clone());
        }
        let built = bundle::build(manifest, &current.snapshot, self.max_bundle)?;
        let digest = built.as_ref().map(|built| built.digest.clone()).unwrap_or_default();
        if let Some(built) = built {
            self.keep(&built);
        }
        lock(&current.bundle_digests).insert(index, digest.clone());
        Ok(digest)
    }

    fn keep(&self, bundle: &bundle::Bundle) {
        let weight = u64::try_from(bundle.archive.len()).unwrap_or(u64::MAX);
        lock(&self.bundles).put(&bundle.digest, bundle.archive.clone(), weight);
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("title", &self.title()).finish_non_exhaustive()
    }
}

/// The manifest of a name.
///
/// # Errors
/// [`RegistryError::NotFound`] with the nearest name, or [`RegistryError::Invalid`].
pub fn find<'s>(
    snapshot: &'s Snapshot,
    id: &ManifestRef,
) -> Result<(usize, &'s Arc<Manifest>), RegistryError> {
    match snapshot.get(id) {
        Lookup::Found(index, manifest) => Ok((index, manifest)),
        Lookup::Broken(broken) => Err(RegistryError::Invalid {
            id: id.clone(),
            diagnostics: broken.diagnostics.iter().filter(|d| d.is_error()).cloned().collect(),
        }),
        Lookup::Missing => {
            let hint = did_you_mean(&id.name, snapshot.names(id.kind));
            Err(RegistryError::NotFound { id: id.clone(), hint })
        }
    }
}

/// Runs work on a registry that may read files.
///
/// # Errors
/// That of the work, or [`RegistryError::Dropped`].
pub async fn blocking<T, F>(work: F) -> Result<T, RegistryError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, RegistryError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|_| RegistryError::Dropped)?
}

/// Whether a manifest was applied by a call.
pub fn is_applied(manifest: &Manifest) -> bool {
    manifest.source == Source::Applied
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Manifests that calls have registered: checked as a whole, kept in storage, then in the registry.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;

use crate::{
    diagnostic::Diagnostic,
    error::RegistryError,
    kind::{ManifestKind, ManifestRef},
    load::Checked,
    manifest::Manifest,
    ports::{AppliedStore, StoreError},
    registry::{Registry, blocking, find, is_applied},
    snapshot::Snapshot,
};

/// What the keys of applied manifests start with.
pub(crate) const PREFIX: &str = "manifest/applied/";

/// Applies and deletes manifests, one call after another.
#[derive(Clone)]
pub struct Applied {
    store: Option<Arc<dyn AppliedStore>>,
    turn: Arc<Mutex<()>>,
}

/// What an application did.
#[derive(Debug)]
pub struct Done {
    /// The manifests as registered, or as they would be.
    pub manifests: Vec<Arc<Manifest>>,
    /// Whether the registry changed.
    pub changed: bool,
}

impl Applied {
    /// Keeps manifests in `store`. Without one, nothing can be applied.
    pub fn new(store: Option<Arc<dyn AppliedStore>>) -> Self {
        Self { store, turn: Arc::default() }
    }

    /// Checks every text, then registers all of them or none.
    ///
    /// # Errors
    /// [`RegistryError::InvalidText`] with everything that is wrong in any of them;
    /// [`RegistryError::Store`] when they cannot be kept: what was kept until then stays kept and is
    /// registered.
    pub async fn apply(
        &self,
        registry: Arc<Registry>,
        texts: Vec<String>,
        validate_only: bool,
    ) -> Result<Done, RegistryError> {
        let _turn = self.turn.lock().await;
        let checking = registry.clone();
        let checked = blocking(move || {
            texts.into_iter().map(|text| one(&checking, text)).collect::<Result<Vec<_>, _>>()
        });
        let given = checked.await?;
        let manifests: Vec<_> = given.iter().map(|(_, manifest)| manifest.clone()).collect();
        let new = given.into_iter().filter(|(_, m)| !is_registered(&registry, m));
        let new: Vec<(String, Arc<Manifest>)> = new.collect();
        if validate_only || new.is_empty() {
            return Ok(Done { manifests, changed: !new.is_empty() });
        }
        let store = self.store()?;
        let mut kept = Vec::new();
        let mut failure = None;
        for (text, manifest) in new {
            if let Err(error) = store.put(&key(manifest.id()), &text).await {
                failure = Some(error);
                break;
            }
            kept.push((manifest.id().clone(), Some(text)));
        }
        blocking(move || registry.set_applied(kept)).await?;
        failure.map_or(Ok(Done { manifests, changed: true }), |error| Err(error.into()))
    }

    /// Removes an applied manifest.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::DeclaredByFile`], [`RegistryError::Store`].
    pub async fn delete(
        &self,
        registry: Arc<Registry>,
        id: ManifestRef,
    ) -> Result<(), RegistryError> {
        let _turn = self.turn.lock().await;
        if registry.applied(&id).is_none() {
            let snapshot = registry.snapshot();
            let (_, manifest) = find(&snapshot, &id)?;
            let file = manifest.source.as_str().to_owned();
            return Err(RegistryError::DeclaredByFile { id, file });
        }
        self.store()?.delete(&key(&id)).await?;
        blocking(move || registry.set_applied(vec![(id, None)])).await?;
        Ok(())
    }

    /// Reads files and kept manifests again.
    ///
    /// # Errors
    /// [`RegistryError::Store`] or [`RegistryError::Directory`]; the registry then stays as it was.
    pub async fn reload(&self, registry: Arc<Registry>) -> Result<Arc<Snapshot>, RegistryError> {
        let _turn = self.turn.lock().await;
        let kept = match &self.store {
            Some(store) => Some(read(store.as_ref()).await?),
            None => None,
        };
        blocking(move || match kept {
            Some(kept) => registry.replace_applied(kept),
            None => registry.reload(),
        })
        .await
    }

    fn store(&self) -> Result<&Arc<dyn AppliedStore>, RegistryError> {
        let missing = || StoreError("this service has no storage to keep manifests in".to_owned());
        self.store.as_ref().ok_or_else(|| missing().into())
    }
}

/// Everything that is kept. What has another key than ours is left alone.
pub(crate) async fn read(
    store: &dyn AppliedStore,
) -> Result<BTreeMap<ManifestRef, String>, StoreError> {
    let kept = store.load().await?;
    Ok(kept.into_iter().filter_map(|(key, text)| Some((id_of(&key)?, text))).collect())
}

/// The one valid manifest of a text.
fn one(registry: &Registry, text: String) -> Result<(String, Arc<Manifest>), RegistryError> {
    let Checked { mut manifests, diagnostics, .. } = registry.check(&text, None);
    let errors: Vec<Diagnostic> = diagnostics.into_iter().filter(Diagnostic::is_error).collect();
    match (manifests.pop(), errors.is_empty()) {
        (Some(manifest), true) if manifests.is_empty() => Ok((text, manifest)),
        (Some(_), true) => Err(RegistryError::Field {
            field: "content",
            reason: "holds several manifests; apply them one by one".to_owned(),
        }),
        _ => Err(RegistryError::InvalidText { diagnostics: errors }),
    }
}

fn is_registered(registry: &Registry, manifest: &Manifest) -> bool {
    let snapshot = registry.snapshot();
    find(&snapshot, manifest.id())
        .is_ok_and(|(_, known)| is_applied(known) && known.digest == manifest.digest)
}

fn key(id: &ManifestRef) -> String {
    format!("{PREFIX}{id}")
}

fn id_of(key: &str) -> Option<ManifestRef> {
    let (kind, name) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some(ManifestRef::new(ManifestKind::lookup(kind)?, name))
}

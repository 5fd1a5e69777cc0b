//! Uploads and downloads: bytes and what refers to them, each in its turn.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use cortex_core::{ArtifactId, SessionId};
use futures::{Stream, StreamExt};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Artifact, Attach, BlobName, ByteRange, Content, Download, Expected, Target, ingest::Ingest,
};
use crate::{
    config::ArtifactConfig,
    error::{Result, StorageError},
    journal::{Fingerprint, RequestId},
    ports::{ArtifactStore, BlobStore, SessionStore},
    tenant::Tenant,
};

/// What an upload says before its bytes.
#[derive(Debug, Clone)]
pub struct UploadRequest {
    /// Whose the bytes become.
    pub target: Target,
    /// What they must be.
    pub expected: Expected,
    /// Makes a repeated call the same artifact.
    pub request_id: Option<RequestId>,
    /// Everything that the request says beside its bytes.
    pub said: Vec<u8>,
}

/// Artifacts with their bytes. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Depot {
    pub(super) store: Arc<dyn ArtifactStore>,
    sessions: Arc<dyn SessionStore>,
    pub(super) blobs: Arc<dyn BlobStore>,
    max_size: u64,
    patience: Duration,
    places: Arc<Semaphore>,
}

impl Depot {
    /// Metadata in `store`, bytes in `blobs`, of the sessions in `sessions`.
    pub fn new(
        store: Arc<dyn ArtifactStore>,
        sessions: Arc<dyn SessionStore>,
        blobs: Arc<dyn BlobStore>,
        config: &ArtifactConfig,
    ) -> Self {
        Self {
            store,
            sessions,
            blobs,
            max_size: config.max_size.get(),
            patience: config.upload_patience.get(),
            places: Arc::new(Semaphore::new(config.max_uploads)),
        }
    }

    /// Where the bytes are kept.
    pub fn blobs(&self) -> &dyn BlobStore {
        &*self.blobs
    }

    /// What is known about artifacts.
    pub fn store(&self) -> &dyn ArtifactStore {
        &*self.store
    }

    /// Waits for the next thing of an upload, as long as may be.
    ///
    /// # Errors
    /// `UploadTooSlow`.
    pub async fn next<T>(&self, next: impl Future<Output = T> + Send) -> Result<T> {
        let waited = timeout(self.patience, next).await;
        waited.map_err(|_| StorageError::UploadTooSlow { patience: self.patience })
    }

    /// Stores bytes, and makes them those of an artifact. Until that is committed nothing is left of
    /// them when this fails or is dropped; once it may be, it goes on by itself.
    ///
    /// # Errors
    /// What the artifact, its bytes or the stream are refused for; the stream's own errors as they are.
    pub async fn upload<S, E>(
        &self,
        tenant: &Tenant,
        request: UploadRequest,
        bytes: S,
    ) -> Result<Artifact, E>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: From<StorageError>,
    {
        let session_id = self.session_of(tenant, &request).await?;
        let expected = request.expected;
        if let Some(bytes) = expected.size.filter(|size| *size > self.max_size) {
            let (field, limit) = ("expected_size", self.max_size);
            return Err(StorageError::TooLarge { field, bytes, limit }.into());
        }
        let _place = self.places.acquire().await.map_err(|_| StorageError::Closed)?;
        let mut ingest = Ingest::new(self.blobs.create().await?, self.max_size, expected);
        let mut bytes = std::pin::pin!(bytes);
        while let Some(next) = self.next(bytes.next()).await? {
            ingest.push(next?).await?;
        }
        let (digest, size, blob) = ingest.finish().await?;
        let fingerprint = Fingerprint::of(&[&request.said[..], digest.as_bytes()].concat());
        let content = Content { digest, size: i64::try_from(size).unwrap_or(i64::MAX), blob };
        let (target, request_id) = (request.target, request.request_id);
        let attach = Attach { target, session_id, content, request_id, fingerprint };
        Ok(self.attach(tenant, attach).await?)
    }

    /// Refuses what would be refused after all bytes have come, and says of which session it is.
    async fn session_of(&self, tenant: &Tenant, request: &UploadRequest) -> Result<SessionId> {
        match &request.target {
            Target::New(session_id, _) => {
                self.sessions.session(tenant, session_id).await?;
                Ok(session_id.clone())
            }
            Target::Noted(artifact_id, _) => {
                let artifact = self.store.artifact(tenant, artifact_id).await?;
                // A repeated request finds its own bytes there.
                if artifact.digest.is_some() && request.request_id.is_none() {
                    let artifact_id = artifact_id.to_string();
                    return Err(StorageError::ArtifactComplete { artifact_id });
                }
                Ok(artifact.session_id)
            }
        }
    }

    /// Commits that an artifact has its bytes. In a task of its own: whoever waits may leave, and bytes
    /// that are referred to must stay as surely as others must go.
    async fn attach(&self, tenant: &Tenant, attach: Attach) -> Result<Artifact> {
        let (depot, tenant) = (self.clone(), tenant.clone());
        let committing = tokio::spawn(async move {
            let blob = attach.content.blob.clone();
            let attached = depot.store.attach(&tenant, attach).await;
            let known = match &attached {
                // Whether it is committed is not known: the sweep will find out.
                Err(StorageError::Io { .. } | StorageError::Closed) => return attached,
                _ => depot.store.known_blobs(std::slice::from_ref(&blob)).await,
            };
            if known.is_ok_and(|known| known.is_empty()) {
                depot.discard(&blob).await;
            }
            attached
        });
        let attached = committing.await;
        attached.map_err(|error| StorageError::internal(format!("an upload's commit: {error}")))?
    }

    /// Opens the bytes of an artifact, or a range of them.
    ///
    /// # Errors
    /// `ArtifactNotFound`, `ArtifactEmpty`, `RangeBeyondEnd`, `BytesDamaged` when they are gone.
    pub async fn download(
        &self,
        tenant: &Tenant,
        id: &ArtifactId,
        range: ByteRange,
    ) -> Result<Download> {
        let mut missing = None;
        loop {
            let (artifact, blob) = self.store.artifact_with_blob(tenant, id).await?;
            let (Some(digest), Some(blob)) = (artifact.digest, blob) else {
                return Err(StorageError::ArtifactEmpty { artifact_id: id.to_string() });
            };
            let range = range.resolve(u64::try_from(artifact.size).unwrap_or_default())?;
            match self.blobs.read(&blob, range.clone()).await? {
                Some(bytes) => return Ok(Download { artifact, digest, range, bytes }),
                // Others may have deleted and stored the same bytes meanwhile, under another name.
                None if missing.as_ref() != Some(&blob) => missing = Some(blob),
                None => return Err(StorageError::BytesDamaged { artifact_id: id.to_string() }),
            }
        }
    }

    /// Deletes an artifact, and its bytes when nothing else refers to them. Bytes that cannot be
    /// deleted now are swept later.
    ///
    /// # Errors
    /// `ArtifactNotFound`, or what the database says.
    pub async fn delete(&self, tenant: &Tenant, id: &ArtifactId) -> Result<()> {
        self.store.delete_artifact(tenant, id).await?;
        if let Err(error) = self.release().await {
            tracing::warn!(%error, "the bytes of a deleted artifact are kept for now");
        }
        Ok(())
    }

    /// Deletes bytes that nothing refers to any more; says whether there may be more of them.
    pub(super) async fn release(&self) -> Result<bool> {
        let released = self.store.release_blobs(RELEASED).await?;
        for blob in &released {
            self.discard(blob).await;
        }
        Ok(released.len() >= RELEASED)
    }

    /// Deletes bytes that nothing refers to. If that fails the sweep does it.
    pub(super) async fn discard(&self, blob: &BlobName) {
        if let Err(error) = self.blobs.delete(blob).await {
            tracing::warn!(%error, %blob, "bytes that nothing refers to could not be deleted");
        }
    }
}

/// Bytes that are released in one step at most.
const RELEASED: usize = 256;

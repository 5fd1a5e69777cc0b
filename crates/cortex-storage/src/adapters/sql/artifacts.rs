//! Artifacts on the writer and the readers.

use std::collections::HashSet;

use cortex_core::ArtifactId;

use super::{
    ops::{self, Noted},
    store::SqlStore,
};
use crate::{
    artifact::{Artifact, ArtifactQuery, Attach, BlobName, NewArtifact, StoreId},
    error::{Result, StorageError},
    journal::SessionNo,
    ports::{ArtifactStore, Page},
    tenant::Tenant,
};

/// What is known about an artifact.
#[derive(Debug, Clone)]
pub(super) struct ArtifactFact {
    pub(super) session: SessionNo,
    pub(super) artifact: Artifact,
}

#[tonic::async_trait]
impl ArtifactStore for SqlStore {
    async fn create_artifact(&self, tenant: &Tenant, new: NewArtifact) -> Result<Artifact> {
        let artifact_id = ArtifactId::generate();
        let noted = self.write(ops::Note { tenant: tenant.clone(), new, artifact_id }).await?;
        self.noted(tenant, noted).await
    }

    async fn attach(&self, tenant: &Tenant, attach: Attach) -> Result<Artifact> {
        let artifact_id = ArtifactId::generate();
        let give = ops::GiveBytes { tenant: tenant.clone(), attach, artifact_id };
        let noted = self.write(give).await?;
        self.noted(tenant, noted).await
    }

    async fn artifact(&self, tenant: &Tenant, id: &ArtifactId) -> Result<Artifact> {
        Ok(self.reader.artifact(tenant, id).await?.0)
    }

    async fn artifact_with_blob(
        &self,
        tenant: &Tenant,
        id: &ArtifactId,
    ) -> Result<(Artifact, Option<BlobName>)> {
        self.reader.artifact(tenant, id).await
    }

    async fn artifacts(&self, tenant: &Tenant, query: ArtifactQuery) -> Result<Page<Artifact>> {
        self.reader.artifacts(tenant, query).await
    }

    async fn delete_artifact(&self, tenant: &Tenant, id: &ArtifactId) -> Result<()> {
        let (tenant, artifact_id) = (tenant.clone(), id.clone());
        self.write(ops::RemoveArtifact { tenant, artifact_id }).await
    }

    async fn release_blobs(&self, most: usize) -> Result<Vec<BlobName>> {
        let unused = self.reader.unused_bytes(most).await?;
        let mut names: Vec<_> = unused.iter().map(|bytes| bytes.blob.clone()).collect();
        if names.is_empty() {
            return Ok(names);
        }
        self.write(ops::ForgetBytes { unused, turnstile: self.turnstile.clone() }).await?;
        // Somebody may have used them again before that, or they are not to be forgotten now.
        let kept = self.reader.known_bytes(&names).await?;
        names.retain(|name| !kept.contains(name));
        Ok(names)
    }

    async fn known_blobs(&self, names: &[BlobName]) -> Result<HashSet<BlobName>> {
        self.reader.known_bytes(names).await
    }

    async fn may_sweep(&self) -> Result<bool> {
        let busy = self.turnstile.is_taken() || self.maintenance.check().is_err();
        Ok(!busy && self.reader.may_sweep().await?)
    }

    async fn store_id(&self) -> Result<StoreId> {
        if let Some(store_id) = self.reader.store_id().await? {
            return Ok(store_id);
        }
        self.write(ops::NameStore { store_id: StoreId::generate() }).await?;
        let store_id = self.reader.store_id().await?;
        store_id.ok_or_else(|| StorageError::internal("the database did not keep its id"))
    }
}

impl SqlStore {
    async fn noted(&self, tenant: &Tenant, noted: Noted) -> Result<Artifact> {
        match noted {
            Noted::Now(artifact) => Ok(*artifact),
            Noted::Before(id) => {
                let id = ArtifactId::parse(id);
                let id = id.map_err(|error| StorageError::internal(error.to_string()))?;
                Ok(self.reader.artifact(tenant, &id).await?.0)
            }
        }
    }
}

//! Noting and deleting artifacts, giving them bytes, and forgetting bytes that none refers to.

use cortex_core::ArtifactId;

use super::{super::needs::Needs, super::work::Work, Operation};
use crate::{
    adapters::sql::{
        artifacts::ArtifactFact,
        cache::{Cache, TenantNo},
    },
    admin::Turnstile,
    artifact::{About, Artifact, Attach, BlobName, Digest, NewArtifact, StoreId, Target},
    error::{Result, StorageError},
    journal::{Fingerprint, Known, Method, RequestId, RequestKey, SessionNo},
    tenant::Tenant,
};

/// What came of a write that makes or changes an artifact.
pub(in super::super) enum Noted {
    /// It is as it was asked for.
    Now(Box<Artifact>),
    /// The request was made before: the artifact of then.
    Before(String),
}

/// Notes an artifact without bytes.
pub(in super::super) struct Note {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) new: NewArtifact,
    /// The id that it gets, if it is new.
    pub(in super::super) artifact_id: ArtifactId,
}

impl Operation for Note {
    type Answer = Noted;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some((_, session)) = needs.session(cache, &self.tenant, &self.new.session_id) {
            session.requests.extend(key(self.new.request_id.as_ref(), Method::CreateArtifact));
        }
    }

    fn decide(&self, work: &mut Work) -> Result<Noted> {
        let (tenant, session) = work.session(&self.tenant, &self.new.session_id)?;
        let request = Request {
            session,
            id: self.new.request_id.as_ref(),
            method: Method::CreateArtifact,
            fingerprint: self.new.fingerprint,
        };
        if let Some(before) = request.answered(work)? {
            return Ok(Noted::Before(before));
        }
        let artifact = Artifact {
            artifact_id: self.artifact_id.clone(),
            session_id: self.new.session_id.clone(),
            about: self.new.about.clone(),
            size: self.new.size,
            digest: None,
            created_at: work.now,
            updated_at: work.now,
        };
        work.insert_artifact(tenant, session, artifact.clone());
        request.remember(work, tenant, &artifact.artifact_id);
        Ok(Noted::Now(Box::new(artifact)))
    }

    fn size(&self) -> usize {
        size(&self.new.about)
    }
}

/// Makes bytes those of an artifact.
pub(in super::super) struct GiveBytes {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) attach: Attach,
    /// The id that the artifact gets, if it is new.
    pub(in super::super) artifact_id: ArtifactId,
}

impl Operation for GiveBytes {
    type Answer = Noted;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        let Attach { session_id, request_id, target, .. } = &self.attach;
        if let Some((tenant, session)) = needs.session(cache, &self.tenant, session_id) {
            session.requests.extend(key(request_id.as_ref(), Method::UploadArtifact));
            if let Target::Noted(artifact_id, _) = target {
                needs.artifacts.insert((tenant, artifact_id.clone()));
            }
        }
    }

    fn decide(&self, work: &mut Work) -> Result<Noted> {
        let (tenant, session) = work.session(&self.tenant, &self.attach.session_id)?;
        let request = Request {
            session,
            id: self.attach.request_id.as_ref(),
            method: Method::UploadArtifact,
            fingerprint: self.attach.fingerprint,
        };
        if let Some(before) = request.answered(work)? {
            return Ok(Noted::Before(before));
        }
        let artifact = match &self.attach.target {
            Target::New(_, about) => self.insert(work, (tenant, session), about),
            Target::Noted(artifact_id, content_type) => {
                self.complete(work, tenant, artifact_id, content_type)?
            }
        };
        let content = &self.attach.content;
        work.writes.use_bytes(tenant, content.digest, &content.blob);
        request.remember(work, tenant, &artifact.artifact_id);
        Ok(Noted::Now(Box::new(artifact)))
    }

    fn size(&self) -> usize {
        match &self.attach.target {
            Target::New(_, about) => size(about),
            Target::Noted(..) => 0,
        }
    }
}

impl GiveBytes {
    fn insert(
        &self,
        work: &mut Work,
        (tenant, session): (TenantNo, SessionNo),
        about: &About,
    ) -> Artifact {
        let artifact = Artifact {
            artifact_id: self.artifact_id.clone(),
            session_id: self.attach.session_id.clone(),
            about: about.clone(),
            size: self.attach.content.size,
            digest: Some(self.attach.content.digest),
            created_at: work.now,
            updated_at: work.now,
        };
        work.insert_artifact(tenant, session, artifact.clone());
        artifact
    }

    fn complete(
        &self,
        work: &mut Work,
        tenant: TenantNo,
        artifact_id: &ArtifactId,
        content_type: &str,
    ) -> Result<Artifact> {
        let now = work.now;
        let fact = work.artifact(tenant, artifact_id)?;
        if fact.artifact.digest.is_some() {
            let artifact_id = artifact_id.to_string();
            return Err(StorageError::ArtifactComplete { artifact_id });
        }
        fact.artifact.size = self.attach.content.size;
        fact.artifact.digest = Some(self.attach.content.digest);
        fact.artifact.updated_at = now;
        if !content_type.is_empty() {
            content_type.clone_into(&mut fact.artifact.about.content_type);
        }
        let artifact = fact.artifact.clone();
        work.writes.completed_artifacts.push((tenant, artifact.clone()));
        Ok(artifact)
    }
}

/// Deletes an artifact.
pub(in super::super) struct RemoveArtifact {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) artifact_id: ArtifactId,
}

impl Operation for RemoveArtifact {
    type Answer = ();

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        if let Some(tenant) = cache.tenant(&self.tenant) {
            needs.artifacts.insert((tenant, self.artifact_id.clone()));
        }
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        let tenant = work.cache.tenant(&self.tenant).ok_or_else(|| not_found(&self.artifact_id))?;
        let digest = work.artifact(tenant, &self.artifact_id)?.artifact.digest;
        let key = (tenant, self.artifact_id.clone());
        work.read.artifacts.remove(&key);
        work.writes.artifact_removals.push(key);
        work.writes.unused_bytes.extend(digest.map(|digest| (tenant, digest)));
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// Forgets bytes that were found to be unused, if they still are, and if no work of administration is
/// under way that may have seen what referred to them.
pub(in super::super) struct ForgetBytes {
    pub(in super::super) unused: Vec<UnusedBytes>,
    /// Of works of administration in this process.
    pub(in super::super) turnstile: Turnstile,
}

/// Bytes that no artifact refers to.
#[derive(Debug, Clone)]
pub(in super::super) struct UnusedBytes {
    pub(in super::super) tenant: TenantNo,
    pub(in super::super) digest: Digest,
    pub(in super::super) blob: BlobName,
}

impl Operation for ForgetBytes {
    type Answer = ();

    fn needs(&self, _: &Cache, needs: &mut Needs) {
        needs.deletes_bytes = true;
    }

    fn decide(&self, work: &mut Work) -> Result<()> {
        if work.read.bytes_are_needed || self.turnstile.is_taken() {
            return Ok(());
        }
        work.writes.forgotten_bytes.extend(self.unused.iter().cloned());
        Ok(())
    }

    fn size(&self) -> usize {
        128 * self.unused.len()
    }
}

/// Gives the database its id, unless it has one.
pub(in super::super) struct NameStore {
    pub(in super::super) store_id: StoreId,
}

impl Operation for NameStore {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work) -> Result<()> {
        work.writes.store_id = Some(self.store_id.clone());
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// A request that may be a repeated one.
struct Request<'a> {
    session: SessionNo,
    id: Option<&'a RequestId>,
    method: Method,
    fingerprint: Fingerprint,
}

impl Request<'_> {
    /// The artifact that the request was answered with before.
    fn answered(&self, work: &Work) -> Result<Option<String>> {
        let Some(id) = self.id else { return Ok(None) };
        let Some(known) = work.read.known.get(&(self.session, id.key(self.method))) else {
            return Ok(None);
        };
        known.check(id, self.fingerprint)?;
        Ok(Some(known.note.clone().unwrap_or_default()))
    }

    fn remember(&self, work: &mut Work, tenant: TenantNo, artifact_id: &ArtifactId) {
        let Some(key) = key(self.id, self.method) else { return };
        let (fingerprint, note) = (self.fingerprint, Some(artifact_id.to_string()));
        let known = Known { fingerprint, first: 0, last: 0, at: work.now, note };
        work.writes.requests.push((tenant, self.session, key, known.clone()));
        work.read.known.insert((self.session, key), known);
    }
}

fn key(id: Option<&RequestId>, method: Method) -> Option<RequestKey> {
    id.map(|id| id.key(method))
}

fn size(about: &About) -> usize {
    about.metadata.len() + about.path.len() + about.name.len()
}

pub(in super::super) fn not_found(id: &ArtifactId) -> StorageError {
    StorageError::ArtifactNotFound { artifact_id: id.to_string() }
}

impl Work {
    fn insert_artifact(&mut self, tenant: TenantNo, session: SessionNo, artifact: Artifact) {
        let key = (tenant, artifact.artifact_id.clone());
        self.writes.new_artifacts.push((tenant, session, artifact.clone()));
        self.read.artifacts.insert(key, ArtifactFact { session, artifact });
    }

    /// An artifact that was read, if its session still exists.
    fn artifact(&mut self, tenant: TenantNo, id: &ArtifactId) -> Result<&mut ArtifactFact> {
        let heads = &self.read.heads;
        let fact = self.read.artifacts.get_mut(&(tenant, id.clone()));
        let fact = fact.filter(|fact| heads.contains_key(&fact.session));
        fact.ok_or_else(|| not_found(id))
    }
}

//! Forking: where to cut, what history and state were there, and the new session.

use crate::{
    error::{Result, StorageError},
    journal::{Cut, Fold, FoldError, Fork, ForkDescription, ForkRequest, Projection, Sequence},
    ports::{TransferStore, Whole},
    session::Session,
    tenant::Tenant,
};

/// A new session, and where the log of its parent was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// The new session.
    pub session: Session,
    /// The last sequence that it shares; 0: none.
    pub sequence: Sequence,
}

/// Begins a session that continues another one from its last quiescent point at or before the sequence
/// that was asked for. Reads the marks up to there and holds the history of there in memory once.
///
/// # Errors
/// `SessionNotFound`, `BeyondHead`, `RequestIdReused`.
pub async fn fork(
    store: &dyn TransferStore,
    tenant: &Tenant,
    request: ForkRequest,
) -> Result<Forked> {
    if let Some(before) = store.forked_before(tenant, &request).await? {
        return Ok(before);
    }
    let whole = store.whole(tenant, &request.session_id).await?;
    let head = whole.head.head;
    let until = request.sequence.unwrap_or(head);
    if until > head {
        return Err(StorageError::BeyondHead { after: until, head });
    }
    let cut = store.last_quiescent(whole.head.session, until).await?;
    let projection = project(store, &whole, cut).await?;
    let Session { agent_name, user_id, metadata, manifest_digest, .. } = whole.session;
    let metadata = request.metadata.unwrap_or(metadata);
    let description = ForkDescription { agent_name, user_id, metadata, manifest_digest };
    let op = Fork {
        parent: request.session_id,
        cut,
        projection,
        description,
        request_id: request.request_id,
        fingerprint: request.fingerprint,
    };
    store.fork(tenant, op).await
}

/// The history and the state at `cut`.
async fn project(store: &dyn TransferStore, whole: &Whole, cut: Cut) -> Result<Projection> {
    let mut fold = Fold::new("");
    let mut seen = 0;
    while seen < cut.mark {
        let marks = store.marks(whole.head.session, seen, cut.mark).await?;
        for mark in &marks {
            fold.apply(mark).map_err(|error| damaged(&error))?;
        }
        match (marks.first(), marks.last()) {
            (Some(first), Some(last)) if first.number == seen + 1 => seen = last.number,
            // Marks leave the log only with their session.
            _ => return Err(whole.gone()),
        }
    }
    fold.finish().map_err(|error| damaged(&error))
}

fn damaged(error: &FoldError) -> StorageError {
    StorageError::Corrupt { detail: format!("the marks of a session do not fit: {error}") }
}

//! Writes: what each needs to know, and how it is decided.

mod artifact;
mod cached;
mod holder;
mod journal;
mod metric;
mod nothing;
mod record;
mod session;
mod transfer;

pub(super) use artifact::{
    ForgetBytes, GiveBytes, NameStore, Note, Noted, RemoveArtifact, UnusedBytes,
    not_found as artifact_not_found,
};
pub(super) use cached::{Evict, PutCached, RemoveCached, RemoveExpiredCached, WriteUses};
pub(super) use holder::{RegisterHolder, RenewHolder, RetireHolder};
pub(super) use journal::{ClaimExecution, FinishExecution, InSession};
pub(super) use metric::{ForgetMetricRequests, MetricPlace, PruneMetrics, RecordNumbers};
pub(super) use nothing::Nothing;
pub(super) use record::{Put, Remove, RemoveExpired};
pub(super) use session::{Create, Created, Delete, Patch, PruneSession, SessionCriteria};
pub(super) use transfer::{
    AbandonImport, BeginImport, EndImport, ExtendImport, ForkSession, OwnLog, fork_key,
};

use tokio::sync::oneshot;

use super::{cache::Cache, needs::Needs, work::Work};
use crate::error::{Result, StorageError};

/// A write.
pub(super) trait Operation: Send + Sync + 'static {
    /// What its caller is told after the commit.
    type Answer: Send + 'static;

    /// Says what has to be read for it.
    fn needs(&self, cache: &Cache, needs: &mut Needs);

    /// Decides it on what the batch has come to. Changes nothing when it fails. May be called again,
    /// on a batch of its own, when the first one could not be committed.
    fn decide(&self, work: &mut Work) -> Result<Self::Answer>;

    /// Bytes that it brings, nearly.
    fn size(&self) -> usize;
}

/// A write with the caller that waits for it.
pub(super) trait Waiting: Send {
    fn needs(&self, cache: &Cache, needs: &mut Needs);
    fn decide(&mut self, work: &mut Work);
    fn size(&self) -> usize;
    /// Tells the caller what was decided, if that is committed, and else why it is not.
    fn answer(self: Box<Self>, committed: Result<()>);
}

/// A write, its caller, and what was decided.
pub(super) struct Ticket<O: Operation> {
    operation: O,
    decided: Option<Result<O::Answer>>,
    reply: oneshot::Sender<Result<O::Answer>>,
}

impl<O: Operation> Ticket<O> {
    /// A ticket for `operation`, and where its answer will be.
    pub(super) fn issue(operation: O) -> (Box<dyn Waiting>, oneshot::Receiver<Result<O::Answer>>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Self { operation, decided: None, reply }), answer)
    }
}

impl<O: Operation> Waiting for Ticket<O> {
    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        self.operation.needs(cache, needs);
    }

    fn decide(&mut self, work: &mut Work) {
        self.decided = Some(self.operation.decide(work));
    }

    fn size(&self) -> usize {
        self.operation.size()
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let undecided = || Err(StorageError::internal("a write was not decided"));
        let answer = match committed {
            Ok(()) => self.decided.unwrap_or_else(undecided),
            Err(error) => Err(error),
        };
        // Fails only when the caller has left.
        drop(self.reply.send(answer));
    }
}

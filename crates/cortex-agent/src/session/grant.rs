//! A held session: appends and releases under one epoch, repeated until the answer is definite.

use std::time::Duration;

use cortex_proto::cortex::{
    agent::v1::SessionEvent,
    storage::v1::{
        AcquireSessionRequest, AppendEventsRequest, JournalEffects, NewEvent, ReleaseSessionRequest,
    },
};
use cortex_rpc::{CallContext, outgoing};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::{clients::Clients, turn};

/// Why work on a held session stops, or must be decided anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    /// Another holder has the session, or it is gone: everything here ends at once.
    #[error("the session is held by somebody else, or gone")]
    Stale,
    /// A ledger row changed since it was read: read the rows again and decide anew.
    #[error("the ledger changed: {0}")]
    Ledger(String),
    /// The process stops.
    #[error("the process stops")]
    Stopping,
    /// Storage refuses what can never be accepted.
    #[error("storage refuses: {0}")]
    Refused(Status),
}

/// First pause before an append without a definite answer is repeated.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Time for one try of an append or a release.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The type of every event's payload.
pub(crate) const EVENT_TYPE: &str = "type.googleapis.com/cortex.agent.v1.SessionEvent";
/// The type of every command's payload.
pub(crate) const COMMAND_TYPE: &str = "type.googleapis.com/cortex.agent.v1.SessionCommand";

/// One grant of one session to one holder.
pub(crate) struct Grant {
    clients: Clients,
    pub(crate) session_id: String,
    holder_id: String,
    pub(crate) epoch: i64,
    /// The last sequence at the moment of the grant.
    pub(crate) head: i64,
    /// Appends under this grant that storage has taken.
    appends: i64,
    cx: CallContext,
    stop: CancellationToken,
}

impl Grant {
    /// Takes a session.
    ///
    /// # Errors
    /// The status of `AcquireSession`; the caller learns from `RenewHolder` what it holds.
    pub(crate) async fn acquire(
        clients: &Clients,
        session_id: &str,
        holder_id: &str,
        seen_epoch: i64,
        cx: CallContext,
        stop: CancellationToken,
    ) -> Result<Self, Status> {
        let request = AcquireSessionRequest {
            session_id: session_id.to_owned(),
            holder_id: holder_id.to_owned(),
            seen_epoch,
        };
        let granted =
            clients.journal.clone().acquire_session(outgoing(&cx, request)).await?.into_inner();
        Ok(Self {
            clients: clients.clone(),
            session_id: session_id.to_owned(),
            holder_id: holder_id.to_owned(),
            epoch: granted.epoch,
            head: granted.head_sequence,
            appends: 0,
            cx,
            stop,
        })
    }

    /// Appends events with their effects and gives them back with their sequences.
    ///
    /// Repeats the same request until the answer is definite (a refused one leaves its number to the
    /// next); not cancel-safe: once begun it must
    /// be awaited, or the session given up.
    pub(crate) async fn append(
        &mut self,
        mut events: Vec<SessionEvent>,
        effects: JournalEffects,
    ) -> Result<Vec<SessionEvent>, GrantError> {
        let request = AppendEventsRequest {
            session_id: self.session_id.clone(),
            holder_id: self.holder_id.clone(),
            epoch: self.epoch,
            append_number: self.appends + 1,
            events: events.iter().map(encode).collect(),
            effects: Some(effects),
            ..Default::default()
        };
        let journal = self.clients.journal.clone();
        let answer = self
            .until_definite(|| {
                let (mut journal, request) = (journal.clone(), self.request(request.clone()));
                async move { journal.append_events(request).await.map(tonic::Response::into_inner) }
            })
            .await?;
        self.appends += 1;
        for (event, sequence) in events.iter_mut().zip(answer.first_sequence..) {
            event.sequence = sequence;
            event.created_at = answer.created_at;
        }
        Ok(events)
    }

    /// Gives an idle session back. `false`: a later command exists, there is more to do.
    pub(crate) async fn release(&self, last_command_sequence: i64) -> Result<bool, GrantError> {
        let request = ReleaseSessionRequest {
            session_id: self.session_id.clone(),
            holder_id: self.holder_id.clone(),
            epoch: self.epoch,
            last_command_sequence,
            wait: None,
        };
        let journal = self.clients.journal.clone();
        let released = self
            .until_definite(|| {
                let (mut journal, request) = (journal.clone(), self.request(request.clone()));
                async move { journal.release_session(request).await }
            })
            .await;
        match released {
            Ok(_) => Ok(true),
            Err(GrantError::Refused(status)) if status.code() == Code::FailedPrecondition => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = outgoing(&self.cx, message);
        request.set_timeout(TRY_TIMEOUT);
        request
    }

    async fn until_definite<T, F, Fut>(&self, attempt: F) -> Result<T, GrantError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let status = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            if let Some(error) = definite(status) {
                return Err(error);
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(GrantError::Stopping),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }
}

/// What a status says for certain; `None` when the call must be repeated.
fn definite(status: Status) -> Option<GrantError> {
    let reason = cortex_rpc::reason(&status).unwrap_or_default();
    match (status.code(), reason.as_str()) {
        (Code::Aborted | Code::NotFound, _) => Some(GrantError::Stale),
        (Code::FailedPrecondition, "LEDGER_PRECONDITION" | "CALLS_OPEN") => {
            Some(GrantError::Ledger(status.message().to_owned()))
        }
        (
            Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::OutOfRange,
            _,
        ) => Some(GrantError::Refused(status)),
        _ => None,
    }
}

fn encode(event: &SessionEvent) -> NewEvent {
    NewEvent {
        r#type: event.event.as_ref().map_or("", turn::type_name).to_owned(),
        payload: Some(pack(event)),
    }
}

fn pack(event: &SessionEvent) -> prost_types::Any {
    prost_types::Any { type_url: EVENT_TYPE.to_owned(), value: event.encode_to_vec() }
}

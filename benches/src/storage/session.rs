//! A session that this program holds, over gRPC.

use cortex_core::{HolderId, SessionId};
use cortex_proto::cortex::storage::v1::{
    AcquireSessionRequest, AppendEventsRequest, AppendEventsResponse, CommandKind,
    CreateSessionRequest, GetSessionRequest, JournalEffects, NewEvent, RegisterHolderRequest,
    ReleaseSessionRequest, Session as Stored, SubmitCommandRequest,
    history_service_client::HistoryServiceClient, journal_service_client::JournalServiceClient,
    session_service_client::SessionServiceClient,
};
use cortex_rpc::Transport;
use prost::Message;
use prost_types::Any;

use crate::Outcome;

/// What one response may have.
const MAX_RESPONSE: usize = 16 << 20;

/// A session that this program holds.
pub(crate) struct Session {
    pub(crate) journal: JournalServiceClient<Transport>,
    pub(crate) history: HistoryServiceClient<Transport>,
    pub(crate) sessions: SessionServiceClient<Transport>,
    pub(crate) session_id: String,
    pub(crate) holder_id: String,
    pub(crate) epoch: i64,
    appends: i64,
}

impl Session {
    /// A new session, held by a holder of its own.
    pub(crate) async fn create(transport: Transport) -> Outcome<Self> {
        let mut journal =
            JournalServiceClient::new(transport.clone()).max_decoding_message_size(MAX_RESPONSE);
        let history =
            HistoryServiceClient::new(transport.clone()).max_decoding_message_size(MAX_RESPONSE);
        let mut sessions = SessionServiceClient::new(transport);
        let create = CreateSessionRequest { agent_name: "bench".to_owned(), ..Default::default() };
        let created = sessions.create_session(create).await?.into_inner().session;
        let session_id = SessionId::parse(created.unwrap_or_default().id)?.to_string();
        let holder_id = HolderId::generate().to_string();
        let register = RegisterHolderRequest {
            holder_id: holder_id.clone(),
            instance: holder_id.clone(),
            lease_duration: None,
        };
        journal.register_holder(register).await?;
        let acquire = AcquireSessionRequest {
            session_id: session_id.clone(),
            holder_id: holder_id.clone(),
            seen_epoch: 0,
        };
        let epoch = journal.acquire_session(acquire).await?.into_inner().epoch;
        Ok(Self { journal, history, sessions, session_id, holder_id, epoch, appends: 0 })
    }

    /// Submits a command.
    pub(crate) async fn submit(
        &mut self,
        kind: CommandKind,
        name: &str,
        payload: Any,
    ) -> Outcome<i64> {
        let request = SubmitCommandRequest {
            session_id: self.session_id.clone(),
            kind: kind.into(),
            r#type: name.to_owned(),
            payload: Some(payload),
            ..Default::default()
        };
        Ok(self.journal.submit_command(request).await?.into_inner().sequence)
    }

    /// Appends events with their effects.
    pub(crate) async fn append(
        &mut self,
        events: Vec<NewEvent>,
        effects: JournalEffects,
    ) -> Outcome<AppendEventsResponse> {
        let request = AppendEventsRequest { effects: Some(effects), ..self.next_append(events) };
        let answer = self.journal.append_events(request).await?.into_inner();
        self.appended(1);
        Ok(answer)
    }

    /// The next append, for somebody else to send.
    pub(crate) fn next_append(&self, events: Vec<NewEvent>) -> AppendEventsRequest {
        AppendEventsRequest {
            session_id: self.session_id.clone(),
            holder_id: self.holder_id.clone(),
            epoch: self.epoch,
            append_number: self.appends + 1,
            events,
            ..Default::default()
        }
    }

    /// Takes note of as many appends that were answered.
    pub(crate) fn appended(&mut self, appends: i64) {
        self.appends += appends;
    }

    /// Lets go of the session, so that nobody holds it.
    pub(crate) async fn release(&mut self) -> Outcome<()> {
        let request = ReleaseSessionRequest {
            session_id: self.session_id.clone(),
            holder_id: self.holder_id.clone(),
            epoch: self.epoch,
            ..Default::default()
        };
        self.journal.release_session(request).await?;
        Ok(())
    }

    /// The session as it is now.
    pub(crate) async fn get(&mut self) -> Outcome<Stored> {
        let request = GetSessionRequest { session_id: self.session_id.clone() };
        let session = self.sessions.get_session(request).await?.into_inner().session;
        Ok(session.ok_or("no session")?)
    }
}

/// A message as the body of an entry.
pub(crate) fn any<M: Message>(name: &str, message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

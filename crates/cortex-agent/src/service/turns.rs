//! TurnService: send messages, watch what happens, cancel.

use std::sync::Arc;

use cortex_proto::cortex::{
    agent::v1::{
        BusyPolicy, CancelCommand, CancelTurnRequest, CancelTurnResponse, RespondApprovalRequest,
        RespondApprovalResponse, SendMessageRequest, SendMessageResponse, SessionCommand,
        SessionEvent, SteerCommand, SubmitMessageRequest, SubmitMessageResponse, TurnStatus,
        WatchSessionRequest, WatchSessionResponse, cancel_command::Target,
        session_command::Command, session_event::Event, turn_service_server::TurnService,
    },
    storage::v1::{
        CommandKind, GetJournalRequest, Journal, SessionStatus, SubmitCommandRequest,
        SubmitCommandResponse,
    },
};
use cortex_rpc::{CallContext, context, outgoing, to_status};
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    Answers,
    stream::{MessageFilter, Seen, events},
};
use crate::{
    chunks::Chunks,
    clients::Clients,
    config::AgentConfig,
    convert::{self, OutgoingMessage},
    error::AgentError,
    failure,
    session::COMMAND_TYPE,
};

/// The service.
#[derive(Clone)]
pub(crate) struct Turns {
    pub(crate) clients: Clients,
    pub(crate) config: Arc<AgentConfig>,
}

#[tonic::async_trait]
impl TurnService for Turns {
    type SendMessageStream = Answers<SendMessageResponse>;
    type WatchSessionStream = Answers<WatchSessionResponse>;

    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<Self::SendMessageStream>, Status> {
        let cx = context(&request);
        let message = convert::message(request.into_inner(), &self.config).map_err(to_status)?;
        let after = message.after_sequence;
        let submitted = self.submit(&cx, message.clone()).await?;
        let events = self.message_events(&cx, &message.session_id, submitted.sequence).await?;
        let answers = events
            .try_filter(move |event| future::ready(event.sequence > after))
            .map_ok(|event| SendMessageResponse { event: Some(event) });
        Ok(Response::new(answers.boxed()))
    }

    async fn submit_message(
        &self,
        request: Request<SubmitMessageRequest>,
    ) -> Result<Response<SubmitMessageResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let at_once = request.return_immediately;
        let message =
            convert::message(convert::as_send(request), &self.config).map_err(to_status)?;
        let submitted = self.submit(&cx, message.clone()).await?;
        let accepted = SubmitMessageResponse {
            session_id: message.session_id.clone(),
            message_id: message.command.message_id.clone(),
            status: TurnStatus::Accepted.into(),
            sequence: submitted.sequence,
            ..Default::default()
        };
        if at_once {
            return Ok(Response::new(accepted));
        }
        let events = self.message_events(&cx, &message.session_id, submitted.sequence).await?;
        collect(accepted, events).await.map(Response::new)
    }

    async fn watch_session(
        &self,
        request: Request<WatchSessionRequest>,
    ) -> Result<Response<Self::WatchSessionStream>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let session_id = convert::session_id(&request.session_id).map_err(to_status)?;
        let until = match request.replay_only {
            true => Some(self.journal(&cx, &session_id).await?.head_sequence),
            false => None,
        };
        let seen = events(&self.clients, &cx, &session_id, request.after_sequence).await?;
        let answers =
            up_to(seen, until).map_ok(|event| WatchSessionResponse { event: Some(event) }).boxed();
        Ok(Response::new(answers))
    }

    async fn cancel_turn(
        &self,
        request: Request<CancelTurnRequest>,
    ) -> Result<Response<CancelTurnResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let session_id = convert::session_id(&request.session_id).map_err(to_status)?;
        convert::reason(&request.reason).map_err(to_status)?;
        convert::request_id(&request.request_id).map_err(to_status)?;
        let target = self.cancel_target(&cx, &session_id, &request).await?;
        let cancel = CancelCommand { target: Some(target), reason: request.reason };
        let command = SubmitCommandRequest {
            session_id,
            request_id: request.request_id,
            ..command(CommandKind::Cancel, "cancel", Command::Cancel(cancel))
        };
        let sequence = self.submit_command(&cx, command).await?.sequence;
        Ok(Response::new(CancelTurnResponse { status: "cancelling".to_owned(), sequence }))
    }

    async fn respond_approval(
        &self,
        _request: Request<RespondApprovalRequest>,
    ) -> Result<Response<RespondApprovalResponse>, Status> {
        Err(to_status(AgentError::NotOffered { what: "approval of calls" }))
    }
}

impl Turns {
    async fn submit(
        &self,
        cx: &CallContext,
        message: OutgoingMessage,
    ) -> Result<SubmitCommandResponse, Status> {
        let journal = self.journal(cx, &message.session_id).await?;
        if journal.status() == SessionStatus::Paused {
            return Err(to_status(AgentError::SessionPaused { session_id: message.session_id }));
        }
        if message.policy == BusyPolicy::Interrupt && !journal.open_turn_id.is_empty() {
            let target = Target::TurnId(journal.open_turn_id);
            let reason = "interrupted by another message".to_owned();
            let cancel = Command::Cancel(CancelCommand { target: Some(target), reason });
            let mut request = command(CommandKind::Cancel, "cancel", cancel);
            request.session_id.clone_from(&message.session_id);
            self.submit_command(cx, request).await?;
        }
        self.submit_command(cx, self.message_command(message)).await
    }

    fn message_command(&self, message: OutgoingMessage) -> SubmitCommandRequest {
        let steer = message.policy == BusyPolicy::Steer;
        let base = if steer {
            let steer = SteerCommand {
                message_id: message.command.message_id,
                content: message.command.content,
                metadata: message.command.metadata,
            };
            command(CommandKind::Steer, "steer", Command::Steer(steer))
        } else {
            command(CommandKind::Message, "message", Command::Message(message.command))
        };
        SubmitCommandRequest {
            session_id: message.session_id,
            request_id: message.request_id,
            require_idle: message.policy == BusyPolicy::Reject,
            max_queued_messages: i32::try_from(self.config.max_queued_messages).unwrap_or(i32::MAX),
            ..base
        }
    }

    async fn submit_command(
        &self,
        cx: &CallContext,
        request: SubmitCommandRequest,
    ) -> Result<SubmitCommandResponse, Status> {
        let answer = self.clients.journal.clone().submit_command(outgoing(cx, request)).await?;
        Ok(answer.into_inner())
    }

    async fn journal(&self, cx: &CallContext, session_id: &str) -> Result<Journal, Status> {
        let request = GetJournalRequest { session_id: session_id.to_owned() };
        let answer = self.clients.journal.clone().get_journal(outgoing(cx, request)).await?;
        Ok(answer.into_inner().journal.unwrap_or_default())
    }

    /// What a cancel means: what it names, else the turn that is open now.
    async fn cancel_target(
        &self,
        cx: &CallContext,
        session_id: &str,
        request: &CancelTurnRequest,
    ) -> Result<Target, Status> {
        if !request.turn_id.is_empty() {
            return Ok(Target::TurnId(request.turn_id.clone()));
        }
        if request.message_sequence > 0 {
            return Ok(Target::MessageSequence(request.message_sequence));
        }
        let journal = self.journal(cx, session_id).await?;
        if journal.open_turn_id.is_empty() {
            let session_id = session_id.to_owned();
            return Err(to_status(AgentError::TurnNotOpen { session_id }));
        }
        Ok(Target::TurnId(journal.open_turn_id))
    }

    /// Events that concern one message, until its turn ends.
    async fn message_events(
        &self,
        cx: &CallContext,
        session_id: &str,
        command_sequence: i64,
    ) -> Result<impl Stream<Item = Result<SessionEvent, Status>> + Send + use<>, Status> {
        let seen = events(&self.clients, cx, session_id, command_sequence).await?;
        let filter = MessageFilter::new(command_sequence);
        Ok(stream::try_unfold((Box::pin(seen), filter), |(mut seen, mut filter)| async move {
            while !filter.is_over() {
                match seen.next().await {
                    Some(Ok(Seen::Event(event))) if filter.admits(&event) => {
                        return Ok(Some((*event, (seen, filter))));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(status)) => return Err(status),
                    None => break,
                }
            }
            Ok(None)
        }))
    }
}

/// A command, packed. The caller fills in the session.
pub(super) fn command(kind: CommandKind, name: &str, command: Command) -> SubmitCommandRequest {
    let command = SessionCommand { user_id: String::new(), command: Some(command) };
    SubmitCommandRequest {
        kind: kind.into(),
        r#type: name.to_owned(),
        payload: Some(prost_types::Any {
            type_url: COMMAND_TYPE.to_owned(),
            value: command.encode_to_vec(),
        }),
        ..Default::default()
    }
}

/// Events until everything up to a sequence was seen; for ever without one.
fn up_to(
    seen: impl Stream<Item = Result<Seen, Status>> + Send,
    until: Option<i64>,
) -> impl Stream<Item = Result<SessionEvent, Status>> + Send {
    seen.try_take_while(move |seen| {
        let past = match (seen, until) {
            (_, None) => false,
            (Seen::Event(event), Some(until)) => event.sequence > until,
            (Seen::UpTo(sequence), Some(until)) => *sequence >= until,
        };
        future::ready(Ok(!past))
    })
    .try_filter_map(|seen| {
        future::ready(Ok(match seen {
            Seen::Event(event) => Some(*event),
            Seen::UpTo(_) => None,
        }))
    })
}

/// One answer for a caller who does not stream.
async fn collect(
    mut answer: SubmitMessageResponse,
    events: impl Stream<Item = Result<SessionEvent, Status>>,
) -> Result<SubmitMessageResponse, Status> {
    let mut chunks = Chunks::default();
    let mut events = Box::pin(events);
    while let Some(event) = events.try_next().await? {
        answer.sequence = event.sequence;
        if !event.turn_id.is_empty() {
            answer.turn_id.clone_from(&event.turn_id);
        }
        match &event.event {
            Some(Event::TurnFailed(failed)) => {
                let fault = failure::fault_of(failed)
                    .with("session_id", &answer.session_id)
                    .with("turn_id", &answer.turn_id)
                    .with("sequence", answer.sequence);
                return Err(to_status(AgentError::TurnFailed(fault)));
            }
            Some(Event::TurnCompleted(_)) => answer.status = TurnStatus::Completed.into(),
            Some(Event::TurnCancelled(_) | Event::MessageWithdrawn(_)) => {
                answer.status = TurnStatus::Cancelled.into();
            }
            Some(Event::ApprovalRequested(asked)) => {
                answer.approval_ids.push(asked.approval_id.clone());
                answer.status = TurnStatus::ApprovalRequired.into();
            }
            _ => {}
        }
        chunks.take(&event);
        if answer.status() == TurnStatus::ApprovalRequired {
            break;
        }
    }
    (answer.response, answer.chunks) = chunks.finish();
    Ok(answer)
}

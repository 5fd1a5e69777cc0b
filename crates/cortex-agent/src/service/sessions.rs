//! SessionService: begin, look at, pause, end.

use std::{sync::Arc, time::Duration};

use cortex_proto::cortex::{
    agent::v1::{
        CreateSessionRequest, CreateSessionResponse, DeleteSessionRequest, DeleteSessionResponse,
        EndSessionRequest, EndSessionResponse, ForkSessionRequest, ForkSessionResponse,
        GetHistoryRequest, GetHistoryResponse, GetSessionRequest, GetSessionResponse,
        GetStateRequest, GetStateResponse, LifecycleAction, LifecycleCommand, ListSessionsRequest,
        ListSessionsResponse, PatchStateRequest, PatchStateResponse, PauseSessionRequest,
        PauseSessionResponse, ReplaceStateRequest, ReplaceStateResponse, ResumeSessionRequest,
        ResumeSessionResponse, SessionInfo, TruncateCommand, TruncateHistoryRequest,
        TruncateHistoryResponse, UpgradeSessionRequest, UpgradeSessionResponse,
        session_command::Command, session_event::Event, session_service_server::SessionService,
    },
    storage::v1 as stored,
};
use cortex_rpc::{CallContext, context, outgoing, to_status};
use futures::StreamExt;
use tonic::{Code, Request, Response, Status};

use super::{
    stream::{Seen, events},
    turns::command,
};
use crate::{
    clients::Clients, closures::Closures, config::AgentConfig, convert, error::AgentError,
};

/// How long a change of a session's status is waited for.
const LIFECYCLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages of a history page when the caller does not say.
const HISTORY_PAGE: i32 = 50;

/// The service.
#[derive(Clone)]
pub(crate) struct Sessions {
    pub(crate) clients: Clients,
    pub(crate) closures: Closures,
    pub(crate) config: Arc<AgentConfig>,
}

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<CreateSessionRequest>,
    ) -> Result<Response<CreateSessionResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        self.check(&request).map_err(to_status)?;
        let closure = self
            .closures
            .resolve(&cx, &request.agent_name)
            .await
            .map_err(|status| to_status(agent_not_found(request.agent_name.clone(), status)))?;
        let create = stored::CreateSessionRequest {
            agent_name: request.agent_name,
            user_id: request.user_id,
            metadata: request.metadata,
            initial_state: request.initial_state,
            manifest_digest: closure.digest.clone(),
            request_id: request.request_id,
        };
        let created = self.clients.sessions.clone().create_session(outgoing(&cx, create)).await?;
        let session =
            created.into_inner().session.map(|session| convert::session_info(session, None));
        Ok(Response::new(CreateSessionResponse { session }))
    }

    async fn get_session(
        &self,
        request: Request<GetSessionRequest>,
    ) -> Result<Response<GetSessionResponse>, Status> {
        let cx = context(&request);
        let session = self.info(&cx, &request.into_inner().session_id).await?;
        Ok(Response::new(GetSessionResponse { session: Some(session) }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let query = stored::ListSessionsRequest {
            agent_name: request.agent_name,
            user_id: request.user_id,
            status: request.status,
            page_size: request.page_size,
            page_token: request.page_token,
            ..Default::default()
        };
        let page =
            self.clients.sessions.clone().list_sessions(outgoing(&cx, query)).await?.into_inner();
        let sessions =
            page.sessions.into_iter().map(|session| convert::session_info(session, None)).collect();
        Ok(Response::new(ListSessionsResponse { sessions, next_page_token: page.next_page_token }))
    }

    async fn end_session(
        &self,
        request: Request<EndSessionRequest>,
    ) -> Result<Response<EndSessionResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        convert::reason(&request.reason).map_err(to_status)?;
        self.change_status(&cx, &request.session_id, LifecycleAction::End, request.reason).await?;
        let session_id = request.session_id;
        Ok(Response::new(EndSessionResponse { status: "ended".to_owned(), session_id }))
    }

    async fn delete_session(
        &self,
        request: Request<DeleteSessionRequest>,
    ) -> Result<Response<DeleteSessionResponse>, Status> {
        let cx = context(&request);
        let session_id = request.into_inner().session_id;
        let reason = "the session is deleted".to_owned();
        self.change_status(&cx, &session_id, LifecycleAction::End, reason).await?;
        let delete = stored::DeleteSessionRequest { session_id: session_id.clone() };
        self.clients.sessions.clone().delete_session(outgoing(&cx, delete)).await?;
        Ok(Response::new(DeleteSessionResponse { status: "deleted".to_owned(), session_id }))
    }

    async fn pause_session(
        &self,
        request: Request<PauseSessionRequest>,
    ) -> Result<Response<PauseSessionResponse>, Status> {
        let cx = context(&request);
        let id = request.into_inner().session_id;
        let session = self.change_status(&cx, &id, LifecycleAction::Pause, String::new()).await?;
        Ok(Response::new(PauseSessionResponse { session: Some(session) }))
    }

    async fn resume_session(
        &self,
        request: Request<ResumeSessionRequest>,
    ) -> Result<Response<ResumeSessionResponse>, Status> {
        let cx = context(&request);
        let id = request.into_inner().session_id;
        let session = self.change_status(&cx, &id, LifecycleAction::Resume, String::new()).await?;
        Ok(Response::new(ResumeSessionResponse { session: Some(session) }))
    }

    async fn get_history(
        &self,
        request: Request<GetHistoryRequest>,
    ) -> Result<Response<GetHistoryResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let session_id = convert::session_id(&request.session_id).map_err(to_status)?;
        let page_size = history_page(request.page_size, request.limit).map_err(to_status)?;
        let query = stored::ListMessagesRequest {
            session_id: session_id.clone(),
            page_size,
            page_token: request.page_token,
            latest: true,
            ..Default::default()
        };
        let page =
            self.clients.history.clone().list_messages(outgoing(&cx, query)).await?.into_inner();
        let messages = page.messages.into_iter().map(convert::history_message).collect();
        let next_page_token = page.next_page_token;
        Ok(Response::new(GetHistoryResponse { session_id, messages, next_page_token }))
    }

    async fn truncate_history(
        &self,
        request: Request<TruncateHistoryRequest>,
    ) -> Result<Response<TruncateHistoryResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let before = self.info(&cx, &request.session_id).await?;
        if !before.open_turn_id.is_empty() {
            return Err(to_status(AgentError::TurnOpen { session_id: request.session_id }));
        }
        let truncate = Command::Truncate(TruncateCommand { message_ids: request.message_ids });
        let mut submit = command(stored::CommandKind::History, "truncate", truncate);
        submit.session_id.clone_from(&request.session_id);
        submit.require_idle = true;
        let sequence = self.submit(&cx, submit).await?;
        let truncated = |event: &Event| matches!(event, Event::HistoryTruncated(_));
        self.wait_for(&cx, &request.session_id, sequence, truncated).await?;
        let after = self.info(&cx, &request.session_id).await?;
        let removed = (before.message_count - after.message_count).max(0);
        let removed_messages = i32::try_from(removed).unwrap_or(i32::MAX);
        Ok(Response::new(TruncateHistoryResponse { removed_messages }))
    }

    async fn get_state(
        &self,
        request: Request<GetStateRequest>,
    ) -> Result<Response<GetStateResponse>, Status> {
        let cx = context(&request);
        let session_id =
            convert::session_id(&request.into_inner().session_id).map_err(to_status)?;
        let query = stored::GetStateRequest { session_id };
        let answer = self.clients.state.clone().get_state(outgoing(&cx, query)).await?;
        let state = answer.into_inner().state.unwrap_or_default();
        Ok(Response::new(GetStateResponse {
            session_id: state.session_id,
            data: state.data,
            updated_at: state.updated_at,
            etag: state.etag,
        }))
    }

    async fn replace_state(
        &self,
        request: Request<ReplaceStateRequest>,
    ) -> Result<Response<ReplaceStateResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let replace = stored::ReplaceStateRequest {
            session_id: convert::session_id(&request.session_id).map_err(to_status)?,
            data: request.data,
            etag: request.etag,
        };
        let answer = self.clients.state.clone().replace_state(outgoing(&cx, replace)).await?;
        let state = answer.into_inner().state.unwrap_or_default();
        Ok(Response::new(ReplaceStateResponse {
            session_id: state.session_id,
            data: state.data,
            updated_at: state.updated_at,
            etag: state.etag,
        }))
    }

    async fn patch_state(
        &self,
        request: Request<PatchStateRequest>,
    ) -> Result<Response<PatchStateResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let patch = stored::PatchStateRequest {
            session_id: convert::session_id(&request.session_id).map_err(to_status)?,
            data: request.data,
            etag: request.etag,
        };
        let answer = self.clients.state.clone().patch_state(outgoing(&cx, patch)).await?;
        let state = answer.into_inner().state.unwrap_or_default();
        Ok(Response::new(PatchStateResponse {
            session_id: state.session_id,
            data: state.data,
            updated_at: state.updated_at,
            etag: state.etag,
        }))
    }

    async fn fork_session(
        &self,
        request: Request<ForkSessionRequest>,
    ) -> Result<Response<ForkSessionResponse>, Status> {
        let cx = context(&request);
        let request = request.into_inner();
        let session_id = convert::session_id(&request.session_id).map_err(to_status)?;
        convert::request_id(&request.request_id).map_err(to_status)?;
        let limit = self.config.max_metadata.as_usize();
        convert::json_object("metadata", &request.metadata, limit).map_err(to_status)?;
        self.check_relics(&cx, &session_id).await?;
        let fork = stored::ForkJournalRequest {
            session_id,
            sequence: request.sequence,
            request_id: request.request_id,
            metadata: request.metadata,
        };
        let forked = self.clients.journal.clone().fork_journal(outgoing(&cx, fork)).await?;
        let session =
            forked.into_inner().session.map(|session| convert::session_info(session, None));
        Ok(Response::new(ForkSessionResponse { session }))
    }

    async fn upgrade_session(
        &self,
        request: Request<UpgradeSessionRequest>,
    ) -> Result<Response<UpgradeSessionResponse>, Status> {
        drop(request);
        Err(to_status(AgentError::NotOffered { what: "upgrading a session" }))
    }
}

impl Sessions {
    fn check(&self, request: &CreateSessionRequest) -> Result<(), AgentError> {
        convert::request_id(&request.request_id)?;
        convert::json_object("metadata", &request.metadata, self.config.max_metadata.as_usize())?;
        convert::json_object(
            "initial_state",
            &request.initial_state,
            self.config.max_state.as_usize(),
        )
    }

    /// What a relic keeps is not forked yet, so that a session with relics is not.
    async fn check_relics(&self, cx: &CallContext, session_id: &str) -> Result<(), Status> {
        let get = stored::GetSessionRequest { session_id: session_id.to_owned() };
        let session = self.clients.sessions.clone().get_session(outgoing(cx, get)).await;
        // A fork that was made before is known even when its parent is gone.
        let session = match session {
            Err(status) if status.code() == Code::NotFound => return Ok(()),
            session => session?.into_inner().session.unwrap_or_default(),
        };
        let closure = self.closures.kept(cx, &session).await?;
        if closure.is_some_and(|closure| !closure.relics.is_empty()) {
            let what = "forking a session whose agent has relics";
            return Err(to_status(AgentError::NotOffered { what }));
        }
        Ok(())
    }

    async fn info(&self, cx: &CallContext, session_id: &str) -> Result<SessionInfo, Status> {
        let session_id = convert::session_id(session_id).map_err(to_status)?;
        let get = stored::GetSessionRequest { session_id: session_id.clone() };
        let session =
            self.clients.sessions.clone().get_session(outgoing(cx, get)).await?.into_inner();
        let get = stored::GetJournalRequest { session_id };
        let journal =
            self.clients.journal.clone().get_journal(outgoing(cx, get)).await?.into_inner();
        Ok(convert::session_info(session.session.unwrap_or_default(), journal.journal.as_ref()))
    }

    /// Asks for a status and waits until it is there. What is there already is not asked for.
    async fn change_status(
        &self,
        cx: &CallContext,
        session_id: &str,
        action: LifecycleAction,
        reason: String,
    ) -> Result<SessionInfo, Status> {
        let wanted = match action {
            LifecycleAction::Pause => stored::SessionStatus::Paused,
            LifecycleAction::Resume => stored::SessionStatus::Active,
            LifecycleAction::End | LifecycleAction::Unspecified => stored::SessionStatus::Ended,
        };
        let before = self.info(cx, session_id).await?;
        if before.status == i32::from(wanted) {
            return Ok(before);
        }
        let lifecycle = LifecycleCommand { action: action.into(), reason };
        let mut submit =
            command(stored::CommandKind::Lifecycle, "lifecycle", Command::Lifecycle(lifecycle));
        submit.session_id = session_id.to_owned();
        let sequence = self.submit(cx, submit).await?;
        let changed = |event: &Event| matches!(event, Event::SessionStatusChanged(_));
        self.wait_for(cx, session_id, sequence, changed).await?;
        self.info(cx, session_id).await
    }

    async fn submit(
        &self,
        cx: &CallContext,
        request: stored::SubmitCommandRequest,
    ) -> Result<i64, Status> {
        let answer = self.clients.journal.clone().submit_command(outgoing(cx, request)).await?;
        Ok(answer.into_inner().sequence)
    }

    /// Waits for the effect of a command.
    async fn wait_for(
        &self,
        cx: &CallContext,
        session_id: &str,
        after_sequence: i64,
        effect: impl Fn(&Event) -> bool,
    ) -> Result<(), Status> {
        let mut seen = Box::pin(events(&self.clients, cx, session_id, after_sequence).await?);
        let effect_seen = async {
            while let Some(seen) = seen.next().await {
                match seen? {
                    Seen::Event(event) if event.event.as_ref().is_some_and(&effect) => break,
                    _ => {}
                }
            }
            Ok(())
        };
        tokio::time::timeout(LIFECYCLE_TIMEOUT, effect_seen).await.unwrap_or_else(|_| {
            Err(to_status(AgentError::Late { what: "the change of the session" }))
        })
    }
}

/// An agent that the registry does not have; other failures stay what they are.
pub(super) fn agent_not_found(name: String, status: Status) -> AgentError {
    if status.code() == Code::NotFound {
        AgentError::AgentNotFound { name, detail: status.message().to_owned() }
    } else {
        AgentError::Upstream(status)
    }
}

fn history_page(page_size: i32, limit: i32) -> Result<i32, AgentError> {
    match (page_size, limit) {
        (0, 0) => Ok(HISTORY_PAGE),
        (n, 0) | (0, n) if n > 0 => Ok(n),
        (n, 0) | (0, n) => Err(AgentError::Field {
            field: if page_size == 0 { "limit" } else { "page_size" },
            problem: format!("{n} is negative; 0 asks for the default of {HISTORY_PAGE}"),
        }),
        _ => Err(AgentError::Field {
            field: "limit",
            problem: "is another name of page_size; give only one of the two".to_owned(),
        }),
    }
}

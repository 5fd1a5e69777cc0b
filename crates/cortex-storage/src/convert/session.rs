//! Sessions and their state.

use super::{
    PageRequest,
    field::{
        entry_type, fingerprint, name, object, optional_name, optional_object, own_payload,
        session_id,
    },
    proto,
};
use crate::{
    config::Limits,
    error::{Result, StorageError},
    journal::{Command, CommandKind, Direct, DirectEffect, Fingerprint, Payload, RequestId},
    session::{NewSession, Session, SessionPatch, SessionQuery, SessionStatus},
    state::{State, StateChange},
    time::Stamp,
};

/// A session to create.
pub(crate) fn new_session(
    request: proto::CreateSessionRequest,
    limits: &Limits,
) -> Result<NewSession> {
    let fingerprint = fingerprint(&request);
    let metadata = optional_object("metadata", request.metadata, limits.metadata.get())?;
    Ok(NewSession {
        agent_name: name("agent_name", request.agent_name)?,
        user_id: optional_name("user_id", request.user_id)?,
        metadata: metadata.unwrap_or_else(|| "{}".to_owned()),
        initial_state: optional_object("initial_state", request.initial_state, limits.state.get())?,
        manifest_digest: optional_name("manifest_digest", request.manifest_digest)?,
        request_id: RequestId::parse(request.request_id)?,
        fingerprint,
    })
}

/// Which sessions to list.
pub(crate) fn session_query(
    request: &proto::ListSessionsRequest,
) -> Result<(SessionQuery, PageRequest)> {
    let bound = (&request.agent_name, &request.user_id, request.status);
    let sizes = (request.page_size, request.limit, request.offset);
    let page = PageRequest::parse_with_offset(sizes, &request.page_token, &bound)?;
    let filter = |field, text: &String| optional_name(field, text.clone()).map(some);
    let query = SessionQuery {
        agent_name: filter("agent_name", &request.agent_name)?,
        user_id: filter("user_id", &request.user_id)?,
        status: status(request.status)?,
        page_size: page.size,
        before: page.number()?,
        offset: page.offset,
    };
    Ok((query, page))
}

/// A status, or none.
pub(super) fn status(number: i32) -> Result<Option<SessionStatus>> {
    let status = proto::SessionStatus::try_from(number)
        .map_err(|_| StorageError::invalid("status", "must be active, paused or ended"))?;
    Ok(match status {
        proto::SessionStatus::Unspecified => None,
        proto::SessionStatus::Active => Some(SessionStatus::Active),
        proto::SessionStatus::Paused => Some(SessionStatus::Paused),
        proto::SessionStatus::Ended => Some(SessionStatus::Ended),
    })
}

/// A status as the contract has it.
pub(super) fn status_to_proto(status: SessionStatus) -> proto::SessionStatus {
    match status {
        SessionStatus::Active => proto::SessionStatus::Active,
        SessionStatus::Paused => proto::SessionStatus::Paused,
        SessionStatus::Ended => proto::SessionStatus::Ended,
    }
}

/// What an update changes beside the status, if it does.
pub(crate) fn session_patch(
    request: &proto::UpdateSessionRequest,
    limits: &Limits,
) -> Result<Option<SessionPatch>> {
    let max_metadata = limits.metadata.get();
    let patch = SessionPatch {
        session_id: session_id(&request.session_id)?,
        metadata: optional_object("metadata", request.metadata.clone(), max_metadata)?,
        manifest_digest: Some(optional_name("manifest_digest", request.manifest_digest.clone())?)
            .filter(|digest| !digest.is_empty()),
        max_metadata,
    };
    Ok((patch.metadata.is_some() || patch.manifest_digest.is_some()).then_some(patch))
}

/// The status that an update sets, if it does.
pub(crate) fn status_change(
    request: &proto::UpdateSessionRequest,
    limits: &Limits,
) -> Result<Option<Direct>> {
    let Some(status) = status(request.status)? else { return Ok(None) };
    let said = proto::UpdateSessionRequest { session_id: String::new(), ..request.clone() };
    let payload = own_payload("type.googleapis.com/cortex.storage.v1.UpdateSessionRequest", &said);
    let effect = DirectEffect::Status(status);
    direct((&request.session_id, CommandKind::Lifecycle, "update_session"), payload, effect, limits)
        .map(Some)
}

/// The whole state changes.
pub(crate) fn replace_state(
    mut request: proto::ReplaceStateRequest,
    limits: &Limits,
) -> Result<Direct> {
    let session_id = std::mem::take(&mut request.session_id);
    let payload =
        own_payload("type.googleapis.com/cortex.storage.v1.ReplaceStateRequest", &request);
    let data = object("data", request.data, limits.state.get())?;
    let effect = DirectEffect::State(StateChange::Replace(data), some(request.etag));
    direct((&session_id, CommandKind::State, "replace_state"), payload, effect, limits)
}

/// The state is patched.
pub(crate) fn patch_state(
    mut request: proto::PatchStateRequest,
    limits: &Limits,
) -> Result<Direct> {
    let session_id = std::mem::take(&mut request.session_id);
    let payload = own_payload("type.googleapis.com/cortex.storage.v1.PatchStateRequest", &request);
    let data = object("data", request.data, limits.state.get())?;
    let effect = DirectEffect::State(StateChange::Merge(data), some(request.etag));
    direct((&session_id, CommandKind::State, "patch_state"), payload, effect, limits)
}

/// The state is emptied.
pub(crate) fn clear_state(request: &proto::ClearStateRequest, limits: &Limits) -> Result<Direct> {
    let payload = own_payload(
        "type.googleapis.com/cortex.storage.v1.ClearStateRequest",
        &proto::ClearStateRequest::default(),
    );
    let effect = DirectEffect::State(StateChange::Replace("{}".to_owned()), None);
    direct((&request.session_id, CommandKind::State, "clear_state"), payload, effect, limits)
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn direct(
    (session, kind, name): (&str, CommandKind, &str),
    payload: Payload,
    effect: DirectEffect,
    limits: &Limits,
) -> Result<Direct> {
    Ok(Direct {
        session_id: session_id(session)?,
        command: Command { kind, name: entry_type("type", name)?, payload },
        effect,
        request_id: None,
        fingerprint: Fingerprint::default(),
        max_pending: limits.pending_commands,
        max_state: limits.state.get(),
    })
}

/// A session as the contract has it.
pub(crate) fn session_to_proto(session: Session) -> proto::Session {
    proto::Session {
        id: session.session_id.into(),
        agent_name: session.agent_name,
        user_id: session.user_id,
        created_at: Some(session.created_at.into()),
        updated_at: Some(session.updated_at.into()),
        status: status_to_proto(session.status).into(),
        metadata: session.metadata,
        message_count: session.message_count,
        head_sequence: session.head,
        manifest_digest: session.manifest_digest,
    }
}

/// A state as the contract has it. One that never changed is as old as its session.
pub(crate) fn state_to_proto(
    session_id: String,
    state: State,
    created_at: Stamp,
) -> proto::SessionState {
    proto::SessionState {
        session_id,
        etag: state.etag(),
        data: state.data,
        updated_at: Some(state.updated_at.unwrap_or(created_at).into()),
    }
}

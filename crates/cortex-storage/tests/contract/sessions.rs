//! SessionService.

use tonic::Code;

use crate::support::*;

contract! {
    a_session_is_created_active_with_an_empty_journal,
    a_repeated_creation_answers_the_first_session,
    sessions_are_listed_newest_first_with_filters,
    the_predecessors_limit_and_offset_work,
    a_page_token_belongs_to_its_query,
    metadata_is_merged_at_the_top_level,
    the_status_leaves_a_trace_in_the_journal,
    a_status_cannot_change_while_a_turn_runs,
    deleting_a_session_deletes_everything_of_it,
    what_is_wrong_with_a_session_is_named,
}

fn new(agent: &str) -> CreateSessionRequest {
    CreateSessionRequest { agent_name: agent.into(), ..Default::default() }
}

async fn create(f: &Fixture, request: CreateSessionRequest) -> Session {
    let answer = f.sessions().create_session(request).await.expect("a session").into_inner();
    answer.session.expect("the session")
}

async fn get(f: &Fixture, id: &str) -> Result<Session, tonic::Status> {
    let request = GetSessionRequest { session_id: id.into() };
    let answer = f.sessions().get_session(request).await?.into_inner();
    Ok(answer.session.expect("the session"))
}

async fn update(
    f: &Fixture,
    id: &str,
    request: UpdateSessionRequest,
) -> Result<Session, tonic::Status> {
    let request = UpdateSessionRequest { session_id: id.into(), ..request };
    let answer = f.sessions().update_session(request).await?.into_inner();
    Ok(answer.session.expect("the session"))
}

async fn a_session_is_created_active_with_an_empty_journal(f: &Fixture) {
    let request = CreateSessionRequest {
        user_id: "ann".into(),
        metadata: r#"{"z":1,"a":9007199254740993}"#.into(),
        initial_state: r#"{"n":1.0}"#.into(),
        manifest_digest: "b3:1".into(),
        ..new("assistant")
    };
    let session = create(f, request).await;
    assert!(session.id.starts_with("session_"));
    assert_eq!((session.agent_name.as_str(), session.user_id.as_str()), ("assistant", "ann"));
    assert_eq!((session.status(), session.head_sequence), (SessionStatus::Active, 0));
    assert_eq!(session.metadata, r#"{"z":1,"a":9007199254740993}"#);
    assert_eq!(session.manifest_digest, "b3:1");
    assert_eq!(session.created_at, session.updated_at);
    let request = GetStateRequest { session_id: session.id.clone() };
    let state = f.state().get_state(request).await.expect("a state").into_inner().state;
    assert_eq!(state.expect("the state").data, r#"{"n":1.0}"#);
    assert_eq!(get(f, &session.id).await.expect("found"), session);
    assert_eq!(create(f, new("assistant")).await.metadata, "{}");
}

async fn a_repeated_creation_answers_the_first_session(f: &Fixture) {
    let request = CreateSessionRequest { request_id: "one".into(), ..new("assistant") };
    let first = create(f, request.clone()).await;
    assert_eq!(create(f, request.clone()).await.id, first.id);
    let other = CreateSessionRequest { agent_name: "other".into(), ..request };
    let answer = f.sessions().create_session(other).await;
    refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

async fn list(f: &Fixture, request: ListSessionsRequest) -> (Vec<String>, String) {
    let page = f.sessions().list_sessions(request).await.expect("a page").into_inner();
    (page.sessions.into_iter().map(|session| session.id).collect(), page.next_page_token)
}

async fn sessions_are_listed_newest_first_with_filters(f: &Fixture) {
    let mut ids = Vec::new();
    for n in 0..6 {
        let request = CreateSessionRequest {
            user_id: if n % 3 == 0 { "ann" } else { "bob" }.into(),
            ..new(if n % 2 == 0 { "even" } else { "odd" })
        };
        ids.insert(0, create(f, request).await.id);
    }
    let ended = SessionStatus::Ended.into();
    update(f, &ids[0], UpdateSessionRequest { status: ended, ..Default::default() })
        .await
        .expect("ended");
    assert_eq!(list(f, ListSessionsRequest::default()).await.0, ids);
    let even =
        ListSessionsRequest { agent_name: "even".into(), page_size: 2, ..Default::default() };
    let (first, token) = list(f, even.clone()).await;
    assert_eq!(first, [ids[1].clone(), ids[3].clone()]);
    let rest = list(f, ListSessionsRequest { page_token: token, ..even }).await;
    assert_eq!(rest, (vec![ids[5].clone()], String::new()));
    let ann = ListSessionsRequest { user_id: "ann".into(), ..Default::default() };
    assert_eq!(list(f, ann).await.0, [ids[2].clone(), ids[5].clone()]);
    let status = ListSessionsRequest { status: ended, ..Default::default() };
    assert_eq!(list(f, status).await.0, ids[..1]);
}

async fn the_predecessors_limit_and_offset_work(f: &Fixture) {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.insert(0, f.session().await);
    }
    let window = ListSessionsRequest { limit: 2, offset: 1, ..Default::default() };
    let (found, token) = list(f, window.clone()).await;
    assert_eq!(found, ids[1..3]);
    let rest = ListSessionsRequest { limit: 2, page_token: token.clone(), ..Default::default() };
    assert_eq!(list(f, rest).await.0, ids[3..]);
    for bad in [
        ListSessionsRequest { page_size: 1, ..window.clone() },
        ListSessionsRequest { page_token: token, ..window.clone() },
        ListSessionsRequest { offset: -1, ..window.clone() },
        ListSessionsRequest { limit: -1, ..window },
    ] {
        refused(f.sessions().list_sessions(bad).await, Code::InvalidArgument, "INVALID_FIELD");
    }
}

async fn a_page_token_belongs_to_its_query(f: &Fixture) {
    for _ in 0..3 {
        f.session().await;
    }
    let request = ListSessionsRequest { page_size: 1, ..Default::default() };
    let (_, page_token) = list(f, request).await;
    for bad in [
        ListSessionsRequest { page_token, user_id: "ann".into(), ..Default::default() },
        ListSessionsRequest { page_token: "nonsense!".into(), ..Default::default() },
    ] {
        refused(f.sessions().list_sessions(bad).await, Code::InvalidArgument, "INVALID_FIELD");
    }
}

async fn metadata_is_merged_at_the_top_level(f: &Fixture) {
    let request = CreateSessionRequest {
        metadata: r#"{"a":{"x":1},"b":2,"c":3}"#.into(),
        ..new("assistant")
    };
    let session = create(f, request).await;
    f.advance(std::time::Duration::from_secs(1));
    let patch = UpdateSessionRequest {
        metadata: r#"{"a":{"y":1e2},"c":null}"#.into(),
        manifest_digest: "b3:2".into(),
        ..Default::default()
    };
    let updated = update(f, &session.id, patch).await.expect("updated");
    assert_eq!(updated.metadata, r#"{"a":{"y":1e2},"b":2}"#);
    assert_eq!((updated.manifest_digest.as_str(), updated.head_sequence), ("b3:2", 0));
    assert_ne!(updated.updated_at, session.updated_at);
    assert_eq!(updated.created_at, session.created_at);
    let big = format!(r#"{{"big":"{}"}}"#, "x".repeat(65_520));
    let patch = UpdateSessionRequest { metadata: big, ..Default::default() };
    refused(update(f, &session.id, patch).await, Code::InvalidArgument, "TOO_LARGE");
}

async fn the_status_leaves_a_trace_in_the_journal(f: &Fixture) {
    let id = f.session().await;
    let status = |status: SessionStatus| UpdateSessionRequest {
        status: status.into(),
        ..Default::default()
    };
    let ended = update(f, &id, status(SessionStatus::Ended)).await.expect("ended");
    assert_eq!((ended.status(), ended.head_sequence), (SessionStatus::Ended, 1));
    let again = update(f, &id, status(SessionStatus::Ended)).await.expect("nothing changes");
    assert_eq!(again.head_sequence, 1);
    let active = update(f, &id, status(SessionStatus::Active)).await.expect("reopened");
    assert_eq!((active.status(), active.head_sequence), (SessionStatus::Active, 2));
    let entries = f.entries(&id).await;
    assert!(
        entries
            .iter()
            .all(|e| e.r#type == "update_session" && e.kind() == JournalEntryKind::Command)
    );
    assert!(!f.is_runnable(&id).await, "nobody has to do anything more about it");
}

async fn a_status_cannot_change_while_a_turn_runs(f: &Fixture) {
    let held = f.held().await;
    held.open_turn().await;
    let status = UpdateSessionRequest { status: SessionStatus::Ended.into(), ..Default::default() };
    refused(update(f, &held.session, status).await, Code::FailedPrecondition, "TURN_OPEN");
    let metadata = UpdateSessionRequest { metadata: r#"{"a":1}"#.into(), ..Default::default() };
    update(f, &held.session, metadata).await.expect("what is attached may change");
}

async fn deleting_a_session_deletes_everything_of_it(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, _) = held.intend(&turn).await;
    let id = held.session.clone();
    let request = DeleteSessionRequest { session_id: id.clone() };
    let answer = f.sessions().delete_session(request.clone()).await.expect("deleted").into_inner();
    assert_eq!((answer.status.as_str(), &answer.session_id), ("deleted", &id));
    let again = f.sessions().delete_session(request).await;
    refused(again, Code::NotFound, "SESSION_NOT_FOUND");
    refused(get(f, &id).await, Code::NotFound, "SESSION_NOT_FOUND");
    let messages = ListMessagesRequest { session_id: id.clone(), ..Default::default() };
    refused(f.history().list_messages(messages).await, Code::NotFound, "SESSION_NOT_FOUND");
    let state = GetStateRequest { session_id: id.clone() };
    refused(f.state().get_state(state).await, Code::NotFound, "SESSION_NOT_FOUND");
    let entries = ListEntriesRequest { session_id: id.clone(), ..Default::default() };
    refused(f.journal().list_entries(entries).await, Code::NotFound, "SESSION_NOT_FOUND");
    let row = GetExecutionRequest { execution_id: execution.clone() };
    refused(f.journal().get_execution(row).await, Code::NotFound, "EXECUTION_NOT_FOUND");
    let claim = f.claim(&execution, &claimant(), held.epoch).await;
    refused(claim, Code::NotFound, "EXECUTION_NOT_FOUND");
    let append = held.append(&["content_delta"], JournalEffects::default()).await;
    refused(append, Code::NotFound, "SESSION_NOT_FOUND");
    assert!(!f.is_runnable(&id).await);
    // What comes after it is not disturbed, and gets none of its rows.
    let next = f.held().await;
    assert!(f.entries(&next.session).await.is_empty());
    next.open_turn().await;
}

async fn what_is_wrong_with_a_session_is_named(f: &Fixture) {
    for (request, field) in [
        (new(""), "agent_name"),
        (CreateSessionRequest { metadata: "[]".into(), ..new("a") }, "metadata"),
        (CreateSessionRequest { metadata: "{".into(), ..new("a") }, "metadata"),
        (CreateSessionRequest { user_id: "x".repeat(257), ..new("a") }, "user_id"),
        (CreateSessionRequest { initial_state: "1".into(), ..new("a") }, "initial_state"),
    ] {
        let answer = f.sessions().create_session(request).await;
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(cortex_rpc::fault(&status).violations[0].field, field);
    }
    let metadata = format!(r#"{{"a":"{}"}}"#, "x".repeat(64 << 10));
    let answer = f.sessions().create_session(CreateSessionRequest { metadata, ..new("a") }).await;
    refused(answer, Code::InvalidArgument, "TOO_LARGE");
}

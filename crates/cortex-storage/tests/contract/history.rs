//! HistoryService, and the history that appends make.

use tonic::{Code, Status};

use crate::support::*;

contract! {
    messages_are_added_and_listed_oldest_first,
    a_repeated_message_is_one_message,
    the_latest_window_pages_back_in_time,
    messages_are_filtered_by_role,
    history_is_not_edited_while_a_turn_runs,
    a_cleared_history_is_empty_and_goes_on,
    an_append_adds_replaces_and_deletes_messages,
    a_history_of_nobody_is_not_found,
    every_character_comes_back,
}

async fn add(
    f: &Fixture,
    session: &str,
    role: MessageRole,
    content: &str,
) -> Result<HistoryMessage, Status> {
    let request = AddMessageRequest {
        session_id: session.into(),
        role: role.into(),
        content: content.into(),
        ..Default::default()
    };
    let answer = f.history().add_message(request).await?.into_inner();
    Ok(answer.message.expect("the message"))
}

fn all(session: &str) -> ListMessagesRequest {
    ListMessagesRequest { session_id: session.into(), ..Default::default() }
}

async fn list(f: &Fixture, request: ListMessagesRequest) -> (Vec<String>, String) {
    let page = f.history().list_messages(request).await.expect("a page").into_inner();
    (page.messages.into_iter().map(|message| message.content).collect(), page.next_page_token)
}

async fn messages_are_added_and_listed_oldest_first(f: &Fixture) {
    let session = f.session().await;
    let request = AddMessageRequest {
        session_id: session.clone(),
        role: MessageRole::User.into(),
        content: "hello, \u{1f30d}".into(),
        metadata: r#"{"n":6}"#.into(),
        ..Default::default()
    };
    let answer = f.history().add_message(request).await.expect("added").into_inner();
    let first = answer.message.expect("the message");
    assert!(first.id.starts_with("msg_"));
    assert_eq!((first.role(), first.position), (MessageRole::User, 1));
    assert_eq!(
        (first.content.as_str(), first.metadata.as_str()),
        ("hello, \u{1f30d}", r#"{"n":6}"#)
    );
    let second = add(f, &session, MessageRole::Assistant, "hi").await.expect("added");
    let page = f.history().list_messages(all(&session)).await.expect("a page").into_inner();
    assert_eq!(page.messages, [first, second]);
    let request = GetSessionRequest { session_id: session.clone() };
    let told = f.sessions().get_session(request).await.expect("found").into_inner().session;
    assert_eq!(told.expect("the session").message_count, 2);
    let entries = f.entries(&session).await;
    assert!(
        entries.iter().all(|e| e.r#type == "add_message" && e.kind() == JournalEntryKind::Command)
    );
    assert_eq!(entries.len(), 2);
}

async fn a_repeated_message_is_one_message(f: &Fixture) {
    let session = f.session().await;
    let request = AddMessageRequest {
        session_id: session.clone(),
        role: MessageRole::User.into(),
        content: "once".into(),
        request_id: "one".into(),
        ..Default::default()
    };
    let first = f.history().add_message(request.clone()).await.expect("added").into_inner();
    let again = f.history().add_message(request.clone()).await.expect("known").into_inner();
    assert_eq!(first, again);
    assert_eq!(list(f, all(&session)).await.0, ["once"]);
    let other = AddMessageRequest { content: "twice".into(), ..request };
    refused(f.history().add_message(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

async fn the_latest_window_pages_back_in_time(f: &Fixture) {
    let session = f.session().await;
    for n in 0..7 {
        add(f, &session, MessageRole::User, &n.to_string()).await.expect("added");
    }
    let forward = ListMessagesRequest { page_size: 4, ..all(&session) };
    let (first, token) = list(f, forward.clone()).await;
    assert_eq!(first, ["0", "1", "2", "3"]);
    let rest = list(f, ListMessagesRequest { page_token: token, ..forward.clone() }).await;
    assert_eq!(rest.0, ["4", "5", "6"]);
    let back = ListMessagesRequest { latest: true, page_size: 3, ..all(&session) };
    let (last, token) = list(f, back.clone()).await;
    assert_eq!(last, ["4", "5", "6"]);
    let (middle, token) = list(f, ListMessagesRequest { page_token: token, ..back.clone() }).await;
    assert_eq!(middle, ["1", "2", "3"]);
    let end = list(f, ListMessagesRequest { page_token: token, ..back.clone() }).await;
    assert_eq!(end, (vec!["0".to_owned()], String::new()));
    let window = ListMessagesRequest { limit: 2, offset: 1, ..all(&session) };
    assert_eq!(list(f, window).await.0, ["1", "2"]);
    let (_, token) = list(f, back).await;
    let other = ListMessagesRequest { page_token: token, ..forward };
    refused(f.history().list_messages(other).await, Code::InvalidArgument, "INVALID_FIELD");
}

async fn messages_are_filtered_by_role(f: &Fixture) {
    let session = f.session().await;
    for (role, text) in [
        (MessageRole::User, "u"),
        (MessageRole::Assistant, "a"),
        (MessageRole::System, "s"),
        (MessageRole::Tool, "t"),
    ] {
        add(f, &session, role, text).await.expect("added");
    }
    let tool = ListMessagesRequest { role: MessageRole::Tool.into(), ..all(&session) };
    assert_eq!(list(f, tool).await.0, ["t"]);
    let bad = ListMessagesRequest { role: 9, ..all(&session) };
    refused(f.history().list_messages(bad).await, Code::InvalidArgument, "INVALID_FIELD");
    let none = add(f, &session, MessageRole::Unspecified, "x").await;
    refused(none, Code::InvalidArgument, "INVALID_FIELD");
    let large = "x".repeat((4 << 20) + 1);
    refused(add(f, &session, MessageRole::User, &large).await, Code::InvalidArgument, "TOO_LARGE");
}

async fn history_is_not_edited_while_a_turn_runs(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let answer = add(f, &held.session, MessageRole::User, "x").await;
    let status = refused(answer, Code::FailedPrecondition, "TURN_OPEN");
    assert_eq!(cortex_rpc::fault(&status).metadata.get("turn_id"), Some(&turn));
    let clear = ClearHistoryRequest { session_id: held.session.clone() };
    refused(f.history().clear_history(clear).await, Code::FailedPrecondition, "TURN_OPEN");
}

async fn a_cleared_history_is_empty_and_goes_on(f: &Fixture) {
    let session = f.session().await;
    let first = add(f, &session, MessageRole::User, "old").await.expect("added");
    let clear = ClearHistoryRequest { session_id: session.clone() };
    let answer = f.history().clear_history(clear.clone()).await.expect("cleared").into_inner();
    assert_eq!((answer.status.as_str(), &answer.session_id), ("deleted", &session));
    assert!(list(f, all(&session)).await.0.is_empty());
    let held = Held { fixture: f, session: session.clone(), holder: f.holder().await, epoch: 1 };
    f.acquire(&session, &held.holder, 0).await.expect("a grant");
    let gone =
        HistoryMessageUpdate { message_id: first.id, content: "new".into(), ..Default::default() };
    let effects = JournalEffects { message_updates: vec![gone], ..Default::default() };
    refused(held.append(&[], effects).await, Code::NotFound, "MESSAGE_NOT_FOUND");
    held.release(2, None).await.expect("released");
    let next = add(f, &session, MessageRole::User, "new").await.expect("added");
    assert_eq!(next.position, 2, "positions only rise");
    assert_eq!(list(f, all(&session)).await.0, ["new"]);
    assert_eq!(f.entries(&session).await.len(), 3, "the journal keeps what happened");
    f.history().clear_history(clear).await.expect("cleared again");
}

async fn an_append_adds_replaces_and_deletes_messages(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let call = HistoryToolCall {
        call_id: "call_00000000000000000000000000000001".into(),
        name: "calculator".into(),
        arguments: r#"{"b":9007199254740993,"a":6}"#.into(),
        provider_data: r#"{"signature":"x"}"#.into(),
    };
    let asking = NewHistoryMessage {
        tool_calls: vec![call.clone()],
        turn_id: turn.clone(),
        ..new_message(MessageRole::Assistant, "")
    };
    let result =
        NewHistoryMessage { call_id: call.call_id.clone(), ..new_message(MessageRole::Tool, "42") };
    let passing = new_message(MessageRole::System, "never mind");
    let effects = JournalEffects {
        messages: vec![asking.clone(), result, passing.clone()],
        ..Default::default()
    };
    held.append(&["message_added"], effects).await.expect("added");
    let final_text = HistoryMessageUpdate {
        message_id: asking.message_id.clone(),
        content: "done".into(),
        ..Default::default()
    };
    let effects = JournalEffects {
        message_updates: vec![final_text],
        deleted_message_ids: vec![passing.message_id.clone()],
        ..Default::default()
    };
    held.append(&["message_completed"], effects).await.expect("replaced");
    let page = f.history().list_messages(all(&held.session)).await.expect("a page").into_inner();
    let found: Vec<_> = page.messages.iter().map(|m| (m.content.as_str(), m.position)).collect();
    assert_eq!(found, [("done", 1), ("42", 2)]);
    assert_eq!(
        (page.messages[0].tool_calls.as_slice(), &page.messages[0].turn_id),
        (&[call][..], &turn)
    );
    assert_eq!(page.messages[1].call_id, "call_00000000000000000000000000000001");
    let twice = JournalEffects { messages: vec![asking], ..Default::default() };
    refused(held.append(&[], twice).await, Code::AlreadyExists, "MESSAGE_EXISTS");
    let gone =
        JournalEffects { deleted_message_ids: vec![passing.message_id], ..Default::default() };
    refused(held.append(&[], gone).await, Code::NotFound, "MESSAGE_NOT_FOUND");
}

async fn a_history_of_nobody_is_not_found(f: &Fixture) {
    let missing = "session_00000000000000000000000000000000";
    let answer = f.history().list_messages(all(missing)).await;
    refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
    let answer = add(f, missing, MessageRole::User, "x").await;
    refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn every_character_comes_back(f: &Fixture) {
    let session = f.session().await;
    let text = "\0a\u{1}0\u{1}\0'\"?;$1\\%\u{10ffff}\u{fffd}\r\n";
    add(f, &session, MessageRole::User, text).await.expect("added");
    assert_eq!(list(f, all(&session)).await.0, [text]);
    let mut request = command(&session, CommandKind::Steer);
    request.payload = Some(any("t/\u{1}", &[0, 1, 2, 255]));
    f.journal().submit_command(request).await.expect("accepted");
    let entries = f.entries(&session).await;
    let payload = entries.last().and_then(|entry| entry.payload.clone()).expect("a payload");
    assert_eq!(payload, any("t/\u{1}", &[0, 1, 2, 255]));
}

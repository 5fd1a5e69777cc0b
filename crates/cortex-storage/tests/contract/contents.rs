//! What is large is stored once and read as it was written; what was streamed is not stored again.

use cortex_proto::cortex::agent::v1::{
    ContentDelta, SessionEvent, ToolResult, session_event::Event as AgentEvent,
};
use prost::Message;
use tonic::Code;

use crate::support::*;

contract! {
    a_large_result_is_read_as_it_was_written_wherever_it_stands,
    a_large_state_is_read_as_it_was_written,
    a_message_has_the_text_of_its_deltas,
    the_text_of_one_append_needs_no_sequences,
    a_text_ends_where_its_place_ends,
    a_large_delta_is_text_too,
    a_message_may_get_its_text_from_entries_later,
    an_added_message_is_read_as_it_was_written_whatever_its_size,
    a_message_may_have_the_text_of_one_command,
    a_place_that_holds_another_text_is_refused,
    a_place_that_is_malformed_is_refused,
    pages_of_messages_are_cut_by_their_bytes,
}

fn new_event(name: &str, event: AgentEvent) -> NewEvent {
    let event = SessionEvent {
        turn_id: "turn_00000000000000000000000000000001".into(),
        event: Some(event),
        ..Default::default()
    };
    let payload = any("cortex.agent.v1.SessionEvent", &event.encode_to_vec());
    NewEvent { r#type: name.into(), payload: Some(payload) }
}

fn delta(text: &str) -> NewEvent {
    let delta = ContentDelta { text: text.into(), attempt: 1 };
    new_event("content_delta", AgentEvent::ContentDelta(delta))
}

/// Where the text of deltas stands.
fn place(first: i64, last: i64, size: usize) -> EntryText {
    EntryText {
        first_sequence: first,
        last_sequence: last,
        r#type: "content_delta".into(),
        path: vec![16, 1],
        size_bytes: i64::try_from(size).expect("small"),
    }
}

fn streamed(place: EntryText) -> NewHistoryMessage {
    NewHistoryMessage { entry_text: Some(place), ..new_message(MessageRole::Assistant, "") }
}

fn joins(message: NewHistoryMessage) -> JournalEffects {
    JournalEffects { messages: vec![message], ..Default::default() }
}

fn with_events(
    held: &Held<'_>,
    events: Vec<NewEvent>,
    effects: JournalEffects,
) -> AppendEventsRequest {
    AppendEventsRequest { events, ..held.request(&[], effects) }
}

/// Appends deltas, each in an append of its own, and answers their sequences.
async fn stream(held: &Held<'_>, texts: &[&str]) -> Vec<i64> {
    let mut sequences = Vec::new();
    for text in texts {
        let request = with_events(held, vec![delta(text)], JournalEffects::default());
        sequences.push(held.send(request).await.expect("appended").first_sequence);
    }
    sequences
}

async fn messages(f: &Fixture, session: &str) -> Vec<String> {
    let request = ListMessagesRequest { session_id: session.into(), ..Default::default() };
    let page = f.history().list_messages(request).await.expect("a page").into_inner();
    page.messages.into_iter().map(|message| message.content).collect()
}

async fn a_large_result_is_read_as_it_was_written_wherever_it_stands(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, call) = held.intend(&turn).await;
    let result = format!("{{\"found\":\"{}\"}}", "ü".repeat(3_000));
    let claimant = claimant();
    f.claim(&execution, &claimant, held.epoch).await.expect("claimed");
    let details = ToolResult { result: format!("{result}\n"), ..Default::default() };
    let outcome = ExecutionOutcome {
        kind: OutcomeKind::Succeeded.into(),
        result: result.clone(),
        error: "e".repeat(6_000),
        details: Some(any("cortex.agent.v1.ToolResult", &details.encode_to_vec())),
    };
    let request = FinishExecutionRequest {
        execution_id: execution.clone(),
        claimant_id: claimant,
        outcome: Some(outcome.clone()),
    };
    let finished = f.journal().finish_execution(request).await.expect("finished").into_inner();
    assert_eq!(finished.execution.expect("the row").outcome, Some(outcome.clone()));
    let event = ToolResult {
        call_id: call.clone(),
        execution_id: execution.clone(),
        result: result.clone(),
        ..Default::default()
    };
    let event = new_event("tool_result", AgentEvent::ToolResult(event));
    let message = NewHistoryMessage { call_id: call, ..new_message(MessageRole::Tool, &result) };
    let effects =
        JournalEffects { messages: vec![message], ..settle(&execution, SettlementKind::Outcome) };
    held.send(with_events(&held, vec![event.clone()], effects)).await.expect("settled");

    let entries = f.entries(&held.session).await;
    assert_eq!(entries.last().and_then(|entry| entry.payload.clone()), event.payload);
    assert_eq!(messages(f, &held.session).await, std::slice::from_ref(&result));
    let request = ListExecutionsRequest { session_id: held.session.clone(), ..Default::default() };
    let rows = f.journal().list_executions(request).await.expect("a page").into_inner().executions;
    assert_eq!(rows.into_iter().map(|row| row.outcome).collect::<Vec<_>>(), [Some(outcome)]);
}

async fn a_large_state_is_read_as_it_was_written(f: &Fixture) {
    let held = f.held().await;
    let large = format!("{{\"a\":\"{}\"}}", "s".repeat(9_000));
    let change = |change| JournalEffects {
        state_change: Some(StateChange { change: Some(change) }),
        ..Default::default()
    };
    let replaced = change(state_change::Change::Replacement(large.clone()));
    held.append(&["state_updated"], replaced).await.expect("replaced");
    let request = GetStateRequest { session_id: held.session.clone() };
    let state = f.state().get_state(request.clone()).await.expect("found").into_inner().state;
    assert_eq!(state.expect("a state").data, large);
    let merged = change(state_change::Change::MergePatch(r#"{"b":1}"#.into()));
    held.append(&["state_updated"], merged).await.expect("merged");
    let state = f.state().get_state(request).await.expect("found").into_inner().state;
    let expected = format!("{},\"b\":1}}", &large[..large.len() - 1]);
    assert_eq!(state.expect("a state").data, expected);
}

async fn a_message_has_the_text_of_its_deltas(f: &Fixture) {
    let held = f.held().await;
    let texts = ["Hello, ", "w\u{f6}rld", " \u{1f30d}!"];
    let first = stream(&held, &texts[..1]).await[0];
    // What others and other events say in between is no part of it.
    f.message(&held.session).await;
    held.append(&["thinking_delta"], JournalEffects::default()).await.expect("appended");
    let last = *stream(&held, &texts[1..]).await.last().expect("one");
    let text = texts.concat();
    let message = streamed(place(first, last, text.len()));
    let request = held.request(&["message_added"], joins(message.clone()));
    let answer = held.send(request.clone()).await.expect("added");
    assert_eq!(held.send(request).await.expect("known"), answer, "a repeated append");
    assert_eq!(messages(f, &held.session).await, std::slice::from_ref(&text));
    let given = new_message(MessageRole::User, "thanks");
    held.append(&["message_added"], joins(given)).await.expect("added");
    let latest = ListMessagesRequest {
        session_id: held.session.clone(),
        latest: true,
        page_size: 2,
        ..Default::default()
    };
    let page = f.history().list_messages(latest).await.expect("a page").into_inner();
    let contents: Vec<_> = page.messages.iter().map(|message| &message.content).collect();
    assert_eq!(contents, [&text, "thanks"]);
    let deleted =
        JournalEffects { deleted_message_ids: vec![message.message_id], ..Default::default() };
    held.append(&["history_truncated"], deleted).await.expect("deleted");
    assert_eq!(messages(f, &held.session).await, ["thanks"]);
}

async fn the_text_of_one_append_needs_no_sequences(f: &Fixture) {
    let held = f.held().await;
    let first = stream(&held, &["before "]).await[0];
    let events = vec![delta("all "), event("usage"), delta("at once")];
    let request =
        with_events(&held, events.clone(), joins(streamed(place(0, 0, "all at once".len()))));
    held.send(request).await.expect("added");
    let request = with_events(
        &held,
        events,
        joins(streamed(place(first, 0, "before all at onceall at once".len()))),
    );
    held.send(request).await.expect("added");
    assert_eq!(messages(f, &held.session).await, ["all at once", "before all at onceall at once"]);
}

async fn a_text_ends_where_its_place_ends(f: &Fixture) {
    let held = f.held().await;
    let sequences = stream(&held, &["stands", " and", " is void"]).await;
    let sealed = streamed(place(sequences[0], sequences[1], "stands and".len()));
    held.append(&["attempt_sealed", "message_added"], joins(sealed)).await.expect("added");
    assert_eq!(messages(f, &held.session).await, ["stands and"]);
}

async fn a_large_delta_is_text_too(f: &Fixture) {
    let held = f.held().await;
    let (large, text) = ("L".repeat(10_000), "L".repeat(10_000) + " and more");
    let sequences = stream(&held, &[&large, " and more"]).await;
    let message = streamed(place(sequences[0], sequences[1], text.len()));
    held.append(&["message_added"], joins(message)).await.expect("added");
    assert_eq!(messages(f, &held.session).await, [text]);
}

async fn a_message_may_get_its_text_from_entries_later(f: &Fixture) {
    let held = f.held().await;
    let message = new_message(MessageRole::Assistant, "so far");
    held.append(&["message_added"], joins(message.clone())).await.expect("added");
    let sequences = stream(&held, &["the ", "end"]).await;
    let update = |entry_text, content: &str| JournalEffects {
        message_updates: vec![HistoryMessageUpdate {
            message_id: message.message_id.clone(),
            content: content.into(),
            entry_text,
        }],
        ..Default::default()
    };
    let text = Some(place(sequences[0], sequences[1], "the end".len()));
    held.append(&[], update(text, "")).await.expect("updated");
    assert_eq!(messages(f, &held.session).await, ["the end"]);
    held.append(&[], update(None, "something else")).await.expect("updated");
    assert_eq!(messages(f, &held.session).await, ["something else"]);
}

/// Long ones stand in the command that added them, and the longest of these elsewhere.
async fn an_added_message_is_read_as_it_was_written_whatever_its_size(f: &Fixture) {
    let session = f.session().await;
    let texts = [1, 31, 32, 33, 100, 5_000].map(|count| "ü".repeat(count));
    let add = |text: &String| AddMessageRequest {
        session_id: session.clone(),
        role: MessageRole::User.into(),
        content: text.clone(),
        request_id: format!("of {}", text.len()),
        ..Default::default()
    };
    for text in &texts {
        let added = f.history().add_message(add(text)).await.expect("added").into_inner();
        assert_eq!(added.message.as_ref().expect("the message").content, *text);
        let again = f.history().add_message(add(text)).await.expect("added before").into_inner();
        assert_eq!(again, added);
    }
    assert_eq!(messages(f, &session).await, texts);
    let fork = ForkJournalRequest { session_id: session.clone(), ..Default::default() };
    let fork = f.journal().fork_journal(fork).await.expect("forked").into_inner();
    let fork = fork.session.expect("the fork").id;
    let request = DeleteSessionRequest { session_id: session.clone() };
    f.sessions().delete_session(request).await.expect("deleted");
    assert_eq!(messages(f, &fork).await, texts);
}

async fn a_message_may_have_the_text_of_one_command(f: &Fixture) {
    let held = f.held().await;
    let said = "what the user said";
    let payload = any("test.Said", &said.to_owned().encode_to_vec());
    let mut sequences = Vec::new();
    for _ in 0..2 {
        let said = SubmitCommandRequest {
            payload: Some(payload.clone()),
            ..command(&held.session, CommandKind::Steer)
        };
        sequences.push(f.journal().submit_command(said).await.expect("said").into_inner().sequence);
    }
    let of = |first, last, size| EntryText {
        r#type: "command".into(),
        path: vec![1],
        ..place(first, last, size)
    };
    let one = streamed(of(sequences[0], sequences[0], said.len()));
    held.append(&["message_added"], joins(one)).await.expect("added");
    assert_eq!(messages(f, &held.session).await, [said]);
    let both = streamed(of(sequences[0], sequences[1], 2 * said.len()));
    let status = held.append(&["message_added"], joins(both)).await;
    refused(status, Code::InvalidArgument, "INVALID_FIELD");
}

async fn a_place_that_holds_another_text_is_refused(f: &Fixture) {
    let held = f.held().await;
    let (first, last) = {
        let sequences = stream(&held, &["twelve", " bytes"]).await;
        (sequences[0], sequences[1])
    };
    let good = place(first, last, 12);
    let wrong = [
        place(first, last, 11),
        place(first, last, 13),
        place(first, first, 12),
        place(last, first, 12),
        place(first, last + 1, 12),
        place(0, 0, 12),
        EntryText { path: vec![16, 2], ..good.clone() },
        EntryText { path: vec![15, 1], ..good.clone() },
        EntryText { r#type: "thinking_delta".into(), ..good.clone() },
    ];
    for wrong in wrong {
        let answer = held.append(&[], joins(streamed(wrong.clone()))).await;
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        assert!(status.message().starts_with("effects.messages.entry_text"), "{wrong:?}: {status}");
    }
    held.append(&[], joins(streamed(good))).await.expect("added");
    let other = f.held().await;
    let stolen = other.append(&["x"], joins(streamed(place(1, 1, 6)))).await;
    refused(stolen, Code::InvalidArgument, "INVALID_FIELD");
}

async fn a_place_that_is_malformed_is_refused(f: &Fixture) {
    let held = f.held().await;
    let sequence = stream(&held, &["text"]).await[0];
    let good = place(sequence, sequence, 4);
    let wrong = [
        ("size_bytes", EntryText { size_bytes: 0, ..good.clone() }),
        ("path", EntryText { path: Vec::new(), ..good.clone() }),
        ("path", EntryText { path: vec![0], ..good.clone() }),
        ("path", EntryText { path: vec![1; 9], ..good.clone() }),
        ("type", EntryText { r#type: "Content Delta".into(), ..good.clone() }),
        ("first_sequence", EntryText { first_sequence: -1, ..good.clone() }),
        ("last_sequence", EntryText { last_sequence: -1, ..good.clone() }),
    ];
    for (field, wrong) in wrong {
        let answer = held.append(&[], joins(streamed(wrong))).await;
        let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
        let expected = format!("effects.messages.entry_text.{field}");
        assert!(status.message().starts_with(&expected), "{status}");
    }
    let both = NewHistoryMessage { content: "text".into(), ..streamed(good.clone()) };
    refused(held.append(&[], joins(both)).await, Code::InvalidArgument, "INVALID_FIELD");
    let large = EntryText { size_bytes: (4 << 20) + 1, ..good };
    refused(held.append(&[], joins(streamed(large))).await, Code::InvalidArgument, "TOO_LARGE");
}

async fn pages_of_messages_are_cut_by_their_bytes(f: &Fixture) {
    let held = f.held().await;
    let text = "m".repeat(3 << 20);
    for _ in 0..4 {
        let message = new_message(MessageRole::User, &text);
        held.append(&["message_added"], joins(message)).await.expect("added");
    }
    for latest in [false, true] {
        let mut request =
            ListMessagesRequest { session_id: held.session.clone(), latest, ..Default::default() };
        let mut positions = Vec::new();
        loop {
            let page = f.history().list_messages(request.clone()).await.expect("a page");
            let page = page.into_inner();
            assert!(page.messages.iter().all(|message| message.content == text));
            positions.push(page.messages.iter().map(|m| m.position).collect::<Vec<_>>());
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let expected = if latest { [[3, 4], [1, 2]] } else { [[1, 2], [3, 4]] };
        assert_eq!(positions, expected, "latest: {latest}");
    }
}

//! Submit, Append and Release: one gapless log, an ordered cursor, repeated requests.

use cortex_core::{ExecutionId, TurnId};
use tonic::Code;

use crate::support::*;

contract! {
    numbered_appends_are_taken_once_and_in_order,
    an_append_has_a_number_or_a_request_id,
    commands_and_events_share_one_gapless_log,
    a_repeated_submit_answers_the_first_sequence,
    a_request_id_with_another_body_is_refused,
    a_repeated_append_answers_the_first_answer,
    an_append_needs_the_current_epoch_before_anything_else,
    the_cursor_moves_forward_only_and_to_commands_only,
    a_turn_opens_once_and_closes_only_if_it_is_open,
    messages_queue_and_leave_the_queue,
    one_append_may_close_a_turn_and_open_the_next,
    the_queue_of_messages_is_bounded,
    an_idle_session_can_be_required,
    an_ended_session_takes_lifecycle_commands_only,
    a_release_must_have_seen_every_command,
    a_release_needs_an_idle_session_or_a_waiting_turn,
    what_is_too_large_or_wrong_is_named,
    entries_are_read_in_pages_and_by_type,
    a_journal_of_nobody_is_not_found,
}

async fn commands_and_events_share_one_gapless_log(f: &Fixture) {
    let held = f.held().await;
    let first = f.message(&held.session).await;
    let appended = held.append(&["turn_started", "content_delta"], JournalEffects::default()).await;
    let appended = appended.expect("an append");
    let second = f.message(&held.session).await;
    assert_eq!((first, appended.first_sequence, appended.last_sequence, second), (1, 2, 3, 4));
    let entries = f.entries(&held.session).await;
    let found: Vec<_> = entries.iter().map(|e| (e.sequence, e.kind(), e.epoch)).collect();
    let (command, event) = (JournalEntryKind::Command, JournalEntryKind::Event);
    assert_eq!(found, [(1, command, 0), (2, event, 1), (3, event, 1), (4, command, 0)]);
    assert_eq!(entries[1].r#type, "turn_started");
    assert_eq!(entries[1].payload, Some(any("cortex.agent.v1.SessionEvent", b"e")));
    let journal = f.get_journal(&held.session).await;
    assert_eq!((journal.head_sequence, journal.last_command_sequence), (4, 4));
}

async fn a_repeated_submit_answers_the_first_sequence(f: &Fixture) {
    let session = f.session().await;
    let mut request = command(&session, CommandKind::Message);
    request.request_id = "one".into();
    let first = f.journal().submit_command(request.clone()).await.expect("accepted").into_inner();
    f.message(&session).await;
    let again = f.journal().submit_command(request).await.expect("accepted").into_inner();
    assert_eq!((first.sequence, first.duplicate), (1, false));
    assert_eq!((again.sequence, again.duplicate), (1, true));
    assert_eq!(f.entries(&session).await.len(), 2);
}

async fn a_request_id_with_another_body_is_refused(f: &Fixture) {
    let held = f.held().await;
    let mut submit = command(&held.session, CommandKind::Message);
    submit.request_id = "one".into();
    f.journal().submit_command(submit.clone()).await.expect("accepted");
    submit.payload = Some(any("cortex.agent.v1.SessionCommand", b"other"));
    let answer = f.journal().submit_command(submit.clone()).await;
    refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
    // The same id of another method, and of another session, is another request.
    let mut append = held.request(&["content_delta"], JournalEffects::default());
    append.request_id = "one".into();
    held.send(append.clone()).await.expect("appended");
    append.events.push(event("content_delta"));
    refused(held.send(append).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    submit.session_id = f.session().await;
    f.journal().submit_command(submit).await.expect("accepted");
}

async fn a_repeated_append_answers_the_first_answer(f: &Fixture) {
    let held = f.held().await;
    let request = held.request(&["content_delta", "content_delta"], JournalEffects::default());
    let first = held.send(request.clone()).await.expect("appended");
    held.append(&["content_delta"], JournalEffects::default()).await.expect("appended");
    let again = held.send(request).await.expect("known");
    assert_eq!(again, first);
    assert_eq!(f.entries(&held.session).await.len(), 3);
}

async fn an_append_needs_the_current_epoch_before_anything_else(f: &Fixture) {
    let mut held = f.held().await;
    let known = held.request(&["content_delta"], JournalEffects::default());
    held.send(known.clone()).await.expect("appended");
    let other = f.holder().await;
    let mut foreign = known.clone();
    foreign.holder_id = other;
    refused(held.send(foreign).await, Code::Aborted, "STALE_EPOCH");
    let old = held.epoch;
    held.epoch = f.acquire(&held.session, &held.holder, old).await.expect("granted again");
    let stale = held.send(known.clone()).await;
    let status = refused(stale, Code::Aborted, "STALE_EPOCH");
    let facts = cortex_rpc::fault(&status).metadata;
    assert_eq!(facts.get("epoch"), Some(&held.epoch.to_string()));
    // Under the new epoch the same request is still known.
    let again = AppendEventsRequest { epoch: held.epoch, ..known };
    assert_eq!(held.send(again).await.expect("known").first_sequence, 1);
}

async fn the_cursor_moves_forward_only_and_to_commands_only(f: &Fixture) {
    let held = f.held().await;
    let first = f.message(&held.session).await;
    let delta = held.append(&["content_delta"], JournalEffects::default()).await.expect("appended");
    let second = f.message(&held.session).await;
    let consume = |sequence| JournalEffects { consumed_sequence: sequence, ..Default::default() };
    let to_event = held.append(&[], consume(delta.first_sequence)).await;
    refused(to_event, Code::FailedPrecondition, "NOT_PENDING");
    let beyond = held.append(&[], consume(second + 1)).await;
    refused(beyond, Code::FailedPrecondition, "NOT_PENDING");
    held.append(&[], consume(second)).await.expect("consumed");
    for sequence in [first, second] {
        let back = held.append(&[], consume(sequence)).await;
        refused(back, Code::FailedPrecondition, "CURSOR_BACKWARDS");
    }
    assert_eq!(f.get_journal(&held.session).await.consumed_sequence, second);
}

async fn a_turn_opens_once_and_closes_only_if_it_is_open(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let opening =
        JournalEffects { opened_turn_id: TurnId::generate().to_string(), ..Default::default() };
    let twice = held.append(&[], opening).await;
    refused(twice, Code::FailedPrecondition, "TURN_OPEN");
    let close = |turn: &str| JournalEffects { closed_turn_id: turn.into(), ..Default::default() };
    let other = held.append(&[], close(TurnId::generate().as_str())).await;
    refused(other, Code::FailedPrecondition, "TURN_NOT_OPEN");
    let journal = f.get_journal(&held.session).await;
    assert_eq!((journal.open_turn_id.as_str(), journal.open_turn_sequence), (turn.as_str(), 2));
    held.append(&["turn_completed"], close(&turn)).await.expect("closed");
    let again = held.append(&[], close(&turn)).await;
    refused(again, Code::FailedPrecondition, "TURN_NOT_OPEN");
    assert_eq!(f.get_journal(&held.session).await.open_turn_id, "");
}

async fn messages_queue_and_leave_the_queue(f: &Fixture) {
    let held = f.held().await;
    held.open_turn().await;
    let message = f.message(&held.session).await;
    let cancel = f.submit(&held.session, CommandKind::Cancel).await.expect("accepted");
    let queue = |consumed: i64, queued: i64| JournalEffects {
        consumed_sequence: consumed,
        queued_sequences: vec![queued],
        ..Default::default()
    };
    let of_cancel = held.append(&[], queue(cancel, cancel)).await;
    refused(of_cancel, Code::FailedPrecondition, "NOT_PENDING");
    held.append(&["message_queued"], queue(cancel, message)).await.expect("queued");
    assert_eq!(f.get_journal(&held.session).await.queued_sequences, [message]);
    let dequeue = JournalEffects { dequeued_sequences: vec![message], ..Default::default() };
    held.append(&[], dequeue.clone()).await.expect("withdrawn");
    let twice = held.append(&[], dequeue).await;
    refused(twice, Code::FailedPrecondition, "NOT_PENDING");
}

async fn one_append_may_close_a_turn_and_open_the_next(f: &Fixture) {
    let held = f.held().await;
    let first = held.open_turn().await;
    let message = f.message(&held.session).await;
    let queue = JournalEffects {
        consumed_sequence: message,
        queued_sequences: vec![message],
        ..Default::default()
    };
    held.append(&["message_queued"], queue).await.expect("queued");
    let second = TurnId::generate().to_string();
    let effects = JournalEffects {
        closed_turn_id: first,
        opened_turn_id: second.clone(),
        dequeued_sequences: vec![message],
        ..Default::default()
    };
    let appended =
        held.append(&["turn_completed", "turn_started"], effects).await.expect("appended");
    let journal = f.get_journal(&held.session).await;
    assert_eq!(journal.open_turn_id, second);
    assert_eq!(journal.open_turn_sequence, appended.last_sequence);
    assert!(journal.queued_sequences.is_empty());
}

async fn the_queue_of_messages_is_bounded(f: &Fixture) {
    let held = f.held().await;
    held.open_turn().await;
    let mut request = command(&held.session, CommandKind::Message);
    request.max_queued_messages = 2;
    let first = f.journal().submit_command(request.clone()).await.expect("accepted").into_inner();
    let queue = JournalEffects {
        consumed_sequence: first.sequence,
        queued_sequences: vec![first.sequence],
        ..Default::default()
    };
    held.append(&["message_queued"], queue).await.expect("queued");
    f.journal().submit_command(request.clone()).await.expect("accepted");
    let answer = f.journal().submit_command(request.clone()).await;
    let status = refused(answer, Code::ResourceExhausted, "QUEUE_FULL");
    assert!(cortex_rpc::fault(&status).quota.is_some());
    // A cancel is never stopped by a full queue.
    f.submit(&held.session, CommandKind::Cancel).await.expect("accepted");
    // The default is 16: one is queued, one is pending.
    request.max_queued_messages = 0;
    for _ in 0..14 {
        f.journal().submit_command(request.clone()).await.expect("accepted");
    }
    let answer = f.journal().submit_command(request).await;
    refused(answer, Code::ResourceExhausted, "QUEUE_FULL");
}

async fn an_idle_session_can_be_required(f: &Fixture) {
    let held = f.held().await;
    let mut request = command(&held.session, CommandKind::Message);
    request.require_idle = true;
    let first = f.journal().submit_command(request.clone()).await.expect("idle").into_inner();
    let waiting = f.journal().submit_command(request.clone()).await;
    refused(waiting, Code::FailedPrecondition, "TURN_OPEN");
    let turn = TurnId::generate().to_string();
    let effects = JournalEffects {
        consumed_sequence: first.sequence,
        opened_turn_id: turn.clone(),
        ..Default::default()
    };
    held.append(&["turn_started"], effects).await.expect("opened");
    let open = f.journal().submit_command(request.clone()).await;
    let status = refused(open, Code::FailedPrecondition, "TURN_OPEN");
    assert_eq!(cortex_rpc::fault(&status).metadata.get("turn_id"), Some(&turn));
    request.require_idle = false;
    let told = f.journal().submit_command(request).await.expect("accepted").into_inner();
    assert_eq!(told.open_turn_id, turn);
}

async fn an_ended_session_takes_lifecycle_commands_only(f: &Fixture) {
    let held = f.held().await;
    let status =
        |status: SessionStatus| JournalEffects { status: status.into(), ..Default::default() };
    held.append(&["paused"], status(SessionStatus::Paused)).await.expect("paused");
    let message = f.submit(&held.session, CommandKind::Message).await;
    refused(message, Code::FailedPrecondition, "SESSION_PAUSED");
    f.submit(&held.session, CommandKind::Steer).await.expect("accepted");
    held.append(&["ended"], status(SessionStatus::Ended)).await.expect("ended");
    for kind in [CommandKind::Message, CommandKind::Cancel, CommandKind::State] {
        let answer = f.submit(&held.session, kind).await;
        refused(answer, Code::FailedPrecondition, "SESSION_ENDED");
    }
    f.submit(&held.session, CommandKind::Lifecycle).await.expect("accepted");
}

async fn a_release_must_have_seen_every_command(f: &Fixture) {
    let held = f.held().await;
    let message = f.message(&held.session).await;
    for seen in [0, message] {
        let answer = held.release(seen, None).await;
        let status = refused(answer, Code::FailedPrecondition, "COMMANDS_PENDING");
        let facts = cortex_rpc::fault(&status).metadata;
        assert_eq!(facts.get("last_command_sequence"), Some(&message.to_string()));
    }
    let consume = JournalEffects { consumed_sequence: message, ..Default::default() };
    held.append(&[], consume).await.expect("consumed");
    assert!(held.release(message, None).await.expect("released"));
    // Repeated after a lost answer: nobody holds it, and that is told.
    assert!(!held.release(message, None).await.expect("not held"));
    let append = held.append(&["content_delta"], JournalEffects::default()).await;
    refused(append, Code::Aborted, "STALE_EPOCH");
}

async fn a_release_needs_an_idle_session_or_a_waiting_turn(f: &Fixture) {
    let held = f.held().await;
    let wait = Some(SessionWait { wake_at: None });
    let nothing_waits = held.release(0, wait).await;
    refused(nothing_waits, Code::FailedPrecondition, "TURN_NOT_OPEN");
    held.open_turn().await;
    let open = held.release(1, None).await;
    refused(open, Code::FailedPrecondition, "TURN_OPEN");
    assert!(held.release(1, wait).await.expect("released"));
    let journal = f.get_journal(&held.session).await;
    assert_eq!((journal.wait, journal.holder_id.as_str()), (wait, ""));
    // A queue alone keeps the session, too.
    let held = f.held().await;
    let turn = held.open_turn().await;
    let message = f.message(&held.session).await;
    let effects = JournalEffects {
        consumed_sequence: message,
        queued_sequences: vec![message],
        closed_turn_id: turn,
        ..Default::default()
    };
    held.append(&["turn_completed"], effects).await.expect("appended");
    refused(held.release(message, None).await, Code::FailedPrecondition, "COMMANDS_PENDING");
}

async fn what_is_too_large_or_wrong_is_named(f: &Fixture) {
    let held = f.held().await;
    let mut large = command(&held.session, CommandKind::Message);
    large.payload = Some(any("cortex.agent.v1.SessionCommand", &vec![0; (4 << 20) + 1]));
    refused(f.journal().submit_command(large).await, Code::InvalidArgument, "TOO_LARGE");
    let too_many = held.append(&["x"; 1025], JournalEffects::default()).await;
    let status = refused(too_many, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(cortex_rpc::fault(&status).violations[0].field, "events");
    let nameless = held.append(&["ok", "Not Snake"], JournalEffects::default()).await;
    let status = refused(nameless, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(cortex_rpc::fault(&status).violations[0].field, "events[1].type");
    let mut without = held.request(&["content_delta"], JournalEffects::default());
    without.request_id = String::new();
    refused(held.send(without.clone()).await, Code::InvalidArgument, "INVALID_FIELD");
    without.request_id = "x".repeat(129);
    refused(held.send(without).await, Code::InvalidArgument, "INVALID_FIELD");
    let state = StateChange { change: Some(state_change::Change::MergePatch("[1]".into())) };
    let array = JournalEffects { state_change: Some(state), ..Default::default() };
    refused(held.append(&[], array).await, Code::InvalidArgument, "INVALID_FIELD");
    let nothing =
        AppendEventsRequest { effects: None, ..held.request(&[], JournalEffects::default()) };
    refused(held.send(nothing).await, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(
        f.get_journal(&held.session).await.head_sequence,
        0,
        "a refused write changes nothing"
    );
    held.append(&["content_delta"], JournalEffects::default())
        .await
        .expect("and the service goes on");
}

async fn entries_are_read_in_pages_and_by_type(f: &Fixture) {
    let held = f.held().await;
    let names: Vec<_> =
        (0..25).map(|n| if n % 5 == 0 { "usage" } else { "content_delta" }).collect();
    held.append(&names, JournalEffects::default()).await.expect("appended");
    let mut request = ListEntriesRequest {
        session_id: held.session.clone(),
        after_sequence: 3,
        page_size: 10,
        ..Default::default()
    };
    let mut found = Vec::new();
    loop {
        let page = f.journal().list_entries(request.clone()).await.expect("a page").into_inner();
        assert_eq!(page.head_sequence, 25);
        found.extend(page.entries.iter().map(|entry| entry.sequence));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, (4..=25).collect::<Vec<i64>>());
    let usage = ListEntriesRequest {
        session_id: held.session.clone(),
        types: vec!["usage".into()],
        ..Default::default()
    };
    let page = f.journal().list_entries(usage.clone()).await.expect("a page").into_inner();
    let found: Vec<_> = page.entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!((found.as_slice(), page.next_page_token.as_str()), (&[1, 6, 11, 16, 21][..], ""));
    let negative = ListEntriesRequest { page_size: -1, ..usage };
    refused(f.journal().list_entries(negative).await, Code::InvalidArgument, "INVALID_FIELD");
}

async fn a_journal_of_nobody_is_not_found(f: &Fixture) {
    let missing = "session_00000000000000000000000000000000";
    let answer = f.submit(missing, CommandKind::Message).await;
    let status = refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
    assert_eq!(cortex_rpc::fault(&status).resource.map(|r| r.name).as_deref(), Some(missing));
    let request = GetJournalRequest { session_id: missing.into() };
    refused(f.journal().get_journal(request).await, Code::NotFound, "SESSION_NOT_FOUND");
    let request = GetJournalRequest { session_id: "nonsense".into() };
    refused(f.journal().get_journal(request).await, Code::InvalidArgument, "INVALID_FIELD");
    let execution = ExecutionId::generate();
    let answer = f.claim(execution.as_str(), &claimant(), 1).await;
    refused(answer, Code::NotFound, "EXECUTION_NOT_FOUND");
}

/// An append under a number in place of a request id.
fn numbered(held: &Held<'_>, number: i64, events: &[&str]) -> AppendEventsRequest {
    let request = held.request(events, JournalEffects::default());
    AppendEventsRequest { request_id: String::new(), append_number: number, ..request }
}

async fn numbered_appends_are_taken_once_and_in_order(f: &Fixture) {
    let held = f.held().await;
    let first = numbered(&held, 1, &["a"]);
    let answer = held.send(first.clone()).await.expect("appended");
    f.message(&held.session).await;
    f.advance(std::time::Duration::from_secs(1));
    assert_eq!(held.send(first.clone()).await.expect("known"), answer);
    let other = numbered(&held, 1, &["b"]);
    refused(held.send(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    for number in [3, 7] {
        let status = held.send(numbered(&held, number, &["b"])).await;
        let status = refused(status, Code::FailedPrecondition, "APPEND_OUT_OF_ORDER");
        let last = cortex_rpc::fault(&status).metadata.get("append_number").cloned();
        assert_eq!(last.as_deref(), Some("1"));
    }
    held.append(&["with_an_id"], JournalEffects::default()).await.expect("ids need no order");
    // What is refused has no number: the next one has it.
    let wrong = AppendEventsRequest {
        effects: Some(settle("exec_00000000000000000000000000000000", SettlementKind::NotRun)),
        ..numbered(&held, 2, &["wrong"])
    };
    refused(held.send(wrong).await, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    held.send(numbered(&held, 2, &["c"])).await.expect("appended");
    refused(held.send(first).await, Code::FailedPrecondition, "APPEND_OUT_OF_ORDER");
    let again = f.acquire(&held.session, &held.holder, held.epoch).await.expect("a grant");
    let stale = held.send(numbered(&held, 3, &["d"])).await;
    refused(stale, Code::Aborted, "STALE_EPOCH");
    let held =
        Held { epoch: again, session: held.session.clone(), holder: held.holder.clone(), ..held };
    held.send(numbered(&held, 1, &["d"])).await.expect("a grant counts from 1");
    let names: Vec<_> = f.entries(&held.session).await.into_iter().map(|e| e.r#type).collect();
    assert_eq!(names, ["a", "command", "with_an_id", "c", "d"]);
}

async fn an_append_has_a_number_or_a_request_id(f: &Fixture) {
    let held = f.held().await;
    for (request_id, number) in [("", 0), ("a", 1), ("", -1)] {
        let request = AppendEventsRequest {
            request_id: request_id.into(),
            ..numbered(&held, number, &["a"])
        };
        refused(held.send(request).await, Code::InvalidArgument, "INVALID_FIELD");
    }
}

//! ForkJournal: where it cuts, what a fork has, and what it does not.

use std::time::Duration;

use proptest::{prelude::proptest, test_runner::Config};
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::{
    story::{Seen, Story, see, steps},
    support::*,
};

contract! {
    a_fork_at_the_head_is_the_session_under_a_new_id,
    a_fork_goes_on_after_the_cut_and_its_parent_knows_nothing_of_it,
    a_fork_cuts_before_an_open_turn_and_its_message,
    a_fork_has_no_executions_and_none_of_its_parent_reaches_it,
    a_fork_of_an_ended_session_is_active,
    a_repeated_fork_is_one_fork,
    a_fork_outlives_its_parent,
    a_watcher_of_a_fork_replays_the_whole_log_and_follows,
    what_cannot_be_forked_says_why,
    entries_of_a_fork_do_not_name_another_session,
}

async fn fork(f: &Fixture, session: &str, sequence: i64) -> (String, i64) {
    let request = ForkJournalRequest { session_id: session.into(), sequence, ..Default::default() };
    try_fork(f, request).await.expect("forked")
}

async fn try_fork(f: &Fixture, request: ForkJournalRequest) -> Result<(String, i64), Status> {
    let forked = f.journal().fork_journal(request).await?.into_inner();
    Ok((forked.session.expect("the session").id, forked.sequence))
}

async fn patch(f: &Fixture, session: &str, data: &str) {
    let request =
        PatchStateRequest { session_id: session.into(), data: data.into(), ..Default::default() };
    f.state().patch_state(request).await.expect("patched");
}

async fn a_fork_at_the_head_is_the_session_under_a_new_id(f: &Fixture) {
    let request = CreateSessionRequest {
        agent_name: "assistant".into(),
        user_id: "ada".into(),
        metadata: r#"{"title":"one"}"#.into(),
        initial_state: r#"{"n":9007199254740993}"#.into(),
        manifest_digest: "b3_1".into(),
        ..Default::default()
    };
    let created = f.sessions().create_session(request).await.expect("created").into_inner();
    let parent = created.session.expect("the session").id;
    patch(f, &parent, r#"{"a":1}"#).await;
    let before = see(f, &parent).await;
    let request = ForkJournalRequest { session_id: parent.clone(), ..Default::default() };
    let forked = f.journal().fork_journal(request).await.expect("forked").into_inner();
    let child = forked.session.expect("the session");
    assert_eq!(forked.sequence, 1);
    assert_ne!(child.id, parent);
    assert_eq!((child.agent_name.as_str(), child.user_id.as_str()), ("assistant", "ada"));
    assert_eq!(
        (child.metadata.as_str(), child.manifest_digest.as_str()),
        (r#"{"title":"one"}"#, "b3_1")
    );
    assert_eq!(child.status(), SessionStatus::Active);
    assert_eq!(see(f, &child.id).await, before);
    assert_eq!(before.state.0, r#"{"n":9007199254740993,"a":1}"#);
    let request = ForkJournalRequest {
        session_id: parent,
        metadata: r#"{"title":"two"}"#.into(),
        ..Default::default()
    };
    let other = f.journal().fork_journal(request).await.expect("forked").into_inner();
    assert_eq!(other.session.expect("the session").metadata, r#"{"title":"two"}"#);
}

async fn a_fork_goes_on_after_the_cut_and_its_parent_knows_nothing_of_it(f: &Fixture) {
    let parent = f.session().await;
    patch(f, &parent, r#"{"a":1}"#).await;
    patch(f, &parent, r#"{"a":2}"#).await;
    let (child, cut) = fork(f, &parent, 1).await;
    assert_eq!(cut, 1);
    patch(f, &child, r#"{"b":1}"#).await;
    let (of_parent, of_child) = (see(f, &parent).await, see(f, &child).await);
    assert_eq!((of_parent.head, of_parent.state.0.as_str()), (2, r#"{"a":2}"#));
    assert_eq!((of_child.head, of_child.state.0.as_str()), (2, r#"{"a":1,"b":1}"#));
    assert_eq!(of_child.entries[0], of_parent.entries[0]);
    assert_ne!(of_child.entries[1], of_parent.entries[1]);
    let journal = f.get_journal(&child).await;
    assert_eq!((journal.epoch, journal.holder_id.as_str()), (0, ""));
    assert_eq!((journal.last_command_sequence, journal.consumed_sequence), (2, 2));
    // Pages go across the cut.
    let request = ListEntriesRequest { session_id: child, page_size: 1, ..Default::default() };
    let page = f.journal().list_entries(request.clone()).await.expect("a page").into_inner();
    assert_eq!(page.entries, of_child.entries[..1]);
    let request = ListEntriesRequest { page_token: page.next_page_token, ..request };
    let page = f.journal().list_entries(request).await.expect("a page").into_inner();
    assert_eq!(
        (page.entries.as_slice(), page.next_page_token.as_str()),
        (&of_child.entries[1..], "")
    );
}

async fn a_fork_cuts_before_an_open_turn_and_its_message(f: &Fixture) {
    let held = f.held().await;
    let first = held.open_turn().await;
    let effects = JournalEffects {
        closed_turn_id: first,
        messages: vec![new_message(MessageRole::Assistant, "hello")],
        ..Default::default()
    };
    let done = held.append(&["turn_completed"], effects).await.expect("closed").last_sequence;
    let rest = see(f, &held.session).await;
    let second = held.open_turn().await;
    held.intend(&second).await;
    let effects = JournalEffects {
        messages: vec![new_message(MessageRole::Assistant, "half")],
        ..Default::default()
    };
    held.append(&["message_added"], effects).await.expect("appended");
    let (child, cut) = fork(f, &held.session, 0).await;
    assert_eq!((cut, see(f, &child).await), (done, rest));
    assert!(!f.is_runnable(&child).await, "nothing of the turn goes on in the fork");
    // In the middle of the first turn there is nothing before it.
    let (child, cut) = fork(f, &held.session, done - 1).await;
    assert_eq!((cut, see(f, &child).await.head), (0, 0));
    // A queued message waits too.
    f.message(&held.session).await;
    let queued = f.get_journal(&held.session).await.last_command_sequence;
    let effects = JournalEffects {
        consumed_sequence: queued,
        queued_sequences: vec![queued],
        ..Default::default()
    };
    held.append(&["message_queued"], effects).await.expect("queued");
    assert_eq!(fork(f, &held.session, 0).await.1, done);
}

async fn a_fork_has_no_executions_and_none_of_its_parent_reaches_it(f: &Fixture) {
    let held = f.held().await;
    let turn = held.open_turn().await;
    let (execution, call) = held.intend(&turn).await;
    let (child, _) = fork(f, &held.session, 0).await;
    let request = ListExecutionsRequest { session_id: child.clone(), ..Default::default() };
    let rows = f.journal().list_executions(request).await.expect("a list").into_inner();
    assert_eq!(rows.executions, []);
    let claimant = claimant();
    f.claim(&execution, &claimant, held.epoch).await.expect("claimed");
    f.finish(&execution, &claimant, OutcomeKind::Succeeded).await.expect("finished");
    let holder = f.holder().await;
    let epoch = f.acquire(&child, &holder, 0).await.expect("a grant");
    let fork = Held { fixture: f, session: child, holder, epoch };
    let opened = fork.open_turn().await;
    let settled = fork.append(&["tool_result"], settle(&execution, SettlementKind::Outcome)).await;
    refused(settled, Code::FailedPrecondition, "LEDGER_PRECONDITION");
    // The same call is a new one there.
    let again = ExecutionIntent { call_id: call, ..intent(&opened) };
    let effects = JournalEffects { intents: vec![again], ..Default::default() };
    fork.append(&["tool_call"], effects).await.expect("an intent of its own");
}

async fn a_fork_of_an_ended_session_is_active(f: &Fixture) {
    let parent = f.session().await;
    let request = UpdateSessionRequest {
        session_id: parent.clone(),
        status: SessionStatus::Ended.into(),
        ..Default::default()
    };
    f.sessions().update_session(request).await.expect("ended");
    let (child, _) = fork(f, &parent, 0).await;
    f.submit(&child, CommandKind::Message).await.expect("it takes messages");
    refused(
        f.submit(&parent, CommandKind::Message).await,
        Code::FailedPrecondition,
        "SESSION_ENDED",
    );
}

async fn a_repeated_fork_is_one_fork(f: &Fixture) {
    let (parent, other) = (f.session().await, f.session().await);
    patch(f, &parent, r#"{"a":1}"#).await;
    let request = ForkJournalRequest {
        session_id: parent.clone(),
        request_id: "once".into(),
        ..Default::default()
    };
    let first = try_fork(f, request.clone()).await.expect("forked");
    patch(f, &parent, r#"{"a":2}"#).await;
    assert_eq!(try_fork(f, request.clone()).await.expect("known"), first);
    let same_id = ForkJournalRequest { session_id: other, ..request.clone() };
    assert_ne!(try_fork(f, same_id).await.expect("another session's").0, first.0);
    let changed = ForkJournalRequest { sequence: 1, ..request.clone() };
    refused(try_fork(f, changed).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let delete = DeleteSessionRequest { session_id: parent };
    f.sessions().delete_session(delete).await.expect("deleted");
    assert_eq!(try_fork(f, request).await.expect("still known"), first);
}

async fn a_fork_outlives_its_parent(f: &Fixture) {
    let parent = f.session().await;
    for n in 0..3 {
        patch(f, &parent, &format!("{{\"n\":{n}}}")).await;
    }
    let (child, _) = fork(f, &parent, 2).await;
    let (grandchild, _) = fork(f, &child, 1).await;
    let (of_child, of_grandchild) = (see(f, &child).await, see(f, &grandchild).await);
    for gone in [parent, child.clone()] {
        assert_eq!(see(f, &child).await, of_child);
        let delete = DeleteSessionRequest { session_id: gone };
        f.sessions().delete_session(delete).await.expect("deleted");
    }
    assert_eq!(see(f, &grandchild).await, of_grandchild);
    let (last, cut) = fork(f, &grandchild, 0).await;
    assert_eq!((cut, see(f, &last).await), (1, of_grandchild));
}

async fn a_watcher_of_a_fork_replays_the_whole_log_and_follows(f: &Fixture) {
    let parent = f.session().await;
    for n in 0..5 {
        patch(f, &parent, &format!("{{\"n\":{n}}}")).await;
    }
    let (child, _) = fork(f, &parent, 3).await;
    let request = WatchEntriesRequest { session_id: child.clone(), after_sequence: 1, kind: 0 };
    let mut watch = f.journal().watch_entries(request).await.expect("a watch").into_inner();
    patch(f, &child, r#"{"own":1}"#).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let waited = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        seen.extend(waited.expect("in time").expect("goes on").expect("no error").entries);
    }
    assert_eq!(seen, f.entries(&child).await[1..]);
}

async fn what_cannot_be_forked_says_why(f: &Fixture) {
    let session = f.session().await;
    let request = |sequence| ForkJournalRequest {
        session_id: session.clone(),
        sequence,
        ..Default::default()
    };
    refused(try_fork(f, request(1)).await, Code::OutOfRange, "BEYOND_HEAD");
    refused(try_fork(f, request(-1)).await, Code::InvalidArgument, "INVALID_FIELD");
    let wrong = ForkJournalRequest { metadata: "[]".into(), ..request(0) };
    refused(try_fork(f, wrong).await, Code::InvalidArgument, "INVALID_FIELD");
    let nobody = ForkJournalRequest {
        session_id: "session_00000000000000000000000000000000".into(),
        ..Default::default()
    };
    refused(try_fork(f, nobody).await, Code::NotFound, "SESSION_NOT_FOUND");
    assert_eq!(fork(f, &session, 0).await.1, 0, "an empty session has an empty fork");
}

async fn entries_of_a_fork_do_not_name_another_session(f: &Fixture) {
    let parent = f.session().await;
    patch(f, &parent, r#"{"a":1}"#).await;
    let request =
        ReplaceStateRequest { session_id: parent.clone(), data: "{}".into(), ..Default::default() };
    f.state().replace_state(request).await.expect("replaced");
    let request = ClearStateRequest { session_id: parent.clone() };
    f.state().clear_state(request).await.expect("cleared");
    let request = AddMessageRequest {
        session_id: parent.clone(),
        role: MessageRole::User.into(),
        content: "hi".into(),
        ..Default::default()
    };
    f.history().add_message(request).await.expect("added");
    let request = ClearHistoryRequest { session_id: parent.clone() };
    f.history().clear_history(request).await.expect("cleared");
    let request = UpdateSessionRequest {
        session_id: parent.clone(),
        status: SessionStatus::Paused.into(),
        ..Default::default()
    };
    f.sessions().update_session(request).await.expect("paused");
    let (child, cut) = fork(f, &parent, 0).await;
    assert_eq!(cut, 6);
    for entry in f.entries(&child).await {
        let payload = entry.payload.expect("a payload").value;
        let found = payload.windows(parent.len()).any(|window| window == parent.as_bytes());
        assert!(!found, "{} names its session", entry.r#type);
    }
}

/// What a fork shows at a cut is what the parent showed when that was its head.
async fn check_fork(f: &Fixture, session: &str, sequence: i64, rests: &[Seen]) -> String {
    let rest = rests.iter().rfind(|rest| rest.head <= sequence).expect("the beginning");
    let (child, cut) = fork(f, session, sequence).await;
    assert_eq!(cut, rest.head);
    assert_eq!(&see(f, &child).await, rest);
    child
}

proptest! {
    #![proptest_config(Config { cases: cases(8), failure_persistence: None, ..Config::default() })]

    /// At every quiescent point of any session, and of a fork of it, and with parents deleted.
    #[test]
    fn a_fork_is_what_its_parent_was(first in steps(40), second in steps(20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let f = Fixture::sqlite().await;
            let mut story = Story::of(&f, f.session().await).await;
            story.tell(&first).await;
            let head = see(&f, &story.session).await.head;
            for sequence in 1..=head {
                check_fork(&f, &story.session, sequence, &story.rests).await;
            }
            let middle = story.rests[story.rests.len() / 2].head.max(1).min(head.max(1));
            if head == 0 {
                return;
            }
            let child = check_fork(&f, &story.session, middle, &story.rests).await;
            let shared: Vec<Seen> =
                story.rests.iter().filter(|rest| rest.head <= middle).cloned().collect();
            let mut next = Story::of(&f, child).await;
            next.tell(&second).await;
            let mut rests = shared;
            rests.retain(|rest| rest.head < next.rests[0].head);
            rests.extend(next.rests.iter().cloned());
            let delete = DeleteSessionRequest { session_id: story.session.clone() };
            f.sessions().delete_session(delete).await.expect("deleted");
            for sequence in 1..=see(&f, &next.session).await.head {
                check_fork(&f, &next.session, sequence, &rests).await;
            }
        });
    }
}

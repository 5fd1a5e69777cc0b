//! Writes of storage's own services, and the cursor that must pass them.

use crate::support::*;

contract! {
    a_write_to_a_session_that_nobody_holds_is_consumed_at_once,
    a_write_to_a_held_session_is_consumed_by_its_holder,
    a_write_behind_a_pending_command_waits_its_turn,
    a_state_can_be_written_while_a_turn_runs,
}

async fn write_state(f: &Fixture, session: &str) {
    let request = PatchStateRequest {
        session_id: session.into(),
        data: r#"{"a":1}"#.into(),
        ..Default::default()
    };
    f.state().patch_state(request).await.expect("patched");
}

async fn a_write_to_a_session_that_nobody_holds_is_consumed_at_once(f: &Fixture) {
    let session = f.session().await;
    write_state(f, &session).await;
    let journal = f.get_journal(&session).await;
    assert_eq!((journal.last_command_sequence, journal.consumed_sequence), (1, 1));
    assert!(!f.is_runnable(&session).await);
    let entry = f.entries(&session).await.remove(0);
    let payload = entry.payload.expect("a payload");
    assert_eq!(payload.type_url, "type.googleapis.com/cortex.storage.v1.PatchStateRequest");
}

async fn a_write_to_a_held_session_is_consumed_by_its_holder(f: &Fixture) {
    let held = f.held().await;
    write_state(f, &held.session).await;
    let journal = f.get_journal(&held.session).await;
    assert_eq!((journal.last_command_sequence, journal.consumed_sequence), (1, 0));
    assert!(held.release(0, None).await.is_err(), "the holder must look at it");
    let consume = JournalEffects { consumed_sequence: 1, ..Default::default() };
    held.append(&[], consume).await.expect("consumed");
    assert!(held.release(1, None).await.expect("released"));
}

async fn a_write_behind_a_pending_command_waits_its_turn(f: &Fixture) {
    let session = f.session().await;
    let message = f.message(&session).await;
    write_state(f, &session).await;
    let journal = f.get_journal(&session).await;
    assert_eq!((journal.last_command_sequence, journal.consumed_sequence), (2, 0));
    let holder = f.holder().await;
    let epoch = f.acquire(&session, &holder, 0).await.expect("a grant");
    let held = Held { fixture: f, session, holder, epoch };
    let consume = |sequence| JournalEffects { consumed_sequence: sequence, ..Default::default() };
    held.append(&[], consume(message)).await.expect("consumed");
    held.append(&[], consume(2)).await.expect("consumed");
}

async fn a_state_can_be_written_while_a_turn_runs(f: &Fixture) {
    let held = f.held().await;
    held.open_turn().await;
    write_state(f, &held.session).await;
    let request = GetStateRequest { session_id: held.session.clone() };
    let state = f.state().get_state(request).await.expect("a state").into_inner().state;
    assert_eq!(state.expect("the state").data, r#"{"a":1}"#);
}

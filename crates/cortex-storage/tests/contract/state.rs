//! StateService, and the state that appends change.

use tonic::{Code, Status};

use crate::support::*;

contract! {
    a_state_that_was_never_set_is_an_empty_object,
    a_state_is_replaced_patched_and_emptied,
    an_etag_guards_against_lost_updates,
    an_append_changes_the_state,
    a_state_is_bounded,
}

async fn get(f: &Fixture, session: &str) -> SessionState {
    let request = GetStateRequest { session_id: session.into() };
    let answer = f.state().get_state(request).await.expect("a state").into_inner();
    answer.state.expect("the state")
}

async fn replace(
    f: &Fixture,
    session: &str,
    data: &str,
    etag: &str,
) -> Result<SessionState, Status> {
    let request =
        ReplaceStateRequest { session_id: session.into(), data: data.into(), etag: etag.into() };
    Ok(f.state().replace_state(request).await?.into_inner().state.expect("the state"))
}

async fn patch(f: &Fixture, session: &str, data: &str, etag: &str) -> Result<SessionState, Status> {
    let request =
        PatchStateRequest { session_id: session.into(), data: data.into(), etag: etag.into() };
    Ok(f.state().patch_state(request).await?.into_inner().state.expect("the state"))
}

async fn a_state_that_was_never_set_is_an_empty_object(f: &Fixture) {
    let session = f.session().await;
    let state = get(f, &session).await;
    assert_eq!((state.data.as_str(), state.session_id), ("{}", session));
    assert!(state.updated_at.is_some());
    let request = GetStateRequest { session_id: "session_0000000000000000".into() };
    refused(f.state().get_state(request).await, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn a_state_is_replaced_patched_and_emptied(f: &Fixture) {
    let session = f.session().await;
    let set =
        replace(f, &session, r#"{"z":9007199254740993,"a":{"b":1.50}}"#, "").await.expect("set");
    assert_eq!(get(f, &session).await, set);
    let patched = patch(f, &session, r#"{"a":{"c":6},"z":null}"#, "").await.expect("patched");
    assert_eq!(patched.data, r#"{"a":{"b":1.50,"c":6}}"#);
    let request = ClearStateRequest { session_id: session.clone() };
    let answer = f.state().clear_state(request).await.expect("cleared").into_inner();
    assert_eq!((answer.status.as_str(), &answer.session_id), ("deleted", &session));
    assert_eq!(get(f, &session).await.data, "{}");
    let names: Vec<_> = f.entries(&session).await.into_iter().map(|e| e.r#type).collect();
    assert_eq!(names, ["replace_state", "patch_state", "clear_state"]);
}

async fn an_etag_guards_against_lost_updates(f: &Fixture) {
    let session = f.session().await;
    let none = get(f, &session).await.etag;
    let first = replace(f, &session, r#"{"n":1}"#, &none).await.expect("set");
    let lost = replace(f, &session, r#"{"n":2}"#, &none).await;
    let status = refused(lost, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(cortex_rpc::fault(&status).metadata.get("etag"), Some(&first.etag));
    let second = patch(f, &session, r#"{"m":1}"#, &first.etag).await.expect("patched");
    assert_ne!(second.etag, first.etag);
    assert_eq!(f.entries(&session).await.len(), 2, "a refused write leaves no trace");
}

async fn an_append_changes_the_state(f: &Fixture) {
    let held = f.held().await;
    let change = |change| JournalEffects {
        state_change: Some(StateChange { change: Some(change) }),
        ..Default::default()
    };
    let whole = change(state_change::Change::Replacement(r#"{"a":1}"#.into()));
    held.append(&["state_updated"], whole).await.expect("replaced");
    let some = change(state_change::Change::MergePatch(r#"{"b":{"c":2}}"#.into()));
    held.append(&["state_updated"], some).await.expect("patched");
    assert_eq!(get(f, &held.session).await.data, r#"{"a":1,"b":{"c":2}}"#);
}

async fn a_state_is_bounded(f: &Fixture) {
    let session = f.session().await;
    let half = format!(r#"{{"a":"{}"}}"#, "x".repeat(600_000));
    replace(f, &session, &half, "").await.expect("set");
    let other = format!(r#"{{"b":"{}"}}"#, "x".repeat(600_000));
    refused(patch(f, &session, &other, "").await, Code::InvalidArgument, "TOO_LARGE");
    assert_eq!(get(f, &session).await.data, half);
    for bad in ["", "[]", "null", "{", r#"{"a":1}}"#] {
        refused(replace(f, &session, bad, "").await, Code::InvalidArgument, "INVALID_FIELD");
    }
}

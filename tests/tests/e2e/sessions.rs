//! What else may happen to a session while it works: state, guidance, interruptions, pauses, ends.

use std::time::Duration;

use cortex_e2e::{Answer, Frame, Mesh, Options, Topology, curl, frames, in_both_topologies};

in_both_topologies!(
    state_can_change_while_a_turn_runs,
    guidance_reaches_the_open_turn,
    another_message_may_interrupt_or_be_refused,
    a_turn_has_its_time,
    a_paused_session_takes_no_messages,
    an_ending_session_ends_its_turn,
    a_deleted_session_is_gone,
    the_same_request_is_the_same_message,
    history_can_be_truncated,
    a_fork_goes_on_from_where_its_parent_was,
);

async fn start(topology: Topology) -> (Mesh, String) {
    let options = Options::default().env("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", "10ms");
    let mesh = Mesh::start(topology, options).await;
    let session = mesh.session("assistant").await;
    (mesh, format!("/agent/session/{session}"))
}

/// Sends a message that takes its time, and waits until its turn is open.
async fn begin(mesh: &Mesh, session: &str, body: &str) -> tokio::task::JoinHandle<Answer> {
    let url = format!("{}{session}/message", mesh.gateway());
    let arguments =
        ["-X", "POST", &url, "-H", "Content-Type: application/json", "-d", body].map(str::to_owned);
    let streaming = tokio::spawn(curl(arguments));
    for _ in 0..500 {
        if mesh.get(session).await.json()["open_turn_id"] != "" {
            return streaming;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no turn opens\n{}", mesh.logs());
}

async fn events(streaming: tokio::task::JoinHandle<Answer>) -> Vec<Frame> {
    frames(&streaming.await.expect("curl ended").body)
}

fn last(events: &[Frame]) -> &str {
    events.last().map_or("", |frame| frame.event.as_str())
}

async fn still_works(mesh: &Mesh, session: &str) {
    let answer = mesh
        .post(&format!("{session}/message"), r#"{"content": "rehearse 2 tokens", "stream": false}"#)
        .await;
    assert_eq!(answer.json()["status"], "completed", "{}", answer.body);
}

async fn put(mesh: &Mesh, path: &str, body: &str) -> Answer {
    let url = format!("{}{path}", mesh.gateway());
    curl(["-X", "PUT", &url, "-H", "Content-Type: application/json", "-d", body]).await
}

async fn state_can_change_while_a_turn_runs(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let turn = begin(&mesh, &session, r#"{"content": "rehearse 60 tokens"}"#).await;
    let changed = put(&mesh, &format!("{session}/state"), r#"{"data": {"mood": "good"}}"#).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(last(&events(turn).await), "turn_completed");
    assert_eq!(mesh.get(&format!("{session}/state")).await.json()["data"]["mood"], "good");
    let etag = changed.json()["etag"].as_str().expect("an etag").to_owned();
    let again =
        put(&mesh, &format!("{session}/state"), &format!(r#"{{"data": {{}}, "etag": "{etag}"}}"#))
            .await;
    assert_eq!(again.status, 200, "{}", again.body);
    let stale =
        put(&mesh, &format!("{session}/state"), &format!(r#"{{"data": {{}}, "etag": "{etag}"}}"#))
            .await;
    assert_eq!((stale.status, stale.reason().as_str()), (409, "ETAG_MISMATCH"), "{}", stale.body);
    still_works(&mesh, &session).await;
}

async fn guidance_reaches_the_open_turn(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let turn = begin(&mesh, &session, r#"{"content": "rehearse 60 tokens"}"#).await;
    let body = r#"{"content": "use the calculator to add 1 and 2", "busy_policy": "steer"}"#;
    let steered = frames(&mesh.post(&format!("{session}/message"), body).await.body);
    assert_eq!(steered.first().map(|frame| frame.event.as_str()), Some("message_steered"));
    let events = events(turn).await;
    assert_eq!((last(&events), last(&steered)), ("turn_completed", "turn_completed"));
    assert_eq!(events.iter().filter(|frame| frame.event == "turn_started").count(), 1);
    let result = events
        .iter()
        .find(|frame| frame.event == "tool_result")
        .expect("the guidance was followed");
    assert_eq!(result.data["result"]["result"], 3);
}

async fn another_message_may_interrupt_or_be_refused(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let turn = begin(&mesh, &session, r#"{"content": "rehearse 1000 tokens"}"#).await;
    let path = format!("{session}/message");
    let refused =
        mesh.post(&path, r#"{"content": "rehearse 2 tokens", "busy_policy": "reject"}"#).await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "TURN_OPEN"), "{}", refused.body);
    let answered =
        mesh.post(&path, r#"{"content": "rehearse 2 tokens", "busy_policy": "interrupt"}"#).await;
    assert_eq!(last(&frames(&answered.body)), "turn_completed", "{}", answered.body);
    assert_eq!(last(&events(turn).await), "turn_cancelled");
}

async fn a_turn_has_its_time(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let body = r#"{"content": "rehearse 1000 tokens", "turn_timeout": "1s"}"#;
    let events = frames(&mesh.post(&format!("{session}/message"), body).await.body);
    let end = events.last().expect("an event");
    assert_eq!(
        (end.event.as_str(), end.data["reason"].as_str()),
        ("turn_failed", Some("TURN_TIMEOUT"))
    );
    still_works(&mesh, &session).await;
}

async fn a_paused_session_takes_no_messages(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let paused = mesh.post(&format!("{session}/pause"), "{}").await;
    assert_eq!(paused.json()["status"], "paused", "{}", paused.body);
    let refused = mesh.post(&format!("{session}/message"), r#"{"content": "hello"}"#).await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (400, "SESSION_PAUSED"),
        "{}",
        refused.body
    );
    let resumed = mesh.post(&format!("{session}/resume"), "{}").await;
    assert_eq!(resumed.json()["status"], "active", "{}", resumed.body);
    still_works(&mesh, &session).await;
}

async fn an_ending_session_ends_its_turn(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let turn = begin(&mesh, &session, r#"{"content": "rehearse 1000 tokens"}"#).await;
    let ended = curl(["-X", "DELETE", &format!("{}{session}", mesh.gateway())]).await;
    assert_eq!(
        (ended.status, ended.json()["status"].as_str()),
        (200, Some("ended")),
        "{}",
        ended.body
    );
    assert_eq!(last(&events(turn).await), "turn_cancelled");
    let refused = mesh.post(&format!("{session}/message"), r#"{"content": "hello"}"#).await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (400, "SESSION_ENDED"),
        "{}",
        refused.body
    );
    let history = mesh.get(&format!("{session}/history")).await;
    assert_eq!(history.status, 200, "what happened stays readable");
}

async fn a_deleted_session_is_gone(topology: Topology) {
    let (mesh, session) = start(topology).await;
    still_works(&mesh, &session).await;
    let deleted = curl(["-X", "DELETE", &format!("{}{session}/data", mesh.gateway())]).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    for path in ["", "/history", "/state", "/events"] {
        assert_eq!(mesh.get(&format!("{session}{path}")).await.status, 404, "{path}");
    }
}

async fn the_same_request_is_the_same_message(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let path = format!("{session}/message");
    let body = r#"{"content": "rehearse 3 tokens", "request_id": "r1", "stream": false}"#;
    let (first, second) =
        (mesh.post(&path, body).await.json(), mesh.post(&path, body).await.json());
    assert_eq!(
        (&first["message_id"], &first["response"]),
        (&second["message_id"], &second["response"])
    );
    assert_eq!(mesh.get(&session).await.json()["message_count"], 2);
    let other = mesh.post(&path, r#"{"content": "something else", "request_id": "r1"}"#).await;
    assert_eq!(
        (other.status, other.reason().as_str()),
        (409, "REQUEST_ID_REUSED"),
        "{}",
        other.body
    );
}

async fn history_can_be_truncated(topology: Topology) {
    let (mesh, session) = start(topology).await;
    still_works(&mesh, &session).await;
    let truncated = mesh.post(&format!("{session}/history/truncate"), "{}").await;
    assert_eq!(truncated.json()["removed_messages"], 2, "{}", truncated.body);
    assert_eq!(mesh.get(&session).await.json()["message_count"], 0);
    still_works(&mesh, &session).await;
}

async fn a_fork_goes_on_from_where_its_parent_was(topology: Topology) {
    let (mesh, session) = start(topology).await;
    still_works(&mesh, &session).await;
    let before = mesh.get(&format!("{session}/history")).await.json()["messages"].clone();
    let head = mesh.get(&session).await.json()["head_sequence"].clone();
    let turn = begin(&mesh, &session, r#"{"content": "rehearse 60 tokens"}"#).await;
    let forked = mesh.post(&format!("{session}/fork"), r#"{"metadata": {"title": "other"}}"#).await;
    assert_eq!(forked.status, 200, "{}", forked.body);
    let info = forked.json();
    assert_eq!((&info["head_sequence"], &info["status"]), (&head, &"active".into()));
    assert_eq!(info["metadata"]["title"], "other");
    let fork = format!("/agent/session/{}", info["session_id"].as_str().expect("an id"));
    assert_eq!(mesh.get(&format!("{fork}/history")).await.json()["messages"], before);
    still_works(&mesh, &fork).await;
    assert_eq!(last(&events(turn).await), "turn_completed");
    still_works(&mesh, &session).await;
    let deleted = curl(["-X", "DELETE", &format!("{}{session}/data", mesh.gateway())]).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    still_works(&mesh, &fork).await;
    let beyond = mesh.post(&format!("{fork}/fork"), r#"{"sequence": 99999}"#).await;
    assert_eq!((beyond.status, beyond.reason().as_str()), (400, "BEYOND_HEAD"), "{}", beyond.body);
}

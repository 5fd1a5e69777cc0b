//! SIGKILL before, during and after an answer: nothing that was seen is lost, repeated or reordered.

use std::time::Duration;

use cortex_e2e::{Frame, Mesh, Options, Topology, curl, frames, in_both_topologies};

in_both_topologies!(
    a_turn_that_is_cut_is_taken_up_again,
    a_message_that_nobody_answered_yet_is_answered,
    what_was_answered_is_there_after_a_crash,
    a_tool_that_runs_through_a_crash_has_one_result,
);

const TOKENS: usize = 200;

fn slow() -> Options {
    Options::default().env("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", "10ms")
}

async fn a_turn_that_is_cut_is_taken_up_again(topology: Topology) {
    let mut mesh = Mesh::start(topology, slow()).await;
    let session = mesh.session("assistant").await;
    let path = format!("/agent/session/{session}/message");
    let body = format!(r#"{{"content": "rehearse {TOKENS} tokens", "request_id": "once"}}"#);
    let url = format!("{}{path}", mesh.gateway());
    let arguments = ["-X", "POST", &url, "-H", "Content-Type: application/json", "-d", &body]
        .map(str::to_owned);
    let streaming = tokio::spawn(curl(arguments));
    wait_for_text(&mesh, &session).await;
    mesh.kill();
    let mut cut = frames(&streaming.await.expect("curl ended").body);
    // What died first may be told of by what died last; that is no event of the session.
    cut.retain(|frame| frame.event != "error");
    assert!(
        cut.iter().any(|frame| frame.event == "content_delta"),
        "it was cut while it streamed: {cut:?}"
    );
    assert!(cut.iter().all(|frame| frame.event != "turn_completed"));
    mesh.restart().await;

    let last = cut.last().expect("an event").id;
    let rest = resume(&mesh, &session, last).await;
    let all: Vec<Frame> = cut.iter().cloned().chain(rest).collect();
    assert_one_whole_turn(&all);
    let replayed =
        frames(&mesh.get(&format!("/agent/session/{session}/events?replay_only=true")).await.body);
    assert_eq!(all, replayed, "what was seen in two pieces is what the journal says");

    // The same POST, resumed by its request id, is the same message.
    let resumed = curl([
        "-X",
        "POST",
        &format!("{}{path}", mesh.gateway()),
        "-H",
        "Content-Type: application/json",
        "-H",
        &format!("Last-Event-ID: {last}"),
        "-d",
        &body,
    ])
    .await;
    assert_eq!(frames(&resumed.body), replayed[cut.len()..]);
}

async fn a_message_that_nobody_answered_yet_is_answered(topology: Topology) {
    let mut mesh = Mesh::start(topology, slow()).await;
    let session = mesh.session("assistant").await;
    let path = format!("/agent/session/{session}/messages");
    let accepted =
        mesh.post(&path, r#"{"content": "rehearse 20 tokens", "return_immediately": true}"#).await;
    assert_eq!(accepted.json()["status"], "accepted", "{}", accepted.body);
    mesh.kill();
    mesh.restart().await;
    let events = resume(&mesh, &session, 0).await;
    assert_one_whole_turn(&events);
}

async fn what_was_answered_is_there_after_a_crash(topology: Topology) {
    let mut mesh = Mesh::start(topology, Options::default()).await;
    let session = mesh.session("assistant").await;
    let path = format!("/agent/session/{session}/message");
    let streamed = frames(&mesh.post(&path, r#"{"content": "rehearse 50 tokens"}"#).await.body);
    assert_eq!(streamed.last().map(|frame| frame.event.as_str()), Some("turn_completed"));
    let history = mesh.get(&format!("/agent/session/{session}/history")).await.body;
    mesh.kill();
    mesh.restart().await;
    assert_eq!(mesh.get(&format!("/agent/session/{session}/history")).await.body, history);
    let replayed = mesh.get(&format!("/agent/session/{session}/events?replay_only=true")).await;
    assert_eq!(frames(&replayed.body), streamed);
    let again = mesh.post(&path, r#"{"content": "rehearse 2 tokens", "stream": false}"#).await;
    assert_eq!(again.json()["status"], "completed");
}

/// The process dies between the intent and the result of a call, at several points.
async fn a_tool_that_runs_through_a_crash_has_one_result(topology: Topology) {
    let mut mesh = Mesh::start(topology, Options::default()).await;
    for delay in [0, 15, 40, 90, 200] {
        let session = mesh.session("assistant").await;
        let path = format!("/agent/session/{session}/messages");
        let message =
            r#"{"content": "use the calculator to multiply 6 by 7", "return_immediately": true}"#;
        assert_eq!(mesh.post(&path, message).await.json()["status"], "accepted");
        tokio::time::sleep(Duration::from_millis(delay)).await;
        mesh.kill();
        mesh.restart().await;
        let events = resume(&mesh, &session, 0).await;
        assert_eq!(
            events.last().map(|frame| frame.event.as_str()),
            Some("turn_completed"),
            "{events:?}"
        );
        let history = mesh.get(&format!("/agent/session/{session}/history?limit=100")).await.json();
        let messages = history["messages"].as_array().expect("messages");
        let calls: Vec<&str> = messages
            .iter()
            .flat_map(|message| message["tool_calls"].as_array().into_iter().flatten())
            .filter_map(|call| call["call_id"].as_str())
            .collect();
        let results: Vec<&str> = messages
            .iter()
            .filter(|m| m["role"] == "tool")
            .filter_map(|m| m["call_id"].as_str())
            .collect();
        assert_eq!(calls, results, "every call has exactly one result after {delay} ms: {history}");
        assert!(!calls.is_empty(), "{history}");
    }
}

/// Kills of the short form; `make prove` does many more.
const SHORT: usize = 6;
/// Kills of the long form.
const LONG: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_change_nothing_that_was_seen() {
    kill_at_random(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make prove"]
async fn many_kills_at_random_moments_change_nothing_that_was_seen() {
    kill_at_random(LONG).await;
}

/// Each round a message is accepted, the process dies at a random moment of its turn, and comes back.
async fn kill_at_random(kills: usize) {
    let options = Options::default().env("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", "3ms");
    let mut mesh = Mesh::start(Topology::OneProcess, options).await;
    let session = mesh.session("assistant").await;
    let mut seen: Vec<Frame> = Vec::new();
    let mut slowest = Duration::ZERO;
    for round in 1..=kills {
        let path = format!("/agent/session/{session}/messages");
        let content = ["rehearse 60 tokens", "use the calculator to multiply 6 by 7"][round % 2];
        let body = format!(
            r#"{{"content": "{content}", "request_id": "round-{round}", "return_immediately": true}}"#
        );
        assert_eq!(mesh.post(&path, &body).await.json()["status"], "accepted", "round {round}");
        tokio::time::sleep(Duration::from_millis(rand::random::<u64>() % 300)).await;
        mesh.kill();
        slowest = slowest.max(mesh.restart().await);
        // The reply to the first may be lost: the client says it again, and it is the same message.
        assert_eq!(mesh.post(&path, &body).await.json()["status"], "accepted", "round {round}");
        let after = seen.last().map_or(0, |frame| frame.id);
        seen.extend(resume(&mesh, &session, after).await);
        assert_rounds(&seen, round);
    }
    let path = format!("/agent/session/{session}/events?replay_only=true");
    assert_eq!(
        frames(&mesh.get(&path).await.body),
        seen,
        "what was seen in pieces is what is there"
    );
    eprintln!("{kills} kills; the slowest start to readiness took {slowest:?}");
}

/// As many turns as rounds, each begun and ended once, every call with one result.
fn assert_rounds(events: &[Frame], rounds: usize) {
    let ids: Vec<i64> = events.iter().map(|frame| frame.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    let count = |name: &str| events.iter().filter(|frame| frame.event == name).count();
    assert_eq!((count("turn_started"), count("turn_completed")), (rounds, rounds));
    let called = |frame: &&Frame| frame.event == "tool_call" && !frame.data["completed"].is_null();
    assert_eq!(
        events.iter().filter(called).count(),
        count("tool_result"),
        "every call has one result"
    );
}

/// Waits until some text of the answer is in the journal.
async fn wait_for_text(mesh: &Mesh, session: &str) {
    let path = format!("/agent/session/{session}/events?replay_only=true");
    for _ in 0..400 {
        let pieces = mesh.get(&path).await.body.matches("event: content_delta").count();
        if pieces >= 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no text came\n{}", mesh.logs());
}

/// Everything after a sequence until the turn's end, as a client that reconnects sees it.
async fn resume(mesh: &Mesh, session: &str, after: i64) -> Vec<Frame> {
    let url = format!("{}/agent/session/{session}/events?replay_only=true", mesh.gateway());
    for _ in 0..600 {
        let seen = frames(&curl(["-H", &format!("Last-Event-ID: {after}"), &url]).await.body);
        if seen
            .last()
            .is_some_and(|frame| frame.event.starts_with("turn_c") || frame.event == "turn_failed")
        {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the turn does not end\n{}", mesh.logs());
}

/// Each event once and in order; one turn; the text that stands is whole.
fn assert_one_whole_turn(events: &[Frame]) {
    let ids: Vec<i64> = events.iter().map(|frame| frame.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    let count = |name: &str| events.iter().filter(|frame| frame.event == name).count();
    assert_eq!((count("turn_started"), count("turn_completed")), (1, 1));
    let last_attempt = events.iter().filter_map(|frame| frame.data["attempt"].as_i64()).max();
    let text: String = events
        .iter()
        .filter(|frame| {
            frame.event == "content_delta" && frame.data["attempt"].as_i64() == last_attempt
        })
        .filter_map(|frame| frame.data["text"].as_str())
        .collect();
    assert!(!text.is_empty());
    let restarted: Vec<i64> = events
        .iter()
        .filter(|frame| frame.event == "attempt_restarted")
        .filter_map(|frame| frame.data["attempt"].as_i64())
        .collect();
    assert!(
        !restarted.contains(&last_attempt.unwrap_or_default()),
        "the answer that stands is not void"
    );
}

//! A real third-party upstream in good and bad moods: each ends in the right events, never in a hang
//! or a truncated success.

use cortex_e2e::{Frame, Mesh, Options, Topology, Upstream, frames, in_both_topologies};

use crate::fixtures;

in_both_topologies!(
    streamed_text_and_a_fragmented_call,
    a_rate_limited_upstream,
    an_upstream_that_cuts_its_streams,
);

const FIXTURES: &str = r#"{"fixtures":[
    {"match":{"userMessage":"multiply","hasToolResult":false},
     "response":{"content":"Let me see.","toolCalls":[{"name":"calculator","arguments":"{\"operation\":\"multiply\",\"a\":6,\"b\":7}"}]}},
    {"match":{"userMessage":"multiply","hasToolResult":true},"response":{"content":"It is 42, as everybody knows by now."}},
    {"match":{"userMessage":"hello"},"response":{"content":"Hello to you too, with a few more words so that there is something to cut."}}]}"#;

async fn start(topology: Topology, upstream: &Upstream) -> (Mesh, String) {
    let calculator = include_str!("../../../manifests/tools/calculator/tool.yml");
    let manifests = fixtures::manifests(&[
        (
            "agents/asker/agent.yml",
            &fixtures::agent("asker", "{provider: openai, model: gpt-4o-mini}", &["calculator"]),
        ),
        ("agents/asker/prompt.md", "You ask."),
        ("tools/calculator/tool.yml", calculator),
    ]);
    let options = Options::default()
        .manifests(manifests.path())
        .env("OPENAI_BASE_URL", upstream.base_url())
        .env("OPENAI_API_KEY", "sk-test");
    let mesh = Mesh::start(topology, options).await;
    let session = mesh.session("asker").await;
    (mesh, session)
}

async fn say(mesh: &Mesh, session: &str, content: &str) -> Vec<Frame> {
    let body = format!(r#"{{"content": "{content}"}}"#);
    let answer = mesh.post(&format!("/agent/session/{session}/message"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    frames(&answer.body)
}

/// The text of the attempt that stands.
fn text(events: &[Frame]) -> String {
    let void: Vec<&serde_json::Value> = events
        .iter()
        .filter(|frame| frame.event == "attempt_restarted")
        .map(|frame| &frame.data["attempt"])
        .collect();
    let stands =
        |frame: &&Frame| frame.event == "content_delta" && !void.contains(&&frame.data["attempt"]);
    events.iter().filter(stands).filter_map(|frame| frame.data["text"].as_str()).collect()
}

async fn streamed_text_and_a_fragmented_call(topology: Topology) {
    let upstream = Upstream::start(FIXTURES, &["-c", "4"]).await;
    let (mesh, session) = start(topology, &upstream).await;
    let events = say(&mesh, &session, "please multiply").await;
    let result = events.iter().find(|frame| frame.event == "tool_result").expect("a result");
    assert_eq!(result.data["result"]["result"], 42, "{}", result.data);
    assert!(text(&events).contains("It is 42, as everybody knows by now."), "{}", text(&events));
    let last = events.last().expect("an event");
    assert_eq!(
        (last.event.as_str(), last.data["iterations"].as_i64()),
        ("turn_completed", Some(2))
    );
}

async fn a_rate_limited_upstream(topology: Topology) {
    let upstream = Upstream::start(FIXTURES, &["--chaos-ratelimit", "1"]).await;
    let (mesh, session) = start(topology, &upstream).await;
    let events = say(&mesh, &session, "hello").await;
    let last = events.last().expect("an event");
    assert_eq!(last.event, "turn_failed", "{events:?}");
    assert_eq!(last.data["reason"], "PROVIDER_RATE_LIMITED", "{}", last.data);
    assert_eq!(last.data["code"], "RESOURCE_EXHAUSTED");
    let path = format!("/agent/session/{session}/message");
    let once = mesh.post(&path, r#"{"content": "hello", "stream": false}"#).await;
    assert_eq!(
        (once.status, once.reason().as_str()),
        (429, "PROVIDER_RATE_LIMITED"),
        "{}",
        once.body
    );
}

/// Every stream is cut at a random place: an answer is whole, or the turn says that it failed.
async fn an_upstream_that_cuts_its_streams(topology: Topology) {
    let upstream = Upstream::start(FIXTURES, &["-c", "4", "--chaos-disconnect", "0.7"]).await;
    let (mesh, session) = start(topology, &upstream).await;
    let mut ends = Vec::new();
    for _ in 0..6 {
        let events = say(&mesh, &session, "hello").await;
        let last = events.last().expect("an event");
        match last.event.as_str() {
            "turn_completed" => {
                let whole =
                    "Hello to you too, with a few more words so that there is something to cut.";
                assert_eq!(text(&events), whole, "never a truncated success");
            }
            "turn_failed" => {
                assert_eq!(text(&events), "", "what a failed turn said is void: {events:?}")
            }
            other => panic!("a turn ends in {other}"),
        }
        ends.push(last.event.clone());
    }
    let history = mesh.get(&format!("/agent/session/{session}/history")).await;
    assert_eq!(history.status, 200, "{ends:?}");
}

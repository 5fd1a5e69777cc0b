//! The main job: an agent answers a message, its tokens stream, its tool runs in a container.

use cortex_e2e::{Answer, Mesh, Options, Topology, curl, frames, in_both_topologies};
use cortex_proto::cortex::agent::v1::{
    CreateSessionRequest, SendMessageRequest, SessionEvent, session_event::Event,
    session_service_client::SessionServiceClient, turn_service_client::TurnServiceClient,
};

const MULTIPLY: &str = "use the calculator to multiply 6 by 7";

in_both_topologies!(
    a_message_streams_over_grpc,
    the_specified_curl_examples_work,
    a_message_streams_over_sse,
    two_messages_at_once_are_answered_in_order,
    a_turn_is_cancelled,
);

async fn a_message_streams_over_grpc(topology: Topology) {
    let mesh = Mesh::start(topology, Options::default()).await;
    let transport = mesh.transport(8085);
    let request = CreateSessionRequest { agent_name: "assistant".into(), ..Default::default() };
    let session = SessionServiceClient::new(transport.clone())
        .create_session(request)
        .await
        .expect("a session")
        .into_inner()
        .session
        .expect("a session");
    let request = SendMessageRequest {
        session_id: session.session_id,
        content: MULTIPLY.into(),
        ..Default::default()
    };
    let mut stream = TurnServiceClient::new(transport)
        .send_message(request)
        .await
        .expect("a stream")
        .into_inner();
    let mut events = Vec::new();
    while let Some(answer) = stream.message().await.expect("no error in the stream") {
        events.push(answer.event.expect("an event"));
    }
    assert_gapless_order(&events);
    let result = events.iter().find_map(|event| match &event.event {
        Some(Event::ToolResult(result)) => Some(result.result.clone()),
        _ => None,
    });
    assert_eq!(result.as_deref(), Some(r#"{"success":true,"result":42}"#));
    assert!(answer_text(&events).contains("42"), "{}", answer_text(&events));
    assert!(matches!(events.last().and_then(|e| e.event.as_ref()), Some(Event::TurnCompleted(_))));
}

fn assert_gapless_order(events: &[SessionEvent]) {
    let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{sequences:?}");
    assert!(sequences.first().is_some_and(|first| *first > 0), "{sequences:?}");
}

fn answer_text(events: &[SessionEvent]) -> String {
    let text = events.iter().filter_map(|event| match &event.event {
        Some(Event::ContentDelta(delta)) => Some(delta.text.as_str()),
        _ => None,
    });
    text.collect()
}

/// The examples of the specification, word for word but for the host's port.
async fn the_specified_curl_examples_work(topology: Topology) {
    let mesh = Mesh::start(topology, Options::default()).await;
    for port in [8085, 8080] {
        let url = mesh.url(port);
        let created = curl([
            "-X", "POST", &format!("{url}/agent/research_orchestrator/session"),
            "-H", "Content-Type: application/json",
            "-d", "{\n    \"user_id\": \"user_123\",\n    \"initial_state\": {},\n    \"metadata\": {\"source\": \"cli\"}\n  }",
        ])
        .await;
        assert_eq!(created.status, 200, "{}", created.body);
        let created = created.json();
        assert_eq!(created["user_id"], "user_123");
        assert_eq!(created["status"], "active");
        assert_eq!(created["metadata"]["source"], "cli");
        let session = created["session_id"].as_str().expect("an id").to_owned();
        let session = format!("{url}/agent/session/{session}");

        let streamed = curl([
            "-X",
            "POST",
            &format!("{session}/message"),
            "-H",
            "Content-Type: application/json",
            "-d",
            "{\n    \"content\": \"What is quantum computing?\",\n    \"stream\": true\n  }",
            "--no-buffer",
        ])
        .await;
        assert_eq!(streamed.status, 200, "{}", streamed.body);
        assert_is_sse(&streamed);
        let events = frames(&streamed.body);
        assert_eq!(events.last().map(|frame| frame.event.as_str()), Some("turn_completed"));

        let history = curl([format!("{session}/history")]).await.json();
        let roles: Vec<&str> = history["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .filter_map(|m| m["role"].as_str())
            .collect();
        assert_eq!(roles, ["user", "assistant"]);
        assert_eq!(history["messages"][0]["content"], "What is quantum computing?");

        let ended = curl(["-X", "DELETE", session.as_str()]).await;
        assert_eq!((ended.status, ended.json()["status"].as_str()), (200, Some("ended")));
        assert_eq!(curl([session]).await.json()["status"], "ended");
    }
}

fn assert_is_sse(answer: &Answer) {
    let is_sse = |line: &String| line.starts_with("content-type: text/event-stream");
    assert!(answer.headers.iter().any(is_sse), "{:?}", answer.headers);
    assert!(answer.body.starts_with("retry: 1000\n"), "{}", answer.body);
}

async fn a_message_streams_over_sse(topology: Topology) {
    let mesh = Mesh::start(topology, Options::default()).await;
    let session = mesh.session("assistant").await;
    let path = format!("/agent/session/{session}/message");
    let streamed = mesh.post(&path, &format!("{{\"content\": \"{MULTIPLY}\"}}")).await;
    assert_is_sse(&streamed);
    let events = frames(&streamed.body);
    let ids: Vec<i64> = events.iter().map(|frame| frame.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    let result = events.iter().find(|frame| frame.event == "tool_result").expect("a result");
    assert_eq!(result.data["result"]["result"], 42);

    let once = mesh
        .post(&path, &format!("{{\"content\": \"{MULTIPLY}\", \"stream\": false}}"))
        .await
        .json();
    assert!(once["response"].as_str().expect("text").contains("42"), "{once}");
    assert_eq!(once["session_id"], session.as_str());
    assert_eq!(once["status"], "completed");
    let types: Vec<&str> = once["chunks"]
        .as_array()
        .expect("chunks")
        .iter()
        .filter_map(|c| c["type"].as_str())
        .collect();
    assert_eq!(types, ["tool_call", "tool_result", "content", "done"]);

    let replayed = mesh.get(&format!("/agent/session/{session}/events?replay_only=true")).await;
    let replayed = frames(&replayed.body);
    assert_eq!(replayed[..events.len()], events[..], "a replay is what was streamed");
    let middle = events[events.len() / 2].id;
    let url = format!("{}/agent/session/{session}/events?replay_only=true", mesh.gateway());
    let resumed = curl(["-H", &format!("Last-Event-ID: {middle}"), &url]).await;
    assert_eq!(frames(&resumed.body).first().map(|frame| frame.id > middle), Some(true));
    assert_eq!(frames(&resumed.body)[..], replayed[events.len() / 2 + 1..]);

    mesh_end(&mesh, &session).await;
    let last = frames(&mesh.get(&format!("/agent/session/{session}/events")).await.body);
    let last = last.last().expect("an event").id;
    let after =
        curl(["-H", &format!("Last-Event-ID: {last}"), &url.replace("?replay_only=true", "")])
            .await;
    assert_eq!(after.status, 204, "nothing can follow: {}", after.body);
    let beyond = curl(["-H", "Last-Event-ID: 99999", &url]).await;
    assert_eq!((beyond.status, beyond.reason().as_str()), (400, "BEYOND_HEAD"));
}

async fn mesh_end(mesh: &Mesh, session: &str) {
    let ended =
        curl(["-X", "DELETE", &format!("{}/agent/session/{session}", mesh.gateway())]).await;
    assert_eq!(ended.status, 200, "{}", ended.body);
}

async fn two_messages_at_once_are_answered_in_order(topology: Topology) {
    let options = Options::default().env("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", "10ms");
    let mesh = Mesh::start(topology, options).await;
    let session = mesh.session("assistant").await;
    let path = format!("/agent/session/{session}/message");
    let (first, second) = tokio::join!(
        mesh.post(&path, r#"{"content": "rehearse 40 tokens"}"#),
        mesh.post(&path, r#"{"content": "rehearse 5 tokens"}"#),
    );
    for answer in [&first, &second] {
        let events = frames(&answer.body);
        assert_eq!(
            events.last().map(|frame| frame.event.as_str()),
            Some("turn_completed"),
            "{}",
            answer.body
        );
        assert_eq!(events.iter().filter(|frame| frame.event == "turn_started").count(), 1);
    }
    let queued = [&first, &second]
        .iter()
        .filter(|answer| answer.body.contains("event: message_queued"))
        .count();
    assert_eq!(queued, 1, "one of the two waits");
    let history = mesh.get(&format!("/agent/session/{session}/history")).await.json();
    let roles: Vec<&str> = history["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|m| m["role"].as_str())
        .collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
}

async fn a_turn_is_cancelled(topology: Topology) {
    let options = Options::default().env("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", "50ms");
    let mesh = Mesh::start(topology, options).await;
    let session = mesh.session("assistant").await;
    let message = format!("/agent/session/{session}/message");
    let cancel = format!("/agent/session/{session}/cancel");
    let (streamed, cancelled) =
        tokio::join!(mesh.post(&message, r#"{"content": "rehearse 1000 tokens"}"#), async {
            while mesh.get(&format!("/agent/session/{session}")).await.json()["open_turn_id"] == ""
            {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let asked = std::time::Instant::now();
            (mesh.post(&cancel, r#"{"reason": "enough"}"#).await, asked)
        });
    let took = cancelled.1.elapsed();
    assert_eq!(cancelled.0.status, 200, "{}", cancelled.0.body);
    let events = frames(&streamed.body);
    let last = events.last().expect("an event");
    assert_eq!(
        (last.event.as_str(), last.data["reason"].as_str()),
        ("turn_cancelled", Some("enough"))
    );
    assert!(took < std::time::Duration::from_secs(3), "a cancel reaches everything soon: {took:?}");
    let again = mesh.post(&message, r#"{"content": "rehearse 2 tokens", "stream": false}"#).await;
    assert_eq!(again.json()["status"], "completed", "a session can always take another message");
    let idle = mesh.post(&cancel, "{}").await;
    assert_eq!((idle.status, idle.reason().as_str()), (400, "TURN_NOT_OPEN"));
}

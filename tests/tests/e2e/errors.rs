//! What goes wrong is said precisely, in gRPC and in JSON, and loses nothing.

use cortex_e2e::{Mesh, Options, Topology, curl, in_both_topologies};
use cortex_proto::cortex::agent::v1::{
    CreateSessionRequest, GetSessionRequest, SubmitMessageRequest,
    session_service_client::SessionServiceClient, turn_service_client::TurnServiceClient,
};
use tonic::Code;

use crate::fixtures;

in_both_topologies!(
    an_absent_engine_is_named,
    a_slow_tool_times_out,
    an_unknown_model_is_named,
    a_broken_manifest_is_located,
    unknown_things_are_not_found,
    other_origins_are_refused,
);

async fn an_absent_engine_is_named(topology: Topology) {
    let options = Options::default().env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let mesh = Mesh::start(topology, options).await;
    let session = mesh.session("assistant").await;
    let path = format!("/agent/session/{session}/message");
    let body = r#"{"content": "use the calculator to multiply 6 by 7", "stream": false}"#;
    let answer = mesh.post(&path, body).await;
    assert_eq!(answer.status, 200, "the turn itself goes on: {}", answer.body);
    let chunks = answer.json()["chunks"].clone();
    let result = chunks
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "tool_result")
        .expect("a result");
    let error = result["data"]["error"].as_str().expect("an error");
    assert!(error.contains("/nonexistent/docker.sock"), "{error}");

    let direct = mesh
        .post("/containers/tool/execute", &format!(r#"{{"tool_name": "calculator", "session_id": "{session}", "parameters": {{"operation": "add", "a": 1, "b": 2}}}}"#))
        .await;
    assert_eq!(
        (direct.status, direct.reason().as_str()),
        (503, "ENGINE_UNAVAILABLE"),
        "{}",
        direct.body
    );
}

async fn a_slow_tool_times_out(topology: Topology) {
    let manifests = fixtures::manifests(&[
        (
            "agents/sleeper/agent.yml",
            &fixtures::agent("sleeper", "{provider: rehearsal, model: rehearsal}", &["sleepy"]),
        ),
        ("agents/sleeper/prompt.md", "You sleep."),
        ("tools/sleepy/tool.yml", &fixtures::python_tool("sleepy", 1)),
        ("tools/sleepy/main.py", "import time\ntime.sleep(60)\n"),
    ]);
    let mesh = Mesh::start(topology, Options::default().manifests(manifests.path())).await;
    let session = mesh.session("sleeper").await;
    let path = format!("/agent/session/{session}/message");
    let answer =
        mesh.post(&path, r#"{"content": "use the sleepy tool with 5", "stream": false}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let events = mesh.get(&format!("/agent/session/{session}/events?replay_only=true")).await.body;
    let result = cortex_e2e::frames(&events)
        .into_iter()
        .find(|f| f.event == "tool_result")
        .expect("a result");
    assert_eq!(result.data["outcome"], "timed_out", "{}", result.data);
    assert!(
        result.data["error"]
            .as_str()
            .is_some_and(|error| error.contains("1s") || error.contains("1 s")),
        "{}",
        result.data
    );
}

async fn an_unknown_model_is_named(topology: Topology) {
    let manifests = fixtures::manifests(&[
        (
            "agents/lost/agent.yml",
            &fixtures::agent("lost", "{provider: openai, model: gpt-99}", &[]),
        ),
        ("agents/lost/prompt.md", "You are lost."),
    ]);
    let mesh = Mesh::start(topology, Options::default().manifests(manifests.path())).await;
    let session = mesh.session("lost").await;
    let path = format!("/agent/session/{session}/message");
    let answer = mesh.post(&path, r#"{"content": "hello", "stream": false}"#).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(answer.reason(), "PROVIDER_NOT_CONFIGURED");
    let message = answer.json()["error"]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("openai") && message.contains("OPENAI_API_KEY"), "{message}");

    let streamed = cortex_e2e::frames(&mesh.post(&path, r#"{"content": "hello"}"#).await.body);
    let last = streamed.last().expect("an event");
    assert_eq!(
        (last.event.as_str(), last.data["reason"].as_str()),
        ("turn_failed", Some("PROVIDER_NOT_CONFIGURED"))
    );

    let request =
        SubmitMessageRequest { session_id: session, content: "hello".into(), ..Default::default() };
    let status = TurnServiceClient::new(mesh.transport(8085))
        .submit_message(request)
        .await
        .expect_err("no model");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(cortex_rpc::reason(&status).as_deref(), Some("PROVIDER_NOT_CONFIGURED"));
}

async fn a_broken_manifest_is_located(topology: Topology) {
    let broken = fixtures::agent("broken", "{provider: rehearsal}", &[])
        .replace("kind: Agent", "kind: Agnet");
    let manifests = fixtures::manifests(&[
        (
            "agents/fine/agent.yml",
            &fixtures::agent("fine", "{provider: rehearsal, model: rehearsal}", &[]),
        ),
        ("agents/fine/prompt.md", "You are fine."),
        ("agents/broken/agent.yml", &broken),
        ("agents/torn/agent.yml", "kind: Agent\nname: torn\n  version: [\n"),
    ]);
    let mesh = Mesh::start(topology, Options::default().manifests(manifests.path())).await;
    let status = mesh.get("/registry/status").await.json();
    let diagnostics = status["diagnostics"].as_array().expect("diagnostics").clone();
    for (file, line) in [("agents/broken/agent.yml", 1), ("agents/torn/agent.yml", 3)] {
        let found = diagnostics
            .iter()
            .any(|d| d["file"] == file && d["line"] == line && d["severity"] == "error");
        assert!(found, "{file}:{line} is not in {diagnostics:#?}");
    }
    let answered = mesh.session("fine").await;
    assert!(answered.starts_with("session_"), "the others still work");
    let refused = mesh.post("/agent/torn/session", "{}").await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "MANIFEST_INVALID"));
    assert!(refused.body.contains("agents/torn/agent.yml:3:"), "{}", refused.body);
}

async fn unknown_things_are_not_found(topology: Topology) {
    let mesh = Mesh::start(topology, Options::default()).await;
    let agent = mesh.post("/agent/asistant/session", "{}").await;
    assert_eq!((agent.status, agent.reason().as_str()), (404, "AGENT_NOT_FOUND"), "{}", agent.body);
    let unknown = "session_00000000000000000000000000000000";
    let session = mesh.get(&format!("/agent/session/{unknown}")).await;
    assert_eq!((session.status, session.reason().as_str()), (404, "SESSION_NOT_FOUND"));
    let nowhere = mesh.get("/agnet/session").await;
    assert_eq!(nowhere.status, 404);
    let wrong_method = mesh.get("/agent/assistant/session").await;
    assert_eq!(wrong_method.status, 405);
    let bad = mesh.post(&format!("/agent/session/{unknown}/message"), r#"{"contnet": "x"}"#).await;
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("contnet"), "the field is named: {}", bad.body);
    let torn = mesh.post("/agent/assistant/session", r#"{"user_id": }"#).await;
    assert_eq!(torn.status, 400, "{}", torn.body);

    let transport = mesh.transport(8080);
    let request = GetSessionRequest { session_id: unknown.into() };
    let status = SessionServiceClient::new(transport.clone())
        .get_session(request)
        .await
        .expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(cortex_rpc::reason(&status).as_deref(), Some("SESSION_NOT_FOUND"));
    let request = CreateSessionRequest {
        agent_name: "assistant".into(),
        metadata: "not json".into(),
        ..Default::default()
    };
    let status =
        SessionServiceClient::new(transport).create_session(request).await.expect_err("not JSON");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(cortex_rpc::fault(&status).violations[0].field, "metadata");
}

/// No web page can drive a local mesh.
async fn other_origins_are_refused(topology: Topology) {
    let mesh = Mesh::start(topology, Options::default()).await;
    for port in [8080, 8085] {
        let url = format!("{}/agent/assistant/session", mesh.url(port));
        let json = ["-X", "POST", &url, "-d", "{}", "-H", "Content-Type: application/json"];
        let with = |header: &'static str| json.iter().copied().chain(["-H", header]);
        assert_eq!(curl(json).await.status, 200);
        assert_eq!(curl(with("Origin: https://evil.example")).await.status, 403);
        assert_eq!(curl(with("Host: evil.example")).await.status, 403);
        let form = ["-X", "POST", &url, "-d", "{}", "-H", "Content-Type: text/plain"];
        assert_eq!(curl(form).await.status, 415);
    }
}

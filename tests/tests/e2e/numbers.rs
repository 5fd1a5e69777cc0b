//! Numbers survive, and keys keep their order, from the model to the tool and back.

use cortex_e2e::{Mesh, Options, Topology, Upstream, in_both_topologies};

use crate::fixtures;

in_both_topologies!(arguments_and_results_are_verbatim);

const ARGUMENTS: &str =
    r#"{"zeta":6,"alpha":9007199254740993,"value":1.50,"list":[1e3,0.10],"nested":{"b":1,"a":2}}"#;

async fn arguments_and_results_are_verbatim(topology: Topology) {
    let manifests = fixtures::manifests(&[
        (
            "agents/echoer/agent.yml",
            &fixtures::agent("echoer", "{provider: openai, model: gpt-4o-mini}", &["echo"]),
        ),
        ("agents/echoer/prompt.md", "You echo."),
        ("tools/echo/tool.yml", &fixtures::python_tool("echo", 20)),
        ("tools/echo/main.py", "import sys\nprint(sys.argv[1])\n"),
    ]);
    let escaped = ARGUMENTS.replace('"', "\\\"");
    let fixture = format!(
        r#"{{"fixtures":[
            {{"match":{{"userMessage":"echo","hasToolResult":false}},
             "response":{{"toolCalls":[{{"name":"echo","arguments":"{escaped}"}}]}}}},
            {{"match":{{"userMessage":"echo","hasToolResult":true}},"response":{{"content":"done"}}}}]}}"#
    );
    let upstream = Upstream::start(&fixture, &["-c", "8"]).await;
    let options = Options::default()
        .manifests(manifests.path())
        .env("OPENAI_BASE_URL", upstream.base_url())
        .env("OPENAI_API_KEY", "sk-test");
    let mesh = Mesh::start(topology, options).await;
    let session = mesh.session("echoer").await;
    let path = format!("/agent/session/{session}/message");
    let streamed = mesh.post(&path, r#"{"content": "echo this"}"#).await.body;
    let line = |event: &str, needle: &str| {
        let found = streamed
            .split("\n\n")
            .any(|frame| frame.contains(&format!("event: {event}\n")) && frame.contains(needle));
        assert!(found, "{needle} is not in an event {event}: {streamed}");
    };
    line("tool_call", &format!("\"arguments\":{ARGUMENTS}"));
    line("tool_result", &format!("\"result\":{ARGUMENTS}"));
    let history = mesh.get(&format!("/agent/session/{session}/history")).await.body;
    assert!(history.contains(&format!("\"arguments\":{ARGUMENTS}")), "{history}");

    let state = r#"{"b":9007199254740993,"a":6,"c":1.0}"#;
    let url = format!("{}/agent/session/{session}/state", mesh.gateway());
    let put = cortex_e2e::curl([
        "-X",
        "PUT",
        &url,
        "-H",
        "Content-Type: application/json",
        "-d",
        &format!(r#"{{"data":{state}}}"#),
    ])
    .await;
    assert_eq!(put.status, 200, "{}", put.body);
    let got = mesh.get(&format!("/agent/session/{session}/state")).await.body;
    assert!(got.contains(&format!("\"data\":{state}")), "{got}");
}

//! Tools run, and what they answer comes back as it is.

use std::collections::HashMap;

use cortex_proto::cortex::container::v1::{
    ExecuteToolRequest, GetToolLogsRequest, GetToolRunRequest, OutputStream, RunToolRequest,
    Termination, ToolRunStatus, ToolSource, execute_tool_response::Event, tool_source::Source,
};
use cortex_rpc::reason;
use tonic::Code;

use crate::support::Bench;

#[tokio::test]
async fn the_calculator_multiplies_six_by_seven() {
    let bench = Bench::new();
    let run = bench.run("calculator", r#"{"operation":"multiply","a":6,"b":7}"#).await;
    assert_eq!(run.status(), ToolRunStatus::Success, "{run:?}");
    assert_eq!(run.termination(), Termination::Exit);
    assert_eq!(run.exit_code, Some(0));
    assert_eq!(run.result, r#"{"success":true,"result":42}"#);
    assert_eq!(run.error, "");
    assert!(run.execution_time_seconds > 0.0 && run.started_at.is_some());
    assert!(run.execution_id.starts_with("exec_") && run.container_id.len() == 64);
    bench.nothing_left().await;
}

#[tokio::test]
async fn numbers_and_the_order_of_keys_survive() {
    let bench = Bench::new();
    let sum = r#"{"operation":"add","a":9007199254740993,"b":0}"#;
    assert_eq!(
        bench.run("calculator", sum).await.result,
        r#"{"success":true,"result":9007199254740993}"#
    );
    let say = r#"{"do":"say","out":" {\"z\": 6, \"a\": 6.0, \"m\": 1e999}\n"}"#;
    let run = bench.run("probe", say).await;
    assert_eq!(run.result, r#"{"z": 6, "a": 6.0, "m": 1e999}"#);
    assert_eq!(run.stdout, " {\"z\": 6, \"a\": 6.0, \"m\": 1e999}\n");
    let text = bench.run("probe", r#"{"do":"say","out":"no JSON"}"#).await;
    assert_eq!((text.status(), text.result.as_str()), (ToolRunStatus::Success, ""));
}

#[tokio::test]
async fn a_tool_that_fails_is_no_error_of_the_service() {
    let bench = Bench::new();
    let run = bench.run("calculator", r#"{"operation":"divide","a":6,"b":0}"#).await;
    assert_eq!((run.status(), run.exit_code), (ToolRunStatus::Failed, Some(1)));
    assert!(run.result.contains("division by zero"), "{run:?}");
    let run = bench.run("probe", r#"{"do":"say","err":"first\nlast line\n","code":124}"#).await;
    assert_eq!((run.status(), run.termination()), (ToolRunStatus::Failed, Termination::Exit));
    assert_eq!(run.exit_code, Some(124), "124 of the tool itself is no time-out");
    assert_eq!(run.error, "exit code 124: last line");
    assert_eq!(run.stderr, "first\nlast line\n");
    let run = bench.run("probe", r#"{"do":"kill_self","signal":11}"#).await;
    assert_eq!((run.status(), run.termination()), (ToolRunStatus::Failed, Termination::Signal));
    assert!(run.error.starts_with("ended by SIGSEGV"), "{}", run.error);
}

#[tokio::test]
async fn a_tool_in_python_runs_from_its_bundle() {
    let bench = Bench::new();
    let text = r#"{"text":"that is what that means","limit":1}"#;
    let run = bench.run("word_frequency", text).await;
    assert_eq!(
        run.result, r#"{"success": true, "result": [{"word": "that", "count": 2}]}"#,
        "{run:?}"
    );
}

#[tokio::test]
async fn parameters_come_in_three_ways_and_the_environment_with_them() {
    let bench = Bench::new();
    let parameters = r#"{"do":"echo", "n": 6}"#;
    let request = RunToolRequest {
        environment: HashMap::from([("EXTRA".into(), "more".into())]),
        ..bench.request("probe", parameters)
    };
    let run = bench.tools.clone().run_tool(request).await.unwrap().into_inner().run.unwrap();
    let told: serde_json::Value = serde_json::from_str(&run.result).unwrap();
    let told = &told["result"];
    for (name, value) in [
        ("stdin", parameters),
        ("parameters", parameters),
        ("tool", "probe"),
        ("session", bench.session.as_str()),
        ("extra", "more"),
        ("directory", "/tool"),
        ("home", "/tmp"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    assert_eq!(told["arguments"], serde_json::json!([parameters]));

    let long = format!(r#"{{"do":"big","text":"{}"}}"#, "x".repeat(1 << 20));
    let run = bench.run("probe", &long).await;
    assert_eq!(run.result, r#"{"success": true, "result": 1048576}"#, "long ones by input alone");
}

#[tokio::test]
async fn a_run_is_told_while_it_runs_and_known_afterwards() {
    let bench = Bench::new();
    let request = ExecuteToolRequest {
        tool_name: "probe".into(),
        session_id: bench.session.to_string(),
        parameters: r#"{"do":"sleep","seconds":1}"#.into(),
        ..Default::default()
    };
    let mut tools = bench.tools.clone();
    let mut events = tools.execute_tool(request).await.unwrap().into_inner();
    let Some(Event::Started(started)) = events.message().await.unwrap().unwrap().event else {
        panic!("first it starts");
    };
    let get = GetToolRunRequest { execution_id: started.execution_id.clone() };
    let Some(Event::Output(output)) = events.message().await.unwrap().unwrap().event else {
        panic!("then it writes");
    };
    assert_eq!(
        (output.stream(), output.data.as_ref()),
        (OutputStream::Stdout, b"sleeping\n".as_slice())
    );
    let running = tools.get_tool_run(get.clone()).await.unwrap().into_inner().run.unwrap();
    assert_eq!((running.status(), running.stdout.as_str()), (ToolRunStatus::Running, "sleeping\n"));
    let ended = crate::support::completed(events).await;
    assert_eq!(ended.status(), ToolRunStatus::Success);
    assert_eq!(tools.get_tool_run(get).await.unwrap().into_inner().run.unwrap(), ended);
    let logs = GetToolLogsRequest { execution_id: started.execution_id };
    assert!(tools.get_tool_logs(logs).await.unwrap().into_inner().stdout.starts_with("sleeping\n"));
}

#[tokio::test]
async fn a_request_id_is_one_run() {
    let bench = Bench::new();
    let request = RunToolRequest {
        request_id: "r1".into(),
        ..bench.request("calculator", r#"{"operation":"add","a":1,"b":2}"#)
    };
    let (mut one, mut two) = (bench.tools.clone(), bench.tools.clone());
    let (first, second) =
        tokio::join!(one.run_tool(request.clone()), two.run_tool(request.clone()));
    assert_eq!(first.unwrap().into_inner().run, second.unwrap().into_inner().run);
    let other =
        RunToolRequest { parameters: r#"{"operation":"add","a":1,"b":3}"#.into(), ..request };
    let refused = one.run_tool(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn what_cannot_run_is_a_precise_error_and_claims_nothing() {
    let bench = Bench::new();
    let mut tools = bench.tools.clone();
    let missing = tools.run_tool(bench.request("no_such_tool", "{}")).await.unwrap_err();
    assert_eq!(
        (missing.code(), reason(&missing).as_deref()),
        (Code::NotFound, Some("TOOL_NOT_FOUND"))
    );

    let image = RunToolRequest { image: "nobody/has:this".into(), ..bench.request("x", "{}") };
    let missing = tools.run_tool(image).await.unwrap_err();
    assert_eq!(
        (missing.code(), reason(&missing).as_deref()),
        (Code::NotFound, Some("IMAGE_NOT_FOUND"))
    );
    assert!(missing.message().contains("docker pull nobody/has:this"), "{}", missing.message());

    let network = RunToolRequest { network_mode: "session".into(), ..bench.request("clock", "{}") };
    assert_eq!(tools.run_tool(network).await.unwrap_err().code(), Code::FailedPrecondition);

    let id = bench.storage.intend(&bench.session, "no_such_tool");
    assert_eq!(bench.execute(&id, "no_such_tool", "{}").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(bench.storage.row(&id).claimant_id, "", "what cannot run is not claimed");

    let source = ToolSource {
        source: Some(Source::Image("cortex-base-busybox:bookworm".into())),
        entrypoint: "/no/such/program".into(),
        ..Default::default()
    };
    let request = ExecuteToolRequest {
        tool_name: "x".into(),
        session_id: bench.session.to_string(),
        source: Some(source),
        ..Default::default()
    };
    let events = tools.execute_tool(request).await.unwrap().into_inner();
    let run = crate::support::completed(events).await;
    assert_eq!((run.status(), run.termination()), (ToolRunStatus::Failed, Termination::NotStarted));
    assert!(run.error.contains("/no/such/program"), "{}", run.error);
    bench.nothing_left().await;
}

#[tokio::test]
async fn without_an_engine_every_call_says_how_to_get_one() {
    let bench =
        Bench::with(|config| config.docker_host = Some("unix:///nowhere/docker.sock".into()));
    let absent = bench.tools.clone().run_tool(bench.request("clock", "{}")).await.unwrap_err();
    assert_eq!(
        (absent.code(), reason(&absent).as_deref()),
        (Code::Unavailable, Some("ENGINE_UNAVAILABLE"))
    );
    assert!(absent.message().contains("/nowhere/docker.sock"), "{}", absent.message());
    assert!(absent.message().contains("install Docker Engine"), "{}", absent.message());
    assert!(bench.container.engine().await.is_err());
    let id = bench.storage.intend(&bench.session, "clock");
    assert!(bench.execute(&id, "clock", "{}").await.is_err());
    assert_eq!(bench.storage.row(&id).claimant_id, "");
}

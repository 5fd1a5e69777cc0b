//! Limits hold, and how a run was ended is told as a fact.

use std::time::{Duration, Instant};

use cortex_proto::cortex::container::v1::{
    CancelToolRunRequest, ResourceLimits, Termination, ToolRunStatus, execute_tool_response::Event,
};

use crate::support::{Bench, completed};

#[tokio::test]
async fn time_runs_out() {
    let bench = Bench::new();
    bench.run("probe", r#"{"do":"say"}"#).await;
    let limits = ResourceLimits { timeout_seconds: 2, ..Default::default() };
    let run = bench.run_with("probe", r#"{"do":"sleep"}"#, limits).await;
    assert_eq!((run.status(), run.termination()), (ToolRunStatus::Timeout, Termination::Timeout));
    assert!((2.0..3.0).contains(&run.execution_time_seconds), "{}", run.execution_time_seconds);
    assert_eq!(run.exit_code, None);
    assert!(run.error.contains("time limit of 2 s"), "{}", run.error);
    assert_eq!(run.stdout, "sleeping\n", "what it wrote before is kept");
    bench.nothing_left().await;
}

#[tokio::test]
async fn memory_runs_out() {
    let bench = Bench::new();
    let limits = || ResourceLimits { memory_mb: 64, ..Default::default() };
    let run = bench.run_with("probe", r#"{"do":"allocate","mb":200}"#, limits()).await;
    assert_eq!(
        (run.status(), run.termination()),
        (ToolRunStatus::Failed, Termination::OutOfMemory)
    );
    assert!(run.error.contains("memory limit of 64 MiB"), "{}", run.error);

    let child = bench.run_with("probe", r#"{"do":"child_out_of_memory","mb":200}"#, limits()).await;
    assert_eq!(
        child.termination(),
        Termination::OutOfMemory,
        "told also when the tool exits with 0"
    );
    assert_eq!((child.status(), child.exit_code), (ToolRunStatus::Success, Some(0)));
    assert!(child.error.contains("a child process"), "{}", child.error);
    bench.nothing_left().await;
}

#[tokio::test]
async fn output_runs_over() {
    let bench = Bench::new();
    let run = bench.run("probe", r#"{"do":"flood"}"#).await;
    assert_eq!(
        (run.status(), run.termination()),
        (ToolRunStatus::Failed, Termination::OutputLimit)
    );
    assert_eq!((run.stdout.len(), run.stdout_truncated), (1 << 20, true));
    assert_eq!(run.result, "");
    bench.nothing_left().await;
}

#[tokio::test]
async fn processes_run_out() {
    let bench = Bench::new();
    let limits = ResourceLimits { max_processes: 16, ..Default::default() };
    let run = bench.run_with("probe", r#"{"do":"forks","n":64}"#, limits).await;
    let told: serde_json::Value = serde_json::from_str(&run.result).unwrap();
    assert!(told["result"]["started"].as_u64().unwrap() < 16, "{told}");
    assert_eq!(told["result"]["error"], "Resource temporarily unavailable");
}

#[tokio::test]
async fn a_cancel_kills_what_runs_within_a_second() {
    let bench = Bench::new();
    let id = bench.storage.intend(&bench.session, "probe");
    let mut events = bench.execute(&id, "probe", r#"{"do":"sleep"}"#).await.unwrap();
    while !matches!(events.message().await.unwrap().unwrap().event, Some(Event::Output(_))) {}
    let began = Instant::now();
    let cancel = CancelToolRunRequest { execution_id: id.to_string() };
    let cancelled = bench.tools.clone().cancel_tool_run(cancel.clone()).await.unwrap().into_inner();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let run = cancelled.run.unwrap();
    assert_eq!(
        (run.status(), run.termination()),
        (ToolRunStatus::Cancelled, Termination::Cancelled)
    );
    assert_eq!(completed(events).await, run, "who follows is told the same");
    let again = bench.tools.clone().cancel_tool_run(cancel).await.unwrap().into_inner();
    assert_eq!(again.run, Some(run), "a second cancel changes nothing");
    bench.nothing_left().await;
}

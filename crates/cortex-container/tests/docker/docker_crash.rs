//! Executions of the journal: once, shared, recorded first, and lost only when nothing runs.

use std::time::Duration;

use cortex_proto::cortex::{
    container::v1::{
        CancelToolRunRequest, GetToolRunRequest, ReconcileExecutionRequest, Termination,
        ToolRunStatus, execute_tool_response::Event,
    },
    storage::v1::{ExecutionState, OutcomeKind},
};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::{Bench, completed, docker};

#[tokio::test]
async fn concurrent_callers_of_one_execution_share_one_run() {
    let bench = Bench::new();
    let id = bench.storage.intend(&bench.session, "calculator");
    let parameters = r#"{"operation":"multiply","a":6,"b":7}"#;
    let calls = (0..16).map(|_| async {
        completed(bench.execute(&id, "calculator", parameters).await.unwrap()).await
    });
    let runs = join_all(calls).await;
    assert!(runs.iter().all(|run| *run == runs[0]), "one run, one container");
    assert_eq!(runs[0].result, r#"{"success":true,"result":42}"#);

    let row = bench.storage.row(&id);
    assert_eq!(row.state(), ExecutionState::Finished);
    let outcome = row.outcome.unwrap();
    assert_eq!(
        (outcome.kind(), outcome.result.as_str()),
        (OutcomeKind::Succeeded, runs[0].result.as_str())
    );

    let after =
        completed(bench.successor().execute(&id, "calculator", parameters).await.unwrap()).await;
    assert_eq!(after, runs[0], "the next incarnation answers from the ledger");
    bench.nothing_left().await;
}

#[tokio::test]
async fn a_caller_that_leaves_stops_nothing() {
    let bench = Bench::new();
    let id = bench.storage.intend(&bench.session, "probe");
    let mut events = bench.execute(&id, "probe", r#"{"do":"sleep","seconds":1}"#).await.unwrap();
    events.message().await.unwrap();
    drop(events);
    let reconcile = ReconcileExecutionRequest { execution_id: id.to_string() };
    let run =
        bench.tools.clone().reconcile_execution(reconcile).await.unwrap().into_inner().run.unwrap();
    assert_eq!(run.status(), ToolRunStatus::Success, "{run:?}");
    assert_eq!(bench.storage.row(&id).state(), ExecutionState::Finished);
}

#[tokio::test]
async fn nobody_is_told_before_storage_has_it() {
    let bench = Bench::new();
    let id = bench.storage.intend(&bench.session, "clock");
    bench.run("clock", "{}").await;
    let mut events = bench.execute(&id, "clock", "{}").await.unwrap();
    bench.storage.set_away(true);
    let told = tokio::time::timeout(Duration::from_secs(2), async {
        while !matches!(events.message().await.unwrap().unwrap().event, Some(Event::Completed(_))) {
        }
    });
    assert!(told.await.is_err(), "the outcome waits for storage");
    bench.storage.set_away(false);
    assert_eq!(completed(events).await.status(), ToolRunStatus::Success);
    assert_eq!(bench.storage.row(&id).state(), ExecutionState::Finished);
}

#[tokio::test]
async fn what_a_dead_incarnation_left_is_killed_and_then_lost() {
    let bench = Bench::new();
    let other = Bench::new();
    let foreign = other.storage.intend(&other.session, "probe");
    let mut running =
        other.execute(&foreign, "probe", r#"{"do":"sleep","seconds":5}"#).await.unwrap();
    running.message().await.unwrap();

    let (ran, never) = (
        bench.storage.intend(&bench.session, "probe"),
        bench.storage.intend(&bench.session, "clock"),
    );
    let mut events = bench.execute(&ran, "probe", r#"{"do":"sleep"}"#).await.unwrap();
    while !matches!(events.message().await.unwrap().unwrap().event, Some(Event::Output(_))) {}
    let created = leave_created(&bench);
    bench.storage.claim_by_the_dead(&never, &bench.instance);
    assert_eq!(bench.containers().len(), 2);

    // The first incarnation stays in memory here: what counts is that the second is another one.
    let successor = bench.successor();
    let stop = CancellationToken::new();
    let sweeping = tokio::spawn({
        let (container, stop) = (successor.container.clone(), stop.clone());
        async move { container.run(stop).await }
    });
    successor.nothing_left().await;
    assert!(!docker(&["ps", "--all", "--quiet", "--no-trunc"]).contains(&created));
    for id in [&ran, &never] {
        for _ in 0..100 {
            if bench.storage.row(id).state() == ExecutionState::Finished {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(bench.storage.row(&never).outcome.unwrap().kind(), OutcomeKind::Lost);
    let get = GetToolRunRequest { execution_id: never.to_string() };
    let run = successor.tools.clone().get_tool_run(get).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.status(), run.termination()), (ToolRunStatus::Lost, Termination::Lost));

    assert_eq!(other.containers().len(), 1, "another instance's container is not touched");
    assert_eq!(completed(running).await.status(), ToolRunStatus::Success);
    stop.cancel();
    sweeping.await.unwrap();
}

/// A container of this instance that was created and never started, as a crash leaves it.
fn leave_created(bench: &Bench) -> String {
    let label = |name: &str, value: &str| format!("--label=cortex.{name}={value}");
    let created = docker(&[
        "create",
        &label("managed", "true"),
        &label("kind", "tool"),
        &label("instance", &bench.instance),
        &label("claimant_id", "claimant_0123456789abcdef"),
        "cortex-base-busybox:bookworm",
        "true",
    ]);
    created.trim().to_owned()
}

#[tokio::test]
async fn asking_for_an_execution_of_the_dead_settles_it() {
    let bench = Bench::new();
    let mut tools = bench.tools.clone();
    let id = bench.storage.intend(&bench.session, "clock");
    let reconcile =
        |id: &cortex_core::ExecutionId| ReconcileExecutionRequest { execution_id: id.to_string() };
    let refused = tools.reconcile_execution(reconcile(&id)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "nobody has claimed it");

    bench.storage.claim_by_the_dead(&id, "another instance");
    let refused = tools.reconcile_execution(reconcile(&id)).await.unwrap_err();
    assert!(refused.message().contains("another instance"), "{}", refused.message());

    let id = bench.storage.intend(&bench.session, "clock");
    bench.storage.claim_by_the_dead(&id, &bench.instance);
    let run = completed(bench.execute(&id, "clock", "{}").await.unwrap()).await;
    assert_eq!(run.status(), ToolRunStatus::Lost, "it is not run a second time");

    let unknown = cortex_core::ExecutionId::generate();
    let cancel = CancelToolRunRequest { execution_id: unknown.to_string() };
    assert_eq!(tools.cancel_tool_run(cancel).await.unwrap_err().code(), Code::NotFound);
}

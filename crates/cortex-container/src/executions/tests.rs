//! The protocol's promises on fakes: claimed first, started once, recorded first, lost last.

use std::time::Duration;

use cortex_core::SessionId;
use cortex_rpc::Identity;
use futures::future::join_all;

use super::*;
use crate::{
    ports::EngineError,
    runs::Termination,
    sandbox::{execution_of, label},
    testing::{FakeEngine, FakeIntents, FakeLedger, NoRegistry, Rows, incarnation},
    tool::{Content, LimitsRequest, Parameters, ToolName, ToolSource},
};

struct World {
    engine: Arc<FakeEngine>,
    rows: Arc<Rows>,
    intents: Arc<FakeIntents>,
    executions: Arc<Executions>,
    cx: CallContext,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ContainerConfig)) -> Self {
        let mut config = ContainerConfig { instance: "here".into(), ..Default::default() };
        change(&mut config);
        Self::of(config, Arc::default(), Rows::new())
    }

    fn of(config: ContainerConfig, engine: Arc<FakeEngine>, rows: Arc<Rows>) -> Self {
        let incarnation = incarnation(&config.instance);
        let intents = Arc::<FakeIntents>::default();
        let outside = Outside {
            engine: Arc::clone(&engine) as _,
            ledger: Arc::new(FakeLedger::new(Arc::clone(&rows), incarnation.clone())),
            intents: Arc::clone(&intents) as _,
            registry: Arc::new(NoRegistry),
        };
        let executions = Executions::new(config, outside, incarnation);
        Self { engine, rows, intents, executions, cx: CallContext::default() }
    }

    /// The next incarnation, on the same engine and the same rows.
    fn successor(&self) -> Self {
        Self::of(self.executions.config.clone(), Arc::clone(&self.engine), Arc::clone(&self.rows))
    }

    async fn send(
        &self,
        id: &ExecutionId,
        epoch: i64,
        image: &str,
    ) -> Result<Arc<Live>, ContainerError> {
        let dispatch = Dispatch { execution_id: id.clone(), epoch };
        self.executions.submit(&self.cx, command(Some(dispatch), image)).await
    }

    async fn run(&self, id: &ExecutionId, image: &str) -> ToolRun {
        self.send(id, 1, image).await.unwrap().end().await
    }

    async fn settled(&self) {
        while self.executions.admitted() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn command(execution: Option<Dispatch>, image: &str) -> ToolCommand {
    ToolCommand {
        execution,
        tool: ToolName::parse("tool").unwrap(),
        session_id: SessionId::generate(),
        parameters: Parameters::parse(String::new()).unwrap(),
        source: Some(ToolSource {
            content: Content::Image(image.into()),
            runtime: String::new(),
            entrypoint: String::new(),
        }),
        limits: LimitsRequest::default(),
        environment: Default::default(),
        network: None,
        closure_digest: String::new(),
    }
}

fn termination(run: &ToolRun) -> Termination {
    run.ending().unwrap().termination
}

fn finished(rows: &Rows, id: &ExecutionId) -> Termination {
    match rows.get(id) {
        LedgerState::Finished(run) => termination(&run),
        other => panic!("the row is {other:?}"),
    }
}

fn claimed_by_the_dead() -> LedgerState {
    LedgerState::Claimed { claimant: "claimant_dead".into(), instance: "here".into() }
}

fn lost(call: &'static str) -> EngineError {
    EngineError::Lost { call, reason: "connection reset".into() }
}

#[tokio::test(start_paused = true)]
async fn an_id_starts_once_however_many_callers() {
    let world = World::new();
    let id = world.rows.intend();
    let runs = join_all((0..50).map(|_| world.run(&id, "fake/answer"))).await;
    assert!(runs.iter().all(|run| *run == runs[0]));
    assert_eq!(runs[0].ending().unwrap().result.as_deref(), Some("{\"success\":true}"));
    assert_eq!(finished(&world.rows, &id), Termination::Exit);
    world.settled().await;
    assert_eq!((world.engine.created(), world.engine.present()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stale_caller_is_told_and_forgotten() {
    let world = World::new();
    let id = world.rows.intend();
    world.rows.set_epoch(2);
    let refused = world.send(&id, 1, "fake/answer").await.unwrap_err();
    assert!(matches!(refused, ContainerError::StaleEpoch { epoch: 1, .. }));
    assert!(!world.executions.board.is_active(&id));
    assert_eq!(world.engine.created(), 0);
    let run = world.send(&id, 2, "fake/answer").await.unwrap().end().await;
    assert_eq!(termination(&run), Termination::Exit, "the current holder sends it again");
}

#[tokio::test(start_paused = true)]
async fn a_pending_claim_of_an_older_epoch_absorbs_nobody() {
    let world = Arc::new(World::new());
    let id = world.rows.intend();
    world.rows.hold(1);
    let older = tokio::spawn({
        let (world, id) = (Arc::clone(&world), id.clone());
        async move { world.run(&id, "fake/sleep").await }
    });
    while !world.executions.board.is_active(&id) {
        tokio::task::yield_now().await;
    }
    world.rows.set_epoch(2);
    let newer = world.send(&id, 2, "fake/sleep").await.unwrap();
    // Its claimant has the claim by now, so that the older caller is granted it too, and joins.
    world.rows.release(1);
    while world.rows.claims() < 2 {
        tokio::task::yield_now().await;
    }
    newer.stop();
    assert_eq!(older.await.unwrap(), newer.end().await, "both are told the one outcome");
    assert_eq!(world.engine.created(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_is_taken_up_by_the_next_call() {
    let world = World::new();
    let id = world.rows.intend();
    world.rows.lose_next_answer();
    assert!(world.send(&id, 1, "fake/answer").await.is_err());
    assert_eq!(world.engine.created(), 0);
    assert_eq!(termination(&world.run(&id, "fake/answer").await), Termination::Exit);
    assert_eq!((world.engine.created(), world.rows.claims()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_a_claim_whose_answer_is_lost_stops_it_for_good() {
    let world = World::new();
    let id = world.rows.intend();
    world.rows.lose_next_answer();
    assert!(world.send(&id, 1, "fake/answer").await.is_err());
    let cancelled = world.executions.cancel(&world.cx, &id).await.unwrap();
    assert_eq!(termination(&cancelled), Termination::NotStarted);
    assert_eq!(world.run(&id, "fake/answer").await, cancelled, "a later call changes nothing");
    assert_eq!(world.engine.created(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_waits_for_the_claim_that_is_under_way() {
    let world = Arc::new(World::new());
    let id = world.rows.intend();
    world.rows.hold(1);
    let sending = tokio::spawn({
        let (world, id) = (Arc::clone(&world), id.clone());
        async move { world.run(&id, "fake/sleep").await }
    });
    while !world.executions.board.is_active(&id) {
        tokio::task::yield_now().await;
    }
    let cancelling = tokio::spawn({
        let (world, id) = (Arc::clone(&world), id.clone());
        async move { world.executions.cancel(&world.cx, &id).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.rows.release(1);
    let cancelled = cancelling.await.unwrap().unwrap();
    assert_eq!(cancelled, sending.await.unwrap());
    assert_eq!(cancelled.ending().unwrap().verdict, Verdict::Cancelled);
    world.settled().await;
    assert_eq!(world.engine.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_queue_never_starts_when_cancelled() {
    let world = World::with(|config| config.max_running = 1);
    let (first, second) = (world.rows.intend(), world.rows.intend());
    let running = world.send(&first, 1, "fake/sleep").await.unwrap();
    let waiting = world.send(&second, 1, "fake/answer").await.unwrap();
    let cancelled = world.executions.cancel(&world.cx, &second).await.unwrap();
    assert_eq!(termination(&cancelled), Termination::NotStarted);
    assert_eq!(waiting.end().await, cancelled);
    assert_eq!(finished(&world.rows, &second), Termination::NotStarted);
    running.stop();
    assert_eq!(termination(&running.end().await), Termination::Cancelled);
    world.settled().await;
    assert_eq!((world.engine.created(), world.engine.present()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_queue_nothing_is_claimed() {
    let world = World::with(|config| (config.max_running, config.max_queued) = (1, 0));
    let (first, second) = (world.rows.intend(), world.rows.intend());
    let running = world.send(&first, 1, "fake/sleep").await.unwrap();
    let refused = world.send(&second, 1, "fake/answer").await.unwrap_err();
    assert!(matches!(refused, ContainerError::TooManyRuns { limit: 1, .. }));
    assert_eq!(world.rows.get(&second), LedgerState::Intended);
    running.stop();
    running.end().await;
    world.settled().await;
    assert_eq!(termination(&world.run(&second, "fake/answer").await), Termination::Exit);
}

#[tokio::test(start_paused = true)]
async fn without_an_engine_nothing_is_claimed_and_what_is_known_is_answered() {
    let world = World::new();
    let (ran, other) = (world.rows.intend(), world.rows.intend());
    let run = world.run(&ran, "fake/answer").await;
    world.settled().await;
    world.engine.set_away(true);
    let refused = world.send(&other, 1, "fake/answer").await.unwrap_err();
    assert!(matches!(refused, ContainerError::EngineUnavailable { .. }));
    assert_eq!(world.rows.get(&other), LedgerState::Intended);
    let successor = world.successor();
    assert_eq!(successor.run(&ran, "fake/answer").await, run, "from the ledger");
    assert_eq!(successor.executions.get(&world.cx, &ran).await.unwrap(), run);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_before_the_row_is_finished() {
    let world = World::new();
    let id = world.rows.intend();
    let live = world.send(&id, 1, "fake/sleep").await.unwrap();
    world.rows.set_away(true);
    live.stop();
    let early = tokio::time::timeout(Duration::from_secs(60), live.end()).await;
    assert!(early.is_err(), "storage is away for a minute, and so long nobody is told");
    world.rows.set_away(false);
    assert_eq!(termination(&live.end().await), Termination::Cancelled);
    assert_eq!(finished(&world.rows, &id), Termination::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_storage_that_is_lost_changes_nothing() {
    let world = World::new();
    let id = world.rows.intend();
    let live = world.send(&id, 1, "fake/sleep").await.unwrap();
    world.rows.lose_next_answer();
    live.stop();
    assert_eq!(termination(&live.end().await), Termination::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn the_first_outcome_wins() {
    let world = World::new();
    let id = world.rows.intend();
    let live = world.send(&id, 1, "fake/sleep").await.unwrap();
    let first = live.ended_as(Ending::lost("somebody else", std::time::SystemTime::UNIX_EPOCH));
    world.rows.set(&id, LedgerState::Finished(Box::new(first.clone())));
    live.stop();
    assert_eq!(live.end().await, first);
}

#[tokio::test(start_paused = true)]
async fn time_runs_out_politely_and_then_not() {
    for (image, signals) in
        [("fake/sleep", vec!["SIGTERM", "SIGKILL"]), ("fake/obedient", vec!["SIGTERM"])]
    {
        let world = World::new();
        let id = world.rows.intend();
        let run = world.run(&id, image).await;
        assert_eq!(termination(&run), Termination::Timeout, "{image}");
        assert_eq!(run.ending().unwrap().exit_code, None);
        let sent: Vec<_> =
            world.engine.calls().into_iter().filter(|call| call.starts_with("SIG")).collect();
        assert_eq!(sent, signals, "{image}");
        let duration = run.ending().unwrap().duration;
        assert!((300.0..301.0).contains(&duration.as_secs_f64()), "{duration:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_writes_too_much_is_killed() {
    let world = World::with(|config| {
        config.output_limit = cortex_config::ByteSize::kib(1);
        config.stdout_limit = cortex_config::ByteSize::bytes(10);
    });
    let run = world.run(&world.rows.intend(), "fake/flood").await;
    assert_eq!(termination(&run), Termination::OutputLimit);
    assert_eq!((run.stdout.as_str(), run.stdout_truncated), ("xxxxxxxxxx", true));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_started_has_not_started() {
    let refusal = || EngineError::Refused { call: "start", message: "no such program".into() };
    for call in ["create", "attach", "start"] {
        let world = World::new();
        let id = world.rows.intend();
        world.engine.fail(call, refusal());
        let run = world.run(&id, "fake/answer").await;
        assert_eq!(termination(&run), Termination::NotStarted, "{call}");
        assert_eq!(run.ending().unwrap().verdict, Verdict::Failed);
        assert!(run.ending().unwrap().error.contains("no such program"));
        world.settled().await;
        assert_eq!(world.engine.present(), 0, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_answer_is_lost_is_lost_and_removed_first() {
    let world = World::new();
    let id = world.rows.intend();
    world.engine.fail("start", lost("start"));
    world.engine.fail("remove", lost("remove"));
    let run = world.run(&id, "fake/answer").await;
    assert_eq!(termination(&run), Termination::Lost);
    assert_eq!(world.engine.present(), 0, "removed by the time it is told");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_breaks_off_loses_the_run_and_the_sweep_cleans_up() {
    let world = World::new();
    let id = world.rows.intend();
    let live = world.send(&id, 1, "fake/sleep").await.unwrap();
    while live.snapshot().phase != Phase::Running {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.engine.set_away(true);
    world.engine.break_off();
    assert_eq!(termination(&live.end().await), Termination::Lost);
    assert_eq!(world.engine.present(), 1, "nobody could remove it");
    world.engine.set_away(false);
    let swept = world.executions.sweep(&world.cx).await.unwrap();
    assert_eq!((swept.containers, world.engine.present()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_die_is_lost_in_the_end() {
    let world = World::new();
    let live = world.send(&world.rows.intend(), 1, "fake/immortal").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    live.stop();
    let run = tokio::time::timeout(Duration::from_secs(60), live.end()).await.unwrap();
    assert_eq!(termination(&run), Termination::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_defect_of_the_service_still_ends_the_run() {
    let world = World::new();
    let id = world.rows.intend();
    assert_eq!(termination(&world.run(&id, "fake/panic").await), Termination::Lost);
    assert_eq!(finished(&world.rows, &id), Termination::Lost);
}

#[tokio::test(start_paused = true)]
async fn rows_of_the_dead_are_lost_only_when_nothing_of_them_is_left() {
    let world = World::new();
    let id = world.rows.intend();
    world.rows.set(&id, claimed_by_the_dead());
    let mut labels = execution_of("here", &id);
    labels.insert(label::CLAIMANT.into(), "claimant_dead".into());
    world.engine.leave(labels);

    world.engine.fail("remove", lost("remove"));
    assert!(world.executions.sweep(&world.cx).await.is_err());
    assert_eq!(world.rows.get(&id), claimed_by_the_dead(), "its container may still start");
    world.engine.fail("remove", lost("remove"));
    assert!(world.executions.reconcile(&world.cx, &id).await.is_err());
    assert_eq!(world.rows.get(&id), claimed_by_the_dead());

    let swept = world.executions.sweep(&world.cx).await.unwrap();
    assert_eq!(swept, Swept { containers: 1, executions: 1, intents: 0 });
    assert_eq!(finished(&world.rows, &id), Termination::Lost);
    assert_eq!(world.executions.sweep(&world.cx).await.unwrap(), Swept::default());
}

#[tokio::test(start_paused = true)]
async fn a_successor_kills_what_ran_and_only_that() {
    let world = World::new();
    let (id, own) = (world.rows.intend(), world.rows.intend());
    let running = world.send(&id, 1, "fake/sleep").await.unwrap();
    while running.snapshot().phase != Phase::Running {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.engine.leave(crate::sandbox::tools_of("elsewhere"));
    world.engine.leave(Default::default());

    let successor = world.successor();
    let live = successor.send(&own, 1, "fake/sleep").await.unwrap();
    while live.snapshot().phase != Phase::Running {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let swept = successor.executions.sweep(&world.cx).await.unwrap();
    assert_eq!((swept.containers, swept.executions), (1, 1));
    assert_eq!(finished(&world.rows, &id), Termination::Lost);
    assert_eq!(world.engine.present(), 3, "its own, another instance's, and a stranger's");
    live.stop();
    assert_eq!(termination(&live.end().await), Termination::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_row_tells_where_it_stands() {
    let world = World::new();
    let cx = &world.cx;
    let id = world.rows.intend();
    let refused = world.executions.reconcile(cx, &id).await.unwrap_err();
    assert!(matches!(refused, ContainerError::ExecutionRefused { state: "intended", .. }));
    world.rows.set(&id, LedgerState::Closed);
    let refused = world.executions.cancel(cx, &id).await.unwrap_err();
    assert!(matches!(refused, ContainerError::ExecutionRefused { state: "closed", .. }));
    let refused = world.send(&id, 1, "fake/answer").await.unwrap_err();
    assert!(matches!(refused, ContainerError::ExecutionRefused { state: "closed", .. }));
    let elsewhere = LedgerState::Claimed { claimant: "c".into(), instance: "elsewhere".into() };
    world.rows.set(&id, elsewhere.clone());
    assert!(world.executions.cancel(cx, &id).await.is_err());
    assert!(world.send(&id, 1, "fake/answer").await.is_err());
    assert_eq!(world.rows.get(&id), elsewhere, "another instance's row is not touched");
    let unknown = world.executions.get(cx, &ExecutionId::generate()).await.unwrap_err();
    assert!(matches!(unknown, ContainerError::ExecutionNotFound { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_stops_nothing() {
    let world = World::new();
    let id = world.rows.intend();
    world.rows.hold(1);
    let sending = world.send(&id, 1, "fake/answer");
    assert!(tokio::time::timeout(Duration::from_millis(10), sending).await.is_err());
    world.rows.release(1);
    while !matches!(world.rows.get(&id), LedgerState::Finished(_)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(finished(&world.rows, &id), Termination::Exit);
}

#[tokio::test(start_paused = true)]
async fn runs_outside_the_ledger_leave_no_intent() {
    let world = World::new();
    let live = world.executions.submit(&world.cx, command(None, "fake/sleep")).await.unwrap();
    assert_eq!(world.intents.claimants().len(), 1, "written before anything is made");
    live.stop();
    live.end().await;
    world.settled().await;
    assert_eq!(world.intents.claimants().len(), 0);

    world.intents.write(ExecutionId::generate(), "claimant_dead");
    let swept = world.executions.sweep(&world.cx).await.unwrap();
    assert_eq!((swept.intents, world.intents.claimants().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_id_is_one_run_and_a_failed_one_is_none() {
    let world = World::new();
    let (cx, executions) = (&world.cx, &world.executions);
    let request = command(None, "fake/answer");
    let once = |command: &ToolCommand| executions.submit_once(cx, command.clone(), "r".into());
    world.engine.set_away(true);
    assert!(once(&request).await.is_err());
    world.engine.set_away(false);
    let first = once(&request).await.unwrap();
    let second = once(&request).await.unwrap();
    assert_eq!(first.execution_id(), second.execution_id());
    let other =
        ToolCommand { parameters: Parameters::parse("{\"a\":1}".into()).unwrap(), ..request };
    let reused = once(&other).await.unwrap_err();
    assert!(matches!(reused, ContainerError::RequestIdReused { .. }));
    let session = ToolCommand { session_id: SessionId::generate(), ..other };
    assert!(once(&session).await.is_ok(), "another session's request id is another one");
}

#[tokio::test(start_paused = true)]
async fn another_tenant_s_run_looks_as_if_there_were_none() {
    let world = World::new();
    let live = world.executions.submit(&world.cx, command(None, "fake/sleep")).await.unwrap();
    let stranger = CallContext::background(Identity::of_tenant("acme"));
    let id = live.execution_id();
    for asked in [
        world.executions.get(&stranger, id).await,
        world.executions.cancel(&stranger, id).await,
        world.executions.reconcile(&stranger, id).await,
    ] {
        assert!(matches!(asked, Err(ContainerError::ExecutionNotFound { .. })), "{asked:?}");
    }
    assert!(world.executions.get(&world.cx, id).await.is_ok());
    live.stop();
    live.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_runs_end_and_then_stops_them() {
    let world = World::new();
    let id = world.rows.intend();
    let live = world.send(&id, 1, "fake/sleep").await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    world.executions.drain(deadline).await;
    assert!(tokio::time::Instant::now() >= deadline);
    assert_eq!(termination(&live.end().await), Termination::Cancelled);
    assert_eq!(finished(&world.rows, &id), Termination::Cancelled);
    let refused = world.send(&world.rows.intend(), 1, "fake/answer").await.unwrap_err();
    assert!(matches!(refused, ContainerError::Stopping));
}

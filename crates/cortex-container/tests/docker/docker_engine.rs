//! What is told of the engine and of what runs in it, and tidying up.

use cortex_container::Container;
use cortex_proto::cortex::container::v1::{
    CleanupOrphansRequest, CleanupSessionRequest, GetContainerStatsRequest, GetEngineRequest,
    ListContainerStatsRequest, Termination, engine_service_client::EngineServiceClient,
    execute_tool_response::Event, relic_service_client::RelicServiceClient,
};
use cortex_rpc::{Transport, local};
use tonic::Code;

use crate::support::{Bench, completed, docker};

fn engines(bench: &Bench) -> EngineServiceClient<Transport> {
    EngineServiceClient::new(local(bench.container.engine_service()))
}

#[tokio::test]
async fn the_engine_is_described_or_what_is_missing() {
    let bench = Bench::new();
    let told = engines(&bench).get_engine(GetEngineRequest {}).await.unwrap().into_inner();
    let engine = told.engine.unwrap();
    assert!(engine.available && engine.problem.is_empty(), "{engine:?}");
    let version = docker(&["version", "--format", "{{.Server.Version}}"]);
    assert_eq!(engine.version, version.trim());
    let capabilities = engine.capabilities.unwrap();
    assert!(capabilities.memory_limits && capabilities.process_limits, "{capabilities:?}");
    assert!(matches!(capabilities.cgroup_version, 1 | 2));
    assert!(capabilities.runtimes.contains(&"runc".to_owned()), "{capabilities:?}");

    let away = Bench::with(|config| config.docker_host = Some("unix:///nowhere.sock".into()));
    let told = engines(&away).get_engine(GetEngineRequest {}).await.unwrap().into_inner();
    let engine = told.engine.unwrap();
    assert!(!engine.available && engine.problem.contains("install Docker Engine"), "{engine:?}");
}

#[tokio::test]
async fn what_runs_is_measured_and_cleaned_up() {
    let bench = Bench::new();
    let mut client = engines(&bench);
    let id = bench.storage.intend(&bench.session, "probe");
    let mut events = bench.execute(&id, "probe", r#"{"do":"sleep"}"#).await.unwrap();
    while !matches!(events.message().await.unwrap().unwrap().event, Some(Event::Output(_))) {}

    let list = ListContainerStatsRequest { kind: "tool".into(), ..Default::default() };
    let listed = client.list_container_stats(list).await.unwrap().into_inner().stats;
    assert_eq!(listed.len(), 1);
    let stats = &listed[0];
    assert!(stats.running && stats.memory_used_mb > 1.0, "{stats:?}");
    assert!((stats.memory_limit_mb - 512.0).abs() < 0.1, "{stats:?}");
    assert_eq!((stats.owner_id.as_str(), stats.entity_name.as_str()), (id.as_str(), "probe"));
    assert_eq!(stats.session_id, bench.session.as_str());
    let get = GetContainerStatsRequest { container_id: stats.container_id.clone() };
    let got = client.get_container_stats(get).await.unwrap().into_inner().stats.unwrap();
    assert_eq!(got.container_id, stats.container_id);
    let stranger = GetContainerStatsRequest { container_id: "a".repeat(64) };
    assert_eq!(client.get_container_stats(stranger).await.unwrap_err().code(), Code::NotFound);

    let orphans = CleanupOrphansRequest { validate_only: true };
    let orphans = client.cleanup_orphans(orphans).await.unwrap().into_inner();
    assert_eq!(orphans.removed, [], "what is at work is no orphan");

    let clean = |force| CleanupSessionRequest {
        session_id: bench.session.to_string(),
        force,
        ..Default::default()
    };
    let left = client.cleanup_session(clean(false)).await.unwrap().into_inner();
    assert_eq!((left.containers_removed, left.errors.len()), (0, 1), "{left:?}");
    let cleaned = client.cleanup_session(clean(true)).await.unwrap().into_inner();
    assert_eq!((cleaned.containers_removed, cleaned.errors.len()), (1, 0), "{cleaned:?}");
    assert_eq!(completed(events).await.termination(), Termination::Cancelled);
    bench.nothing_left().await;
}

#[tokio::test]
async fn what_is_not_offered_yet_says_so() {
    let relics = Container::not_offered().into_transport();
    let refused = RelicServiceClient::new(relics)
        .list_relics(cortex_proto::cortex::container::v1::ListRelicsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("relics"), "{}", refused.message());
}

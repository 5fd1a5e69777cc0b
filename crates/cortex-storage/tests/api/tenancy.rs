//! What belongs to another tenant does not exist: every method of storage, from the descriptors.
//!
//! A method that is not in [`RPCS`] fails the first test; each rule there is tried in a world of its own.

use std::collections::BTreeSet;

use cortex_core::{CallId, ExecutionId, HolderId, TurnId};
use serde_json::Value;
use tonic::Status;

use crate::{
    port::Port,
    raw::{grpc, method, methods},
    rpcs::{RPCS, Rpc, Rule, Subject},
};

/// A body that every entry of a log may have.
const PAYLOAD: &str = r#"{"@type":"type.googleapis.com/cortex.storage.v1.CleanupCacheRequest"}"#;

/// A word that is in everything of the tenant `acme`.
const NEEDLE: &str = "needle";

/// Storage with rows of each kind that belong to `acme`, and some of `other`.
pub struct World {
    pub port: Port,
    session: String,
    execution: String,
    holder: String,
    artifact: String,
}

impl World {
    pub async fn new() -> Self {
        let port = Port::open().await;
        let call = async |tenant: &str, name: &str, request: String| -> Value {
            let answer = grpc(&port, tenant, &method(name), &request).await;
            let answer = answer.unwrap_or_else(|error| panic!("{name} {request}: {error}"));
            serde_json::from_str(&answer).expect("JSON")
        };
        let create = r#"{"agent_name":"needle","user_id":"needle","metadata":{"n":"needle"},"request_id":"one"}"#;
        let created = call("acme", "SessionService.CreateSession", create.to_owned()).await;
        let session = created["session"]["id"].as_str().expect("an id").to_owned();
        let waiting =
            call("acme", "SessionService.CreateSession", r#"{"agent_name":"needle"}"#.into()).await;
        let waiting = waiting["session"]["id"].as_str().expect("an id").to_owned();
        let holder = HolderId::generate().to_string();
        let execution = ExecutionId::generate().to_string();
        let turn = TurnId::generate().to_string();
        let message = |session: &str| {
            format!(
                r#"{{"session_id":"{session}","kind":"message","type":"message","payload":{PAYLOAD}}}"#
            )
        };
        let append = |request: &str, event: &str, effects: String| {
            format!(
                r#"{{"session_id":"{session}","holder_id":"{holder}","epoch":1,"request_id":"{request}",
                    "events":[{{"type":"{event}","payload":{PAYLOAD}}}],"effects":{effects}}}"#
            )
        };
        let open = format!(
            r#"{{"consumed_sequence":$sequence,"opened_turn_id":"{turn}","messages":[{{"message_id":"msg_00000000000000000000000000000001","role":"user","content":"needle"}}]}}"#
        );
        let intent = format!(
            r#"{{"intents":[{{"execution_id":"{execution}","call_id":"{}","turn_id":"{turn}","kind":"tool","name":"needle"}}]}}"#,
            CallId::generate()
        );
        let state = format!(r#"{{"session_id":"{session}","data":{{"n":"needle"}}}}"#);
        call("acme", "StateService.ReplaceState", state).await;
        call("acme", "JournalService.SubmitCommand", message(&waiting)).await;
        let submitted = call("acme", "JournalService.SubmitCommand", message(&session)).await;
        let open = open.replace("$sequence", &submitted["sequence"].to_string());
        let register = format!(r#"{{"holder_id":"{holder}","instance":"needle-instance"}}"#);
        call("acme", "JournalService.RegisterHolder", register).await;
        let acquire =
            format!(r#"{{"session_id":"{session}","holder_id":"{holder}","seen_epoch":0}}"#);
        call("acme", "JournalService.AcquireSession", acquire).await;
        call("acme", "JournalService.AppendEvents", append("1", "turn_started", open)).await;
        call("acme", "JournalService.AppendEvents", append("2", "tool_call", intent)).await;
        call("acme", "RecordService.PutRecord", r#"{"key":"acme/needle","value":"eA=="}"#.into())
            .await;
        call(
            "acme",
            "CacheService.PutCacheEntry",
            r#"{"key":"acme/needle","value":{"n":"needle"}}"#.into(),
        )
        .await;
        let metric = format!(
            r#"{{"entity_type":"needle","entity_name":"needle","metric_name":"needle","value":1,"session_id":"{session}","request_id":"one"}}"#
        );
        call("acme", "MetricService.RecordMetric", metric).await;
        let artifact = format!(r#"{{"session_id":"{session}","name":"needle","type":"file"}}"#);
        let artifact = call("acme", "ArtifactService.CreateArtifact", artifact).await;
        let artifact = artifact["artifact"]["id"].as_str().expect("an id").to_owned();
        // The other tenant is one that storage knows.
        let own =
            call("other", "SessionService.CreateSession", r#"{"agent_name":"mine"}"#.into()).await;
        let own = own["session"]["id"].as_str().expect("an id");
        call("other", "JournalService.SubmitCommand", message(own)).await;
        call("other", "RecordService.PutRecord", r#"{"key":"own","value":"eA=="}"#.into()).await;
        call("other", "CacheService.PutCacheEntry", r#"{"key":"own","value":{}}"#.into()).await;
        Self { port, session, execution, holder, artifact }
    }

    /// A request with the ids of this world, and what it names.
    pub fn request(&self, rpc: &Rpc) -> String {
        self.naming(rpc, None).0
    }

    /// A request that names a row of this world, or one that is not there; and that row.
    fn naming(&self, rpc: &Rpc, absent: Option<Subject>) -> (String, String) {
        let zeros = |prefix: &str| format!("{prefix}{}", "0".repeat(32));
        let subjects = [
            (Subject::Session, "$session", self.session.clone(), zeros("session_")),
            (Subject::Execution, "$execution", self.execution.clone(), zeros("exec_")),
            (Subject::Holder, "$holder", self.holder.clone(), zeros("holder_")),
            (Subject::Artifact, "$artifact", self.artifact.clone(), zeros("artifact_")),
            (Subject::Record, "$record", "acme/needle".to_owned(), "acme/absent".to_owned()),
            (Subject::Cached, "$cached", "acme/needle".to_owned(), "acme/absent".to_owned()),
        ];
        let mut request = rpc.request.replace("$payload", PAYLOAD).replace("$request", "one");
        let mut named = String::new();
        for (subject, place, present, missing) in subjects {
            let id = if absent == Some(subject) { missing } else { present };
            request = request.replace(place, &id);
            if matches!(rpc.rule, Rule::Alike(of) if of == subject) {
                named = id;
            }
        }
        (request, named)
    }

    /// Everything of `acme`, as `acme` sees it.
    async fn of_acme(&self) -> String {
        let mut seen = String::new();
        for name in [
            "SessionService.GetSession",
            "SessionService.ListSessions",
            "HistoryService.ListMessages",
            "StateService.GetState",
            "JournalService.GetJournal",
            "JournalService.ListEntries",
            "JournalService.GetExecution",
            "RecordService.ListRecords",
            "CacheService.ListCacheEntries",
            "MetricService.ListMetrics",
            "ArtifactService.ListArtifacts",
        ] {
            let rpc = RPCS.iter().find(|rpc| rpc.name == name).expect("listed");
            match grpc(&self.port, "acme", &method(name), &self.request(rpc)).await {
                Ok(answer) => seen.push_str(&answer),
                Err(status) => assert!(is_not_offered(&status), "{name}: {status}"),
            }
        }
        seen
    }
}

fn is_not_offered(status: &Status) -> bool {
    cortex_rpc::reason(status).as_deref() == Some("NOT_OFFERED")
}

/// What came of a call, without the name of the row that it was about.
fn outcome(answer: Result<String, Status>, named: &str) -> String {
    let told = match answer {
        Ok(answer) => answer,
        Err(status) => format!("{:?} {:?}", status.code(), cortex_rpc::fault(&status)),
    };
    told.replace(named, "IT")
}

#[test]
fn every_method_says_how_it_keeps_tenants_apart() {
    let there: BTreeSet<String> = methods().into_iter().map(|(name, _)| name).collect();
    let told: BTreeSet<String> = RPCS.iter().map(|rpc| rpc.name.to_owned()).collect();
    assert_eq!(told.len(), RPCS.len(), "a method is there twice");
    let missing: Vec<_> = there.difference(&told).collect();
    assert!(missing.is_empty(), "say in rpcs.rs how these keep tenants apart: {missing:?}");
    let stale: Vec<_> = told.difference(&there).collect();
    assert!(stale.is_empty(), "rpcs.rs has methods that are gone: {stale:?}");
    for rpc in RPCS {
        assert!(!matches!(rpc.rule, Rule::Exempt("")), "{} has no reason", rpc.name);
    }
}

#[tokio::test]
async fn a_row_of_another_tenant_looks_like_none() {
    for rpc in RPCS {
        let Rule::Alike(subject) = rpc.rule else { continue };
        let (world, method) = (World::new().await, method(rpc.name));
        let before = world.of_acme().await;
        let (request, named) = world.naming(rpc, None);
        let theirs = outcome(grpc(&world.port, "other", &method, &request).await, &named);
        let (absent, nothing) = world.naming(rpc, Some(subject));
        let none = outcome(grpc(&world.port, "other", &method, &absent).await, &nothing);
        assert_eq!(theirs, none, "{}: another's row and none differ", rpc.name);
        assert_eq!(world.of_acme().await, before, "{} reached another tenant", rpc.name);
        // The request is one that reaches a row, or else the test above shows nothing.
        let own = grpc(&world.port, "acme", &method, &request).await;
        if !own.as_ref().is_err_and(is_not_offered) {
            assert_ne!(outcome(own, &named), none, "{}: its own row looks like none", rpc.name);
        }
    }
}

#[tokio::test]
async fn nothing_of_another_tenant_is_in_an_answer() {
    let world = World::new().await;
    for rpc in RPCS.iter().filter(|rpc| matches!(rpc.rule, Rule::Hidden)) {
        let request = world.request(rpc);
        let answer = grpc(&world.port, "other", &method(rpc.name), &request).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", rpc.name));
        for needle in [NEEDLE, &world.session, &world.execution, &world.holder, "acme"] {
            assert!(!answer.contains(needle), "{} shows {needle}: {answer}", rpc.name);
        }
    }
}

#[tokio::test]
async fn the_same_name_of_two_tenants_is_two_things() {
    for rpc in RPCS.iter().filter(|rpc| matches!(rpc.rule, Rule::Own)) {
        let world = World::new().await;
        let before = world.of_acme().await;
        let request = world.request(rpc);
        let told = match grpc(&world.port, "other", &method(rpc.name), &request).await {
            Ok(answer) => answer,
            Err(status) => status.message().to_owned(),
        };
        assert!(!told.contains(&world.session), "{}: {told}", rpc.name);
        assert_eq!(world.of_acme().await, before, "{} reached another tenant", rpc.name);
    }
}

/// The call of a tenant after another one has changed something: it is told its own change alone.
#[tokio::test]
async fn a_watch_of_records_tells_of_its_own_tenant() {
    use cortex_proto::cortex::storage::v1::{
        PutRecordRequest, WatchRecordsRequest, record_service_client::RecordServiceClient,
        watch_records_response::Change,
    };
    let world = World::new().await;
    let mut records = RecordServiceClient::new(world.port.transport.clone());
    let of = |tenant: &str, key: &str| {
        let put = PutRecordRequest { key: key.into(), ..Default::default() };
        let mut request = tonic::Request::new(put);
        request.metadata_mut().insert("x-cortex-tenant", tenant.parse().expect("a name"));
        request
    };
    let mut watch = tonic::Request::new(WatchRecordsRequest::default());
    watch.metadata_mut().insert("x-cortex-tenant", "other".parse().expect("a name"));
    let mut changes = records.watch_records(watch).await.expect("a watch").into_inner();
    changes.message().await.expect("goes on").expect("a bookmark at once");
    records.put_record(of("acme", "acme/new")).await.expect("written");
    records.put_record(of("other", "other/new")).await.expect("written");
    loop {
        match changes.message().await.expect("goes on").and_then(|answer| answer.change) {
            Some(Change::Bookmark(_)) => {}
            Some(Change::Put(record)) => break assert_eq!(record.key, "other/new"),
            other => panic!("{other:?}"),
        }
    }
}

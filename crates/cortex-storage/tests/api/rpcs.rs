//! Every method of storage with a good request, and what tenants have to do with it.
//!
//! `$session`, `$execution` and so on stand for ids of the world that a test makes.

/// What a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Session,
    Execution,
    Holder,
    Record,
    Cached,
    Artifact,
}

/// How a method keeps tenants apart.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// It names a row: one of another tenant and one that is not there look alike.
    Alike(Subject),
    /// It names no row: nothing of another tenant is in its answer.
    Hidden,
    /// It writes what is the caller's own, even under a name that another tenant has too.
    Own,
    /// It has nothing to do with tenants; why.
    Exempt(&'static str),
}

/// A method.
pub struct Rpc {
    pub name: &'static str,
    pub rule: Rule,
    pub request: &'static str,
}

const OPERATORS: &str = "an operator's call, about the installation with all its tenants";

const fn rpc(name: &'static str, rule: Rule, request: &'static str) -> Rpc {
    Rpc { name, rule, request }
}

use Rule::{Alike, Exempt, Hidden, Own};
use Subject::{Artifact, Cached, Execution, Holder, Record, Session};

/// Every method, by service. A test fails when one is missing.
pub const RPCS: &[Rpc] = &[
    rpc("SessionService.CreateSession", Own, r#"{"agent_name":"mine","request_id":"$request"}"#),
    rpc("SessionService.GetSession", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("SessionService.ListSessions", Hidden, r#"{"page_size":10}"#),
    rpc(
        "SessionService.UpdateSession",
        Alike(Session),
        r#"{"session_id":"$session","metadata":{"changed":true}}"#,
    ),
    rpc("SessionService.DeleteSession", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc(
        "HistoryService.AddMessage",
        Alike(Session),
        r#"{"session_id":"$session","role":"user","content":"x"}"#,
    ),
    rpc("HistoryService.ListMessages", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("HistoryService.ClearHistory", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("StateService.GetState", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("StateService.ReplaceState", Alike(Session), r#"{"session_id":"$session","data":{"a":1}}"#),
    rpc("StateService.PatchState", Alike(Session), r#"{"session_id":"$session","data":{"a":1}}"#),
    rpc("StateService.ClearState", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc(
        "JournalService.SubmitCommand",
        Alike(Session),
        r#"{"session_id":"$session","kind":"cancel","type":"cancel","payload":$payload}"#,
    ),
    rpc(
        "JournalService.RegisterHolder",
        Own,
        r#"{"holder_id":"$holder","instance":"needle-instance"}"#,
    ),
    rpc("JournalService.RenewHolder", Alike(Holder), r#"{"holder_id":"$holder"}"#),
    rpc("JournalService.RetireHolder", Alike(Holder), r#"{"holder_id":"$holder"}"#),
    rpc(
        "JournalService.AcquireSession",
        Alike(Session),
        r#"{"session_id":"$session","holder_id":"$holder","seen_epoch":1}"#,
    ),
    rpc(
        "JournalService.AppendEvents",
        Alike(Session),
        r#"{"session_id":"$session","holder_id":"$holder","epoch":1,"request_id":"append",
            "events":[{"type":"content_delta","payload":$payload}]}"#,
    ),
    rpc(
        "JournalService.ReleaseSession",
        Alike(Session),
        r#"{"session_id":"$session","holder_id":"$holder","epoch":1,"last_command_sequence":1}"#,
    ),
    rpc("JournalService.ListRunnableSessions", Hidden, "{}"),
    rpc("JournalService.WatchRunnableSessions", Hidden, "{}"),
    rpc("JournalService.GetJournal", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("JournalService.ListEntries", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("JournalService.WatchEntries", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc(
        "JournalService.ClaimExecution",
        Alike(Execution),
        r#"{"execution_id":"$execution","claimant_id":"claimant_00000000000000000000000000000001",
            "claimant_instance":"containers","epoch":1}"#,
    ),
    rpc(
        "JournalService.FinishExecution",
        Alike(Execution),
        r#"{"execution_id":"$execution","claimant_id":"claimant_00000000000000000000000000000001",
            "outcome":{"kind":"succeeded","result":{}}}"#,
    ),
    rpc("JournalService.GetExecution", Alike(Execution), r#"{"execution_id":"$execution"}"#),
    rpc("JournalService.ListExecutions", Hidden, r#"{"claimant_instance":"needle-instance"}"#),
    rpc("JournalService.ForkJournal", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("JournalService.ExportJournal", Alike(Session), r#"{"session_id":"$session"}"#),
    // The lines of a session without entries.
    rpc(
        "JournalService.ImportJournal",
        Own,
        r#"{"content":{"data":"eyJmb3JtYXQiOiJjb3J0ZXguc2Vzc2lvbiIsInZlcnNpb24iOjEsImFnZW50X25hbWUiOiJhc3Npc3RhbnQiLCJoZWFkX3NlcXVlbmNlIjowLCJxdWllc2NlbnQiOnRydWUsIm1lc3NhZ2VfY291bnQiOjAsIm1ldGFkYXRhIjp7fSwic3RhdGUiOnt9fQo="},"request_id":"$request"}"#,
    ),
    rpc("RecordService.GetRecord", Alike(Record), r#"{"key":"$record"}"#),
    rpc("RecordService.ListRecords", Hidden, r#"{"prefix":""}"#),
    rpc(
        "RecordService.PutRecord",
        Own,
        r#"{"key":"$record","value":"bWluZQ==","expected_revision":0}"#,
    ),
    rpc("RecordService.DeleteRecord", Alike(Record), r#"{"key":"$record"}"#),
    rpc("RecordService.WatchRecords", Hidden, r#"{"prefix":""}"#),
    rpc(
        "MetricService.RecordMetric",
        Alike(Session),
        r#"{"entity_type":"t","entity_name":"n","metric_name":"m","value":1,"session_id":"$session",
            "request_id":"$request"}"#,
    ),
    rpc(
        "MetricService.BatchRecordMetrics",
        Alike(Session),
        r#"{"metrics":[{"entity_type":"t","entity_name":"n","metric_name":"m","value":1},
            {"entity_type":"t","entity_name":"n","metric_name":"m","value":1,"session_id":"$session"}]}"#,
    ),
    rpc("MetricService.ListMetrics", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc(
        "MetricService.AggregateMetrics",
        Alike(Session),
        r#"{"metric_name":"needle","session_id":"$session"}"#,
    ),
    rpc("CacheService.GetCacheEntry", Alike(Cached), r#"{"key":"$cached"}"#),
    rpc("CacheService.ListCacheEntries", Hidden, r#"{"prefix":""}"#),
    rpc(
        "CacheService.PutCacheEntry",
        Own,
        r#"{"key":"$cached","value":{"mine":1},"expected_revision":0}"#,
    ),
    rpc("CacheService.DeleteCacheEntry", Alike(Cached), r#"{"key":"$cached"}"#),
    rpc("CacheService.CleanupCache", Own, "{}"),
    rpc(
        "ArtifactService.CreateArtifact",
        Alike(Session),
        r#"{"session_id":"$session","name":"report.txt","type":"file"}"#,
    ),
    rpc(
        "ArtifactService.UploadArtifact",
        Alike(Session),
        r#"{"session_id":"$session","name":"report.txt","type":"file",
            "content":{"content_type":"text/plain","data":"eA=="}}"#,
    ),
    rpc("ArtifactService.DownloadArtifact", Alike(Artifact), r#"{"artifact_id":"$artifact"}"#),
    rpc("ArtifactService.GetArtifact", Alike(Artifact), r#"{"artifact_id":"$artifact"}"#),
    rpc("ArtifactService.ListArtifacts", Alike(Session), r#"{"session_id":"$session"}"#),
    rpc("ArtifactService.DeleteArtifact", Alike(Artifact), r#"{"artifact_id":"$artifact"}"#),
    rpc("AdminService.GetStorageStats", Exempt(OPERATORS), "{}"),
    rpc("AdminService.BackupStorage", Exempt(OPERATORS), "{}"),
    rpc("AdminService.RestoreStorage", Exempt(OPERATORS), "{}"),
    rpc("AdminService.CheckStorage", Exempt(OPERATORS), "{}"),
    rpc("AdminService.MigrateStorage", Exempt(OPERATORS), "{}"),
    rpc("AdminService.PruneStorage", Exempt(OPERATORS), "{}"),
];

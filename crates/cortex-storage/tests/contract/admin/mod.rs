//! The installation as a whole: numbers, backups, checks, pruning, migrations.

mod artifacts;
mod backup;
mod check;
mod migrate;
mod prune;
mod stats;

use std::time::Duration;

use bytes::Bytes;
use cortex_proto::google::api::HttpBody;
use futures::StreamExt;
use tonic::{Code, Status};

use crate::support::*;

contract! {
    only_administrators_may,
    one_work_at_a_time,
    who_stays_away_loses_the_work,
}

/// An archive with what was told beside it.
pub struct Archive {
    pub bytes: Vec<u8>,
    pub pieces: Vec<usize>,
    pub file_name: String,
    pub content_type: String,
    pub digest: String,
}

pub async fn back_up(f: &Fixture) -> Archive {
    back_up_as(f, BackupStorageRequest::default()).await
}

pub async fn back_up_as(f: &Fixture, request: BackupStorageRequest) -> Archive {
    let answer = f.admin().backup_storage(request).await;
    let mut pieces = answer.expect("a backup begins").into_inner();
    let mut archive = Archive {
        bytes: Vec::new(),
        pieces: Vec::new(),
        file_name: String::new(),
        content_type: String::new(),
        digest: String::new(),
    };
    while let Some(piece) = pieces.next().await {
        let piece = piece.expect("the backup goes on");
        let content = piece.content.expect("every piece has bytes");
        if archive.pieces.is_empty() {
            (archive.file_name, archive.content_type) = (piece.file_name, content.content_type);
        }
        assert!(archive.digest.is_empty(), "the digest is in the last piece");
        archive.digest = piece.digest;
        archive.pieces.push(content.data.len());
        archive.bytes.extend_from_slice(&content.data);
    }
    archive
}

/// Restores `bytes`, in pieces of 10,000.
pub async fn restore_as(
    f: &Fixture,
    bytes: &[u8],
    first: RestoreStorageRequest,
) -> Result<RestoreStorageResponse, Status> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut requests = vec![first];
    for start in (0..bytes.len()).step_by(10_000) {
        let data = bytes.slice(start..bytes.len().min(start + 10_000));
        let content = Some(HttpBody { data, ..HttpBody::default() });
        requests.push(RestoreStorageRequest { content, ..Default::default() });
    }
    let answer = f.admin().restore_storage(futures::stream::iter(requests)).await?;
    Ok(answer.into_inner())
}

pub async fn restore(f: &Fixture, bytes: &[u8]) -> Result<RestoreStorageResponse, Status> {
    restore_as(f, bytes, RestoreStorageRequest::default()).await
}

pub async fn stats(f: &Fixture) -> StorageStats {
    let answer = f.admin().get_storage_stats(GetStorageStatsRequest {}).await;
    answer.expect("numbers").into_inner().stats.expect("numbers are told")
}

/// Everything that a check tells: its findings and its end.
pub async fn check(f: &Fixture, full: bool) -> (Vec<StorageFinding>, CheckCompleted) {
    use check_storage_response::Event;

    let answer = f.admin().check_storage(CheckStorageRequest { full }).await;
    let mut events = answer.expect("a check begins").into_inner();
    let (mut findings, mut completed) = (Vec::new(), None);
    while let Some(event) = events.next().await {
        assert!(completed.is_none(), "nothing follows the end");
        match event.expect("the check goes on").event.expect("an event") {
            Event::Progress(_) => {}
            Event::Finding(finding) => findings.push(finding),
            Event::Completed(end) => completed = Some(end),
        }
    }
    (findings, completed.expect("an end"))
}

/// A conversation with a bit of everything; its turn is open, and somebody runs a call of it.
pub async fn conversation(f: &Fixture) -> Held<'_> {
    let held = f.held().await;
    let patch = PatchStateRequest {
        session_id: held.session.clone(),
        data: r#"{"mood":"good"}"#.into(),
        ..Default::default()
    };
    f.state().patch_state(patch).await.expect("a state");
    let turn = held.open_turn().await;
    let effects = JournalEffects {
        messages: vec![
            new_message(MessageRole::User, "six by seven?"),
            new_message(MessageRole::Assistant, "\u{0}let me see\u{1}"),
        ],
        ..Default::default()
    };
    held.append(&["message_added", "content_delta"], effects).await.expect("an append");
    let (execution, _) = held.intend(&turn).await;
    f.claim(&execution, &claimant(), held.epoch).await.expect("a claim");
    let key = format!("notes/{}", held.session);
    let put = PutRecordRequest { key, value: vec![0, 1, 2, 255].into(), ..Default::default() };
    f.records().put_record(put).await.expect("a record");
    measure(f, &held.session, 0.1).await;
    let cached = PutCacheEntryRequest {
        key: held.session.clone(),
        value: r#"{"a":[1,2]}"#.into(),
        ..Default::default()
    };
    f.cache().put_cache_entry(cached).await.expect("a cache entry");
    held
}

/// Records a number of a session, or of none.
pub async fn measure(f: &Fixture, session: &str, value: f64) {
    let request = RecordMetricRequest {
        entity_type: "agent".into(),
        entity_name: "assistant".into(),
        session_id: session.to_owned(),
        metric_name: "seconds".into(),
        value,
        ..Default::default()
    };
    f.metrics().record_metric(request).await.expect("a number");
}

/// What can be read of an installation, without who holds what.
pub async fn contents(f: &Fixture) -> Vec<String> {
    let list = ListSessionsRequest { page_size: 1000, ..Default::default() };
    let list = f.sessions().list_sessions(list).await.expect("sessions").into_inner();
    let mut found = Vec::new();
    for session in list.sessions {
        let id = session.id.clone();
        found.push(format!("{session:?}"));
        found.extend(f.entries(&id).await.iter().map(|entry| format!("{entry:?}")));
        let list = ListMessagesRequest { session_id: id.clone(), ..Default::default() };
        let messages = f.history().list_messages(list).await.expect("messages").into_inner();
        found.extend(messages.messages.iter().map(|message| format!("{message:?}")));
        let state = f.state().get_state(GetStateRequest { session_id: id }).await;
        found.push(format!("{:?}", state.expect("a state").into_inner()));
    }
    let records = f.records().list_records(ListRecordsRequest::default()).await;
    found.push(format!("{:?}", records.expect("records").into_inner()));
    let metrics = f.metrics().list_metrics(ListMetricsRequest::default()).await;
    found.push(format!("{:?}", metrics.expect("metrics").into_inner()));
    let cached = f.cache().list_cache_entries(ListCacheEntriesRequest::default()).await;
    found.push(format!("{:?}", cached.expect("cache entries").into_inner()));
    found
}

async fn only_administrators_may(f: &Fixture) {
    let mut request = tonic::Request::new(GetStorageStatsRequest {});
    request.metadata_mut().insert("x-cortex-tenant", "acme".parse().expect("a name"));
    let answer = f.admin().get_storage_stats(request).await;
    refused(answer.map(|_| ()), Code::PermissionDenied, "PERMISSION_DENIED");
    let mut request = tonic::Request::new(BackupStorageRequest::default());
    request.metadata_mut().insert("x-cortex-tenant", "default".parse().expect("a name"));
    request.metadata_mut().insert("x-cortex-user", "ann".parse().expect("a name"));
    let answer = f.admin().backup_storage(request).await;
    refused(answer.map(|_| ()), Code::PermissionDenied, "PERMISSION_DENIED");
}

/// A backup that nobody reads, and an upload that brings nothing, end by themselves.
async fn who_stays_away_loses_the_work(f: &Fixture) {
    const PATIENCE: cortex_config::Duration = cortex_config::Duration::from_millis(100);
    let mut config = f.config.clone();
    config.reader_patience = PATIENCE;
    config.artifacts.upload_patience = PATIENCE;
    let f = f.another_with(config).await;
    artifacts::upload(&f, &f.session().await, &artifacts::noise(9, 1_000_000)).await;
    let answer = f.admin().backup_storage(BackupStorageRequest::default()).await;
    let mut pieces = answer.expect("a backup").into_inner();
    pieces.next().await.expect("a piece").expect("it begins");
    while let Err(busy) = f.admin().check_storage(CheckStorageRequest::default()).await {
        refused::<()>(Err(busy), Code::FailedPrecondition, "ADMIN_BUSY");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = pieces.next().await.expect("an end");
    refused(told.map(|_| ()), Code::DeadlineExceeded, "READER_TOO_SLOW");
    let archive = back_up(&f).await.bytes;
    let half = RestoreStorageRequest {
        content: Some(HttpBody {
            data: archive[..archive.len() / 2].to_vec().into(),
            ..HttpBody::default()
        }),
        ..Default::default()
    };
    let pieces = futures::stream::iter([half]).chain(futures::stream::pending());
    let other = f.another().await;
    let answer = other.admin().restore_storage(pieces).await;
    refused(answer, Code::DeadlineExceeded, "UPLOAD_TOO_SLOW");
    for _ in 0..2 {
        other.session().await;
    }
}

async fn one_work_at_a_time(f: &Fixture) {
    let running = f.admin().backup_storage(BackupStorageRequest::default()).await;
    let running = running.expect("a backup");
    for _ in 0..2 {
        let second = f.admin().check_storage(CheckStorageRequest::default()).await;
        refused(second.map(|_| ()), Code::FailedPrecondition, "ADMIN_BUSY");
    }
    // Whoever leaves ends the work.
    drop(running);
    let (findings, end) = check(f, false).await;
    assert_eq!((findings.len(), end.status.as_str()), (0, "ok"));
}

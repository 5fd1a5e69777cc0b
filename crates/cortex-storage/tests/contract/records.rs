//! RecordService.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};

use crate::support::*;
use watch_records_response::Change;

contract! {
    a_record_is_written_read_and_deleted,
    compare_and_set_lets_one_writer_win,
    records_are_listed_by_prefix,
    a_record_goes_away_after_its_time,
    a_watch_tells_every_change_below_its_prefix,
    a_watch_resumes_from_a_revision,
    what_is_wrong_with_a_record_is_named,
}

fn put(key: &str, value: &str) -> PutRecordRequest {
    PutRecordRequest { key: key.into(), value: value.to_owned().into(), ..Default::default() }
}

async fn write(f: &Fixture, request: PutRecordRequest) -> Result<Record, Status> {
    Ok(f.records().put_record(request).await?.into_inner().record.expect("the record"))
}

async fn read(f: &Fixture, key: &str) -> Result<Record, Status> {
    let request = GetRecordRequest { key: key.into() };
    Ok(f.records().get_record(request).await?.into_inner().record.expect("the record"))
}

async fn delete(
    f: &Fixture,
    key: &str,
    expected: Option<i64>,
) -> Result<DeleteRecordResponse, Status> {
    let request = DeleteRecordRequest { key: key.into(), expected_revision: expected };
    Ok(f.records().delete_record(request).await?.into_inner())
}

async fn a_record_is_written_read_and_deleted(f: &Fixture) {
    refused(read(f, "a/b").await, Code::NotFound, "RECORD_NOT_FOUND");
    let first = write(f, put("a/b", "1")).await.expect("written");
    f.advance(Duration::from_secs(1));
    let second = write(f, put("a/b", "2")).await.expect("written");
    assert_eq!((first.revision, second.revision), (1, 2));
    assert_eq!(first.created_at, second.created_at);
    assert_ne!(first.updated_at, second.updated_at);
    assert_eq!(read(f, "a/b").await.expect("found"), second);
    let deleted = delete(f, "a/b", None).await.expect("deleted");
    assert_eq!((deleted.deleted, deleted.revision), (true, 3));
    let again = delete(f, "a/b", None).await.expect("no error");
    assert_eq!((again.deleted, again.revision), (false, 0));
    refused(read(f, "a/b").await, Code::NotFound, "RECORD_NOT_FOUND");
}

async fn compare_and_set_lets_one_writer_win(f: &Fixture) {
    let only_new = PutRecordRequest { expected_revision: Some(0), ..put("lock", "a") };
    let contenders = (0..8).map(|_| write(f, only_new.clone()));
    let outcomes = futures::future::join_all(contenders).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        let status = refused(outcome, Code::Aborted, "REVISION_MISMATCH");
        assert_eq!(
            cortex_rpc::fault(&status).metadata.get("revision").map(String::as_str),
            Some("1")
        );
    }
    let next = PutRecordRequest { expected_revision: Some(1), ..put("lock", "b") };
    write(f, next.clone()).await.expect("written");
    refused(write(f, next).await, Code::Aborted, "REVISION_MISMATCH");
    refused(delete(f, "lock", Some(1)).await, Code::Aborted, "REVISION_MISMATCH");
    assert!(delete(f, "lock", Some(2)).await.expect("deleted").deleted);
    refused(delete(f, "lock", Some(2)).await, Code::Aborted, "REVISION_MISMATCH");
}

async fn records_are_listed_by_prefix(f: &Fixture) {
    for key in ["a", "a/1", "a/2", "a/3", "b/1", "az"] {
        write(f, put(key, key)).await.expect("written");
    }
    let mut request =
        ListRecordsRequest { prefix: "a/".into(), page_size: 2, ..Default::default() };
    let first = f.records().list_records(request.clone()).await.expect("a page").into_inner();
    let keys =
        |page: &ListRecordsResponse| page.records.iter().map(|r| r.key.clone()).collect::<Vec<_>>();
    assert_eq!((keys(&first), first.revision), (vec!["a/1".to_owned(), "a/2".to_owned()], 6));
    request.page_token = first.next_page_token;
    let second = f.records().list_records(request.clone()).await.expect("a page").into_inner();
    assert_eq!((keys(&second), second.next_page_token.as_str()), (vec!["a/3".to_owned()], ""));
    request.prefix = "b/".into();
    refused(f.records().list_records(request).await, Code::InvalidArgument, "INVALID_FIELD");
    let all = f.records().list_records(ListRecordsRequest::default()).await.expect("a page");
    assert_eq!(keys(&all.into_inner()), ["a", "a/1", "a/2", "a/3", "az", "b/1"]);
}

async fn a_record_goes_away_after_its_time(f: &Fixture) {
    let ttl = prost_types::Duration::try_from(Duration::from_secs(10)).ok();
    let request = PutRecordRequest { ttl, ..put("lease", "a") };
    let record = write(f, request.clone()).await.expect("written");
    assert!(record.expires_at.is_some());
    f.advance(Duration::from_secs(9));
    read(f, "lease").await.expect("still there");
    f.advance(Duration::from_secs(1));
    refused(read(f, "lease").await, Code::NotFound, "RECORD_NOT_FOUND");
    let page = f.records().list_records(ListRecordsRequest::default()).await.expect("a page");
    assert!(page.into_inner().records.is_empty());
    // Whoever expects none may take it.
    let next = PutRecordRequest { expected_revision: Some(0), ..request };
    let record = write(f, next).await.expect("written");
    assert_eq!(record.created_at, record.updated_at);
}

async fn watch(
    f: &Fixture,
    prefix: &str,
    after: i64,
) -> Result<Streaming<WatchRecordsResponse>, Status> {
    let request = WatchRecordsRequest { prefix: prefix.into(), after_revision: after };
    Ok(f.records().watch_records(request).await?.into_inner())
}

/// The next change, as its revision and key; a deletion's key in brackets.
async fn next(stream: &mut Streaming<WatchRecordsResponse>) -> (i64, String) {
    let waited = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
    let answer = waited.expect("in time").expect("goes on").expect("no error");
    let text = match answer.change.expect("a change") {
        Change::Put(record) => record.key,
        Change::Deleted(deleted) => format!("[{}]", deleted.key),
        Change::Bookmark(_) => String::new(),
    };
    (answer.revision, text)
}

async fn a_watch_tells_every_change_below_its_prefix(f: &Fixture) {
    write(f, put("a/0", "old")).await.expect("written");
    let mut changes = watch(f, "a/", 0).await.expect("a watch");
    assert_eq!(next(&mut changes).await, (1, String::new()), "the first answer comes at once");
    write(f, put("b/1", "x")).await.expect("written");
    write(f, put("a/1", "x")).await.expect("written");
    assert_eq!(next(&mut changes).await, (3, "a/1".into()));
    delete(f, "a/0", None).await.expect("deleted");
    assert_eq!(next(&mut changes).await, (4, "[a/0]".into()));
    // What expires is told, too, when housekeeping finds it.
    let ttl = prost_types::Duration::try_from(Duration::from_millis(1)).ok();
    write(f, PutRecordRequest { ttl, ..put("a/2", "x") }).await.expect("written");
    assert_eq!(next(&mut changes).await, (5, "a/2".into()));
    f.advance(Duration::from_secs(1));
    assert_eq!(next(&mut changes).await, (6, "[a/2]".into()));
}

async fn a_watch_resumes_from_a_revision(f: &Fixture) {
    for n in 1..=4 {
        write(f, put(&format!("a/{n}"), "x")).await.expect("written");
    }
    delete(f, "a/2", None).await.expect("deleted");
    write(f, put("a/1", "y")).await.expect("written");
    let mut changes = watch(f, "a/", 1).await.expect("a watch");
    // The last write of each key, and every deletion, in the order of revisions.
    for expected in [(3, "a/3"), (4, "a/4"), (5, "[a/2]"), (6, "a/1")] {
        assert_eq!(next(&mut changes).await, (expected.0, expected.1.to_owned()));
    }
    refused(watch(f, "", 7).await, Code::OutOfRange, "BEYOND_HEAD");
}

async fn what_is_wrong_with_a_record_is_named(f: &Fixture) {
    for key in ["", "with space", "ünïcode", &"x".repeat(513)] {
        refused(write(f, put(key, "x")).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    let negative = PutRecordRequest { expected_revision: Some(-1), ..put("a", "x") };
    refused(write(f, negative).await, Code::InvalidArgument, "INVALID_FIELD");
    let no_time = PutRecordRequest { ttl: Some(prost_types::Duration::default()), ..put("a", "x") };
    refused(write(f, no_time).await, Code::InvalidArgument, "INVALID_FIELD");
    let large = PutRecordRequest { value: vec![0; (4 << 20) + 1].into(), ..put("a", "") };
    refused(write(f, large).await, Code::InvalidArgument, "TOO_LARGE");
    let binary = PutRecordRequest { value: vec![0, 255, 254].into(), ..put("a", "") };
    write(f, binary).await.expect("a value is any bytes");
}

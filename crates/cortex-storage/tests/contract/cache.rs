//! CacheService.

use std::time::Duration;

use tonic::{Code, Status};

use crate::support::*;

contract! {
    an_entry_is_written_read_and_deleted,
    compare_and_set_lets_one_writer_win,
    a_revision_never_comes_back,
    an_entry_goes_away_after_its_time,
    a_cleanup_removes_what_is_over,
    entries_are_listed_by_prefix_without_being_used,
    the_cache_is_bounded_in_bytes,
    each_tenant_has_a_cache_of_its_own,
    what_is_wrong_with_an_entry_is_named,
}

// Times of use wait in the memory of the replica that read; others see them when it has written them.
contract! {
    one replica:
    reading_tells_when_an_entry_was_used_before,
    a_used_entry_survives_an_unused_one,
}

fn put(key: &str, value: &str) -> PutCacheEntryRequest {
    PutCacheEntryRequest { key: key.into(), value: value.into(), ..Default::default() }
}

async fn write(f: &Fixture, request: PutCacheEntryRequest) -> Result<CacheEntry, Status> {
    Ok(f.cache().put_cache_entry(request).await?.into_inner().entry.expect("the entry"))
}

async fn read(f: &Fixture, key: &str) -> Result<CacheEntry, Status> {
    let request = GetCacheEntryRequest { key: key.into() };
    Ok(f.cache().get_cache_entry(request).await?.into_inner().entry.expect("the entry"))
}

async fn delete(f: &Fixture, key: &str, expected: Option<i64>) -> Result<String, Status> {
    let request = DeleteCacheEntryRequest { key: key.into(), expected_revision: expected };
    let answer = f.cache().delete_cache_entry(request).await?.into_inner();
    assert_eq!(answer.key, key);
    Ok(answer.status)
}

async fn cleanup(f: &Fixture) -> i64 {
    let answer = f.cache().cleanup_cache(CleanupCacheRequest {}).await.expect("done").into_inner();
    assert_eq!(answer.status, "completed");
    answer.deleted
}

async fn keys(f: &Fixture, prefix: &str) -> Vec<String> {
    let request =
        ListCacheEntriesRequest { prefix: prefix.into(), page_size: 1000, ..Default::default() };
    let page = f.cache().list_cache_entries(request).await.expect("a page").into_inner();
    page.entries.into_iter().map(|entry| entry.key).collect()
}

async fn an_entry_is_written_read_and_deleted(f: &Fixture) {
    refused(read(f, "a/b").await, Code::NotFound, "CACHE_ENTRY_NOT_FOUND");
    let first = write(f, put("a/b", r#"{"z":9007199254740993,"a":1.50}"#)).await.expect("written");
    assert_eq!(first.value, r#"{"z":9007199254740993,"a":1.50}"#);
    assert_eq!((first.ttl, first.expires_at, first.revision), (None, None, 1));
    assert_eq!((first.created_at, first.key.as_str()), (first.accessed_at, "a/b"));
    assert_eq!(read(f, "a/b").await.expect("found"), first);
    f.advance(Duration::from_secs(1));
    let second = write(f, put("a/b", r#"{"n":2}"#)).await.expect("written");
    assert_eq!(second.revision, 2);
    assert_ne!(second.created_at, first.created_at, "writing begins anew");
    assert_eq!(read(f, "a/b").await.expect("found"), second);
    assert_eq!(delete(f, "a/b", None).await.expect("deleted"), "deleted");
    refused(delete(f, "a/b", None).await, Code::NotFound, "CACHE_ENTRY_NOT_FOUND");
    let status = refused(read(f, "a/b").await, Code::NotFound, "CACHE_ENTRY_NOT_FOUND");
    assert!(status.message().contains("a/b"), "{}", status.message());
}

async fn reading_tells_when_an_entry_was_used_before(f: &Fixture) {
    let written = write(f, put("a", "{}")).await.expect("written");
    let mut before = written.accessed_at;
    for _ in 0..3 {
        f.advance(Duration::from_secs(1));
        let entry = read(f, "a").await.expect("found");
        assert_eq!(entry.accessed_at, before, "not this reading, but the one before");
        assert_eq!(entry.created_at, written.created_at);
        let seconds = before.map_or(0, |at| at.seconds) + 1;
        before = before.map(|at| prost_types::Timestamp { seconds, ..at });
    }
}

async fn compare_and_set_lets_one_writer_win(f: &Fixture) {
    let only_new = PutCacheEntryRequest { expected_revision: Some(0), ..put("lock", "{}") };
    let contenders = (0..8).map(|_| write(f, only_new.clone()));
    let outcomes = futures::future::join_all(contenders).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let revision = outcomes.iter().flatten().next().expect("one won").revision;
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        let status = refused(outcome, Code::Aborted, "REVISION_MISMATCH");
        let told = cortex_rpc::fault(&status).metadata.get("revision").cloned();
        assert_eq!(told, Some(revision.to_string()));
    }
    let next = PutCacheEntryRequest { expected_revision: Some(revision), ..put("lock", "{}") };
    let revised = write(f, next.clone()).await.expect("written").revision;
    assert!(revised > revision);
    refused(write(f, next).await, Code::Aborted, "REVISION_MISMATCH");
    refused(delete(f, "lock", Some(revision)).await, Code::Aborted, "REVISION_MISMATCH");
    delete(f, "lock", Some(revised)).await.expect("deleted");
    refused(delete(f, "lock", Some(revised)).await, Code::NotFound, "CACHE_ENTRY_NOT_FOUND");
}

async fn a_revision_never_comes_back(f: &Fixture) {
    let first = write(f, put("a", "{}")).await.expect("written").revision;
    delete(f, "a", None).await.expect("deleted");
    let second = write(f, put("a", "{}")).await.expect("written").revision;
    assert!(second > first, "{second} after {first}");
    let old = PutCacheEntryRequest { expected_revision: Some(first), ..put("a", "{}") };
    refused(write(f, old).await, Code::Aborted, "REVISION_MISMATCH");
}

async fn an_entry_goes_away_after_its_time(f: &Fixture) {
    let request = PutCacheEntryRequest { ttl: Some(10), ..put("a", "{}") };
    let entry = write(f, request.clone()).await.expect("written");
    assert_eq!(entry.ttl, Some(10));
    let (from, to) = (entry.created_at.expect("a time"), entry.expires_at.expect("a time"));
    assert_eq!(to.seconds - from.seconds, 10);
    f.advance(Duration::from_secs(9));
    read(f, "a").await.expect("still there");
    // Reading does not lengthen its time.
    f.advance(Duration::from_secs(1));
    refused(read(f, "a").await, Code::NotFound, "CACHE_ENTRY_NOT_FOUND");
    refused(delete(f, "a", None).await, Code::NotFound, "CACHE_ENTRY_NOT_FOUND");
    assert!(keys(f, "").await.is_empty());
    let anew = PutCacheEntryRequest { expected_revision: Some(0), ..request };
    let entry = write(f, anew).await.expect("whoever expects none may write");
    assert_eq!(entry.created_at, entry.accessed_at);
    let forever = write(f, put("a", "{}")).await.expect("written");
    assert_eq!((forever.ttl, forever.expires_at), (None, None), "writing sets the time anew");
    f.advance(Duration::from_secs(3600));
    read(f, "a").await.expect("still there");
}

async fn a_cleanup_removes_what_is_over(f: &Fixture) {
    for (key, ttl) in [("a", Some(5)), ("b", Some(50)), ("c", None)] {
        write(f, PutCacheEntryRequest { ttl, ..put(key, "{}") }).await.expect("written");
    }
    assert_eq!(cleanup(f).await, 0);
    f.advance(Duration::from_secs(5));
    // Housekeeping may have been quicker.
    assert!(cleanup(f).await <= 1);
    assert_eq!(cleanup(f).await, 0);
    assert_eq!(keys(f, "").await, ["b", "c"]);
}

async fn entries_are_listed_by_prefix_without_being_used(f: &Fixture) {
    for key in ["a", "a/1", "a/2", "a/3", "b/1", "a%2F4", "ä", "a/\u{10ffff}"] {
        write(f, put(key, "{}")).await.expect("written");
    }
    f.advance(Duration::from_secs(1));
    let mut request =
        ListCacheEntriesRequest { prefix: "a/".into(), page_size: 3, ..Default::default() };
    let first = f.cache().list_cache_entries(request.clone()).await.expect("a page").into_inner();
    let told: Vec<_> = first.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(told, ["a/1", "a/2", "a/3"]);
    request.page_token = first.next_page_token;
    let second = f.cache().list_cache_entries(request.clone()).await.expect("a page").into_inner();
    assert_eq!((second.entries.len(), second.next_page_token.as_str()), (1, ""));
    assert_eq!(second.entries[0].key, "a/\u{10ffff}");
    request.prefix = "b/".into();
    let other = f.cache().list_cache_entries(request).await;
    refused(other, Code::InvalidArgument, "INVALID_FIELD");
    let all = ["a", "a%2F4", "a/1", "a/2", "a/3", "a/\u{10ffff}", "b/1", "ä"];
    assert_eq!(keys(f, "").await, all);
    let entry = read(f, "a/1").await.expect("found");
    assert_eq!(entry.accessed_at, entry.created_at, "a list is no use");
}

/// The suite's caches hold 64 entries.
async fn a_used_entry_survives_an_unused_one(f: &Fixture) {
    for n in 0..64 {
        write(f, put(&format!("old/{n:02}"), "{}")).await.expect("written");
        f.advance(Duration::from_millis(10));
    }
    for key in ["old/00", "old/07"] {
        read(f, key).await.expect("used");
    }
    f.advance(Duration::from_secs(1));
    for n in 0..32 {
        write(f, put(&format!("new/{n:02}"), "{}")).await.expect("written");
        f.advance(Duration::from_millis(10));
        assert!(keys(f, "").await.len() <= 64, "the bound holds after each write");
    }
    let left = keys(f, "old/").await;
    assert!(left.contains(&"old/00".to_owned()) && left.contains(&"old/07".to_owned()), "{left:?}");
    assert!(!left.contains(&"old/01".to_owned()) && !left.contains(&"old/08".to_owned()));
    assert!(left.contains(&"old/63".to_owned()), "the youngest of them is left: {left:?}");
    assert_eq!(keys(f, "new/").await.len(), 32);
    assert!(left.len() >= 30, "no more went than had to: {}", left.len());
}

/// The suite's caches hold 2 MiB.
async fn the_cache_is_bounded_in_bytes(f: &Fixture) {
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(500_000));
    for n in 0..6 {
        write(f, put(&format!("k{n}"), &large)).await.expect("written");
        f.advance(Duration::from_secs(1));
    }
    assert_eq!(keys(f, "").await, ["k2", "k3", "k4", "k5"]);
    // What is written over counts once, and what is deleted no more.
    for _ in 0..4 {
        write(f, put("k5", &large)).await.expect("written");
        f.advance(Duration::from_secs(1));
    }
    assert_eq!(keys(f, "").await.len(), 4);
    delete(f, "k2", None).await.expect("deleted");
    write(f, put("k6", &large)).await.expect("written");
    assert_eq!(keys(f, "").await, ["k3", "k4", "k5", "k6"]);
}

async fn each_tenant_has_a_cache_of_its_own(f: &Fixture) {
    let of = |tenant: &str, request| {
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("x-cortex-tenant", tenant.parse().expect("a name"));
        request
    };
    write(f, put("a", r#"{"of":"default"}"#)).await.expect("written");
    for n in 0..80 {
        f.advance(Duration::from_millis(10));
        let request = of("acme", put(&format!("k{n}"), "{}"));
        f.cache().put_cache_entry(request).await.expect("written");
    }
    assert_eq!(keys(f, "").await, ["a"], "nobody pushes out another's");
    let entry = read(f, "a").await.expect("its own");
    assert_eq!((entry.value.as_str(), entry.revision), (r#"{"of":"default"}"#, 1));
}

async fn what_is_wrong_with_an_entry_is_named(f: &Fixture) {
    for (request, field) in [
        (put("", "{}"), "key"),
        (put(&"x".repeat(513), "{}"), "key"),
        (put("a\0", "{}"), "key"),
        (put("a", ""), "value"),
        (put("a", "[]"), "value"),
        (put("a", r#""text""#), "value"),
        (put("a", "{"), "value"),
        (PutCacheEntryRequest { ttl: Some(0), ..put("a", "{}") }, "ttl"),
        (PutCacheEntryRequest { ttl: Some(-1), ..put("a", "{}") }, "ttl"),
        (PutCacheEntryRequest { ttl: Some(31_536_001), ..put("a", "{}") }, "ttl"),
        (
            PutCacheEntryRequest { expected_revision: Some(-1), ..put("a", "{}") },
            "expected_revision",
        ),
    ] {
        let status = refused(write(f, request).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(cortex_rpc::fault(&status).violations[0].field, field);
    }
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1 << 20));
    let status = refused(write(f, put("a", &large)).await, Code::InvalidArgument, "TOO_LARGE");
    assert_eq!(cortex_rpc::fault(&status).violations[0].field, "value");
    let request = ListCacheEntriesRequest { page_size: -1, ..Default::default() };
    let answer = f.cache().list_cache_entries(request).await;
    let status = refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(cortex_rpc::fault(&status).violations[0].field, "page_size");
    let longest = PutCacheEntryRequest { ttl: Some(31_536_000), ..put(&"ä".repeat(512), "{}") };
    write(f, longest).await.expect("bounds count characters, and the last one is within");
}

//! Metrics and the cache: what is cleared away, and what a read of the cache costs.

use std::time::Duration;

use super::Fixture;
use crate::{
    adapters::sql::housekeeping::Retention,
    cache::{CacheKey, PutCacheEntry},
    error::{Result, StorageError},
    journal::{Fingerprint, Method, RequestId},
    metric::{Labels, NewMetric, RecordMetrics},
    ports::{CacheStore, MetricStore, SessionStore},
};

const RETENTION: Retention =
    Retention { tombstones: Duration::from_secs(3600), metric_requests: Duration::from_secs(60) };

fn put(key: &str, ttl: Option<u64>) -> Result<PutCacheEntry> {
    Ok(PutCacheEntry {
        key: CacheKey::parse(key)?,
        value: "{}".into(),
        ttl: ttl.map(Duration::from_secs),
        expected: None,
    })
}

fn number(session_id: Option<&cortex_core::SessionId>, request: &str) -> Result<RecordMetrics> {
    let metric = NewMetric {
        entity_type: "tool".into(),
        entity_name: "calculator".into(),
        session_id: session_id.cloned(),
        metric_name: "latency_ms".into(),
        value: 1.0,
        labels: Labels::default(),
        timestamp: None,
    };
    let request = RequestId::parse(request.into())?.map(|id| {
        let key = id.key(Method::RecordMetric);
        (id, key)
    });
    Ok(RecordMetrics { metrics: [metric].into(), request, fingerprint: Fingerprint::default() })
}

#[tokio::test]
async fn entries_whose_time_is_over_go_in_the_background() -> Result<()> {
    let f = Fixture::open().await;
    for n in 0..20 {
        let ttl = (n % 2 == 0).then_some(5);
        f.store.put_cache_entry(&f.tenant, put(&n.to_string(), ttl)?).await?;
    }
    f.clock.advance(Duration::from_secs(5));
    f.store.keep_house(RETENTION, false).await?;
    assert_eq!(f.count("cache_entries").await, 10);
    assert_eq!(f.store.cleanup_cache(&f.tenant).await?, 0, "nothing is left for a cleanup");
    assert_eq!(f.count("caches WHERE entries = 10").await, 1, "what is gone counts no more");
    Ok(())
}

#[tokio::test]
async fn a_read_of_the_cache_commits_nothing() -> Result<()> {
    let f = Fixture::open().await;
    let key = CacheKey::parse("a")?;
    let written = f.store.put_cache_entry(&f.tenant, put("a", None)?).await?;
    // Writing is impossible meanwhile, and reading does not mind.
    let mut other = f.other().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await?;
    f.clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        f.store.use_cache_entry(&f.tenant, &key).await?;
    }
    let refused = f.store.put_cache_entry(&f.tenant, put("b", None)?).await;
    assert_eq!(refused, Err(StorageError::Locked), "as the test assumes");
    assert_eq!(f.count("cache_entries WHERE accessed_at > created_at").await, 0);
    sqlx::query("ROLLBACK").execute(&mut other).await?;
    f.store.keep_house(RETENTION, false).await?;
    assert_eq!(f.count("cache_entries WHERE accessed_at = created_at + 1000000").await, 1);
    let entry = f.store.use_cache_entry(&f.tenant, &key).await?;
    assert_eq!(entry.accessed_at, written.created_at.after(Duration::from_secs(1)));
    Ok(())
}

#[tokio::test]
async fn times_of_use_survive_an_orderly_end() -> Result<()> {
    let f = Fixture::open().await;
    let key = CacheKey::parse("a")?;
    f.store.put_cache_entry(&f.tenant, put("a", None)?).await?;
    f.clock.advance(Duration::from_secs(7));
    f.store.use_cache_entry(&f.tenant, &key).await?;
    f.store.close().await;
    assert_eq!(f.count("cache_entries WHERE accessed_at = created_at + 7000000").await, 1);
    Ok(())
}

#[tokio::test]
async fn the_numbers_of_a_deleted_session_are_cleared_away() -> Result<()> {
    let f = Fixture::open().await;
    let session = f.session().await;
    for _ in 0..5 {
        f.store.record_metrics(&f.tenant, number(Some(&session), "")?).await?;
    }
    f.store.record_metrics(&f.tenant, number(None, "")?).await?;
    f.store.delete_session(&f.tenant, &session).await?;
    f.store.keep_house(RETENTION, false).await?;
    assert_eq!((f.count("metrics").await, f.count("purges").await), (1, 0));
    Ok(())
}

#[tokio::test]
async fn requests_that_recorded_metrics_are_forgotten_after_their_time() -> Result<()> {
    let f = Fixture::open().await;
    let first = f.store.record_metrics(&f.tenant, number(None, "one")?).await?;
    f.clock.advance(Duration::from_secs(60));
    f.store.keep_house(RETENTION, false).await?;
    assert_eq!(f.store.record_metrics(&f.tenant, number(None, "one")?).await?, first);
    f.clock.advance(Duration::from_secs(1));
    f.store.keep_house(RETENTION, false).await?;
    let second = f.store.record_metrics(&f.tenant, number(None, "one")?).await?;
    assert!(second.ids != first.ids, "a new number has an id of its own");
    assert_eq!(f.count("metrics").await, 2);
    Ok(())
}

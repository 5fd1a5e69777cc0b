//! What an installation holds, in numbers.

use super::*;

contract! {
    an_empty_installation_holds_nothing,
    everything_is_counted,
}

async fn an_empty_installation_holds_nothing(f: &Fixture) {
    let stats = stats(f).await;
    assert!(stats.rows.values().all(|rows| *rows == 0), "{:?}", stats.rows);
    assert!(stats.rows.contains_key("sessions") && stats.rows.contains_key("journal_entries"));
    assert_eq!((stats.tenants, stats.oldest_session_at), (0, None));
    assert!(["sqlite", "postgresql"].contains(&&*stats.backend), "{}", stats.backend);
    assert!(stats.database_bytes > 0 && !stats.location.is_empty());
    assert!(stats.schema_version >= stats.min_compatible_version);
    assert!(stats.min_compatible_version >= 1);
}

async fn everything_is_counted(f: &Fixture) {
    let held = conversation(f).await;
    let ended = f.session().await;
    let request = UpdateSessionRequest {
        session_id: ended,
        status: SessionStatus::Ended.into(),
        ..Default::default()
    };
    f.sessions().update_session(request).await.expect("an end");
    let stats = stats(f).await;
    let entries = f.get_journal(&held.session).await.head_sequence;
    assert_eq!(stats.rows["sessions"], 2);
    assert_eq!(stats.rows["journal_entries"], entries + 1, "the end is a command");
    assert_eq!((stats.rows["messages"], stats.rows["records"]), (2, 1));
    assert_eq!((stats.rows["executions"], stats.rows["holders"]), (1, 1));
    assert_eq!((stats.rows["metrics"], stats.rows["cache_entries"]), (1, 1));
    assert_eq!(stats.sessions_by_status["active"], 1);
    assert_eq!(stats.sessions_by_status["ended"], 1);
    assert_eq!(stats.tenants, 1);
    assert!(stats.oldest_session_at.is_some());
}

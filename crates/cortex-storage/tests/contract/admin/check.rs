//! A check of what is whole. What damage looks like is seeded where the tables are known.

use super::*;

contract! {
    what_is_whole_has_no_findings,
}

async fn what_is_whole_has_no_findings(f: &Fixture) {
    let held = conversation(f).await;
    for _ in 0..3 {
        f.message(&held.session).await;
    }
    let deleted = conversation(f).await.session;
    f.sessions().delete_session(DeleteSessionRequest { session_id: deleted }).await.expect("gone");
    for full in [false, true] {
        let (findings, end) = check(f, full).await;
        assert_eq!(findings, []);
        assert_eq!((end.status.as_str(), end.findings), ("ok", 0));
        let entries = f.get_journal(&held.session).await.head_sequence;
        assert_eq!(end.checked["journal_entries"], entries);
        assert_eq!((end.checked["sessions"], end.checked["messages"]), (1, 2));
    }
}

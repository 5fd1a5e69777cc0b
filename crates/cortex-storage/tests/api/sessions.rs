//! `/storage/sessions`.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use crate::port::{Port, each, keys};

/// What the predecessor told of a session, and what is told beside it.
const KEYS: [&str; 10] = [
    "id",
    "agent_name",
    "user_id",
    "created_at",
    "updated_at",
    "status",
    "metadata",
    "message_count",
    "head_sequence",
    "manifest_digest",
];

#[tokio::test]
async fn a_session_has_the_predecessors_shape() {
    let port = Port::open().await;
    let body =
        r#"{"agent_name":"sage","user_id":"ann","metadata":{"z":9007199254740993,"a":[1.50]}}"#;
    let created = port.post("/storage/sessions", body).await;
    assert!(created.body.contains(r#""metadata":{"z":9007199254740993,"a":[1.50]}"#), "verbatim");
    let session = created.ok();
    assert_eq!(keys(&session), KEYS);
    let id = session["id"].as_str().expect("an id");
    assert!(id.starts_with("session_") && id.len() >= "session_".len() + 16, "{id}");
    assert_eq!((&session["agent_name"], &session["user_id"]), (&json!("sage"), &json!("ann")));
    assert_eq!((&session["status"], &session["message_count"]), (&json!("active"), &json!(0)));
    let created_at = session["created_at"].as_str().expect("a time");
    assert!(created_at.ends_with('Z'), "with its time zone: {created_at}");
    let got = port.get(&format!("/storage/sessions/{id}")).await;
    assert_eq!(got.ok(), session);
    let bare = port.post("/storage/sessions", r#"{"agent_name":"sage"}"#).await.ok();
    assert_eq!((&bare["metadata"], &bare["user_id"]), (&json!({}), &json!("")));
}

#[tokio::test]
async fn an_unknown_session_is_404_and_named() {
    let port = Port::open().await;
    let id = "session_00000000000000000000000000000000";
    let path = format!("/storage/sessions/{id}");
    for answer in [
        port.get(&path).await,
        port.put(&path, r#"{"status":"ended"}"#).await,
        port.put(&path, r#"{"metadata":{"a":1}}"#).await,
        port.delete(&path).await,
    ] {
        let message = answer.refused(404, "SESSION_NOT_FOUND");
        assert!(message.contains(id), "{message}");
    }
}

#[tokio::test]
async fn put_and_patch_merge_metadata_at_the_top_and_set_the_status() {
    let port = Port::open().await;
    let body = r#"{"agent_name":"sage","metadata":{"a":{"x":1},"b":2,"c":3}}"#;
    let session = port.post("/storage/sessions", body).await.ok();
    let path = format!("/storage/sessions/{}", session["id"].as_str().expect("an id"));
    port.clock.advance(Duration::from_secs(1));
    let updated = port.put(&path, r#"{"metadata":{"a":{"y":2},"c":null,"d":4}}"#).await.ok();
    assert_eq!(updated["metadata"], json!({"a": {"y": 2}, "b": 2, "d": 4}));
    assert_eq!(
        (&updated["status"], &updated["created_at"]),
        (&json!("active"), &session["created_at"])
    );
    assert_ne!(updated["updated_at"], session["updated_at"]);
    let paused = port.patch(&path, r#"{"status":"paused"}"#).await.ok();
    assert_eq!((&paused["status"], &paused["metadata"]), (&json!("paused"), &updated["metadata"]));
    let both = port.put(&path, r#"{"status":"ended","metadata":{"e":5}}"#).await.ok();
    assert_eq!((&both["status"], &both["metadata"]["e"]), (&json!("ended"), &json!(5)));
    assert_eq!(
        port.put(&path, r#"{"status":"SESSION_STATUS_ACTIVE"}"#).await.ok()["status"],
        "active"
    );
    let wrong = port.put(&path, r#"{"status":"sleeping"}"#).await;
    wrong.refused(400, "INVALID_FIELD");
    assert_eq!(wrong.fields(), ["status"]);
    let nothing = port.put(&path, "{}").await.ok();
    assert_eq!(nothing["status"], "active", "leaves alone what is not given");
}

#[tokio::test]
async fn concurrent_merges_lose_nothing() {
    let port = Port::open().await;
    let id = port.session().await;
    let path = format!("/storage/sessions/{id}");
    let bodies: Vec<_> = (0..16).map(|n| format!(r#"{{"metadata":{{"k{n}":{n}}}}}"#)).collect();
    let updates = bodies.iter().map(|body| port.put(&path, body));
    for answer in futures::future::join_all(updates).await {
        answer.ok();
    }
    assert_eq!(keys(&port.get(&path).await.ok()["metadata"]).len(), 16);
}

#[tokio::test]
async fn sessions_are_a_bare_list_newest_first() {
    let port = Port::open().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let body = format!(
            r#"{{"agent_name":"{}","user_id":"{}"}}"#,
            if n % 2 == 0 { "even" } else { "odd" },
            if n < 2 { "ann" } else { "bob" }
        );
        let session = port.post("/storage/sessions", &body).await.ok();
        ids.insert(0, session["id"].as_str().expect("an id").to_owned());
        port.clock.advance(Duration::from_secs(1));
    }
    port.put(&format!("/storage/sessions/{}", ids[0]), r#"{"status":"ended"}"#).await.ok();
    let list = async |query: &str| port.get(&format!("/storage/sessions{query}")).await.list();
    assert_eq!(each(&list("").await, "id"), ids);
    assert_eq!(keys(&list("").await[0]), KEYS);
    assert_eq!(each(&list("?agent_name=odd").await, "id"), [&ids[1], &ids[3]]);
    assert_eq!(each(&list("?user_id=ann").await, "id"), [&ids[3], &ids[4]]);
    assert_eq!(each(&list("?status=ended").await, "id"), [&ids[0]]);
    assert_eq!(each(&list("?status=active&agent_name=even").await, "id"), [&ids[2], &ids[4]]);
    assert_eq!(each(&list("?limit=2&offset=1").await, "id"), ids[1..3]);
    assert!(list("?offset=50").await.is_empty() && list("?status=paused").await.is_empty());
    let first = port.get("/storage/sessions?page_size=2").await;
    let token = first.next_page_token();
    assert!(!token.is_empty(), "told in a header, since the list is bare");
    let second = port.get(&format!("/storage/sessions?page_size=2&page_token={token}")).await;
    assert_eq!(each(&second.list(), "id"), ids[2..4]);
    let last = second.next_page_token();
    let third = port.get(&format!("/storage/sessions?page_size=2&page_token={last}")).await;
    assert_eq!(
        (each(&third.list(), "id"), third.next_page_token()),
        (vec![ids[4].as_str()], String::new())
    );
}

/// Where the predecessor answered 500.
#[tokio::test]
async fn wrong_bounds_are_4xx_and_generous_ones_are_cut() {
    let port = Port::open().await;
    port.session().await;
    for (query, field) in [
        ("limit=-1", "limit"),
        ("page_size=-1", "page_size"),
        ("offset=-1", "offset"),
        ("limit=x", "limit"),
        ("status=x", "status"),
        ("page_token=nonsense", "page_token"),
        ("limit=1&page_size=1", "limit"),
        ("colour=red", "colour"),
    ] {
        let answer = port.get(&format!("/storage/sessions?{query}")).await;
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.fields(), [field], "{query}");
    }
    for query in ["limit=0", "limit=5000", "page_size=5000"] {
        assert_eq!(
            port.get(&format!("/storage/sessions?{query}")).await.list().len(),
            1,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_thousand_is_the_most_of_a_page() {
    let port = Port::open().await;
    let creations = futures::stream::iter((0..1_001).map(|_| port.session()));
    creations.buffer_unordered(32).for_each(|_| std::future::ready(())).await;
    let answer = port.get("/storage/sessions?limit=5000").await;
    assert_eq!(answer.list().len(), 1_000);
    assert!(!answer.next_page_token().is_empty());
    assert_eq!(port.get("/storage/sessions").await.list().len(), 100);
}

/// The predecessor promised it and left everything readable.
#[tokio::test]
async fn deleting_a_session_really_cascades() {
    let port = Port::open().await;
    let (id, other) = (port.session().await, port.session().await);
    for id in [&id, &other] {
        let message = format!(r#"{{"session_id":"{id}","role":"user","content":"hello"}}"#);
        port.post("/storage/history", &message).await.ok();
        port.put(&format!("/storage/state/{id}"), r#"{"data":{"a":1}}"#).await.ok();
        let metric = format!(
            r#"{{"entity_type":"agent","entity_name":"sage","session_id":"{id}","metric_name":"n","value":1}}"#
        );
        port.post("/storage/metrics", &metric).await.ok();
    }
    let deleted = port.delete(&format!("/storage/sessions/{id}")).await;
    assert_eq!(deleted.ok(), json!({"status": "deleted", "session_id": id}));
    for path in [
        format!("/storage/sessions/{id}"),
        format!("/storage/history?session_id={id}"),
        format!("/storage/state/{id}"),
        format!("/storage/metrics?session_id={id}"),
    ] {
        port.get(&path).await.refused(404, "SESSION_NOT_FOUND");
    }
    let message = format!(r#"{{"session_id":"{id}","role":"user","content":"hello"}}"#);
    port.post("/storage/history", &message).await.refused(404, "SESSION_NOT_FOUND");
    let put = port.put(&format!("/storage/state/{id}"), r#"{"data":{}}"#).await;
    put.refused(404, "SESSION_NOT_FOUND");
    let left = port.get("/storage/metrics").await.list();
    assert_eq!(each(&left, "session_id"), [&other]);
    assert_eq!(port.get(&format!("/storage/history?session_id={other}")).await.list().len(), 1);
    assert_eq!(port.get(&format!("/storage/state/{other}")).await.ok()["data"], json!({"a": 1}));
}

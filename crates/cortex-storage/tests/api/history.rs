//! `/storage/history`.

use serde_json::{Value, json};

use crate::port::{Port, each, keys};

const KEYS: [&str; 10] = [
    "id",
    "session_id",
    "role",
    "content",
    "timestamp",
    "metadata",
    "tool_calls",
    "call_id",
    "turn_id",
    "position",
];

async fn add(port: &Port, session: &str, role: &str, content: &str) -> Value {
    let body = json!({"session_id": session, "role": role, "content": content}).to_string();
    port.post("/storage/history", &body).await.ok()
}

/// Ten messages `0` to `9`, of users and assistants in turn.
async fn conversation(port: &Port) -> String {
    let session = port.session().await;
    for n in 0..10 {
        let role = if n % 2 == 0 { "user" } else { "assistant" };
        add(port, &session, role, &n.to_string()).await;
    }
    session
}

#[tokio::test]
async fn a_message_has_the_predecessors_shape() {
    let port = Port::open().await;
    let session = port.session().await;
    let before = port.get(&format!("/storage/sessions/{session}")).await.ok();
    port.clock.advance(std::time::Duration::from_secs(1));
    let body = format!(
        r#"{{"session_id":"{session}","role":"user","content":"grüß \u0000 <b>","metadata":{{"n":1e400}}}}"#
    );
    let added = port.post("/storage/history", &body).await;
    assert!(added.body.contains(r#""metadata":{"n":1e400}"#), "verbatim: {}", added.body);
    let message: Value = serde_json::from_str(&added.body.replace("1e400", "1")).expect("JSON");
    assert_eq!(added.status, 200);
    assert_eq!(keys(&message), KEYS);
    assert!(message["id"].as_str().is_some_and(|id| id.starts_with("msg_")));
    assert_eq!(message["content"], "grüß \u{0} <b>");
    assert_eq!((&message["role"], &message["session_id"]), (&json!("user"), &json!(session)));
    for role in ["assistant", "system", "tool"] {
        let message = add(&port, &session, role, "x").await;
        assert_eq!((&message["role"], &message["metadata"]), (&json!(role), &json!({})));
    }
    let after = port.get(&format!("/storage/sessions/{session}")).await.ok();
    assert_ne!(after["updated_at"], before["updated_at"], "a message changes its session");
    assert_eq!(after["message_count"], 4);
}

#[tokio::test]
async fn a_history_is_oldest_first_with_windows_at_both_ends() {
    let port = Port::open().await;
    let session = conversation(&port).await;
    let path = |query: &str| format!("/storage/history?session_id={session}{query}");
    let list = async |query: &str| port.get(&path(query)).await.list();
    assert_eq!(each(&list("").await, "content").concat(), "0123456789");
    assert_eq!(each(&list("&limit=3").await, "content").concat(), "012");
    assert_eq!(each(&list("&limit=3&offset=4").await, "content").concat(), "456");
    assert_eq!(each(&list("&role=assistant").await, "content").concat(), "13579");
    assert_eq!(each(&list("&role=user&limit=2&offset=1").await, "content").concat(), "24");
    // What the predecessor could not: the latest ones, still oldest first.
    assert_eq!(each(&list("&latest=true&limit=3").await, "content").concat(), "789");
    assert_eq!(each(&list("&latest=true&limit=3&offset=2").await, "content").concat(), "567");
    assert_eq!(each(&list("&latest=true&role=user&limit=2").await, "content").concat(), "68");
    for (query, pages) in [
        ("&page_size=4", ["0123", "4567", "89"]),
        ("&latest=true&page_size=4", ["6789", "2345", "01"]),
    ] {
        let mut token = String::new();
        for expected in pages {
            let more =
                if token.is_empty() { String::new() } else { format!("&page_token={token}") };
            let page = port.get(&path(&format!("{query}{more}"))).await;
            assert_eq!(each(&page.list(), "content").concat(), expected, "{query}");
            token = page.next_page_token();
        }
        assert_eq!(token, "", "{query}");
    }
}

#[tokio::test]
async fn a_history_is_cleared_and_goes_on() {
    let port = Port::open().await;
    let session = conversation(&port).await;
    let path = format!("/storage/history?session_id={session}");
    let cleared = port.delete(&path).await.ok();
    assert_eq!(cleared, json!({"status": "deleted", "session_id": session}));
    assert!(port.get(&path).await.list().is_empty());
    // The predecessor said 404 here; that nothing is left is what was asked for.
    assert_eq!(port.delete(&path).await.ok()["status"], "deleted");
    add(&port, &session, "user", "again").await;
    assert_eq!(each(&port.get(&path).await.list(), "content"), ["again"]);
    assert_eq!(port.get(&format!("/storage/sessions/{session}")).await.ok()["message_count"], 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_4xx() {
    let port = Port::open().await;
    let session = port.session().await;
    for (body, field) in [
        (format!(r#"{{"session_id":"{session}","role":"robot","content":"x"}}"#), "role"),
        (format!(r#"{{"session_id":"{session}","content":"x"}}"#), "role"),
        (r#"{"session_id":"nonsense","role":"user","content":"x"}"#.to_owned(), "session_id"),
        (r#"{"role":"user","content":"x"}"#.to_owned(), "session_id"),
        (format!(r#"{{"session_id":"{session}","role":"user","content":7}}"#), "content"),
        (
            format!(r#"{{"session_id":"{session}","role":"user","content":"x","metadata":[]}}"#),
            "metadata",
        ),
    ] {
        let answer = port.post("/storage/history", &body).await;
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.fields(), [field], "{body}");
    }
    let missing = port.get("/storage/history").await;
    missing.refused(400, "INVALID_FIELD");
    assert_eq!(missing.fields(), ["session_id"]);
    for (query, field) in [("limit=-1", "limit"), ("offset=-1", "offset"), ("role=x", "role")] {
        let answer = port.get(&format!("/storage/history?session_id={session}&{query}")).await;
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.fields(), [field]);
    }
    assert!(
        port.get(&format!("/storage/history?session_id={session}&limit=5000"))
            .await
            .list()
            .is_empty()
    );
}

//! `/storage/cache`.

use std::time::Duration;

use serde_json::json;

use crate::port::{Port, each, keys};

#[tokio::test]
async fn an_entry_has_the_predecessors_shape() {
    let port = Port::open().await;
    let put = port
        .put("/storage/cache/answers", r#"{"key":"answers","value":{"n":1.50},"ttl":3600}"#)
        .await;
    assert!(put.body.contains(r#""value":{"n":1.50}"#), "verbatim: {}", put.body);
    let entry = put.ok();
    let with_ttl = ["key", "value", "ttl", "created_at", "accessed_at", "expires_at", "revision"];
    assert_eq!(keys(&entry), with_ttl);
    assert_eq!((&entry["key"], &entry["ttl"]), (&json!("answers"), &json!(3600)));
    assert_eq!(port.get("/storage/cache/answers").await.ok(), entry);
    port.clock.advance(Duration::from_secs(2));
    let again = port.get("/storage/cache/answers").await.ok();
    assert_eq!(again["accessed_at"], entry["created_at"], "of the use before this one");
    let deleted = port.delete("/storage/cache/answers").await.ok();
    assert_eq!(deleted, json!({"status": "deleted", "key": "answers"}));
    for answer in
        [port.get("/storage/cache/answers").await, port.delete("/storage/cache/answers").await]
    {
        let message = answer.refused(404, "CACHE_ENTRY_NOT_FOUND");
        assert!(message.contains("'answers'") && message.contains("expired"), "{message}");
    }
    let forever = port.put("/storage/cache/answers", r#"{"value":{}}"#).await.ok();
    assert_eq!(keys(&forever), ["key", "value", "created_at", "accessed_at", "revision"]);
}

#[tokio::test]
async fn the_path_names_the_key() {
    let port = Port::open().await;
    for (path, key) in [
        ("plain", "plain"),
        ("a/b/c", "a/b/c"),
        ("with%20space", "with space"),
        ("a/b%20c", "a/b c"),
        ("%D0%BA%D0%BB%D1%8E%D1%87", "ключ"),
        ("a%2Bb", "a+b"),
        ("q%3Fx", "q?x"),
        // In a key of several segments an encoded slash stays what it is.
        ("a%2Fb", "a%2Fb"),
    ] {
        let url = format!("/storage/cache/{path}");
        let body = r#"{"key":"the body says another","value":{"v":1}}"#;
        assert_eq!(port.put(&url, body).await.ok()["key"], json!(key), "the path's key wins");
        assert_eq!(port.get(&url).await.ok()["key"], json!(key));
        assert_eq!(port.delete(&url).await.ok()["key"], json!(key));
    }
    port.get("/storage/cache/the%20body%20says%20another")
        .await
        .refused(404, "CACHE_ENTRY_NOT_FOUND");
}

#[tokio::test]
async fn entries_are_listed_and_cleaned_up() {
    let port = Port::open().await;
    for n in 0..5 {
        let body = format!(r#"{{"value":{{"n":{n}}},"ttl":{}}}"#, if n < 2 { 5 } else { 500 });
        port.put(&format!("/storage/cache/k/{n}"), &body).await.ok();
    }
    port.put("/storage/cache/other", r#"{"value":{}}"#).await.ok();
    let first = port.get("/storage/cache?prefix=k/&page_size=3").await;
    assert_eq!(each(&first.list(), "key"), ["k/0", "k/1", "k/2"]);
    let token = first.next_page_token();
    let second =
        port.get(&format!("/storage/cache?prefix=k/&page_size=3&page_token={token}")).await;
    assert_eq!(each(&second.list(), "key"), ["k/3", "k/4"]);
    assert_eq!(
        port.post("/storage/cache/cleanup", "{}").await.ok(),
        json!({"status": "completed", "deleted": 0})
    );
    port.clock.advance(Duration::from_secs(5));
    port.get("/storage/cache/k/0").await.refused(404, "CACHE_ENTRY_NOT_FOUND");
    // The predecessor took no body here; housekeeping may have been quicker.
    let cleaned = port.call("POST", "/storage/cache/cleanup", None).await.ok();
    assert!(cleaned["deleted"].as_i64().is_some_and(|deleted| deleted <= 2), "{cleaned}");
    assert_eq!(
        each(&port.get("/storage/cache").await.list(), "key"),
        ["k/2", "k/3", "k/4", "other"]
    );
}

#[tokio::test]
async fn compare_and_set_works_over_http() {
    let port = Port::open().await;
    let only_new = r#"{"value":{},"expected_revision":0}"#;
    let revision = port.put("/storage/cache/lock", only_new).await.ok()["revision"].clone();
    port.put("/storage/cache/lock", only_new).await.refused(409, "REVISION_MISMATCH");
    port.delete("/storage/cache/lock?expected_revision=99").await.refused(409, "REVISION_MISMATCH");
    port.delete(&format!("/storage/cache/lock?expected_revision={revision}")).await.ok();
}

#[tokio::test]
async fn what_is_wrong_with_an_entry_is_4xx() {
    let port = Port::open().await;
    for (body, field) in [
        (r#"{"value":"text"}"#, "value"),
        (r#"{"value":[1]}"#, "value"),
        ("{}", "value"),
        (r#"{"value":{},"ttl":0}"#, "ttl"),
        (r#"{"value":{},"ttl":-5}"#, "ttl"),
        (r#"{"value":{},"ttl":1.5}"#, "ttl"),
        (r#"{"value":{},"expected_revision":-1}"#, "expected_revision"),
    ] {
        let answer = port.put("/storage/cache/a", body).await;
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.fields(), [field], "{body}");
    }
    let long = port.get(&format!("/storage/cache/{}", "x".repeat(513))).await;
    long.refused(400, "INVALID_FIELD");
    assert_eq!(long.fields(), ["key"]);
}

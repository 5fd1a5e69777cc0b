//! `/storage/state`.

use serde_json::json;

use crate::port::{Port, keys};

#[tokio::test]
async fn a_state_has_the_predecessors_shape() {
    let port = Port::open().await;
    let path = format!("/storage/state/{}", port.session().await);
    let empty = port.get(&path).await.ok();
    assert_eq!(keys(&empty), ["session_id", "data", "updated_at", "etag"]);
    assert_eq!(empty["data"], json!({}));
    let put = port.put(&path, r#"{"data":{"z":9007199254740993,"a":{"b":1.50}}}"#).await;
    assert!(put.body.contains(r#""data":{"z":9007199254740993,"a":{"b":1.50}}"#), "{}", put.body);
    assert_eq!(port.get(&path).await.body, put.body);
    let replaced = port.put(&path, r#"{"data":{"only":true}}"#).await.ok();
    assert_eq!(replaced["data"], json!({"only": true}), "PUT replaces the whole");
}

#[tokio::test]
async fn patch_is_a_json_merge_patch() {
    let port = Port::open().await;
    let path = format!("/storage/state/{}", port.session().await);
    port.put(&path, r#"{"data":{"a":{"x":1,"y":2},"b":[1,2],"c":3}}"#).await.ok();
    let patch = r#"{"data":{"a":{"y":null,"z":3},"b":[9],"c":null,"d":{"e":null,"f":1}}}"#;
    let patched = port.patch(&path, patch).await.ok();
    assert_eq!(patched["data"], json!({"a": {"x": 1, "z": 3}, "b": [9], "d": {"f": 1}}));
}

#[tokio::test]
async fn an_etag_guards_put_and_patch() {
    let port = Port::open().await;
    let path = format!("/storage/state/{}", port.session().await);
    let etag = port.get(&path).await.ok()["etag"].as_str().expect("an etag").to_owned();
    let body = format!(r#"{{"data":{{"n":1}},"etag":"{etag}"}}"#);
    let first = port.put(&path, &body).await.ok();
    assert_ne!(first["etag"], json!(etag));
    port.put(&path, &body).await.refused(409, "ETAG_MISMATCH");
    port.patch(&path, &body).await.refused(409, "ETAG_MISMATCH");
    let now = first["etag"].as_str().expect("an etag");
    port.patch(&path, &format!(r#"{{"data":{{"m":2}},"etag":"{now}"}}"#)).await.ok();
    assert_eq!(port.get(&path).await.ok()["data"], json!({"n": 1, "m": 2}));
}

#[tokio::test]
async fn a_state_is_emptied() {
    let port = Port::open().await;
    let session = port.session().await;
    let path = format!("/storage/state/{session}");
    port.put(&path, r#"{"data":{"n":1}}"#).await.ok();
    let deleted = port.delete(&path).await.ok();
    assert_eq!(deleted, json!({"status": "deleted", "session_id": session}));
    assert_eq!(port.get(&path).await.ok()["data"], json!({}));
}

/// The predecessor answered `{}` for sessions that are not there, and kept states for them.
#[tokio::test]
async fn a_state_belongs_to_a_session() {
    let port = Port::open().await;
    let path = "/storage/state/session_00000000000000000000000000000000";
    for answer in [
        port.get(path).await,
        port.put(path, r#"{"data":{}}"#).await,
        port.patch(path, r#"{"data":{}}"#).await,
        port.delete(path).await,
    ] {
        answer.refused(404, "SESSION_NOT_FOUND");
    }
    let path = format!("/storage/state/{}", port.session().await);
    for body in [r#"{"data":[]}"#, r#"{"data":"x"}"#, "{}", r#"{"data":null}"#] {
        let answer = port.put(&path, body).await;
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.fields(), ["data"], "{body}");
    }
}

//! The sixteen steps of the predecessor's own test script, which printed and did not assert.

use serde_json::{Value, json};

use crate::port::{Port, each};

#[tokio::test]
async fn its_sixteen_steps() {
    let port = Port::open().await;

    // 1 Health
    let health = port.get("/health").await.ok();
    assert_eq!((&health["status"], &health["service"]), (&json!("healthy"), &json!("storage")));

    // 2 Create Session
    let body = r#"{"agent_name":"test_agent","user_id":"test_user","metadata":{"test":true}}"#;
    let session = port.post("/storage/sessions", body).await.ok();
    let id = session["id"].as_str().expect("an id").to_owned();
    assert_eq!(session["status"], "active");

    // 3 Get Session
    let path = format!("/storage/sessions/{id}");
    assert_eq!(port.get(&path).await.ok(), session);

    // 4 Add Messages
    let messages = [("user", "Hello, agent!"), ("assistant", "Hello!"), ("user", "Help me.")];
    for (role, content) in messages {
        let body = json!({"session_id": id, "role": role, "content": content}).to_string();
        assert_eq!(port.post("/storage/history", &body).await.ok()["content"], json!(content));
    }

    // 5 Get History
    let history = port.get(&format!("/storage/history?session_id={id}")).await.list();
    let told: Vec<_> = each(&history, "role").into_iter().zip(each(&history, "content")).collect();
    assert_eq!(told, messages);

    // 6 Update State
    let data = json!({"current_task": "testing", "progress": 50, "variables": {"x": 10, "y": 20}});
    let body = json!({"data": data}).to_string();
    let state = format!("/storage/state/{id}");
    assert_eq!(port.put(&state, &body).await.ok()["data"], data);

    // 7 Get State
    assert_eq!(port.get(&state).await.ok()["data"], data);

    artifacts(&port, &id).await;
    metrics(&port, &id).await;
    cache(&port).await;

    // 14 List Sessions
    let sessions = port.get("/storage/sessions?agent_name=test_agent&limit=10").await.list();
    assert_eq!(each(&sessions, "id"), [id.as_str()]);

    // 15 Update Session Status
    let ended = port.put(&path, r#"{"status":"ended"}"#).await.ok();
    assert_eq!((&ended["status"], &ended["metadata"]), (&json!("ended"), &json!({"test": true})));

    // 16 Delete Session
    let deleted = port.delete(&path).await.ok();
    assert_eq!(deleted, json!({"status": "deleted", "session_id": id}));
    for path in [
        path.clone(),
        format!("/storage/history?session_id={id}"),
        state,
        format!("/storage/metrics?session_id={id}"),
    ] {
        port.get(&path).await.refused(404, "SESSION_NOT_FOUND");
    }
    assert_eq!(port.get("/storage/sessions").await.ok(), Value::Array(Vec::new()));
}

async fn artifacts(port: &Port, id: &str) {
    // 8 Create Artifact
    let body = json!({
        "session_id": id, "name": "test_output.txt", "type": "text",
        "path": "/artifacts/test_output.txt", "size": 1024, "metadata": {"encoding": "utf-8"},
    });
    let artifact = port.post("/storage/artifacts", &body.to_string()).await.ok();
    assert!(artifact["id"].as_str().is_some_and(|id| id.starts_with("artifact_")), "{artifact}");
    for key in ["session_id", "name", "type", "path", "size", "metadata"] {
        assert_eq!(artifact[key], body[key], "{key}");
    }

    // 9 List Artifacts
    let artifacts = port.get(&format!("/storage/artifacts?session_id={id}")).await.list();
    assert_eq!(artifacts, [artifact]);
}

async fn metrics(port: &Port, id: &str) {
    // 10 Record Metrics
    for (name, value) in [("response_time", 1.5), ("tokens_used", 150.0)] {
        let body = json!({
            "entity_type": "agent", "entity_name": "test_agent", "session_id": id,
            "metric_name": name, "value": value, "labels": {"model": "gemini"},
        });
        assert_eq!(
            port.post("/storage/metrics", &body.to_string()).await.ok()["value"],
            json!(value)
        );
    }

    // 11 Query Metrics
    let path = format!("/storage/metrics?entity_type=agent&entity_name=test_agent&session_id={id}");
    let metrics = port.get(&path).await.list();
    assert_eq!(each(&metrics, "metric_name"), ["tokens_used", "response_time"]);
}

async fn cache(port: &Port) {
    // 12 Set Cache
    let body = r#"{"key":"test_key","value":{"data":"test_value"},"ttl":3600}"#;
    let entry = port.put("/storage/cache/test_key", body).await.ok();
    assert_eq!((&entry["value"], &entry["ttl"]), (&json!({"data": "test_value"}), &json!(3600)));

    // 13 Get Cache
    assert_eq!(port.get("/storage/cache/test_key").await.ok()["value"], entry["value"]);
}

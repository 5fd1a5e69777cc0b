//! The mesh on PostgreSQL: a conversation outlives crashes of the mesh and of the database's server.

use std::time::Duration;

use cortex_e2e::{Mesh, Options, Topology, curl, frames, in_both_topologies};
use cortex_testkit::Postgres;

in_both_topologies!(
    a_conversation_is_there_after_a_crash_of_the_mesh,
    a_turn_goes_on_when_its_database_comes_back,
);

async fn answer(mesh: &Mesh, session: &str, content: &str) {
    let path = format!("/agent/session/{session}/message");
    let body = format!(r#"{{"content": "{content}", "stream": false}}"#);
    let answer = mesh.post(&path, &body).await;
    assert_eq!(answer.json()["status"], "completed", "{}\n{}", answer.body, mesh.logs());
}

async fn messages(mesh: &Mesh, session: &str) -> usize {
    let history = mesh.get(&format!("/agent/session/{session}/history")).await.json();
    let list = history.as_array().or_else(|| history["messages"].as_array());
    list.map_or(0, Vec::len)
}

async fn a_conversation_is_there_after_a_crash_of_the_mesh(topology: Topology) {
    let database = Postgres::shared().database();
    let options = Options::default().env("DATABASE_URL", database.url());
    let mut mesh = Mesh::start(topology, options).await;
    let session = mesh.session("assistant").await;
    answer(&mesh, &session, "rehearse 5 tokens").await;
    let before = messages(&mesh, &session).await;
    assert!(before >= 2, "a question and an answer");
    // A division by zero if the session is not in this database.
    database.server().sql_in(database.name(), "SELECT 1 / count(*) FROM sessions");
    mesh.kill();
    mesh.restart().await;
    assert_eq!(messages(&mesh, &session).await, before);
    answer(&mesh, &session, "rehearse 5 tokens").await;
    assert_eq!(messages(&mesh, &session).await, 2 * before);
}

async fn a_turn_goes_on_when_its_database_comes_back(topology: Topology) {
    let server = Postgres::own();
    server.sql("CREATE DATABASE vault");
    let options = Options::default()
        .env("DATABASE_URL", server.url("vault"))
        .env("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", "10ms");
    let mesh = Mesh::start(topology, options).await;
    let session = mesh.session("assistant").await;
    let url = format!("{}/agent/session/{session}/message", mesh.gateway());
    let body = r#"{"content": "rehearse 200 tokens"}"#;
    let arguments =
        ["-X", "POST", &url, "-H", "Content-Type: application/json", "-d", body].map(str::to_owned);
    let streaming = tokio::spawn(curl(arguments));
    while !mesh
        .get(&format!("/agent/session/{session}/events?replay_only=true"))
        .await
        .body
        .contains("content_delta")
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.crash();
    tokio::time::sleep(Duration::from_millis(700)).await;
    server.start_again();
    let seen = frames(&streaming.await.expect("curl ended").body);
    // The client's stream may have ended with the database; the turn goes on without it.
    let path = format!("/agent/session/{session}/events?replay_only=true");
    let completed = async {
        loop {
            let events = frames(&mesh.get(&path).await.body);
            if events.iter().any(|frame| frame.event == "turn_completed") {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let events = tokio::time::timeout(Duration::from_secs(60), completed).await;
    let events = events.unwrap_or_else(|_| panic!("the turn does not end\n{}", mesh.logs()));
    let told: Vec<_> = seen.into_iter().filter(|frame| frame.event != "error").collect();
    assert_eq!(told, events[..told.len()], "what was seen is what the journal says");
    answer(&mesh, &session, "rehearse 2 tokens").await;
}

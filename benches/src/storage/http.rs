//! Calls as JSON over HTTP/1.1, beside a call of the same port that has nothing to do with storage.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use serde_json::json;

use super::{PAYLOAD, serve, session::Session};
use crate::{
    Arguments, Outcome,
    generator::{Share, Spell, on_own_thread},
    keep_alive::{self, Connection},
    mesh::Mesh,
    report::{Figure, progress},
};

/// Connections, each with one call at a time, and a session of its own.
const CONNECTIONS: usize = 16;
/// Messages added in a second.
const LEAST_ADDED: f64 = 12_000.0;
/// Sessions read in a second.
const LEAST_READ: f64 = 25_000.0;
/// What the calls are compared with.
const BASELINE: &str = "GET /health/live";

/// Every figure of calls over HTTP.
pub(crate) async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    progress("calls over HTTP");
    let (rounds, time) = match arguments.quick {
        true => (2, Duration::from_secs(2)),
        false => (5, Duration::from_secs(4)),
    };
    let directory = tempfile::tempdir()?;
    let mesh = serve(arguments, directory.path()).await?;
    let transport = mesh.transport(8084)?;
    let sessions = (0..CONNECTIONS).map(|_| Session::create(transport.clone()));
    let mut sessions = try_join_all(sessions).await?;
    // What is added to a session that somebody holds waits for him, and 1,024 messages at most.
    try_join_all(sessions.iter_mut().map(Session::release)).await?;
    let address = mesh.address(8084);
    let live = vec![keep_alive::request("GET", "/health/live", address, ""); CONNECTIONS];
    let add: Vec<_> = sessions.iter().map(|session| add(session, address)).collect();
    let get: Vec<_> = sessions.iter().map(|session| get(session, address)).collect();
    let mut count = round(&mesh, &add, time / 4).await?.0;
    let (mut lives, mut added, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        lives.push(round(&mesh, &live, time / 4).await?.1);
        let (messages, share) = round(&mesh, &add, time).await?;
        count += messages;
        added.push(share);
        read.push(round(&mesh, &get, time).await?.1);
    }
    if stored(&mut sessions).await? != count {
        return Err("not every message that was answered was added once".into());
    }
    Ok(figures(&lives, &added, &read))
}

fn figures(live: &[Share], added: &[Share], read: &[Share]) -> Vec<Figure> {
    let rates = |shares: &[Share]| shares.iter().map(|share| share.rate).collect::<Vec<_>>();
    let costs = |shares: &[Share]| shares.iter().map(|share| share.cost).collect::<Vec<_>>();
    let rate = |name, title, shares: &[Share], least| {
        let figure = Figure::new(name, title, "/s", &rates(shares)).at_least(least);
        figure.beside(BASELINE, &rates(live))
    };
    let cost = |name, shares: &[Share]| {
        let figure = Figure::new(name, "  storage's processor time", "us", &costs(shares));
        figure.beside(BASELINE, &costs(live))
    };
    vec![
        rate("storage_http_post", "POST /storage/history, 16 connections", added, LEAST_ADDED),
        cost("storage_http_post_cost", added),
        rate("storage_http_get", "GET /storage/sessions/{id}, 16 connections", read, LEAST_READ),
        cost("storage_http_get_cost", read),
    ]
}

fn add(session: &Session, address: SocketAddr) -> Vec<u8> {
    let content = "x".repeat(PAYLOAD);
    let body = json!({ "session_id": session.session_id, "role": "user", "content": content });
    keep_alive::request("POST", "/storage/history", address, &body.to_string())
}

fn get(session: &Session, address: SocketAddr) -> Vec<u8> {
    let path = format!("/storage/sessions/{}", session.session_id);
    keep_alive::request("GET", &path, address, "")
}

/// How many messages the histories have.
async fn stored(sessions: &mut [Session]) -> Outcome<usize> {
    let mut count = 0;
    for session in sessions {
        count += usize::try_from(session.get().await?.message_count)?;
    }
    Ok(count)
}

/// As many connections as there are requests, each of which sends its own again and again, for as long
/// as `time`. How many were answered, and what each took.
async fn round(mesh: &Mesh, requests: &[Vec<u8>], time: Duration) -> Outcome<(usize, Share)> {
    let (address, process, requests) = (mesh.address(8084), mesh.id(), requests.to_vec());
    on_own_thread(move || async move {
        let connections = requests.iter().map(|_| Connection::open(address));
        let connections = try_join_all(connections).await?;
        let spell = Spell::begin(process)?;
        let until = Instant::now() + time;
        let clients = connections.into_iter().zip(&requests);
        let clients = clients.map(|(connection, request)| repeat(connection, request, until));
        let answered: usize = try_join_all(clients).await?.into_iter().sum();
        Ok((answered, spell.end(answered)?))
    })
    .await
}

async fn repeat(mut connection: Connection, request: &[u8], until: Instant) -> Outcome<usize> {
    let mut answered = 0;
    while Instant::now() < until {
        connection.ask(request).await?;
        answered += 1;
    }
    Ok(answered)
}

//! Durable appends of many sessions over TCP, beside raw SQLite on the same disk.

use std::time::{Duration, Instant};

use cortex_proto::cortex::storage::v1::{
    AppendEventsRequest, journal_service_client::JournalServiceClient,
};
use futures::future::try_join_all;
use tonic::transport::{Channel, Endpoint};

use super::{event, raw, serve, session::Session};
use crate::{
    Arguments, Outcome,
    generator::{Share, Spell, on_own_thread},
    mesh::Mesh,
    report::{Figure, progress},
    stats::quantile,
};

/// Clients, each with a session of its own, that append as fast as they are answered.
const CLIENTS: usize = 64;
/// Connections that they share.
const CONNECTIONS: usize = 4;
/// Appends of one event in a second.
const LEAST_APPENDS: f64 = 12_000.0;
/// Milliseconds within which 99 of 100 are answered.
const TAIL: f64 = 15.0;
/// Events of a large append.
const LARGE: usize = 32;
/// Events in a second, in large appends.
const LEAST_EVENTS: f64 = 80_000.0;

/// Every figure of appends.
pub(crate) async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    progress("appends of many sessions");
    let (rounds, time) = match arguments.quick {
        true => (2, Duration::from_secs(2)),
        false => (5, Duration::from_secs(4)),
    };
    let directory = tempfile::tempdir()?;
    let mesh = serve(arguments, directory.path()).await?;
    let mut clients = clients(&mesh).await?;
    let (mut ones, mut groups) = (Vec::new(), Vec::new());
    let (mut small, mut large) = (Vec::new(), Vec::new());
    round(&mesh, &mut clients, LARGE, time / 2).await?;
    for _ in 0..rounds {
        ones.push(raw::insert(directory.path(), 1, time / 4).await?);
        groups.push(raw::insert(directory.path(), raw::GROUP, time / 4).await?);
        small.push(round(&mesh, &mut clients, 1, time).await?);
        large.push(round(&mesh, &mut clients, LARGE, time).await?);
    }
    Ok(figures((&ones, &groups), (&small, &large)))
}

fn figures(
    (ones, groups): (&[Share], &[Share]),
    (small, large): (&[Round], &[Round]),
) -> Vec<Figure> {
    let rates = |shares: &[Share]| shares.iter().map(|share| share.rate).collect::<Vec<_>>();
    let costs = |shares: &[Share]| shares.iter().map(|share| share.cost).collect::<Vec<_>>();
    let shares = |rounds: &[Round]| rounds.iter().map(|round| round.share).collect::<Vec<_>>();
    let rate = |name, title, shares: &[Share]| {
        Figure::new(name, title, "/s", &rates(shares)).beside(raw::NAME, &rates(groups))
    };
    let cost = |name, shares: &[Share]| {
        let figure = Figure::new(name, "  storage's processor time", "us", &costs(shares));
        figure.beside(raw::NAME, &costs(groups))
    };
    let tails: Vec<_> = small.iter().map(|round| round.tail).collect();
    let (small, large) = (shares(small), shares(large));
    vec![
        rate("storage_raw", "rows of raw SQLite, one a commit", ones),
        rate("storage_append", "appends of 200 bytes, 64 clients", &small).at_least(LEAST_APPENDS),
        Figure::new("storage_append_p99", "  answered within, 99 of 100", "ms", &tails)
            .at_most(TAIL),
        cost("storage_append_cost", &small),
        rate("storage_append_32", "entries in appends of 32", &large).at_least(LEAST_EVENTS),
        cost("storage_append_32_cost", &large),
    ]
}

/// A session for each client.
async fn clients(mesh: &Mesh) -> Outcome<Vec<Session>> {
    let transport = mesh.transport(8084)?;
    try_join_all((0..CLIENTS).map(|_| Session::create(transport.clone()))).await
}

/// What one round took.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Of each event.
    share: Share,
    /// Milliseconds within which 99 of 100 appends were answered.
    tail: f64,
}

/// Appends of `events` events by all sessions, for as long as `time`.
async fn round(
    mesh: &Mesh,
    sessions: &mut [Session],
    events: usize,
    time: Duration,
) -> Outcome<Round> {
    let requests = sessions.iter().map(|session| session.next_append(vec![event(); events]));
    let requests: Vec<_> = requests.collect();
    let (endpoint, process) = (mesh.endpoint(8084)?, mesh.id());
    let load = on_own_thread(move || load(endpoint, process, requests, time));
    let (appended, round) = load.await?;
    for (session, appends) in sessions.iter_mut().zip(appended) {
        session.appended(appends);
    }
    Ok(round)
}

/// How many appends each client made, and what they took.
async fn load(
    endpoint: Endpoint,
    process: u32,
    requests: Vec<AppendEventsRequest>,
    time: Duration,
) -> Outcome<(Vec<i64>, Round)> {
    let events = requests.first().map_or(0, |request| request.events.len());
    let channels = try_join_all((0..CONNECTIONS).map(|_| endpoint.connect())).await?;
    let spell = Spell::begin(process)?;
    let until = Instant::now() + time;
    let channels = channels.into_iter().cycle();
    let clients = requests.into_iter().zip(channels);
    let times = try_join_all(clients.map(|(request, channel)| append(channel, request, until)));
    let times = times.await?;
    let appends: usize = times.iter().map(Vec::len).sum();
    let share = spell.end(appends * events)?;
    let tail = quantile(&times.concat(), 0.99);
    let appended = times.iter().map(|times| times.len() as i64).collect();
    Ok((appended, Round { share, tail }))
}

/// One append after the other. How long each took, in milliseconds.
async fn append(
    channel: Channel,
    mut request: AppendEventsRequest,
    until: Instant,
) -> Outcome<Vec<f64>> {
    let mut journal = JournalServiceClient::new(channel);
    let events = request.events.len() as i64;
    let mut times = Vec::new();
    let mut last = None;
    while Instant::now() < until {
        let begun = Instant::now();
        let answer = journal.append_events(request.clone()).await?.into_inner();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if last.is_some_and(|last| answer.last_sequence != last + events) {
            return Err("an append was not stored once, after the one before".into());
        }
        last = Some(answer.last_sequence);
        request.append_number += 1;
    }
    Ok(times)
}

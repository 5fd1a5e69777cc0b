//! How much a session's subscribers slow down its writer.
//!
//! A busy session's holder commits what its model said, and goes on when it said more. The other writer
//! has no model to wait for: what it loses, it loses to storage or to the processor that it shares with
//! the subscribers.

use std::time::{Duration, Instant};

use cortex_proto::cortex::storage::v1::{
    AppendEventsRequest, WatchEntriesRequest, WatchEntriesResponse,
    journal_service_client::JournalServiceClient,
};
use futures::future::try_join_all;
use tokio::sync::{oneshot, watch};
use tonic::{Streaming, transport::Endpoint};

use super::{event, serve, session::Session};
use crate::{
    Arguments, Outcome,
    generator::on_own_thread,
    mesh::Mesh,
    report::{Figure, progress},
    stats::median,
};

/// Subscribers of the one session.
const SUBSCRIBERS: usize = 100;
/// Connections that they share.
const CONNECTIONS: usize = 4;
/// The writer's time with subscribers, for that without.
const LIMIT: f64 = 1.1;
/// Between an answer and the next append of a busy session: a token of a real model.
const PACE: Duration = Duration::from_millis(20);

/// One writer.
struct Writer {
    pause: Option<Duration>,
    slowdown: (&'static str, &'static str),
    latency: (&'static str, &'static str),
}

const WRITERS: [Writer; 2] = [
    Writer {
        pause: Some(PACE),
        slowdown: ("storage_fanout", "100 subscribers: a writer's time at a model's pace"),
        latency: ("storage_fanout_latency", "  an append, median"),
    },
    Writer {
        pause: None,
        slowdown: ("storage_fanout_fast", "100 subscribers: a writer's time as fast as it goes"),
        latency: ("storage_fanout_fast_latency", "  an append, median"),
    },
];

/// Every figure of subscribers.
pub(crate) async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    progress("a session with 100 subscribers");
    let (rounds, time) = match arguments.quick {
        true => (3, Duration::from_secs(2)),
        false => (9, Duration::from_secs(3)),
    };
    let directory = tempfile::tempdir()?;
    let mesh = serve(arguments, directory.path()).await?;
    let mut session = Session::create(mesh.transport(8084)?).await?;
    write(&mesh, &mut session, None, time / 4).await?;
    let mut figures = Vec::new();
    for writer in WRITERS {
        let (mut slowdowns, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let alone = write(&mesh, &mut session, writer.pause, time).await?;
            let followed = write_followed(&mesh, &mut session, writer.pause, time).await?;
            slowdowns.push(followed.turn / alone.turn);
            with.push(followed.latency);
            without.push(alone.latency);
        }
        let (name, title) = writer.slowdown;
        figures.push(Figure::new(name, title, "x", &slowdowns).at_most(LIMIT));
        let (name, title) = writer.latency;
        figures.push(Figure::new(name, title, "us", &with).beside("no subscribers", &without));
    }
    Ok(figures)
}

/// What the writer's appends took, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Written {
    /// From one append to the next, on average.
    turn: f64,
    /// The median of what the answers took.
    latency: f64,
    /// The last sequence.
    last: i64,
}

/// Appends without subscribers.
async fn write(
    mesh: &Mesh,
    session: &mut Session,
    pause: Option<Duration>,
    time: Duration,
) -> Outcome<Written> {
    let (endpoint, request) = (mesh.endpoint(8084)?, session.next_append(vec![event()]));
    let (appends, written) = on_own_thread(move || append(endpoint, request, pause, time)).await?;
    session.appended(appends);
    Ok(written)
}

/// Appends while others follow. Fails unless each of them gets every entry, once and in order.
async fn write_followed(
    mesh: &Mesh,
    session: &mut Session,
    pause: Option<Duration>,
    time: Duration,
) -> Outcome<Written> {
    let request = WatchEntriesRequest {
        session_id: session.session_id.clone(),
        after_sequence: session.get().await?.head_sequence,
        kind: 0,
    };
    let (ready, subscribed) = oneshot::channel();
    let (end, ended) = watch::channel(i64::MAX);
    let endpoint = mesh.endpoint(8084)?;
    let following = tokio::spawn(on_own_thread(move || follow(endpoint, request, ready, ended)));
    if subscribed.await.is_err() {
        following.await??;
        return Err("the subscribers ended".into());
    }
    let written = write(mesh, session, pause, time).await?;
    // Fails only when the subscribers have failed, which they tell themselves.
    let _ = end.send(written.last);
    following.await??;
    Ok(written)
}

async fn append(
    endpoint: Endpoint,
    mut request: AppendEventsRequest,
    pause: Option<Duration>,
    time: Duration,
) -> Outcome<(i64, Written)> {
    let mut journal = JournalServiceClient::new(endpoint.connect().await?);
    let begun = Instant::now();
    let (mut times, mut last) = (Vec::new(), 0);
    while begun.elapsed() < time {
        let sent = Instant::now();
        last = journal.append_events(request.clone()).await?.into_inner().last_sequence;
        times.push(sent.elapsed().as_secs_f64() * 1e6);
        request.append_number += 1;
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
    let turn = begun.elapsed().as_secs_f64() * 1e6 / times.len() as f64;
    Ok((times.len() as i64, Written { turn, latency: median(&times), last }))
}

/// Follows with all subscribers until each has seen the sequence that is to be the `end`.
async fn follow(
    endpoint: Endpoint,
    request: WatchEntriesRequest,
    ready: oneshot::Sender<()>,
    end: watch::Receiver<i64>,
) -> Outcome<()> {
    let channels = try_join_all((0..CONNECTIONS).map(|_| endpoint.connect())).await?;
    let mut subscribers = Vec::new();
    for channel in channels.iter().cycle().take(SUBSCRIBERS) {
        let mut journal = JournalServiceClient::new(channel.clone());
        let stream = journal.watch_entries(request.clone()).await?.into_inner();
        let mut subscriber = Subscriber { stream, seen: request.after_sequence };
        // The first answer is there at once, and says that it follows from now on.
        subscriber.step().await?;
        subscribers.push(subscriber);
    }
    // Nobody waits for it when the run has ended with an error.
    let _ = ready.send(());
    try_join_all(subscribers.into_iter().map(|subscriber| subscriber.run(end.clone()))).await?;
    Ok(())
}

struct Subscriber {
    stream: Streaming<WatchEntriesResponse>,
    /// The last sequence that it has.
    seen: i64,
}

impl Subscriber {
    async fn run(mut self, mut end: watch::Receiver<i64>) -> Outcome<()> {
        loop {
            if self.seen >= *end.borrow_and_update() {
                return Ok(());
            }
            tokio::select! {
                stepped = self.step() => stepped?,
                changed = end.changed() => changed?,
            }
        }
    }

    /// Takes one answer. Cancel-safe.
    async fn step(&mut self) -> Outcome<()> {
        let answer = self.stream.message().await?.ok_or("a watch ended")?;
        for entry in &answer.entries {
            if entry.sequence != self.seen + 1 {
                return Err(format!("{} came after {}", entry.sequence, self.seen).into());
            }
            self.seen = entry.sequence;
        }
        Ok(())
    }
}

//! The time to open sessions and to read from them, over TCP, beside sessions that are short.

use std::time::{Duration, Instant};

use cortex_proto::cortex::storage::v1::{
    AcquireSessionRequest, GetJournalRequest, GetSessionRequest, JournalEffects,
    ListEntriesRequest, ReleaseSessionRequest, WatchEntriesRequest,
};

use super::{event, serve, session::Session};
use crate::{
    Arguments, Outcome,
    mesh::Mesh,
    report::{Figure, progress},
    stats::median,
};

/// Events of one append.
const APPEND: usize = 1000;
/// Entries of a long page.
const PAGE: i32 = 1000;
/// Entries that are read in one go.
const MANY: i64 = 10_000;
/// What a long session may take for each unit of time that a short one takes.
const RATIO: f64 = 1.5;
/// Milliseconds for reading [`MANY`] entries.
const MANY_LIMIT: f64 = 100.0;

/// Lengths of sessions.
struct Lengths {
    opened: i64,
    paged: i64,
    rounds: usize,
}

/// Every figure of reading.
pub(crate) async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    progress("opening and reading sessions");
    let lengths = match arguments.quick {
        true => Lengths { opened: 100_000, paged: 100_000, rounds: 100 },
        false => Lengths { opened: 100_000, paged: 1_000_000, rounds: 400 },
    };
    let directory = tempfile::tempdir()?;
    let mesh = serve(arguments, directory.path()).await?;
    let mut figures = opening(&mesh, &lengths).await?;
    figures.extend(paging(&mesh, &lengths).await?);
    Ok(figures)
}

async fn opening(mesh: &Mesh, lengths: &Lengths) -> Outcome<Vec<Figure>> {
    let mut short = session_of(mesh, 10).await?;
    let mut long = session_of(mesh, lengths.opened).await?;
    release(&mut short).await?;
    release(&mut long).await?;
    let (mut short_times, mut long_times) = (Vec::new(), Vec::new());
    for _ in 0..lengths.rounds {
        short_times.push(micros(open(&mut short).await?));
        long_times.push(micros(open(&mut long).await?));
    }
    let figure = ratio_figure(
        "storage_open",
        format!("opening a session of {} events, for one of 10", lengths.opened),
        &long_times,
        &short_times,
    );
    let read = Figure::new(
        "storage_open_time",
        format!("opening a session of {} events", lengths.opened),
        "us",
        &[median(&long_times)],
    );
    let mut listed = Vec::new();
    let mut watched = Vec::new();
    for _ in 0..lengths.rounds / 20 {
        listed.push(millis(list_many(&mut long).await?));
        watched.push(millis(watch_many(&mut long).await?));
    }
    Ok(vec![
        figure,
        read.beside("one of 10 events", &short_times),
        Figure::new("storage_list", "10,000 entries, listed by 1,000", "ms", &listed)
            .at_most(MANY_LIMIT),
        Figure::new("storage_replay", "10,000 entries, replayed by a watch", "ms", &watched)
            .at_most(MANY_LIMIT),
    ])
}

async fn paging(mesh: &Mesh, lengths: &Lengths) -> Outcome<Vec<Figure>> {
    let mut short = session_of(mesh, 100).await?;
    let mut long = session_of(mesh, lengths.paged).await?;
    let (mut short_times, mut long_times) = (Vec::new(), Vec::new());
    for _ in 0..lengths.rounds {
        short_times.push(micros(first_page(&mut short).await?));
        long_times.push(micros(first_page(&mut long).await?));
    }
    let title = format!("the first page of {} entries, for that of 100", lengths.paged);
    Ok(vec![ratio_figure("storage_first_page", title, &long_times, &short_times)])
}

/// The ratio of the medians of two times that were taken in turns.
fn ratio_figure(name: &'static str, title: String, long: &[f64], short: &[f64]) -> Figure {
    Figure::new(name, title, "x", &[median(long) / median(short)]).at_most(RATIO)
}

/// A session with as many events.
async fn session_of(mesh: &Mesh, events: i64) -> Outcome<Session> {
    let mut session = Session::create(mesh.transport(8084)?).await?;
    let event = event();
    let mut left = usize::try_from(events)?;
    while left > 0 {
        let size = left.min(APPEND);
        session.append(vec![event.clone(); size], JournalEffects::default()).await?;
        left -= size;
    }
    Ok(session)
}

async fn release(session: &mut Session) -> Outcome<()> {
    let request = ReleaseSessionRequest {
        session_id: session.session_id.clone(),
        holder_id: session.holder_id.clone(),
        epoch: session.epoch,
        last_command_sequence: 0,
        wait: None,
    };
    session.journal.release_session(request).await?;
    Ok(())
}

/// What an agent service does with a session that it takes, and what a client does that looks at it.
async fn open(session: &mut Session) -> Outcome<Duration> {
    let begun = Instant::now();
    let session_id = session.session_id.clone();
    session.sessions.get_session(GetSessionRequest { session_id: session_id.clone() }).await?;
    session.journal.get_journal(GetJournalRequest { session_id: session_id.clone() }).await?;
    first_page(session).await?;
    let request = AcquireSessionRequest {
        session_id,
        holder_id: session.holder_id.clone(),
        seen_epoch: session.epoch,
    };
    session.epoch = session.journal.acquire_session(request).await?.into_inner().epoch;
    let taken = begun.elapsed();
    release(session).await?;
    Ok(taken)
}

async fn first_page(session: &mut Session) -> Outcome<Duration> {
    let begun = Instant::now();
    let session_id = session.session_id.clone();
    session.journal.list_entries(ListEntriesRequest { session_id, ..Default::default() }).await?;
    Ok(begun.elapsed())
}

async fn list_many(session: &mut Session) -> Outcome<Duration> {
    let begun = Instant::now();
    let mut after = 0;
    while after < MANY {
        let request = ListEntriesRequest {
            session_id: session.session_id.clone(),
            after_sequence: after,
            page_size: PAGE,
            ..Default::default()
        };
        let page = session.journal.list_entries(request).await?.into_inner();
        after = page.entries.last().ok_or("an empty page")?.sequence;
    }
    Ok(begun.elapsed())
}

async fn watch_many(session: &mut Session) -> Outcome<Duration> {
    let begun = Instant::now();
    let request =
        WatchEntriesRequest { session_id: session.session_id.clone(), after_sequence: 0, kind: 0 };
    let mut watch = session.journal.watch_entries(request).await?.into_inner();
    let mut seen = 0;
    while seen < MANY {
        seen = watch.message().await?.ok_or("the watch ended")?.last_sequence;
    }
    Ok(begun.elapsed())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

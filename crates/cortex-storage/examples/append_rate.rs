//! How many durable appends storage takes, in process and over TCP, beside what raw SQLite takes.
//!
//! `cargo run --release -p cortex-storage --example append_rate -- [seconds]`

#![expect(clippy::print_stdout, reason = "a measurement prints what it measured")]

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use cortex_core::{HolderId, SystemClock};
use cortex_proto::cortex::storage::v1::{
    AcquireSessionRequest, AppendEventsRequest, CreateSessionRequest, NewEvent,
    RegisterHolderRequest, journal_service_client::JournalServiceClient,
    session_service_client::SessionServiceClient,
};
use cortex_rpc::{Client, ClientConfig, Server, Transport};
use cortex_storage::{Storage, StorageConfig};
use prost_types::Any;
use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of one event's payload.
const PAYLOAD: usize = 200;

#[tokio::main]
async fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let time = Duration::from_secs(seconds);
    let dir = tempfile::tempdir_in(".")?;
    raw(dir.path(), time).await?;

    let storage =
        Storage::open(StorageConfig::default(), dir.path(), Arc::new(SystemClock)).await?;
    let server = storage.add_to(Server::builder("storage")).build();
    let listening = server.bind("127.0.0.1:0".parse()?).await?;
    let url = format!("http://{}", listening.address());
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(listening.serve(stop.clone().cancelled_owned()));
    let tcp = Client::connect_lazy([url], ClientConfig::default())?;
    let bare = cortex_rpc::local(storage.journal());

    for (name, transport, clients, events) in [
        ("in process, bare, 1 client", &bare, 1, 1),
        ("in process, bare, 64 clients", &bare, 64, 1),
        ("in process, mesh, 64 clients", &server.transport(), 64, 1),
        ("TCP, 1 client", &tcp, 1, 1),
        ("TCP, 64 clients", &tcp, 64, 1),
        ("TCP, 64 clients, 32 entries each", &tcp, 64, 32),
    ] {
        measure(name, (transport.clone(), server.transport()), clients, events, time).await?;
    }
    stop.cancel();
    drop(tcp);
    serving.abort();
    storage.close().await;
    Ok(())
}

/// Rows of the same size, 64 in one transaction, by one statement each.
async fn raw(dir: &std::path::Path, time: Duration) -> Outcome<()> {
    let options = SqliteConnectOptions::new()
        .filename(dir.join("raw.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut conn = options.connect().await?;
    sqlx::query("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)").execute(&mut conn).await?;
    let (begun, mut rows) = (Instant::now(), 0_u32);
    while begun.elapsed() < time {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut conn).await?;
        for _ in 0..64 {
            sqlx::query("INSERT INTO t (b) VALUES (?)")
                .bind(vec![7_u8; PAYLOAD])
                .execute(&mut conn)
                .await?;
            rows += 1;
        }
        sqlx::query("COMMIT").execute(&mut conn).await?;
    }
    println!(
        "{:<36} {:>9.0} rows/s",
        "raw SQLite, 64 rows a commit",
        f64::from(rows) / begun.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn measure(
    name: &str,
    (transport, setup): (Transport, Transport),
    clients: usize,
    events: usize,
    time: Duration,
) -> Outcome<()> {
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let request = prepare(setup.clone(), events).await?;
        tasks.push(tokio::spawn(append(transport.clone(), request, time)));
    }
    let (begun, busy) = (Instant::now(), cpu_time());
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let rate = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    let cpu = (cpu_time() - busy).as_secs_f64() * 1e6 / latencies.len() as f64;
    latencies.sort();
    let at =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{name:<36} {rate:>9.0} appends/s  {:>9.0} entries/s  p50 {:>6.2} ms  p99 {:>6.2} ms  CPU {cpu:>5.0} us",
        rate * events as f64,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// What this process has used of the processors, clients included: says more than a rate on a
/// machine that others use.
fn cpu_time() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u32> =
        stat.split(' ').skip(13).take(2).filter_map(|n| n.parse().ok()).collect();
    TICK * fields.iter().sum()
}

/// A new session with a holder, and what to append to it.
async fn prepare(transport: Transport, events: usize) -> Outcome<AppendEventsRequest> {
    let mut journal = JournalServiceClient::new(transport.clone());
    let request = CreateSessionRequest { agent_name: "bench".into(), ..Default::default() };
    let created = SessionServiceClient::new(transport).create_session(request).await?.into_inner();
    let session_id = created.session.ok_or("no session")?.id;
    let holder_id = HolderId::generate().to_string();
    let request = RegisterHolderRequest {
        holder_id: holder_id.clone(),
        instance: holder_id.clone(),
        lease_duration: None,
    };
    journal.register_holder(request).await?;
    let request = AcquireSessionRequest {
        session_id: session_id.clone(),
        holder_id: holder_id.clone(),
        seen_epoch: 0,
    };
    let epoch = journal.acquire_session(request).await?.into_inner().epoch;
    let payload = Any {
        type_url: "type.googleapis.com/cortex.agent.v1.SessionEvent".into(),
        value: vec![7; PAYLOAD],
    };
    let event = NewEvent { r#type: "content_delta".into(), payload: Some(payload) };
    Ok(AppendEventsRequest {
        session_id,
        holder_id,
        epoch,
        events: vec![event; events],
        ..Default::default()
    })
}

async fn append(
    transport: Transport,
    request: AppendEventsRequest,
    time: Duration,
) -> Outcome<Vec<Duration>> {
    let mut journal = JournalServiceClient::new(transport);
    let begun = Instant::now();
    let mut latencies = Vec::new();
    while begun.elapsed() < time {
        let mut request = request.clone();
        request.request_id = format!("req_{}", latencies.len());
        let sent = Instant::now();
        journal.append_events(request).await?;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}

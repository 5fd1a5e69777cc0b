//! A writer that is killed at any moment loses nothing that it was told is durable, on either database.
//!
//! The test starts itself as another process, which appends under load and prints what was
//! acknowledged; kills that process with SIGKILL after a random time; and reads what is there.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cortex_config::SecretString;
use cortex_core::SystemClock;
use cortex_proto::cortex::storage::v1::journal_service_client::JournalServiceClient;
use cortex_rpc::Transport;
use cortex_storage::{Storage, StorageConfig};
use cortex_testkit::Postgres;
use tempfile::TempDir;

use crate::log::{self, Acknowledged};

/// Names the data directory to the process that is to be killed.
const CHILD: &str = "CORTEX_STORAGE_CRASH_DIR";
/// Names the database to that process; empty: a file in the data directory.
const CHILD_URL: &str = "CORTEX_STORAGE_CRASH_URL";
/// How often to kill. The long form sets more.
const KILLS: &str = "CORTEX_STORAGE_KILLS";
/// Kills of the short form.
const SHORT: u32 = 12;
/// Sessions that the writer works on at the same time.
const WRITERS: usize = 8;

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Ok(dir) = std::env::var(CHILD) {
        let url = std::env::var(CHILD_URL).unwrap_or_default();
        runtime().block_on(write_until_killed(Path::new(&dir), &url));
        return;
    }
    kill_writers("");
}

#[test]
fn what_postgres_acknowledged_survives_a_kill() {
    let database = Postgres::shared().database();
    kill_writers(&database.url());
}

fn kill_writers(url: &str) {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(SHORT);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged = Acknowledged::new();
    for round in 0..kills {
        let told = kill_a_writer(&dir, url, round);
        runtime().block_on(check(dir.path(), url, &told));
        acknowledged.extend(told);
    }
    // Each writer had sessions of its own: nothing that came later changed them.
    runtime().block_on(check(dir.path(), url, &acknowledged));
}

async fn check(dir: &Path, url: &str, acknowledged: &Acknowledged) {
    let storage = open(dir, url).await;
    log::check(&storage.transport(), acknowledged).await;
    storage.close().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Starts a writer, kills it, and answers what it was told is stored: something, since it is killed after
/// that.
fn kill_a_writer(dir: &TempDir, url: &str, round: u32) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "kill::what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(CHILD, dir.path())
        .env(CHILD_URL, url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let mut lines = output.lines().map_while(Result::ok).filter_map(|line| {
        let (session, rest) = line.strip_prefix("ack ")?.split_once(' ')?;
        let (sequence, request) = rest.split_once(' ')?;
        Some((session.to_owned(), sequence.parse::<i64>().ok()?, request.to_owned()))
    });
    let mut note = |(session, sequence, request)| {
        acknowledged.entry(session).or_default().push((sequence, request));
    };
    // It writes, so it has begun; now at any moment.
    note(lines.next().expect("a first acknowledgement"));
    let moment = u64::from(round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    std::thread::sleep(Duration::from_millis(moment % 120));
    child.kill().expect("SIGKILL");
    lines.for_each(note);
    child.wait().expect("it is gone");
    acknowledged
}

async fn open(dir: &Path, url: &str) -> Storage {
    let mut config = StorageConfig::default();
    if !url.is_empty() {
        config.postgres.url = Some(SecretString::new(url));
    }
    let clock = Arc::new(SystemClock);
    Storage::open(config, dir, clock).await.expect("it opens")
}

async fn write_until_killed(dir: &Path, url: &str) {
    let storage = open(dir, url).await;
    let holder = log::holder(&storage.transport()).await;
    let writers = (0..WRITERS).map(|_| write(storage.transport(), holder.clone()));
    futures::future::join_all(writers).await;
}

async fn write(transport: Transport, holder: String) {
    let session = log::held_session(&transport, &holder).await;
    let mut journal = JournalServiceClient::new(transport);
    for n in 0.. {
        let request = log::append(&session, &holder, n);
        let request_id = request.request_id.clone();
        let answer = journal.append_events(request).await.expect("appended").into_inner();
        let mut output = std::io::stdout().lock();
        writeln!(output, "ack {session} {} {request_id}", answer.first_sequence).expect("printed");
        output.flush().expect("printed");
    }
}

//! A writer that is killed at any moment loses nothing that it was told is durable.
//!
//! The test starts itself as another process, which appends under load and prints what was
//! acknowledged; kills that process with SIGKILL after a random time; and reads what is there.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cortex_core::{HolderId, SystemClock};
use cortex_proto::cortex::storage::v1::{
    AcquireSessionRequest, AppendEventsRequest, CreateSessionRequest, GetJournalRequest,
    ListEntriesRequest, NewEvent, RegisterHolderRequest,
    journal_service_client::JournalServiceClient, session_service_client::SessionServiceClient,
};
use cortex_rpc::Transport;
use cortex_storage::{Storage, StorageConfig};
use prost_types::Any;
use tempfile::TempDir;

/// Names the data directory to the process that is to be killed.
const CHILD: &str = "CORTEX_STORAGE_CRASH_DIR";
/// How often to kill. The long form sets more.
const KILLS: &str = "CORTEX_STORAGE_KILLS";
/// Kills of the short form.
const SHORT: u32 = 12;
/// Sessions that the writer works on at the same time.
const WRITERS: usize = 8;

type Journal = JournalServiceClient<Transport>;

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Ok(dir) = std::env::var(CHILD) {
        runtime().block_on(write_until_killed(Path::new(&dir)));
        return;
    }
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(SHORT);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged = HashMap::new();
    for round in 0..kills {
        let known: usize = acknowledged.values().map(Vec::len).sum();
        kill_a_writer(&dir, round, &mut acknowledged);
        let told: usize = acknowledged.values().map(Vec::len).sum();
        assert!(told > known, "round {round}: the writer wrote nothing");
        runtime().block_on(check(dir.path(), &acknowledged));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// What was acknowledged: of each session, sequence and request of each append.
type Acknowledged = HashMap<String, Vec<(i64, String)>>;

fn kill_a_writer(dir: &TempDir, round: u32, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(CHILD, dir.path())
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
}

async fn open(dir: &Path) -> (Storage, Journal) {
    let clock = Arc::new(SystemClock);
    let storage = Storage::open(StorageConfig::default(), dir, clock).await.expect("it opens");
    let journal = JournalServiceClient::new(storage.transport());
    (storage, journal)
}

async fn write_until_killed(dir: &Path) {
    let (storage, journal) = open(dir).await;
    let holder = HolderId::generate().to_string();
    let request = RegisterHolderRequest {
        holder_id: holder.clone(),
        instance: "writer".into(),
        lease_duration: None,
    };
    journal.clone().register_holder(request).await.expect("a lease");
    let writers = (0..WRITERS).map(|_| write(storage.transport(), holder.clone()));
    futures::future::join_all(writers).await;
}

async fn write(transport: Transport, holder: String) {
    let mut journal = JournalServiceClient::new(transport.clone());
    let request = CreateSessionRequest { agent_name: "a".into(), ..Default::default() };
    let created =
        SessionServiceClient::new(transport).create_session(request).await.expect("created");
    let session = created.into_inner().session.expect("a session").id;
    let request = AcquireSessionRequest {
        session_id: session.clone(),
        holder_id: holder.clone(),
        seen_epoch: 0,
    };
    journal.acquire_session(request).await.expect("a grant");
    for n in 0.. {
        let request_id = format!("{session}-{n}");
        let events = (0..n % 3 + 1).map(|_| event(&request_id)).collect();
        let request = AppendEventsRequest {
            session_id: session.clone(),
            holder_id: holder.clone(),
            epoch: 1,
            request_id: request_id.clone(),
            events,
            effects: None,
            ..Default::default()
        };
        let answer = journal.append_events(request).await.expect("appended").into_inner();
        let mut output = std::io::stdout().lock();
        writeln!(output, "ack {session} {} {request_id}", answer.first_sequence).expect("printed");
        output.flush().expect("printed");
    }
}

fn event(text: &str) -> NewEvent {
    let payload = Any { type_url: "test/text".into(), value: text.as_bytes().to_vec() };
    NewEvent { r#type: "content_delta".into(), payload: Some(payload) }
}

/// Every acknowledged append is where it was said to be, none is there twice, and there is no gap.
async fn check(dir: &Path, acknowledged: &Acknowledged) {
    let (storage, mut journal) = open(dir).await;
    for (session, appends) in acknowledged {
        let request = GetJournalRequest { session_id: session.clone() };
        let head = journal.get_journal(request).await.expect("the session is there").into_inner();
        let head = head.journal.expect("a journal").head_sequence;
        let entries = read(&mut journal, session).await;
        let sequences: Vec<i64> = entries.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=head).collect::<Vec<_>>(), "no gap up to the head");
        let mut begun: HashMap<&str, i64> = HashMap::new();
        for (sequence, text) in &entries {
            begun.entry(text).or_insert(*sequence);
        }
        for (sequence, request) in appends {
            assert_eq!(begun.get(request.as_str()), Some(sequence), "{request}");
        }
        // An append is there once, and whole.
        for n in 0..begun.len() {
            let text = format!("{session}-{n}");
            let found = entries.iter().filter(|(_, entry)| *entry == text).count();
            assert_eq!(found, n % 3 + 1, "{text}");
        }
    }
    storage.close().await;
}

async fn read(journal: &mut Journal, session: &str) -> Vec<(i64, String)> {
    let mut entries = Vec::new();
    let mut request =
        ListEntriesRequest { session_id: session.into(), page_size: 1000, ..Default::default() };
    loop {
        let page = journal.list_entries(request.clone()).await.expect("a page").into_inner();
        entries.extend(page.entries.into_iter().map(|entry| {
            let text = String::from_utf8(entry.payload.expect("a payload").value).expect("text");
            (entry.sequence, text)
        }));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return entries;
        }
    }
}

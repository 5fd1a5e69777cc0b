//! A storage that is killed at any moment of an upload refers to no bytes that are not there, and what
//! it left behind is swept.
//!
//! The test starts itself as another process, which stores and deletes artifacts and prints what was
//! acknowledged; kills that process with SIGKILL after a random time; and reads what is there.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cortex_core::ManualClock;
use cortex_proto::{
    cortex::storage::v1::{
        CreateSessionRequest, DeleteArtifactRequest, DownloadArtifactRequest, GetArtifactRequest,
        ListArtifactsRequest, UploadArtifactRequest,
        artifact_service_client::ArtifactServiceClient,
        session_service_client::SessionServiceClient,
    },
    google::api::HttpBody,
};
use cortex_rpc::Transport;
use cortex_storage::{Storage, StorageConfig, artifact::Digest};
use futures::{future::join_all, stream};

/// Names the data directory to the process that is to be killed.
const CHILD: &str = "CORTEX_STORAGE_ARTIFACT_CRASH_DIR";
/// Ten times as often as to kill: each kill waits for a sweep. The long form sets more.
const KILLS: &str = "CORTEX_STORAGE_KILLS";
/// Kills of the short form.
const SHORT: u32 = 10;
/// Uploads at the same time.
const UPLOADERS: u64 = 4;

type Client = ArtifactServiceClient<Transport>;

#[test]
fn what_is_referred_to_is_there_after_a_kill() {
    if let Ok(dir) = std::env::var(CHILD) {
        runtime().block_on(store_until_killed(Path::new(&dir)));
        return;
    }
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok());
    let kills = kills.map_or(SHORT, |kills: u32| kills.div_ceil(10));
    let dir = tempfile::tempdir().expect("a temporary directory");
    for round in 0..kills {
        let acknowledged = kill(dir.path(), round);
        runtime().block_on(check(dir.path(), &acknowledged));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// Runs a process, kills it, and answers the session and the artifacts that it was told are stored.
fn kill(dir: &Path, round: u32) -> (String, Vec<String>) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "what_is_referred_to_is_there_after_a_kill", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let mut lines = output.lines().map_while(Result::ok);
    let of = |line: &str, what: &str| line.strip_prefix(what).map(str::to_owned);
    let session = lines.by_ref().find_map(|line| of(&line, "session ")).expect("a session");
    let first = lines.by_ref().find_map(|line| of(&line, "stored ")).expect("an artifact");
    let moment = u64::from(round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    std::thread::sleep(Duration::from_millis(moment % 150));
    child.kill().expect("SIGKILL");
    let rest = lines.filter_map(|line| of(&line, "stored "));
    let stored = std::iter::once(first).chain(rest).collect();
    child.wait().expect("it is gone");
    (session, stored)
}

async fn open(dir: &Path, now: SystemTime) -> Storage {
    let clock = Arc::new(ManualClock::new(now));
    Storage::open(StorageConfig::default(), dir, clock).await.expect("it opens")
}

async fn store_until_killed(dir: &Path) {
    let storage = open(dir, SystemTime::now()).await;
    let request = CreateSessionRequest { agent_name: "assistant".into(), ..Default::default() };
    let mut sessions = SessionServiceClient::new(storage.transport());
    let session = sessions.create_session(request).await.expect("a session").into_inner();
    let session = session.session.expect("the session").id;
    say(&format!("session {session}"));
    let client = ArtifactServiceClient::new(storage.transport());
    join_all((0..UPLOADERS).map(|n| store_and_delete(client.clone(), session.clone(), n))).await;
}

/// Stores one artifact after the other, and deletes every third. Of two uploaders each the bytes are
/// the same.
async fn store_and_delete(mut client: Client, session: String, uploader: u64) {
    for n in 0_u64.. {
        let mut bytes = vec![0; 200_000];
        let seed = [uploader / 2, n].map(u64::to_le_bytes).concat();
        blake3::Hasher::new().update(&seed).finalize_xof().fill(&mut bytes);
        let pieces: Vec<_> = bytes.chunks(50_000).map(<[u8]>::to_vec).collect();
        let session_id = session.clone();
        let requests = pieces.into_iter().map(move |data| UploadArtifactRequest {
            content: Some(HttpBody { data: data.into(), ..Default::default() }),
            session_id: session_id.clone(),
            name: format!("{uploader}-{n}"),
            r#type: "report".into(),
            ..Default::default()
        });
        let stored = client.upload_artifact(stream::iter(requests)).await.expect("stored");
        let artifact_id = stored.into_inner().artifact.expect("the artifact").id;
        if n % 3 == 2 {
            let request = DeleteArtifactRequest { artifact_id };
            client.delete_artifact(request).await.expect("deleted");
        } else {
            say(&format!("stored {artifact_id}"));
        }
    }
}

fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{line}").and_then(|()| stdout.flush()).expect("the parent reads");
}

async fn check(dir: &Path, (session, acknowledged): &(String, Vec<String>)) {
    // Late enough for everything that nothing refers to.
    let storage = open(dir, SystemTime::now() + Duration::from_secs(24 * 3600)).await;
    let mut client = ArtifactServiceClient::new(storage.transport());
    for artifact_id in acknowledged {
        let request = GetArtifactRequest { artifact_id: artifact_id.clone() };
        client.get_artifact(request).await.expect("what was acknowledged is there");
    }
    let mut digests = std::collections::HashSet::new();
    let mut page_token = String::new();
    loop {
        let session_id = session.clone();
        let request = ListArtifactsRequest { session_id, page_token, ..Default::default() };
        let page = client.list_artifacts(request).await.expect("a page").into_inner();
        for artifact in page.artifacts {
            assert_eq!(digest(&mut client, artifact.id).await, artifact.digest);
            digests.insert(artifact.digest);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let sessions = SessionServiceClient::new(storage.transport());
    sweep(dir, digests.len(), sessions, session).await;
    storage.close().await;
}

/// The digest of what comes.
async fn digest(client: &mut Client, artifact_id: String) -> String {
    let request = DownloadArtifactRequest { artifact_id, ..Default::default() };
    let mut answers = client.download_artifact(request).await.expect("its bytes").into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = answers.message().await.expect("its bytes") {
        bytes.extend_from_slice(&answer.content.expect("content").data);
    }
    Digest::of(&bytes).to_string()
}

/// Waits until as many files are left as there are contents, and none once their session is deleted.
async fn sweep(
    dir: &Path,
    contents: usize,
    mut sessions: SessionServiceClient<Transport>,
    session: &str,
) {
    until_files(dir, contents).await;
    let request =
        cortex_proto::cortex::storage::v1::DeleteSessionRequest { session_id: session.to_owned() };
    sessions.delete_session(request).await.expect("deleted");
    until_files(dir, 0).await;
}

async fn until_files(dir: &Path, number: usize) {
    let directory = dir.join("artifacts");
    let waiting = async {
        while count(&directory) != number {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "there are {} files, not {number}", count(&directory));
}

/// Files below a directory. What goes away meanwhile is none.
fn count(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let entries = entries.filter_map(Result::ok);
    entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
}

//! The installation as a whole: backed up, wiped, restored, and the conversation goes on.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    time::Duration,
};

use cortex_e2e::{Mesh, Options, SmallDisk, Topology, curl, in_both_topologies};
use serde_json::{Value, json};

in_both_topologies!(
    a_conversation_survives_the_loss_of_everything,
    large_backups_travel_over_http,
    a_restore_that_is_killed_is_done_again,
    full_disks_are_told,
);

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn storage(mesh: &Mesh, arguments: &[&str]) -> (i32, String, String) {
    run(mesh.cortex().arg("storage").args(arguments))
}

fn storage_json(mesh: &Mesh, arguments: &[&str]) -> Value {
    let (code, said, beside) =
        run(mesh.cortex().args(["--output", "json", "storage"]).args(arguments));
    assert_eq!(code, 0, "{beside}");
    let last = said.lines().last().expect("a line");
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said}"))
}

async fn say(mesh: &Mesh, session: &str, content: &str) -> Value {
    let body = json!({"content": content, "stream": false}).to_string();
    let answer = mesh.post(&format!("/agent/session/{session}/message"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

async fn a_conversation_survives_the_loss_of_everything(topology: Topology) {
    let mut mesh = Mesh::start(topology, Options::default()).await;
    let session = mesh.session("assistant").await;
    say(&mesh, &session, "rehearse 5 tokens").await;
    let history = mesh.get(&format!("/agent/session/{session}/history")).await.body;
    let (code, said, beside) = storage(&mesh, &["backup", "-o", "all.backup"]);
    assert_eq!(code, 0, "{beside}");
    assert!(said.starts_with("all.backup") && said.contains("b3_"), "{said}");
    let (code, _, beside) = storage(&mesh, &["backup", "-o", "all.backup"]);
    assert_eq!(code, 2, "{beside}");
    assert!(beside.contains("--force"), "{beside}");
    assert_eq!(storage(&mesh, &["backup", "-o", "all.backup", "--force"]).0, 0);
    let named = storage_json(&mesh, &["backup", "--without-artifacts"]);
    let file = mesh.directory().join(named["file"].as_str().expect("a name"));
    assert_eq!(file.metadata().expect("a file").len(), named["bytes"], "{named}");
    let (code, _, beside) = storage(&mesh, &["restore", "all.backup"]);
    assert_eq!(code, 1, "{beside}");
    assert!(beside.contains("NOT_EMPTY"), "{beside}");

    mesh.kill();
    mesh.wipe();
    mesh.restart().await;
    let gone = mesh.get(&format!("/agent/session/{session}")).await;
    assert_eq!(gone.status, 404, "{}", gone.body);
    let tried = storage_json(&mesh, &["restore", "all.backup", "--validate-only"]);
    assert_eq!(tried["status"], "valid", "{tried}");
    let whole = std::fs::read(mesh.directory().join("all.backup")).expect("a backup");
    std::fs::write(mesh.directory().join("cut.backup"), &whole[..whole.len() / 2]).expect("a file");
    let (code, _, beside) = storage(&mesh, &["restore", "cut.backup"]);
    assert_eq!(code, 1, "{beside}");
    assert!(beside.contains("BACKUP_INVALID"), "{beside}");
    let (code, said, beside) = storage(&mesh, &["restore", "all.backup"]);
    assert_eq!(code, 0, "{beside}");
    assert!(said.contains("restored as of"), "{said}");

    assert_eq!(mesh.get(&format!("/agent/session/{session}/history")).await.body, history);
    let answer = say(&mesh, &session, "use the calculator to multiply 6 by 7").await;
    assert!(answer["response"].as_str().is_some_and(|text| text.contains("42")), "{answer}");
    let (code, said, beside) = storage(&mesh, &["check", "--full"]);
    assert_eq!((code, said.starts_with("ok")), (0, true), "{said}{beside}");
    let stats = storage_json(&mesh, &["stats"]);
    assert_eq!(stats["rows"]["sessions"], 1, "{stats}");
    prunes_and_migrates(&mesh, &session);
}

fn prunes_and_migrates(mesh: &Mesh, session: &str) {
    assert_eq!(storage(mesh, &["prune"]).0, 2, "nothing is named");
    assert_eq!(run(mesh.cortex().args(["session", "end", session])).0, 0);
    let prune = ["prune", "--ended-session-age", "0", "--validate-only"];
    let would = storage_json(mesh, &prune);
    assert_eq!(would["completed"]["deleted"]["sessions"], 1, "{would}");
    let (code, said, beside) = storage(mesh, &["prune", "--ended-session-age", "30d", "--compact"]);
    assert_eq!((code, said.contains("nothing deleted")), (0, true), "{said}{beside}");
    let target = format!("sqlite:{}", mesh.directory().join("other.db").display());
    let migrate = |arguments: &[&str]| {
        run(mesh
            .cortex()
            .env("CORTEX_MIGRATE_TARGET", &target)
            .args(["storage", "migrate"])
            .args(arguments))
    };
    let (code, said, beside) = migrate(&["--validate-only"]);
    assert_eq!((code, said.contains("nothing was copied")), (0, true), "{said}{beside}");
    let (code, said, beside) = migrate(&[]);
    assert_eq!((code, said.contains("restart")), (0, true), "{said}{beside}");
    let (code, _, beside) = storage(mesh, &["migrate", "sqlite:/nonexistent/x.db"]);
    assert_eq!(code, 1, "{beside}");
    assert!(beside.contains("TARGET_UNREACHABLE"), "{beside}");
}

/// A session of eight messages of 3 MiB.
async fn large_history(mesh: &Mesh) -> String {
    let session = mesh.session("assistant").await;
    let file = mesh.directory().join("message.json");
    for number in 0..8 {
        let content = format!("{number} {}", "x".repeat(3 << 20));
        let body = json!({"session_id": session, "role": "user", "content": content});
        std::fs::write(&file, body.to_string()).expect("a file");
        let url = format!("{}/storage/history", mesh.gateway());
        let data = format!("@{}", file.display());
        let kind = "Content-Type: application/json";
        let added = curl(["-X", "POST", &url, "-H", kind, "--data-binary", &data]).await;
        assert_eq!(added.status, 200, "{}", added.body);
    }
    session
}

fn backed_up(mesh: &Mesh) -> Vec<u8> {
    let (code, _, beside) = storage(mesh, &["backup", "-o", "all.backup"]);
    assert_eq!(code, 0, "{beside}");
    std::fs::read(mesh.directory().join("all.backup")).expect("a backup")
}

async fn a_restore_that_is_killed_is_done_again(topology: Topology) {
    let mut mesh = Mesh::start(topology, Options::default()).await;
    let session = large_history(&mesh).await;
    let archive = backed_up(&mesh);
    mesh.kill();
    mesh.wipe();
    mesh.restart().await;
    let mut restore = mesh.cortex();
    restore.args(["storage", "restore", "-"]).stdin(Stdio::piped());
    let mut restore =
        restore.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
    let mut stdin = restore.stdin.take().expect("a pipe");
    let sending = std::thread::spawn(move || {
        // The command may be gone before it has read all of it.
        let _ = stdin.write_all(&archive[..archive.len() / 2]);
        stdin
    });
    // The transaction is on the disk by halves.
    let log = mesh.directory().join("data/cortex.db-wal");
    while log.metadata().map_or(0, |log| log.len()) < 4 << 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    mesh.kill();
    drop(sending.join().expect("a thread"));
    assert!(!restore.wait().expect("a child of ours").success());

    mesh.restart().await;
    let stats = storage_json(&mesh, &["stats"]);
    assert_eq!((&stats["rows"]["sessions"], &stats["rows"]["messages"]), (&json!(0), &json!(0)));
    let (code, _, beside) = storage(&mesh, &["restore", "all.backup"]);
    assert_eq!(code, 0, "{beside}");
    assert_eq!(mesh.get(&format!("/agent/session/{session}")).await.status, 200);
    assert_eq!(storage(&mesh, &["check", "--full"]).0, 0);
}

/// Of the database, of the bytes of artifacts, of whoever makes the backup: it is said which, and nothing
/// is left.
async fn full_disks_are_told(topology: Topology) {
    let mut mesh = Mesh::start(topology, Options::default()).await;
    let session = large_history(&mesh).await;
    backed_up(&mesh);
    let disk = SmallDisk { directory: "small".to_owned(), mebibytes: 4 };
    let (code, _, beside) =
        run(mesh.cortex_on(Some(&disk)).args(["storage", "backup", "-o", "small/all.backup"]));
    assert_eq!(code, 1, "{beside}");
    assert!(beside.contains("the disk is full"), "{beside}");
    let full_database = Options::default().small_disk("data", 12);
    refuses_for_lack_of_room(&mut mesh, full_database, "the database").await;

    mesh.restart_as(Options::default()).await;
    let (code, _, beside) = storage(&mesh, &["restore", "all.backup"]);
    assert_eq!(code, 0, "{beside}");
    let bytes = mesh.directory().join("bytes.bin");
    std::fs::write(&bytes, vec![7; 6 << 20]).expect("a file");
    let url = format!(
        "{}/storage/artifacts:upload?session_id={session}&name=a&type=report",
        mesh.gateway()
    );
    let file = bytes.display().to_string();
    let kind = "Content-Type: application/octet-stream";
    let stored = curl(["-X", "POST", "-T", &file, "-H", kind, &url]).await;
    assert_eq!(stored.status, 200, "{}", stored.body);
    std::fs::remove_file(mesh.directory().join("all.backup")).expect("a file");
    backed_up(&mesh);
    let place = mesh.directory().join("bytes").display().to_string();
    let full_place =
        Options::default().env("CORTEX_STORAGE__ARTIFACTS__LOCATION", place).small_disk("bytes", 4);
    refuses_for_lack_of_room(&mut mesh, full_place, "the bytes of artifacts").await;
}

async fn refuses_for_lack_of_room(mesh: &mut Mesh, options: Options, what: &str) {
    mesh.kill();
    mesh.wipe();
    mesh.restart_as(options).await;
    let (code, _, beside) = storage(mesh, &["restore", "all.backup"]);
    assert_eq!(code, 1, "{beside}");
    assert!(beside.contains("DISK_FULL") && beside.contains(what), "{beside}");
    let stats = storage_json(mesh, &["stats"]);
    assert_eq!(stats["rows"]["sessions"], 0, "nothing is left: {stats}");
    mesh.session("assistant").await;
    mesh.kill();
    mesh.wipe();
}

/// Far more than a body that is read as a whole may have.
async fn large_backups_travel_over_http(topology: Topology) {
    let mut mesh = Mesh::start(topology, Options::default()).await;
    large_history(&mesh).await;
    let backup = mesh.directory().join("curl.backup");
    let path = backup.display().to_string();
    let url = format!("{}/storage/admin/backup", mesh.gateway());
    let answer = curl(["-o", &path, &url]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let named =
        |line: &&String| line.starts_with("content-disposition: attachment; filename=\"cortex-");
    assert!(answer.headers.iter().any(|line| named(&line)), "{:?}", answer.headers);
    assert!(backup.metadata().expect("a file").len() > 24 << 20);
    mesh.kill();
    mesh.wipe();
    mesh.restart().await;
    let url = format!("{}/storage/admin/restore", mesh.gateway());
    let data = format!("@{path}");
    let kind = "Content-Type: application/octet-stream";
    let answer = curl(["-X", "POST", &url, "-H", kind, "--data-binary", &data]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["rows"]["messages"], 8, "{}", answer.body);
    let stats = mesh.get("/storage/admin/stats").await.json();
    assert_eq!((&stats["rows"]["messages"], &stats["tenants"]), (&json!(8), &json!(1)), "{stats}");
}

//! Artifacts over HTTP: what curl sends and gets, through the gateway and from storage itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cortex_e2e::{Answer, Mesh, Options, Topology, curl, in_both_topologies};
use serde_json::Value;

in_both_topologies!(
    large_bytes_go_through_without_being_held,
    ranges_and_conditions_are_those_of_http,
    what_was_noted_can_be_listed_completed_and_deleted,
    an_upload_that_is_cut_is_not_stored,
);

/// Far above what an HTTP body may have elsewhere.
const LARGE: usize = 50 << 20;
/// What all processes together may grow by while they pass on [`LARGE`] bytes: windows, buffers, and what
/// the allocator keeps.
const GROWTH: u64 = 24 << 20;

async fn start(topology: Topology) -> (Mesh, String) {
    let mesh = Mesh::start(topology, Options::default()).await;
    let session = mesh.session("assistant").await;
    (mesh, session)
}

/// A file of bytes that do not repeat soon.
fn file(directory: &Path, size: usize) -> (PathBuf, Vec<u8>) {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(size);
    let path = directory.join("bytes.bin");
    fs::write(&path, &bytes).expect("a file");
    (path, bytes)
}

/// POSTs a file as it is.
async fn upload(at: &str, query: &str, file: &Path) -> Answer {
    let url = format!("{at}/storage/artifacts:upload?{query}");
    let file = file.to_str().expect("text");
    curl(["-X", "POST", "-T", file, "-H", "Content-Type: application/x-thing", &url]).await
}

async fn stored(at: &str, session: &str, file: &Path) -> Value {
    let query = format!("session_id={session}&name=some%20bytes.bin&type=report");
    let answer = upload(at, &query, file).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

async fn large_bytes_go_through_without_being_held(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (path, bytes) = file(directory.path(), LARGE);
    // Whatever is there once is not growth.
    let other_directory = tempfile::tempdir().expect("a directory");
    let (small, _) = file(other_directory.path(), 1 << 20);
    for at in [mesh.gateway(), mesh.url(8084)] {
        stored(&at, &session, &small).await;
        let before = mesh.reset_peak_memory();
        let artifact = stored(&at, &session, &path).await;
        assert_eq!(artifact["size"], LARGE, "{artifact}");
        assert_eq!(artifact["content_type"], "application/x-thing");
        let id = artifact["id"].as_str().expect("an id");
        let back = directory.path().join("back.bin");
        let url = format!("{at}/storage/artifacts/{id}/content");
        let answer = curl(["-o", back.to_str().expect("text"), &url]).await;
        let grown = mesh.peak_memory().saturating_sub(before);
        assert_eq!(answer.status, 200, "{:?}", answer.headers);
        assert_eq!(header(&answer, "content-length"), Some(LARGE.to_string().as_str()));
        assert!(fs::read(&back).expect("a file") == bytes, "other bytes came back");
        assert!(grown < GROWTH, "{at}: {grown} bytes more than before");
    }
}

async fn ranges_and_conditions_are_those_of_http(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (path, bytes) = file(directory.path(), 300_000);
    let artifact = stored(&mesh.gateway(), &session, &path).await;
    let id = artifact["id"].as_str().expect("an id");
    let digest = artifact["digest"].as_str().expect("a digest");
    let url = format!("{}/storage/artifacts/{id}/content", mesh.gateway());
    let part = directory.path().join("part.bin");
    let part = part.to_str().expect("text");
    for (range, begin, end) in [
        ("0-0", 0, 1),
        ("1000-1999", 1000, 2000),
        ("299000-", 299_000, 300_000),
        ("-5", 299_995, 300_000),
        ("100000-900000", 100_000, 300_000),
    ] {
        let answer = curl(["-r", range, "-o", part, &url]).await;
        assert_eq!(answer.status, 206, "{range}: {:?}", answer.headers);
        let told = format!("bytes {begin}-{}/300000", end - 1);
        assert_eq!(header(&answer, "content-range"), Some(told.as_str()));
        assert!(fs::read(part).expect("a file") == bytes[begin..end], "{range}");
    }
    let answer = curl(["-r", "300000-", &url]).await;
    assert_eq!((answer.status, answer.reason().as_str()), (416, "RANGE_NOT_SATISFIABLE"));
    assert_eq!(header(&answer, "content-range"), Some("bytes */300000"));
    let answer = curl([format!("{url}?offset=300000")]).await;
    assert_eq!((answer.status, answer.reason().as_str()), (416, "RANGE_BEYOND_END"));
    let answer = curl(["-o", part, &format!("{url}?offset=-7&length=3")]).await;
    assert_eq!(answer.status, 200);
    assert!(fs::read(part).expect("a file") == bytes[299_993..299_996]);

    let answer = curl(["-I", &url]).await;
    assert_eq!(header(&answer, "etag"), Some(format!("\"{digest}\"").as_str()));
    assert_eq!(header(&answer, "accept-ranges"), Some("bytes"));
    assert_eq!(header(&answer, "content-type"), Some("application/x-thing"));
    let disposition = header(&answer, "content-disposition").expect("a name");
    assert!(disposition.contains("filename=\"some bytes.bin\""), "{disposition}");
    let answer = curl(["-H", &format!("If-None-Match: \"{digest}\""), &url]).await;
    assert_eq!((answer.status, answer.body.as_str()), (304, ""));
    let other = ["-r", "0-9", "-H", "If-Range: \"b3_other\"", "-o", part, &url];
    assert_eq!(curl(other).await.status, 200);
}

async fn what_was_noted_can_be_listed_completed_and_deleted(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let note = |name: &str| {
        format!(
            r#"{{"session_id": "{session}", "name": "{name}", "type": "report", "path": "/x", "size": 7, "metadata": {{"n": 1}}}}"#
        )
    };
    let noted = mesh.post("/storage/artifacts", &note("first")).await.json();
    assert_eq!((&noted["size"], &noted["metadata"]["n"]), (&Value::from(7), &Value::from(1)));
    mesh.post("/storage/artifacts", &note("second")).await;
    let list = mesh.get(&format!("/storage/artifacts?session_id={session}&limit=1")).await;
    assert_eq!(list.json()[0]["name"], "second", "{}", list.body);
    assert!(header(&list, "x-next-page-token").is_some(), "{:?}", list.headers);
    let list = mesh.get(&format!("/storage/artifacts?session_id={session}&offset=1")).await;
    assert_eq!(list.json()[0]["name"], "first", "{}", list.body);

    let id = noted["id"].as_str().expect("an id");
    let content = format!("{}/storage/artifacts/{id}/content", mesh.gateway());
    let empty = curl([&content]).await;
    assert_eq!((empty.status, empty.reason().as_str()), (400, "ARTIFACT_EMPTY"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("text");
    fs::write(&path, "the bytes").expect("a file");
    let put = ["-T", path.to_str().expect("text"), "-H", "Content-Type: text/plain", &content];
    let answer = curl(put).await;
    assert_eq!((answer.status, &answer.json()["size"]), (200, &Value::from(9)), "{}", answer.body);
    assert_eq!(curl([&content]).await.body, "the bytes");
    let again = curl(put).await;
    assert_eq!((again.status, again.reason().as_str()), (400, "ARTIFACT_COMPLETE"));
    let wrong = format!("session_id={session}&name=a&type=b&expected_size=1");
    let answer = upload(&mesh.gateway(), &wrong, &path).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "SIZE_MISMATCH"));

    let url = format!("{}/storage/artifacts/{id}", mesh.gateway());
    let deleted = curl(["-X", "DELETE", &url]).await;
    assert_eq!(deleted.json()["status"], "deleted", "{}", deleted.body);
    assert_eq!(curl([&url]).await.status, 404);
    assert_eq!(mesh.artifact_files(), 0);
}

async fn an_upload_that_is_cut_is_not_stored(topology: Topology) {
    let (mesh, session) = start(topology).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (path, _) = file(directory.path(), 4 << 20);
    let url =
        format!("{}/storage/artifacts:upload?session_id={session}&name=a&type=b", mesh.gateway());
    let file = path.to_str().expect("text");
    let slow = ["-m", "1", "--limit-rate", "100k", "-X", "POST", "-T", file, &url];
    // curl tells 100 where it was asked to go on, and 0 where it was told nothing.
    assert!(curl(slow).await.status < 200, "curl gave up before a final answer");
    for _ in 0..500 {
        if mesh.artifact_files() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(mesh.artifact_files(), 0);
    let list = mesh.get(&format!("/storage/artifacts?session_id={session}")).await;
    assert_eq!(list.body, "[]");
}

//! Artifacts: metadata, bytes, ranges, and what is left of them.

mod keeping;

use std::{path::Path, time::Duration};

use cortex_proto::google::api::HttpBody;
use cortex_storage::artifact::Digest;
use futures::{StreamExt, future::join_all, stream};
use tonic::{Code, Request, Status};

use crate::support::*;

contract! {
    what_was_noted_is_told,
    artifacts_are_listed_newest_first,
    bytes_come_back_as_they_went,
    a_range_is_what_it_says,
    no_bytes_are_bytes_too,
    a_noted_artifact_gets_its_bytes_once,
    an_upload_that_is_not_what_was_announced_leaves_nothing,
    an_upload_that_breaks_off_leaves_nothing,
    the_same_bytes_are_stored_once,
    bytes_belong_to_one_tenant,
    another_tenants_artifact_looks_like_none,
    a_repeated_request_is_the_same_artifact,
    a_deleted_session_takes_its_artifacts_along,
    many_upload_the_same_at_once,
    a_download_outlives_its_artifact,
    damaged_bytes_are_not_passed_for_whole,
    what_is_wrong_is_named,
}

/// The first request of an upload.
fn new(session: &str, name: &str, data: &[u8]) -> UploadArtifactRequest {
    UploadArtifactRequest {
        content: body("text/plain", data),
        session_id: session.into(),
        name: name.into(),
        r#type: "report".into(),
        ..Default::default()
    }
}

fn body(content_type: &str, data: &[u8]) -> Option<HttpBody> {
    let data = data.to_vec().into();
    Some(HttpBody { content_type: content_type.into(), data, ..Default::default() })
}

/// Requests that hold only bytes.
fn more(data: &[u8], size: usize) -> Vec<UploadArtifactRequest> {
    let piece = |data| UploadArtifactRequest { content: body("", data), ..Default::default() };
    data.chunks(size).map(piece).collect()
}

async fn upload(
    f: &Fixture,
    first: UploadArtifactRequest,
    rest: Vec<UploadArtifactRequest>,
) -> Result<Artifact, Status> {
    upload_of(f, "default", first, rest).await
}

async fn upload_of(
    f: &Fixture,
    tenant: &str,
    first: UploadArtifactRequest,
    rest: Vec<UploadArtifactRequest>,
) -> Result<Artifact, Status> {
    let requests = stream::iter(std::iter::once(first).chain(rest));
    let answer = f.artifacts().upload_artifact(of(tenant, requests)).await?.into_inner();
    Ok(answer.artifact.expect("the artifact is told"))
}

fn of<T>(tenant: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-cortex-tenant", tenant.parse().expect("a tenant's name"));
    request
}

async fn get(f: &Fixture, id: &str) -> Result<Artifact, Status> {
    let request = GetArtifactRequest { artifact_id: id.into() };
    Ok(f.artifacts().get_artifact(request).await?.into_inner().artifact.expect("the artifact"))
}

async fn delete(f: &Fixture, id: &str) -> Result<(), Status> {
    let request = DeleteArtifactRequest { artifact_id: id.into() };
    let answer = f.artifacts().delete_artifact(request).await?.into_inner();
    assert_eq!((answer.status.as_str(), answer.artifact_id.as_str()), ("deleted", id));
    Ok(())
}

/// The first response of a download, without its bytes, and all bytes.
async fn download(
    f: &Fixture,
    id: &str,
    offset: i64,
    length: i64,
) -> Result<(DownloadArtifactResponse, Vec<u8>), Status> {
    let request = DownloadArtifactRequest { artifact_id: id.into(), offset, length };
    let mut answers = f.artifacts().download_artifact(request).await?.into_inner();
    let mut head = None;
    let mut bytes = Vec::new();
    while let Some(answer) = answers.message().await? {
        let data = answer.content.as_ref().map(|content| content.data.clone()).unwrap_or_default();
        assert!(data.len() <= 64 << 10, "a piece of {} bytes", data.len());
        bytes.extend_from_slice(&data);
        head.get_or_insert(answer);
    }
    Ok((head.expect("a first response"), bytes))
}

fn create(session: &str, name: &str) -> CreateArtifactRequest {
    CreateArtifactRequest {
        session_id: session.into(),
        name: name.into(),
        r#type: "report".into(),
        ..Default::default()
    }
}

async fn note(f: &Fixture, request: CreateArtifactRequest) -> Result<Artifact, Status> {
    Ok(f.artifacts().create_artifact(request).await?.into_inner().artifact.expect("the artifact"))
}

/// Bytes that do not repeat.
fn some(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// How many files hold bytes of artifacts, whole or not.
fn files(f: &Fixture) -> usize {
    count(&f.data_dir().join("artifacts"))
}

fn count(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|e| e.expect("an entry"));
    entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
}

fn file(directory: &Path) -> Option<std::path::PathBuf> {
    let mut entries = std::fs::read_dir(directory).ok()?.filter_map(Result::ok);
    entries.find_map(|e| if e.path().is_dir() { file(&e.path()) } else { Some(e.path()) })
}

/// Waits until as many files are there; what goes by itself goes soon.
async fn until_files(f: &Fixture, number: usize) {
    let waiting = async {
        while files(f) != number {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "there are {} files, not {number}", files(f));
}

async fn what_was_noted_is_told(f: &Fixture) {
    let session = f.session().await;
    let request = CreateArtifactRequest {
        path: "/data/report.pdf".into(),
        size: 12,
        metadata: r#"{"pages": 6}"#.into(),
        content_type: "application/pdf".into(),
        ..create(&session, "report.pdf")
    };
    let artifact = note(f, request).await.expect("noted");
    assert!(artifact.id.starts_with("artifact_"));
    assert_eq!((artifact.size, artifact.digest.as_str()), (12, ""));
    assert_eq!(artifact.metadata, r#"{"pages": 6}"#);
    assert_eq!(artifact.created_at, artifact.updated_at);
    assert_eq!(get(f, &artifact.id).await.expect("told"), artifact);
    refused(download(f, &artifact.id, 0, 0).await, Code::FailedPrecondition, "ARTIFACT_EMPTY");
    delete(f, &artifact.id).await.expect("deleted");
    refused(get(f, &artifact.id).await, Code::NotFound, "ARTIFACT_NOT_FOUND");
    refused(delete(f, &artifact.id).await, Code::NotFound, "ARTIFACT_NOT_FOUND");
    let nowhere = create("session_0123456789abcdef", "x");
    refused(note(f, nowhere).await, Code::NotFound, "SESSION_NOT_FOUND");
    let plain = note(f, create(&session, "x")).await.expect("noted");
    assert_eq!((plain.metadata.as_str(), plain.path.as_str()), ("{}", ""));
}

async fn artifacts_are_listed_newest_first(f: &Fixture) {
    let session = f.session().await;
    let other = f.session().await;
    note(f, create(&other, "elsewhere")).await.expect("noted");
    for n in 1..=5 {
        let kind = if n % 2 == 0 { "even" } else { "odd" };
        let request =
            CreateArtifactRequest { r#type: kind.into(), ..create(&session, &format!("{n}")) };
        note(f, request).await.expect("noted");
    }
    let list = async |request: ListArtifactsRequest| {
        let request = ListArtifactsRequest { session_id: session.clone(), ..request };
        let page = f.artifacts().list_artifacts(request).await?.into_inner();
        let names: Vec<_> = page.artifacts.iter().map(|artifact| artifact.name.clone()).collect();
        Ok::<_, Status>((names.join(" "), page.next_page_token))
    };
    let all = list(ListArtifactsRequest::default()).await.expect("a page");
    assert_eq!(all, ("5 4 3 2 1".into(), String::new()));
    let odd = ListArtifactsRequest { r#type: "odd".into(), page_size: 2, ..Default::default() };
    let (names, token) = list(odd.clone()).await.expect("a page");
    assert_eq!(names, "5 3");
    let next = ListArtifactsRequest { page_token: token.clone(), ..odd };
    assert_eq!(list(next).await.expect("a page"), ("1".into(), String::new()));
    let skip = ListArtifactsRequest { limit: 2, offset: 3, ..Default::default() };
    assert_eq!(list(skip).await.expect("a page").0, "2 1");
    for wrong in [
        ListArtifactsRequest { page_token: token.clone(), ..Default::default() },
        ListArtifactsRequest { page_size: 1, limit: 1, ..Default::default() },
        ListArtifactsRequest {
            page_token: token,
            offset: 1,
            r#type: "odd".into(),
            ..Default::default()
        },
        ListArtifactsRequest { page_size: -1, ..Default::default() },
        ListArtifactsRequest { r#type: "t".repeat(65), ..Default::default() },
    ] {
        refused(list(wrong).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    let nowhere = ListArtifactsRequest {
        session_id: "session_0123456789abcdef".into(),
        ..Default::default()
    };
    let answer = f.artifacts().list_artifacts(nowhere).await;
    refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn bytes_come_back_as_they_went(f: &Fixture) {
    let session = f.session().await;
    let bytes = some(1_000_003);
    let digest = Digest::of(&bytes).to_string();
    let first = UploadArtifactRequest {
        metadata: r#"{"a":1}"#.into(),
        expected_digest: digest.clone(),
        expected_size: Some(bytes.len() as i64),
        ..new(&session, "a.txt", &bytes[..3])
    };
    let artifact = upload(f, first, more(&bytes[3..], 77_777)).await.expect("stored");
    assert_eq!((artifact.size, &artifact.digest), (1_000_003, &digest));
    assert_eq!(
        (artifact.content_type.as_str(), artifact.metadata.as_str()),
        ("text/plain", r#"{"a":1}"#)
    );
    assert_eq!(get(f, &artifact.id).await.expect("told"), artifact);
    let (head, found) = download(f, &artifact.id, 0, 0).await.expect("its bytes");
    assert_eq!((head.size, &head.digest, head.offset), (1_000_003, &digest, 0));
    assert_eq!(head.name, "a.txt");
    assert_eq!(head.content.expect("content").content_type, "text/plain");
    assert!(found == bytes);
    delete(f, &artifact.id).await.expect("deleted");
    assert_eq!(files(f), 0);
}

async fn a_range_is_what_it_says(f: &Fixture) {
    let session = f.session().await;
    let bytes = some(200_000);
    let artifact = upload(f, new(&session, "a", &bytes), vec![]).await.expect("stored");
    for (offset, length, expected) in [
        (0, 1, 0..1),
        (5, 10, 5..15),
        (199_999, 0, 199_999..200_000),
        (100_000, 500_000, 100_000..200_000),
        (-7, 0, 199_993..200_000),
        (-7, 3, 199_993..199_996),
        (-300_000, 0, 0..200_000),
    ] {
        let (head, found) = download(f, &artifact.id, offset, length).await.expect("a range");
        assert_eq!((head.offset, head.size), (expected.start as i64, 200_000));
        assert!(found == bytes[expected], "{offset} {length}");
    }
    for offset in [200_000, i64::MAX] {
        let status = refused(
            download(f, &artifact.id, offset, 0).await,
            Code::OutOfRange,
            "RANGE_BEYOND_END",
        );
        assert!(status.message().contains("200000"), "{status}");
    }
    let negative = download(f, &artifact.id, 0, -1).await;
    refused(negative, Code::InvalidArgument, "INVALID_FIELD");
}

async fn no_bytes_are_bytes_too(f: &Fixture) {
    let session = f.session().await;
    let artifact = upload(f, new(&session, "empty", b""), vec![]).await.expect("stored");
    assert_eq!((artifact.size, artifact.digest.clone()), (0, Digest::of(b"").to_string()));
    let (head, bytes) = download(f, &artifact.id, 0, 0).await.expect("all of nothing");
    assert_eq!((head.size, bytes.len()), (0, 0));
    refused(download(f, &artifact.id, 0, 5).await, Code::OutOfRange, "RANGE_BEYOND_END");
}

async fn a_noted_artifact_gets_its_bytes_once(f: &Fixture) {
    let session = f.session().await;
    let request =
        CreateArtifactRequest { size: 99, content_type: "a/b".into(), ..create(&session, "later") };
    let noted = note(f, request).await.expect("noted");
    f.advance(Duration::from_secs(1));
    let first = |content_type: &str| UploadArtifactRequest {
        content: body(content_type, b"now"),
        artifact_id: noted.id.clone(),
        ..Default::default()
    };
    let artifact = upload(f, first(""), vec![]).await.expect("stored");
    assert_eq!((artifact.id.as_str(), artifact.size), (noted.id.as_str(), 3));
    assert_eq!((artifact.name.as_str(), artifact.content_type.as_str()), ("later", "a/b"));
    assert_ne!(artifact.updated_at, noted.updated_at);
    assert_eq!(artifact.created_at, noted.created_at);
    assert_eq!(download(f, &noted.id, 0, 0).await.expect("its bytes").1, b"now");
    let again = upload(f, first(""), vec![]).await;
    refused(again, Code::FailedPrecondition, "ARTIFACT_COMPLETE");
    // Also when it is found out only after the bytes have come.
    let repeated = UploadArtifactRequest { request_id: "r".into(), ..first("") };
    refused(upload(f, repeated, vec![]).await, Code::FailedPrecondition, "ARTIFACT_COMPLETE");
    assert_eq!(files(f), 1);
    let other = note(f, create(&session, "other")).await.expect("noted");
    let typed = UploadArtifactRequest { artifact_id: other.id, ..first("c/d") };
    assert_eq!(upload(f, typed, vec![]).await.expect("stored").content_type, "c/d");
    let nothing =
        UploadArtifactRequest { artifact_id: "artifact_0123456789abcdef".into(), ..first("") };
    refused(upload(f, nothing, vec![]).await, Code::NotFound, "ARTIFACT_NOT_FOUND");
    let nowhere = new("session_0123456789abcdef", "a", b"x");
    refused(upload(f, nowhere, vec![]).await, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn an_upload_that_is_not_what_was_announced_leaves_nothing(f: &Fixture) {
    let session = f.session().await;
    let rest = || more(b"0123456789", 3);
    let digest = UploadArtifactRequest {
        expected_digest: Digest::of(b"something else").to_string(),
        ..new(&session, "a", b"")
    };
    let status = refused(upload(f, digest, rest()).await, Code::InvalidArgument, "DIGEST_MISMATCH");
    assert!(status.message().contains(&Digest::of(b"0123456789").to_string()), "{status}");
    for size in [9, 11] {
        let request =
            UploadArtifactRequest { expected_size: Some(size), ..new(&session, "a", b"") };
        refused(upload(f, request, rest()).await, Code::InvalidArgument, "SIZE_MISMATCH");
    }
    let large = UploadArtifactRequest { expected_size: Some(2 << 30), ..new(&session, "a", b"") };
    refused(upload(f, large, rest()).await, Code::InvalidArgument, "TOO_LARGE");
    until_files(f, 0).await;
    let list = ListArtifactsRequest { session_id: session, ..Default::default() };
    let page = f.artifacts().list_artifacts(list).await.expect("a page").into_inner();
    assert!(page.artifacts.is_empty());
}

async fn an_upload_that_breaks_off_leaves_nothing(f: &Fixture) {
    let session = f.session().await;
    let first = new(&session, "a", &some(100_000));
    let requests = stream::iter([first]).chain(stream::pending());
    let mut client = f.artifacts();
    let uploading = client.upload_artifact(requests);
    let begun = async {
        while files(f) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = uploading => panic!("it never ends: {answer:?}"),
        () = begun => {}
    }
    until_files(f, 0).await;
}

async fn the_same_bytes_are_stored_once(f: &Fixture) {
    let (one, other) = (f.session().await, f.session().await);
    let first = upload(f, new(&one, "a", b"same"), vec![]).await.expect("stored");
    let second = upload(f, new(&other, "b", b"sa"), more(b"me", 1)).await.expect("stored");
    assert_ne!(first.id, second.id);
    assert_eq!(first.digest, second.digest);
    assert_eq!(files(f), 1);
    delete(f, &first.id).await.expect("deleted");
    assert_eq!(files(f), 1);
    assert_eq!(download(f, &second.id, 0, 0).await.expect("its bytes").1, b"same");
    delete(f, &second.id).await.expect("deleted");
    assert_eq!(files(f), 0);
    let again = upload(f, new(&one, "a", b"same"), vec![]).await.expect("stored");
    assert_eq!(download(f, &again.id, 0, 0).await.expect("its bytes").1, b"same");
}

async fn session_of(f: &Fixture, tenant: &str) -> String {
    let request = CreateSessionRequest { agent_name: "assistant".into(), ..Default::default() };
    let answer = f.sessions().create_session(of(tenant, request)).await.expect("a session");
    answer.into_inner().session.expect("the session").id
}

async fn bytes_belong_to_one_tenant(f: &Fixture) {
    for tenant in ["acme", "other"] {
        let session = session_of(f, tenant).await;
        upload_of(f, tenant, new(&session, "a", b"same"), vec![]).await.expect("stored");
    }
    assert_eq!(files(f), 2);
}

async fn another_tenants_artifact_looks_like_none(f: &Fixture) {
    let session = session_of(f, "acme").await;
    let id = upload_of(f, "acme", new(&session, "a", b"x"), vec![]).await.expect("stored").id;
    let not_found = |answer| refused(answer, Code::NotFound, "ARTIFACT_NOT_FOUND");
    not_found(get(f, &id).await.map(drop));
    not_found(download(f, &id, 0, 0).await.map(drop));
    not_found(delete(f, &id).await);
    let noted = UploadArtifactRequest { artifact_id: id.clone(), ..Default::default() };
    not_found(upload(f, noted, vec![]).await.map(drop));
    let list = ListArtifactsRequest { session_id: session.clone(), ..Default::default() };
    refused(f.artifacts().list_artifacts(list).await, Code::NotFound, "SESSION_NOT_FOUND");
    refused(note(f, create(&session, "a")).await, Code::NotFound, "SESSION_NOT_FOUND");
    let answer = upload(f, new(&session, "a", b"x"), vec![]).await;
    refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
    let own = of("acme", GetArtifactRequest { artifact_id: id });
    f.artifacts().get_artifact(own).await.expect("its own");
}

async fn a_repeated_request_is_the_same_artifact(f: &Fixture) {
    let session = f.session().await;
    let request = CreateArtifactRequest { request_id: "r".into(), ..create(&session, "a") };
    let noted = note(f, request.clone()).await.expect("noted");
    assert_eq!(note(f, request.clone()).await.expect("noted before"), noted);
    let other = CreateArtifactRequest { name: "b".into(), ..request };
    refused(note(f, other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");

    // Another method's request of the same id is another request.
    let first = |data| UploadArtifactRequest { request_id: "r".into(), ..new(&session, "a", data) };
    let stored = upload(f, first(b"abc"), vec![]).await.expect("stored");
    assert_ne!(stored.id, noted.id);
    let again = upload(f, first(b"a"), more(b"bc", 1)).await.expect("stored before");
    assert_eq!(again, stored);
    refused(upload(f, first(b"abd"), vec![]).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let renamed = UploadArtifactRequest { name: "c".into(), ..first(b"abc") };
    refused(upload(f, renamed, vec![]).await, Code::AlreadyExists, "REQUEST_ID_REUSED");

    let complete = || UploadArtifactRequest {
        content: body("a/b", b"late"),
        artifact_id: noted.id.clone(),
        request_id: "c".into(),
        ..Default::default()
    };
    let completed = upload(f, complete(), vec![]).await.expect("stored");
    assert_eq!(upload(f, complete(), vec![]).await.expect("stored before"), completed);
    assert_eq!(files(f), 2);
    // The same id in another session is another request.
    let elsewhere = UploadArtifactRequest { session_id: f.session().await, ..first(b"abc") };
    assert_ne!(upload(f, elsewhere, vec![]).await.expect("stored").id, stored.id);
}

async fn a_deleted_session_takes_its_artifacts_along(f: &Fixture) {
    let (kept, gone) = (f.session().await, f.session().await);
    let shared = upload(f, new(&kept, "a", b"shared"), vec![]).await.expect("stored");
    let mut ids = Vec::new();
    for data in [&b"shared"[..], b"own", b"own"] {
        ids.push(upload(f, new(&gone, "b", data), vec![]).await.expect("stored").id);
    }
    ids.push(note(f, create(&gone, "noted")).await.expect("noted").id);
    assert_eq!(files(f), 2);
    let request = DeleteSessionRequest { session_id: gone };
    f.sessions().delete_session(request).await.expect("deleted");
    for id in &ids {
        refused(get(f, id).await, Code::NotFound, "ARTIFACT_NOT_FOUND");
        refused(download(f, id, 0, 0).await, Code::NotFound, "ARTIFACT_NOT_FOUND");
    }
    until_files(f, 1).await;
    assert_eq!(download(f, &shared.id, 0, 0).await.expect("its bytes").1, b"shared");
    delete(f, &shared.id).await.expect("deleted");
    assert_eq!(files(f), 0);
}

async fn many_upload_the_same_at_once(f: &Fixture) {
    let session = f.session().await;
    let bytes = some(300_000);
    let upload = |n: usize| {
        let first = new(&session, &format!("{n}"), b"");
        upload(f, first, more(&bytes, 50_000 + n))
    };
    let artifacts = join_all((0..16).map(upload)).await;
    let mut ids = Vec::new();
    for artifact in artifacts {
        ids.push(artifact.expect("stored").id);
    }
    assert_eq!(files(f), 1);
    // And while others store and delete the same bytes, those that are told to be there are.
    let (session, bytes) = (&session, &bytes);
    let churn = |id: String| async move {
        delete(f, &id).await.expect("deleted");
        let artifact = self::upload(f, new(session, "again", bytes), vec![]).await.expect("stored");
        let found = download(f, &artifact.id, 0, 0).await.expect("its bytes").1;
        assert!(found == *bytes);
        delete(f, &artifact.id).await.expect("deleted");
    };
    join_all(ids.into_iter().map(churn)).await;
    assert_eq!(files(f), 0);
}

async fn a_download_outlives_its_artifact(f: &Fixture) {
    let session = f.session().await;
    let bytes = some(5 << 20);
    let artifact = upload(f, new(&session, "a", b""), more(&bytes, 1 << 20)).await.expect("stored");
    let request =
        DownloadArtifactRequest { artifact_id: artifact.id.clone(), ..Default::default() };
    let mut answers = f.artifacts().download_artifact(request).await.expect("begun").into_inner();
    let first = answers.message().await.expect("goes on").expect("a first response");
    let mut found = first.content.expect("content").data.to_vec();
    delete(f, &artifact.id).await.expect("deleted");
    assert_eq!(files(f), 0);
    while let Some(answer) = answers.message().await.expect("goes on") {
        found.extend_from_slice(&answer.content.expect("content").data);
    }
    assert!(found == bytes);
}

async fn damaged_bytes_are_not_passed_for_whole(f: &Fixture) {
    let session = f.session().await;
    let artifact = upload(f, new(&session, "a", b"0123456789"), vec![]).await.expect("stored");
    let path = file(&f.data_dir().join("artifacts")).expect("a file");
    std::fs::write(&path, b"01234x6789").expect("damaged");
    refused(download(f, &artifact.id, 0, 0).await, Code::DataLoss, "BYTES_DAMAGED");
    std::fs::write(&path, b"0123").expect("damaged");
    refused(download(f, &artifact.id, 2, 5).await, Code::DataLoss, "BYTES_DAMAGED");
    std::fs::remove_file(&path).expect("removed");
    refused(download(f, &artifact.id, 2, 5).await, Code::DataLoss, "BYTES_DAMAGED");
}

async fn what_is_wrong_is_named(f: &Fixture) {
    let session = f.session().await;
    let noted = note(f, create(&session, "a")).await.expect("noted");
    for wrong in [
        CreateArtifactRequest { name: String::new(), ..create(&session, "a") },
        CreateArtifactRequest { r#type: String::new(), ..create(&session, "a") },
        CreateArtifactRequest { metadata: "1".into(), ..create(&session, "a") },
        CreateArtifactRequest { size: -1, ..create(&session, "a") },
        create("x", "a"),
    ] {
        refused(note(f, wrong).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    let fat = format!(r#"{{"a":"{}"}}"#, "x".repeat(64 << 10));
    let large = CreateArtifactRequest { metadata: fat, ..create(&session, "a") };
    refused(note(f, large).await, Code::InvalidArgument, "TOO_LARGE");
    for wrong in [
        UploadArtifactRequest::default(),
        UploadArtifactRequest { artifact_id: noted.id.clone(), ..new(&session, "a", b"") },
        UploadArtifactRequest { artifact_id: "x".into(), ..Default::default() },
        UploadArtifactRequest { expected_digest: "b3_".into(), ..new(&session, "a", b"") },
        UploadArtifactRequest { content: body("text", b""), ..new(&session, "a", b"") },
    ] {
        refused(upload(f, wrong, vec![]).await, Code::InvalidArgument, "INVALID_FIELD");
    }
    let nothing = stream::iter(Vec::<UploadArtifactRequest>::new());
    let answer = f.artifacts().upload_artifact(nothing).await;
    refused(answer, Code::InvalidArgument, "INVALID_FIELD");
    refused(get(f, "artifact_").await, Code::InvalidArgument, "INVALID_FIELD");
}

/// A name that belongs into the same directory.
fn another_name(name: &str) -> String {
    let begin = if name.starts_with("00") { "11" } else { "00" };
    format!("{begin}{}", &name[2..])
}

//! The bytes of artifacts in backups, checks and prunings.

use std::{path::PathBuf, time::Duration};

use super::*;

contract! {
    bytes_are_in_a_backup,
    bytes_may_be_left_out,
    bytes_that_cannot_be_restored_leave_nothing,
    missing_and_altered_bytes_are_found,
    artifacts_go_by_age,
    bytes_stay_while_a_backup_may_need_them,
}

pub async fn upload(f: &Fixture, session: &str, data: &[u8]) -> Artifact {
    let body = |data: &[u8]| Some(HttpBody { data: data.to_vec().into(), ..HttpBody::default() });
    let (first, rest) = data.split_at(data.len().min(50_000));
    let first = UploadArtifactRequest {
        content: body(first),
        session_id: session.to_owned(),
        name: "report".into(),
        r#type: "report".into(),
        ..Default::default()
    };
    let more = |data| UploadArtifactRequest { content: body(data), ..Default::default() };
    let rest: Vec<_> = rest.chunks(50_000).map(more).collect();
    let requests = futures::stream::iter(std::iter::once(first).chain(rest));
    let answer = f.artifacts().upload_artifact(requests).await.expect("an upload").into_inner();
    answer.artifact.expect("the artifact is told")
}

async fn download(f: &Fixture, id: &str) -> Result<Vec<u8>, Status> {
    let request = DownloadArtifactRequest { artifact_id: id.to_owned(), ..Default::default() };
    let mut answers = f.artifacts().download_artifact(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(answer) = answers.message().await? {
        bytes.extend_from_slice(&answer.content.unwrap_or_default().data);
    }
    Ok(bytes)
}

/// Bytes that nothing else has.
pub fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// The files that hold bytes of artifacts.
fn files(f: &Fixture) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![f.data_dir().join("artifacts")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

async fn bytes_are_in_a_backup(f: &Fixture) {
    let session = f.session().await;
    let (large, small) = (noise(1, 700_000), noise(2, 10));
    let first = upload(f, &session, &large).await;
    let again = upload(f, &session, &large).await;
    let second = upload(f, &session, &small).await;
    let empty = upload(f, &session, b"").await;
    assert_eq!(stats(f).await.content_bytes, 700_010, "each content counts once");
    assert!(!stats(f).await.artifact_location.is_empty());
    let archive = back_up(f).await;
    let other = f.another().await;
    let restored = restore(&other, &archive.bytes).await.expect("a restore");
    assert_eq!((restored.rows["artifacts"], restored.content_bytes), (4, 700_010));
    for (artifact, bytes) in [(first, &large), (again, &large), (second, &small)] {
        assert_eq!(&download(&other, &artifact.id).await.expect("bytes"), bytes);
    }
    assert_eq!(download(&other, &empty.id).await.expect("no bytes"), b"");
    let (findings, _) = check(&other, true).await;
    assert_eq!(findings, []);
}

async fn bytes_may_be_left_out(f: &Fixture) {
    let session = f.session().await;
    let artifact = upload(f, &session, &noise(3, 300_000)).await;
    let request = BackupStorageRequest { without_artifacts: true };
    let archive = back_up_as(f, request).await;
    assert!(archive.bytes.len() < 100_000, "{} bytes", archive.bytes.len());
    let other = f.another().await;
    restore(&other, &archive.bytes).await.expect("a restore");
    let get = GetArtifactRequest { artifact_id: artifact.id.clone() };
    let found = other.artifacts().get_artifact(get).await.expect("an artifact").into_inner();
    assert_eq!(found.artifact.expect("an artifact").size, 300_000);
    refused(download(&other, &artifact.id).await, Code::FailedPrecondition, "ARTIFACT_EMPTY");
    let (findings, _) = check(&other, true).await;
    assert_eq!(findings, [], "an artifact without bytes is whole");
}

async fn bytes_that_cannot_be_restored_leave_nothing(f: &Fixture) {
    let session = f.session().await;
    upload(f, &session, &noise(4, 300_000)).await;
    let archive = back_up(f).await;
    let other = f.another().await;
    let cut = &archive.bytes[..archive.bytes.len() - 20];
    refused(restore(&other, cut).await, Code::InvalidArgument, "BACKUP_INVALID");
    assert_eq!(files(&other), Vec::<PathBuf>::new(), "what was written is deleted");
    restore(&other, &archive.bytes).await.expect("a restore");
}

async fn missing_and_altered_bytes_are_found(f: &Fixture) {
    let session = f.session().await;
    let artifact = upload(f, &session, &noise(5, 1000)).await;
    let found = files(f);
    assert_eq!(found.len(), 1, "{found:?}");
    let file = &found[0];
    let bytes = std::fs::read(file).expect("bytes");
    let mut altered = bytes.clone();
    altered[500] ^= 1;
    std::fs::write(file, altered).expect("a file");
    let codes = async |full| {
        let (findings, end) = check(f, full).await;
        assert_eq!(end.findings, findings.len() as i64);
        findings.iter().map(|f| (f.code.clone(), f.subject.clone())).collect::<Vec<_>>()
    };
    let expected = |code: &str| vec![(code.to_owned(), artifact.digest.clone())];
    assert_eq!(codes(true).await, expected("BYTES_ALTERED"));
    assert_eq!(codes(false).await, [], "a sample does not see it");
    std::fs::write(file, &bytes).expect("a file");
    assert_eq!(codes(true).await, []);
    std::fs::remove_file(file).expect("a file");
    assert_eq!(codes(false).await, expected("BYTES_MISSING"));
    assert_eq!(codes(true).await, expected("BYTES_MISSING"));
}

async fn bytes_stay_while_a_backup_may_need_them(f: &Fixture) {
    let mut config = f.config.clone();
    config.housekeeping_interval = cortex_config::Duration::from_millis(10);
    let f = f.another_with(config).await;
    let session = f.session().await;
    let bytes = noise(8, 300_000);
    let artifact = upload(&f, &session, &bytes).await;
    let answer = f.admin().backup_storage(BackupStorageRequest::default()).await;
    let mut pieces = answer.expect("a backup").into_inner();
    let mut archive = Vec::new();
    archive.push(pieces.next().await.expect("a piece").expect("it begins"));
    let delete = DeleteArtifactRequest { artifact_id: artifact.id.clone() };
    f.artifacts().delete_artifact(delete).await.expect("it is gone");
    let rounds = tokio::time::Instant::now() + Duration::from_millis(300);
    while tokio::time::Instant::now() < rounds {
        assert_eq!(files(&f).len(), 1, "the backup needs it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while let Some(piece) = pieces.next().await {
        archive.push(piece.expect("the backup goes on"));
    }
    drop(pieces);
    while !files(&f).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let archive: Vec<u8> =
        archive.into_iter().flat_map(|piece| piece.content.unwrap_or_default().data).collect();
    let other = f.another().await;
    restore(&other, &archive).await.expect("a restore");
    assert_eq!(download(&other, &artifact.id).await.expect("bytes"), bytes);
}

async fn artifacts_go_by_age(f: &Fixture) {
    let session = f.session().await;
    let (old, shared) = (noise(6, 2000), noise(7, 500));
    upload(f, &session, &old).await;
    upload(f, &session, &shared).await;
    f.advance(Duration::from_secs(7200));
    let kept = upload(f, &session, &shared).await;
    let request = PruneStorageRequest {
        artifact_age: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        ..Default::default()
    };
    let would = prune::prune(f, PruneStorageRequest { validate_only: true, ..request }).await;
    assert_eq!((would.deleted["artifacts"], would.freed_content_bytes), (2, 2000));
    assert_eq!(prune::prune(f, request).await, would);
    assert_eq!(stats(f).await.rows["artifacts"], 1);
    assert_eq!(download(f, &kept.id).await.expect("bytes"), shared);
    // Artifacts of sessions that go, go with them.
    let all = PruneStorageRequest {
        session_age: Some(prost_types::Duration::default()),
        ..Default::default()
    };
    f.advance(Duration::from_secs(1));
    let pruned = prune::prune(f, all).await;
    assert_eq!((pruned.deleted["artifacts"], pruned.freed_content_bytes), (1, 500));
    let (findings, _) = check(f, true).await;
    assert_eq!(findings, []);
}

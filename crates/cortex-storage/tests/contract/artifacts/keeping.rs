//! Limits of uploads, what is swept, and an object store.

use cortex_storage::{ArtifactConfig, StorageConfig};

use super::*;

fn with(artifacts: ArtifactConfig) -> StorageConfig {
    StorageConfig { artifacts, ..StorageConfig::default() }
}

#[tokio::test]
async fn more_than_the_limit_is_refused_while_it_comes() {
    let max_size = cortex_config::ByteSize::kib(64);
    let config = with(ArtifactConfig { max_size, ..ArtifactConfig::default() });
    let f = &Fixture::sqlite_with(config).await;
    let session = f.session().await;
    let bytes = some(64 << 10);
    upload(f, new(&session, "a", b""), more(&bytes, 5000)).await.expect("just fits");
    // The stream never ends; the refusal does not wait for that.
    let endless =
        stream::iter([new(&session, "a", b"")]).chain(stream::iter(more(&bytes, 5000)).cycle());
    let answer = f.artifacts().upload_artifact(endless).await;
    refused(answer, Code::InvalidArgument, "TOO_LARGE");
    until_files(f, 1).await;
}

#[tokio::test]
async fn an_upload_that_brings_nothing_is_given_up() {
    let upload_patience = cortex_config::Duration::from_millis(50);
    let config = with(ArtifactConfig { upload_patience, ..ArtifactConfig::default() });
    let f = &Fixture::sqlite_with(config).await;
    let first = new(&f.session().await, "a", b"half");
    let requests = stream::iter([first]).chain(stream::pending());
    let answer = f.artifacts().upload_artifact(requests).await;
    refused(answer, Code::DeadlineExceeded, "UPLOAD_TOO_SLOW");
    until_files(f, 0).await;
    let answer = f.artifacts().upload_artifact(stream::pending()).await;
    refused(answer, Code::DeadlineExceeded, "UPLOAD_TOO_SLOW");
}

#[tokio::test]
async fn uploads_wait_for_a_place() {
    let config = with(ArtifactConfig { max_uploads: 1, ..ArtifactConfig::default() });
    let f = &Fixture::sqlite_with(config).await;
    let session = f.session().await;
    let held = stream::iter([new(&session, "held", b"half")]).chain(stream::pending());
    let mut client = f.artifacts();
    let mut holding = Box::pin(client.upload_artifact(held));
    let begun = async {
        while files(f) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = &mut holding => panic!("it never ends: {answer:?}"),
        () = begun => {}
    }
    let mut waiting = Box::pin(upload(f, new(&session, "b", b"whole"), vec![]));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(holding);
    assert_eq!(waiting.await.expect("stored").size, 5);
}

#[tokio::test]
async fn what_nothing_refers_to_is_swept_after_the_grace_period() {
    let mut f = Fixture::sqlite().await;
    let session = f.session().await;
    upload(&f, new(&session, "a", b"kept"), vec![]).await.expect("stored");
    let kept = file(&f.data_dir().join("artifacts")).expect("a file");
    // As a crash between bytes and metadata leaves it, and one in the midst of an upload.
    let name = another_name(kept.file_name().expect("a name").to_str().expect("text"));
    std::fs::write(kept.with_file_name(&name), b"orphan").expect("written");
    let uploads = kept.parent().and_then(Path::parent).expect("a root").join("uploads");
    std::fs::write(uploads.join(&name), b"half").expect("written");
    let strange = kept.with_file_name("README");
    std::fs::write(&strange, b"somebody's").expect("written");
    f.reopen().await;
    f.advance(Duration::from_secs(6 * 3600 - 60));
    f.reopen().await;
    assert_eq!(files(&f), 4);
    f.advance(Duration::from_secs(120));
    f.reopen().await;
    until_files(&f, 2).await;
    assert!(kept.exists() && strange.exists());
}

#[tokio::test]
async fn all_of_it_works_on_an_object_store() {
    let moto = crate::moto::Moto::start().await;
    let mut f = Fixture::sqlite_with(with(moto.config())).await;
    let session = f.session().await;
    let bytes = some((17 << 20) + 5);
    let first = upload(&f, new(&session, "a", b""), more(&bytes, 1 << 20)).await.expect("stored");
    let second = upload(&f, new(&session, "b", b""), more(&bytes, 1 << 20)).await.expect("stored");
    let small = upload(&f, new(&session, "c", b"small"), vec![]).await.expect("stored");
    let objects = async || moto.send("GET", "?list-type=2").await.matches("<Key>").count();
    assert_eq!(objects().await, 2);
    let (head, found) = download(&f, &first.id, 0, 0).await.expect("its bytes");
    assert!(head.size == bytes.len() as i64 && found == bytes);
    let (_, found) = download(&f, &second.id, -10, 5).await.expect("a range");
    assert!(found == bytes[bytes.len() - 10..bytes.len() - 5]);
    delete(&f, &first.id).await.expect("deleted");
    assert_eq!(objects().await, 2);
    delete(&f, &second.id).await.expect("deleted");
    assert_eq!(objects().await, 1);
    let wrong = UploadArtifactRequest { expected_size: Some(1), ..new(&session, "d", b"") };
    refused(upload(&f, wrong, more(&bytes, 1 << 20)).await, Code::InvalidArgument, "SIZE_MISMATCH");
    assert_eq!(objects().await, 1);

    // What nothing refers to goes after the grace period.
    let key = moto.send("GET", "?list-type=2").await;
    let key = key.split_once("<Key>").expect("a key").1.split_once("</Key>").expect("a key").0;
    let (directory, name) = key.rsplit_once('/').expect("a path");
    let orphan = format!("/{directory}/{}", another_name(name));
    moto.send("PUT", &orphan).await;
    assert_eq!(objects().await, 2);
    f.advance(Duration::from_secs(7 * 3600));
    f.reopen().await;
    let swept = async {
        while objects().await != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept).await.expect("it is swept");
    assert_eq!(download(&f, &small.id, 0, 0).await.expect("its bytes").1, b"small");
}

//! What every place for bytes must do: one suite, run in memory, on a directory, and on a server that
//! speaks S3.

#[path = "../parts/moto.rs"]
mod moto;

mod suite;

use std::{sync::Arc, time::Duration};

use cortex_storage::{
    ArtifactConfig, S3Config, Stamp, StorageError,
    adapters::blobs::{self, DirectoryBlobs, ObjectBlobs},
    artifact::{BlobName, StoreId},
    ports::BlobStore,
};
use moto::Moto;

/// Runs the suite on a place; `$opened` is the place, and what must live as long as it.
macro_rules! suite {
    ($place:ident, $opened:expr, [$($name:ident),* $(,)?]) => {
        mod $place {
            use super::*;

            $(
                #[tokio::test]
                async fn $name() {
                    let (place, _kept) = $opened;
                    suite::$name(&*place).await;
                }
            )*
        }
    };
}

macro_rules! suites {
    ($($name:ident),* $(,)?) => {
        suite!(memory, in_memory(), [$($name),*]);
        suite!(directory, in_directory().await, [$($name),*]);
        suite!(s3, in_s3().await, [$($name),*]);
    };
}

suites! {
    what_was_written_is_read,
    ranges_are_exact,
    no_bytes_are_bytes_too,
    a_large_upload_comes_in_parts,
    what_is_not_finished_is_not_there,
    what_is_deleted_is_gone,
    a_reader_never_gets_other_bytes,
    a_listing_names_everything_once,
    many_write_at_once,
}

type Place = Arc<dyn BlobStore>;

fn in_memory() -> (Place, ()) {
    (Arc::new(ObjectBlobs::in_memory(&StoreId::generate())), ())
}

async fn in_directory() -> (Place, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = ArtifactConfig::default();
    let place = blobs::open(&config, directory.path(), &StoreId::generate()).await;
    (place.expect("a directory"), directory)
}

async fn in_s3() -> (Place, Moto) {
    let moto = Moto::start().await;
    let here = std::path::Path::new("/nonexistent");
    let place = blobs::open(&moto.config(), here, &StoreId::generate()).await;
    (place.expect("a bucket"), moto)
}

/// How many files are below a directory.
fn files(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|e| e.expect("an entry"));
    entries.map(|e| if e.path().is_dir() { files(&e.path()) } else { 1 }).sum()
}

/// Waits until something is so that happens by itself, soon.
async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    let waiting = async {
        while !so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it happens soon");
}

#[tokio::test]
async fn a_cut_upload_leaves_no_file() {
    let (place, directory) = in_directory().await;
    let mut writer = place.create().await.expect("a writer");
    writer.write("half".into()).await.expect("written");
    assert_eq!(files(directory.path()), 1);
    drop(writer);
    until(|| async { files(directory.path()) == 0 }).await;
}

#[tokio::test]
async fn what_a_crash_left_is_swept_after_a_time() {
    let (place, directory) = in_directory().await;
    let mut writer = place.create().await.expect("a writer");
    writer.write("half".into()).await.expect("written");
    // As in a crash, nobody drops it.
    std::mem::forget(writer);
    let now = Stamp::from(std::time::SystemTime::now());
    let early = now.before(Duration::from_secs(60));
    assert_eq!(place.sweep_unfinished(early).await.expect("swept"), 0);
    assert_eq!(files(directory.path()), 1);
    let late = now.after(Duration::from_secs(60));
    assert_eq!(place.sweep_unfinished(late).await.expect("swept"), 1);
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_cut_upload_leaves_no_parts() {
    let (place, moto) = in_s3().await;
    let mut writer = place.create().await.expect("a writer");
    for _ in 0..40 {
        writer.write(vec![7; 256 << 10].into()).await.expect("written");
    }
    let begun = moto.send("GET", "?uploads").await;
    assert!(begun.contains("<UploadId>"), "{begun}");
    drop(writer);
    until(|| async { !moto.send("GET", "?uploads").await.contains("<UploadId>") }).await;
}

#[tokio::test]
async fn files_are_called_by_what_they_are() {
    let (place, directory) = in_directory().await;
    let name = suite::put(&*place, b"abc").await;
    assert!(name.as_str().starts_with(&suite::digest(b"abc").hex()), "{name}");
    assert_eq!(files(directory.path()), 1);
}

#[tokio::test]
async fn two_stores_in_one_place_do_not_see_each_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = || async {
        let path = directory.path().to_owned();
        DirectoryBlobs::open(path, &StoreId::generate()).await.expect("a directory")
    };
    let (one, other) = (open().await, open().await);
    let name = suite::put(&one, b"abc").await;
    assert_eq!(suite::names(&one).await, std::slice::from_ref(&name));
    assert!(suite::names(&other).await.is_empty());
    assert!(other.read(&name, 0..3).await.expect("an answer").is_none());
}

#[tokio::test]
async fn a_place_that_cannot_be_reached_says_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let config = ArtifactConfig {
        location: Some("s3://bucket".into()),
        s3: S3Config {
            endpoint: Some(endpoint),
            access_key_id: Some("key".into()),
            secret_access_key: Some(cortex_config::SecretString::new("secret")),
            ..S3Config::default()
        },
        ..ArtifactConfig::default()
    };
    let here = std::path::Path::new("/nonexistent");
    let place = blobs::open(&config, here, &StoreId::generate()).await.expect("nothing is asked");
    let error = place.read(&BlobName::generate(), 0..1).await.map(|_| ()).expect_err("an error");
    let StorageError::Io { detail } = error else { panic!("{error:?}") };
    assert!(!detail.contains("secret"), "{detail}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error_of_writing() {
    let moto = Moto::start().await;
    let config = ArtifactConfig { location: Some("s3://another-bucket".into()), ..moto.config() };
    let here = std::path::Path::new("/nonexistent");
    let place = blobs::open(&config, here, &StoreId::generate()).await.expect("nothing is asked");
    let writer = place.create().await.expect("a writer");
    let error = writer.finish(&suite::digest(b"")).await.expect_err("an error");
    let StorageError::Io { detail } = error else { panic!("{error:?}") };
    assert!(detail.contains("NoSuchBucket"), "{detail}");
}

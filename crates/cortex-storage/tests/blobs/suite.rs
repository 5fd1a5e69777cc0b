//! The tests: each a function of a place.

use bytes::Bytes;
use cortex_storage::{
    Stamp,
    artifact::{BlobEntry, BlobName, Digest},
    ports::BlobStore,
};
use futures::{TryStreamExt, future::join_all};

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}

/// Writes bytes in pieces of 256 KiB.
pub async fn put(place: &dyn BlobStore, bytes: &[u8]) -> BlobName {
    let mut writer = place.create().await.expect("a writer");
    for piece in bytes.chunks(256 << 10) {
        writer.write(Bytes::copy_from_slice(piece)).await.expect("written");
    }
    writer.finish(&digest(bytes)).await.expect("finished")
}

/// Reads a range.
async fn get(place: &dyn BlobStore, name: &BlobName, range: std::ops::Range<u64>) -> Vec<u8> {
    let stream = place.read(name, range).await.expect("an answer").expect("it is there");
    let pieces: Vec<Bytes> = stream.try_collect().await.expect("its bytes");
    pieces.concat()
}

async fn entries(place: &dyn BlobStore) -> Vec<BlobEntry> {
    place.list().try_collect().await.expect("a listing")
}

pub async fn names(place: &dyn BlobStore) -> Vec<BlobName> {
    let mut names: Vec<_> = entries(place).await.into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

/// Bytes that do not repeat.
fn some(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

pub async fn what_was_written_is_read(place: &dyn BlobStore) {
    let bytes = some(300_000);
    let name = put(place, &bytes).await;
    assert_eq!(get(place, &name, 0..300_000).await, bytes);
    // The same bytes again are bytes of their own here.
    let other = put(place, &bytes).await;
    assert_ne!(name, other);
    place.delete(&name).await.expect("deleted");
    assert_eq!(get(place, &other, 0..300_000).await, bytes);
}

pub async fn ranges_are_exact(place: &dyn BlobStore) {
    let bytes = some(200_000);
    let name = put(place, &bytes).await;
    for (start, end) in [(0, 1), (0, 200_000), (65_535, 65_537), (199_999, 200_000), (7, 7)] {
        let range = get(place, &name, start..end).await;
        assert_eq!(range, bytes[start as usize..end as usize], "{start}..{end}");
    }
}

pub async fn no_bytes_are_bytes_too(place: &dyn BlobStore) {
    let name = put(place, b"").await;
    assert_eq!(get(place, &name, 0..0).await, b"");
    assert_eq!(names(place).await, std::slice::from_ref(&name));
    assert!(place.read(&BlobName::generate(), 0..0).await.expect("an answer").is_none());
}

pub async fn a_large_upload_comes_in_parts(place: &dyn BlobStore) {
    let bytes = some((20 << 20) + 12_345);
    let name = put(place, &bytes).await;
    let size = bytes.len() as u64;
    assert_eq!(digest(&get(place, &name, 0..size).await), digest(&bytes));
    let (from, to) = ((8 << 20) - 5, (8 << 20) + 5);
    assert_eq!(get(place, &name, from..to).await, bytes[from as usize..to as usize]);
}

pub async fn what_is_not_finished_is_not_there(place: &dyn BlobStore) {
    let mut writer = place.create().await.expect("a writer");
    writer.write(Bytes::from_static(b"half")).await.expect("written");
    assert!(names(place).await.is_empty());
    drop(writer);
    assert!(names(place).await.is_empty());
}

pub async fn what_is_deleted_is_gone(place: &dyn BlobStore) {
    let name = put(place, b"abc").await;
    place.delete(&name).await.expect("deleted");
    assert!(place.read(&name, 0..3).await.expect("an answer").is_none());
    assert!(names(place).await.is_empty());
    place.delete(&name).await.expect("deleting what is not there is fine");
}

pub async fn a_reader_never_gets_other_bytes(place: &dyn BlobStore) {
    let bytes = some(1 << 20);
    let name = put(place, &bytes).await;
    let stream = place.read(&name, 0..1 << 20).await.expect("an answer").expect("it is there");
    place.delete(&name).await.expect("deleted");
    put(place, &some(2 << 20)).await;
    if let Ok(pieces) = stream.try_collect::<Vec<Bytes>>().await {
        assert_eq!(pieces.concat(), bytes);
    }
}

pub async fn a_listing_names_everything_once(place: &dyn BlobStore) {
    let before =
        Stamp::from(std::time::SystemTime::now()).before(std::time::Duration::from_secs(60));
    let mut expected = Vec::new();
    for n in 0..20_u8 {
        expected.push(put(place, &[n]).await);
    }
    expected.sort();
    assert_eq!(names(place).await, expected);
    assert!(entries(place).await.iter().all(|entry| entry.written_at > before));
}

pub async fn many_write_at_once(place: &dyn BlobStore) {
    let contents: Vec<Vec<u8>> = (0..16).map(|n| some(100_000 + n)).collect();
    let names = join_all(contents.iter().map(|bytes| put(place, bytes))).await;
    for (name, bytes) in names.iter().zip(&contents) {
        assert_eq!(get(place, name, 0..bytes.len() as u64).await, *bytes);
    }
}

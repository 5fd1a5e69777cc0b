//! Looking whether the bytes of artifacts are where and what they should be.

use futures::StreamExt;

use super::{
    finding::{CheckEvent, Checked, Finding},
    progress::{Outlet, Pace, Unit},
};
use crate::{
    artifact::{Depot, Digest},
    error::{Result, StorageError},
    ports::{AdminStore, Blob, BlobStore, DumpScope},
};

/// Bytes of each that are read, unless all of them are.
const SAMPLE: u64 = 1;

/// Adds what is wrong with the bytes of artifacts to `checked`. The caller is admitted, so that none of
/// them is deleted meanwhile.
///
/// # Errors
/// What the database or the place of the bytes says.
pub async fn check_bytes(
    store: &dyn AdminStore,
    depot: &Depot,
    full: bool,
    checked: &mut Checked,
    out: &Outlet<CheckEvent>,
) -> Result<()> {
    let mut dump = store.dump(DumpScope::Backup).await?;
    let mut pace = Pace::new("bytes of artifacts", 0, Unit::Bytes);
    let mut after = String::new();
    loop {
        let found = dump.blobs(&after).await?;
        let Some(last) = found.last() else { return Ok(()) };
        last.name.as_str().clone_into(&mut after);
        for blob in &found {
            if let Some(finding) = look(blob, depot.blobs(), full).await? {
                checked.findings += 1;
                out.tell(CheckEvent::Finding(finding)).await?;
            }
            let read = if full { blob.size } else { SAMPLE };
            if let Some(progress) = pace.advance(i64::try_from(read).unwrap_or(i64::MAX)) {
                out.tell(CheckEvent::Progress(progress)).await?;
            }
        }
    }
}

async fn look(blob: &Blob, blobs: &dyn BlobStore, full: bool) -> Result<Option<Finding>> {
    let until = if full { blob.size } else { blob.size.min(SAMPLE) };
    let missing = "the bytes of artifacts are not there; restore them from a backup";
    let Some(mut bytes) = blobs.read(&blob.name, 0..until).await? else {
        return Ok(Some(finding("BYTES_MISSING", missing, blob)));
    };
    let (mut hasher, mut read) = (blake3::Hasher::new(), 0);
    while let Some(piece) = bytes.next().await {
        match piece {
            Ok(piece) => {
                hasher.update(&piece);
                read += piece.len() as u64;
            }
            Err(StorageError::Io { .. } | StorageError::Corrupt { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    let altered = full && Digest::from(hasher.finalize()) != blob.digest;
    if altered || read != until {
        let message = "the bytes are not what their digest says; restore them from a backup";
        return Ok(Some(finding("BYTES_ALTERED", message, blob)));
    }
    Ok(None)
}

fn finding(code: &'static str, message: &str, blob: &Blob) -> Finding {
    Finding {
        code,
        message: message.to_owned(),
        collection: "artifacts",
        session_id: String::new(),
        subject: blob.digest.to_string(),
    }
}

//! `cortex storage restore`.

use std::{io, path::Path};

use bytes::Bytes;
use cortex_proto::{
    cortex::storage::v1::{RestoreStorageRequest, RestoreStorageResponse, StorageProgress},
    google::api::HttpBody,
};
use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Session, bytes, print_rows, progress::Progress};
use crate::{cli::StorageRestore, exit::Failure};

/// Bytes of one request.
const PIECE: usize = 256 << 10;

/// Sends a backup to an empty installation.
pub async fn run(session: &Session, restore: StorageRestore) -> Result<(), Failure> {
    let name = restore.file.display().to_string();
    let unread = |error: io::Error| Failure::usage(format!("{name} cannot be read: {error}"));
    let (source, total): (Box<dyn AsyncRead + Send + Unpin>, u64) =
        if restore.file == Path::new("-") {
            (Box::new(tokio::io::stdin()), 0)
        } else {
            let file = tokio::fs::File::open(&restore.file).await.map_err(unread)?;
            let total = file.metadata().await.map_err(unread)?.len();
            (Box::new(file), total)
        };
    let first = RestoreStorageRequest {
        content: None,
        expected_digest: restore.digest.unwrap_or_default(),
        validate_only: restore.validate_only,
    };
    let (pieces, waiting) = mpsc::channel(2);
    let mut client = session.client();
    let sending = send(session, source, total, pieces);
    let call = client.restore_storage(requests(first, waiting));
    let (mut sending, mut call) = (std::pin::pin!(sending), std::pin::pin!(call));
    let answer = tokio::select! {
        answer = &mut call => answer,
        sent = &mut sending => match sent {
            Ok(()) => call.await,
            // Dropping the call ends the upload as broken: nothing is restored.
            Err((error, _open)) => return Err(unread(error)),
        }
    };
    session.output.clear();
    tell(session, answer.map_err(|s| session.mesh.failure(&s))?.into_inner())
}

fn requests(
    first: RestoreStorageRequest,
    waiting: mpsc::Receiver<Bytes>,
) -> impl Stream<Item = RestoreStorageRequest> + Send {
    use tokio_stream::StreamExt;

    let piece = |data| RestoreStorageRequest {
        content: Some(HttpBody { data, ..HttpBody::default() }),
        ..Default::default()
    };
    tokio_stream::once(first).chain(ReceiverStream::new(waiting).map(piece))
}

/// Reads the file to its end. When it cannot be read, the pieces do not end, so that half a file is not
/// taken for a whole one.
async fn send(
    session: &Session,
    mut source: Box<dyn AsyncRead + Send + Unpin>,
    total: u64,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), (io::Error, mpsc::Sender<Bytes>)> {
    let mut progress = Progress::new(&session.output);
    let mut at = StorageProgress {
        phase: "sent".to_owned(),
        done: 0,
        total: i64::try_from(total).unwrap_or(i64::MAX),
        unit: "bytes".to_owned(),
    };
    loop {
        let mut piece = vec![0; PIECE];
        let length = match source.read(&mut piece).await {
            Ok(length) => length,
            // Whoever hears of it drops the call while the pieces are still open.
            Err(error) => return Err((error, pieces)),
        };
        if length == 0 {
            return Ok(());
        }
        piece.truncate(length);
        at.done += i64::try_from(length).unwrap_or(i64::MAX);
        progress.show(&at);
        // The service may have answered already; its answer says why.
        if pieces.send(piece.into()).await.is_err() {
            return Ok(());
        }
    }
}

fn tell(session: &Session, answer: RestoreStorageResponse) -> Result<(), Failure> {
    if session.is_json() {
        return session.output.json("cortex.storage.v1.RestoreStorageResponse", &answer);
    }
    let at = answer.snapshot_at.as_ref().map(ToString::to_string).unwrap_or_default();
    let contents = bytes(answer.content_bytes);
    let said = match answer.status.as_str() {
        "valid" => format!("the backup of {at} is valid; nothing was restored"),
        _ => format!("restored as of {at}, with {contents} of contents"),
    };
    session.output.line(&said)?;
    session.output.line("")?;
    print_rows(&session.output, "ROWS", answer.rows)
}

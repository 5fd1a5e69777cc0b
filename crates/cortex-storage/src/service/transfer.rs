//! The streams of exports and imports.

use bytes::Bytes;
use cortex_proto::google::api::HttpBody;
use futures::Stream;
use tonic::{Status, Streaming};

use super::{Answers, answers};
use crate::{
    config::Limits,
    convert::proto,
    error::Result as StorageResult,
    journal::RequestId,
    session::Session,
    transfer::{ImportLimits, Importer},
};

/// The media type of lines of JSON.
const LINES: &str = "application/x-ndjson";

/// Bounds of an import.
pub(super) fn import_limits(limits: &Limits) -> ImportLimits {
    ImportLimits {
        content: limits.import.get(),
        line: limits.import_line.get(),
        message: limits.message.get(),
        state: limits.state.get(),
        metadata: limits.metadata.get(),
    }
}

/// The pieces of an export as answers; the first one says what they are.
pub(super) fn export_answers(
    pieces: impl Stream<Item = StorageResult<Bytes>> + Send + 'static,
) -> Answers<proto::ExportJournalResponse> {
    let mut content_type = LINES.to_owned();
    answers(pieces, move |piece: Bytes| {
        let content_type = std::mem::take(&mut content_type);
        let content = HttpBody { content_type, data: piece, extensions: Vec::new() };
        proto::ExportJournalResponse { content: Some(content) }
    })
}

/// Takes in everything that the client sends, and makes a session of it.
pub(super) async fn import(
    mut importer: Importer,
    mut requests: Streaming<proto::ImportJournalRequest>,
) -> Result<Session, Status> {
    let imported = read(&mut importer, &mut requests).await;
    if imported.is_err()
        && let Err(error) = importer.abandon().await
    {
        tracing::warn!(%error, "what was staged of a failed import is cleared away later");
    }
    imported
}

async fn read(
    importer: &mut Importer,
    requests: &mut Streaming<proto::ImportJournalRequest>,
) -> Result<Session, Status> {
    let mut request_id = None;
    let mut first = true;
    while let Some(request) = requests.message().await? {
        if std::mem::take(&mut first) {
            request_id = RequestId::parse(request.request_id).map_err(cortex_rpc::to_status)?;
        }
        let bytes = request.content.unwrap_or_default().data;
        importer.take(&bytes).await.map_err(cortex_rpc::to_status)?;
    }
    importer.finish(request_id).await.map_err(cortex_rpc::to_status)
}

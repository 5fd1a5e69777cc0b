//! Exporting: a session as JSON lines, as far as its log goes when the export begins.
//!
//! Entries and marks never change, so a head that was read once is a snapshot, and nothing has to be
//! held while the lines are read page by page.

use std::{collections::VecDeque, pin::pin, sync::Arc};

use bytes::Bytes;
use cortex_transcode::JsonCodec;
use futures::{Stream, StreamExt, stream};

use super::line;
use crate::{
    error::Result,
    journal::{Entry, Mark, MarkNo, Sequence},
    ports::{TransferStore, Whole},
};

/// Bytes of one piece at most, and of most pieces.
const PIECE: usize = 64 * 1024;
/// Lines that are written between two looks whether somebody else has work.
const LINES: u64 = 16;

/// The lines of a session, without their ends.
///
/// The stream ends with `SessionNotFound` when the session is deleted meanwhile.
pub fn export(
    store: Arc<dyn TransferStore>,
    whole: Whole,
    codec: Arc<JsonCodec>,
) -> impl Stream<Item = Result<String>> + Send + 'static {
    let export = Export {
        store,
        whole,
        codec,
        lines: 0,
        entries: VecDeque::new(),
        read: 0,
        marks: VecDeque::new(),
        marks_read: 0,
    };
    stream::try_unfold(export, |mut export| async move {
        Ok(export.next().await?.map(|line| (line, export)))
    })
}

struct Export {
    store: Arc<dyn TransferStore>,
    whole: Whole,
    codec: Arc<JsonCodec>,
    lines: u64,
    /// Entries that are read and not written.
    entries: VecDeque<Entry>,
    read: Sequence,
    /// Marks that are read and not written.
    marks: VecDeque<Mark>,
    marks_read: MarkNo,
}

impl Export {
    async fn next(&mut self) -> Result<Option<String>> {
        self.lines += 1;
        if self.lines.is_multiple_of(LINES) {
            tokio::task::yield_now().await;
        }
        if self.lines == 1 {
            let marks = self.marks_at(0).await?;
            return line::write_session(&self.whole, marks).map(Some);
        }
        let Some(entry) = self.entry().await? else { return Ok(None) };
        let marks = self.marks_at(entry.sequence).await?;
        line::write_entry(&self.codec, &entry, marks).map(Some)
    }

    async fn entry(&mut self) -> Result<Option<Entry>> {
        let head = self.whole.head.head;
        if self.entries.is_empty() && self.read < head {
            let page = self.store.replay(self.whole.standing(), self.read).await?;
            match (page.first(), page.last()) {
                (Some(first), Some(last)) if first.sequence == self.read + 1 => {
                    self.read = last.sequence;
                }
                _ => return Err(self.whole.gone()),
            }
            self.entries = page.into();
        }
        Ok(self.entries.pop_front())
    }

    /// The marks that were left when `sequence` was the head.
    async fn marks_at(&mut self, sequence: Sequence) -> Result<Vec<Mark>> {
        let (session, end) = (self.whole.head.session, self.whole.head.marks);
        let mut found = Vec::new();
        loop {
            if self.marks.is_empty() && self.marks_read < end {
                let page = self.store.marks(session, self.marks_read, end).await?;
                match (page.first(), page.last()) {
                    (Some(first), Some(last)) if first.number == self.marks_read + 1 => {
                        self.marks_read = last.number;
                    }
                    _ => return Err(self.whole.gone()),
                }
                self.marks = page.into();
            }
            match self.marks.pop_front_if(|mark| mark.sequence == sequence) {
                Some(mark) => found.push(mark),
                None => return Ok(found),
            }
        }
    }
}

/// Lines as pieces of at most 64 KiB, each line with its end.
pub fn pieces(
    lines: impl Stream<Item = Result<String>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let state = (Box::pin(lines), Vec::new(), false);
    stream::try_unfold(state, |(mut lines, mut piece, mut ended)| async move {
        while piece.len() < PIECE && !ended {
            match pin!(lines.next()).await {
                Some(line) => {
                    piece.extend_from_slice(line?.as_bytes());
                    piece.push(b'\n');
                }
                None => ended = true,
            }
        }
        if piece.is_empty() {
            return Ok(None);
        }
        let rest = piece.split_off(piece.len().min(PIECE));
        Ok(Some((Bytes::from(piece), (lines, rest, ended))))
    })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn lines_become_pieces_of_bounded_size() -> Result<()> {
        let lines = ["a".repeat(10), "b".repeat(3 * PIECE), String::new(), "c".to_owned()];
        let expected: Vec<u8> =
            lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let stream = stream::iter(lines.map(Ok));
        let pieces: Vec<Bytes> = pieces(stream).try_collect().await?;
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(pieces.len(), expected.len().div_ceil(PIECE));
        assert_eq!(pieces.concat(), expected);
        Ok(())
    }
}

//! Splits a byte stream into server-sent events without copying: a frame that lies within one chunk
//! is a slice of it.
//!
//! The format is the WHATWG HTML standard, section 9.2 "Server-sent events": lines end with LF, CR
//! or CRLF; `data` lines of one event are joined by LF; lines that begin with a colon are comments;
//! a leading byte order mark is ignored. `id` and `retry` are of no use to a POST and are ignored.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its `event` field. Empty: none.
    pub(crate) event: Bytes,
    /// Its `data` lines.
    pub(crate) data: Bytes,
}

/// A frame is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {limit} bytes")]
pub(crate) struct FrameTooLarge {
    limit: usize,
}

/// Splits chunks of bytes into frames. Holds at most one frame, of at most the limit.
#[derive(Debug)]
pub(crate) struct SseDecoder {
    limit: usize,
    /// The beginning of a line whose end has not come yet.
    tail: BytesMut,
    event: Bytes,
    data: Data,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    first_line: bool,
}

#[derive(Debug)]
enum Data {
    None,
    One(Bytes),
    Joined(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(line) => line.len(),
            Self::Joined(lines) => lines.len(),
        }
    }

    fn push(&mut self, line: Bytes) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut lines = BytesMut::with_capacity(first.len() + line.len() + 1);
                lines.extend_from_slice(&first);
                Self::join(lines, &line)
            }
            Self::Joined(lines) => Self::join(lines, &line),
        };
    }

    fn join(mut lines: BytesMut, line: &[u8]) -> Self {
        lines.extend_from_slice(b"\n");
        lines.extend_from_slice(line);
        Self::Joined(lines)
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl SseDecoder {
    /// A decoder of frames of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            tail: BytesMut::new(),
            event: Bytes::new(),
            data: Data::None,
            after_cr: false,
            first_line: true,
        }
    }

    /// Reads `chunk` and appends the frames that are complete with it.
    ///
    /// # Errors
    /// [`FrameTooLarge`]; the decoder is of no use afterwards.
    pub(crate) fn feed(
        &mut self,
        mut chunk: Bytes,
        frames: &mut VecDeque<Frame>,
    ) -> Result<(), FrameTooLarge> {
        loop {
            if self.after_cr && !chunk.is_empty() {
                self.after_cr = false;
                if chunk[0] == b'\n' {
                    chunk.advance(1);
                }
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', &chunk) else {
                self.tail.extend_from_slice(&chunk);
                return self.check(0);
            };
            self.after_cr = chunk[end] == b'\r';
            let piece = chunk.split_to(end);
            chunk.advance(1);
            let line = self.complete(piece);
            self.line(line, frames)?;
        }
    }

    /// Reads the end of the stream: an event that misses its last blank line still counts, because
    /// providers end their streams that way.
    ///
    /// # Errors
    /// [`FrameTooLarge`].
    pub(crate) fn finish(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), FrameTooLarge> {
        let line = self.tail.split().freeze();
        if !line.is_empty() {
            self.line(line, frames)?;
        }
        self.dispatch(frames);
        Ok(())
    }

    fn complete(&mut self, piece: Bytes) -> Bytes {
        if self.tail.is_empty() {
            return piece;
        }
        self.tail.extend_from_slice(&piece);
        self.tail.split().freeze()
    }

    fn check(&self, more: usize) -> Result<(), FrameTooLarge> {
        let size = self.tail.len() + self.data.len() + more;
        if size > self.limit { Err(FrameTooLarge { limit: self.limit }) } else { Ok(()) }
    }

    fn line(&mut self, mut line: Bytes, frames: &mut VecDeque<Frame>) -> Result<(), FrameTooLarge> {
        if std::mem::replace(&mut self.first_line, false) && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        if line.is_empty() {
            self.dispatch(frames);
            return Ok(());
        }
        let (field, value) = split_field(&line);
        match field {
            b"data" => {
                self.check(value.len())?;
                self.data.push(value);
            }
            b"event" => self.event = value,
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, frames: &mut VecDeque<Frame>) {
        let event = std::mem::take(&mut self.event);
        let data = match std::mem::replace(&mut self.data, Data::None) {
            Data::None => return,
            Data::One(line) => line,
            Data::Joined(lines) => lines.freeze(),
        };
        frames.push_back(Frame { event, data });
    }
}

/// The name and the value of a line. A comment has the empty name.
fn split_field(line: &Bytes) -> (&[u8], Bytes) {
    let Some(colon) = memchr::memchr(b':', line) else {
        return (line, Bytes::new());
    };
    let after = colon + 1;
    let start = if line.get(after) == Some(&b' ') { after + 1 } else { after };
    (&line[..colon], line.slice(start..))
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;

//! Output of a tool, kept up to a limit.

use bytes::{Bytes, BytesMut};

/// The first bytes of a stream, and how many there were in all.
#[derive(Debug)]
pub(crate) struct Capture {
    kept: BytesMut,
    limit: usize,
    total: u64,
}

impl Capture {
    /// Keeps at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: BytesMut::new(), limit, total: 0 }
    }

    /// Adds what was written. Says whether any of it was kept.
    pub(crate) fn push(&mut self, data: &[u8]) -> bool {
        self.total += data.len() as u64;
        let room = self.limit - self.kept.len();
        let kept = &data[..data.len().min(room)];
        self.kept.extend_from_slice(kept);
        !kept.is_empty()
    }

    /// Bytes that were written, kept or not.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Whether more was written than is kept.
    pub(crate) fn truncated(&self) -> bool {
        self.total > self.kept.len() as u64
    }

    /// What is kept from `offset` on, at most `most` bytes.
    pub(crate) fn piece(&self, offset: usize, most: usize) -> Bytes {
        let end = self.kept.len().min(offset.saturating_add(most));
        Bytes::copy_from_slice(self.kept.get(offset..end).unwrap_or_default())
    }

    /// What is kept, as text of at most the limit: bytes that are no UTF-8 are replaced, and a
    /// character that the limit has cut is left out.
    pub(crate) fn text(&self) -> String {
        let bytes: &[u8] = match std::str::from_utf8(&self.kept) {
            // An error without a length is a character that goes on after the end.
            Err(error) if self.truncated() && error.error_len().is_none() => {
                &self.kept[..error.valid_up_to()]
            }
            _ => &self.kept,
        };
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if text.len() > self.limit {
            let cut = (0..=self.limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(cut);
        }
        text
    }

    /// The one JSON value that was written, without blanks around it. `None`: it is none, or more
    /// than is kept.
    pub(crate) fn json(&self) -> Option<String> {
        if self.truncated() {
            return None;
        }
        let text = std::str::from_utf8(&self.kept).ok()?.trim();
        serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(limit: usize, pieces: &[&[u8]]) -> Capture {
        let mut capture = Capture::new(limit);
        for piece in pieces {
            capture.push(piece);
        }
        capture
    }

    #[test]
    fn it_keeps_the_first_bytes_and_counts_all() {
        let capture = capture(5, &[b"abc", b"def", b"ghi"]);
        assert_eq!((&*capture.kept, capture.total()), (b"abcde".as_slice(), 9));
        assert!(capture.truncated());
        assert_eq!(capture.piece(3, 100), "de");
        assert_eq!(capture.piece(9, 1), "");
    }

    #[test]
    fn a_cut_character_is_left_out_and_a_wrong_one_is_replaced() {
        assert_eq!(capture(3, &["aöü".as_bytes()]).text(), "aö");
        assert_eq!(capture(2, &["aöü".as_bytes()]).text(), "a");
        assert_eq!(capture(9, &[b"a\xffb"]).text(), "a\u{fffd}b");
        assert_eq!(capture(4, &[b"\xff\xff\xff\xff"]).text().len(), 3, "never over the limit");
    }

    #[test]
    fn json_is_verbatim() {
        let json = |text: &str| capture(100, &[text.as_bytes()]).json();
        assert_eq!(json(" {\"b\": 6, \"a\": 6.0}\n").as_deref(), Some("{\"b\": 6, \"a\": 6.0}"));
        assert_eq!(json("9007199254740993").as_deref(), Some("9007199254740993"));
        assert_eq!(json("1e999").as_deref(), Some("1e999"));
        for text in ["", "hello", "{} {}", "{\"a\":1", "NaN"] {
            assert_eq!(json(text), None, "{text}");
        }
        assert_eq!(capture(2, &[b"100"]).json(), None, "cut is not whole");
    }
}

//! The text of an attempt of the model, and where the journal holds it.

/// Text that was streamed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamedText {
    text: String,
    /// Events that it came in.
    pieces: usize,
    /// The sequence of the first event; 0: it is not committed yet.
    first: i64,
    /// The sequence of the last event; 0: it is not committed yet.
    last: i64,
}

/// The sequences of the first and the last event of a text; 0 stands for those of the append itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextRange {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl StreamedText {
    /// Shorter texts take fewer bytes than a place in the journal saves.
    const LEAST_BYTES: usize = 256;
    /// Bytes of a piece, on average. A text in smaller ones is stored once more: its entries take many
    /// times what that takes, and it would be read from all of them.
    const LEAST_PIECE: usize = 32;

    /// Adds what the event with this sequence brings.
    pub(crate) fn push(&mut self, sequence: i64, text: &str) {
        if self.pieces == 0 {
            self.first = sequence;
        }
        self.pieces += 1;
        self.last = sequence;
        self.text.push_str(text);
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Where the journal holds the text, if its message should name that instead of repeating it.
    pub(crate) fn place(&self) -> Option<TextRange> {
        let worth = self.text.len() >= Self::LEAST_BYTES
            && self.text.len() / self.pieces.max(1) >= Self::LEAST_PIECE;
        worth.then_some(TextRange { first: self.first, last: self.last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_found_in_its_events() {
        let mut text = StreamedText::default();
        text.push(7, &"a".repeat(200));
        assert_eq!(text.place(), None, "short");
        text.push(9, &"b".repeat(200));
        assert_eq!(text.place(), Some(TextRange { first: 7, last: 9 }));
        text.push(0, "the end");
        assert_eq!(text.place(), Some(TextRange { first: 7, last: 0 }));
        assert_eq!(text.as_str().len(), 407);
    }

    #[test]
    fn a_text_in_crumbs_is_repeated() {
        let mut text = StreamedText::default();
        for sequence in 1..1000 {
            text.push(sequence, "word ");
        }
        assert_eq!(text.place(), None);
    }
}

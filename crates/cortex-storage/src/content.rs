//! Contents: what is large in stored values, kept once per tenant under its hash.
//!
//! The same text stands in several values: the result of a call in its event, in the history and in the
//! ledger. So it is not whole values that are kept once but the large pieces in them. A value is walked
//! as protobuf without its schema; each piece that is large enough is cut out, and what is left is stored
//! with where the pieces go. Putting them back is exact whatever the bytes meant, so nothing depends on
//! guessing right but how much is shared.

use std::{borrow::Cow, collections::HashMap, fmt, ops::Range};

use bytes::Bytes;

use crate::wire::Fields;

/// Messages inside messages that are looked into.
const DEPTH: usize = 16;

/// The BLAKE3 hash of a content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContentHash(pub(crate) [u8; 32]);

impl ContentHash {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Contents that were read, by their hashes.
pub(crate) type Contents = HashMap<ContentHash, Bytes>;

/// Which value of a row a piece was cut out of.
pub(crate) type Column = u16;

/// A piece that was cut out of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    column: Column,
    /// Where it goes, in what is left of the value.
    at: usize,
    length: usize,
    hash: ContentHash,
}

/// The pieces that were cut out of the values of a row, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pieces(Vec<Piece>);

impl Pieces {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that were cut out.
    pub(crate) fn length(&self) -> usize {
        self.0.iter().map(|piece| piece.length).sum()
    }

    /// The content of each piece; as often as it was cut out.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = ContentHash> {
        self.0.iter().map(|piece| piece.hash)
    }

    /// The pieces of one value.
    pub(crate) fn of(&self, column: Column) -> Self {
        Self(self.0.iter().filter(|piece| piece.column == column).copied().collect())
    }

    /// The pieces of every value but one, and behind them `new`.
    pub(crate) fn replaced(&self, column: Column, new: &Self) -> Self {
        let others = self.0.iter().filter(|piece| piece.column != column);
        Self(others.chain(&new.0).copied().collect())
    }

    /// Puts the pieces back into what is left of a value. Nothing if a content is missing, or if they do
    /// not fit.
    pub(crate) fn join(
        &self,
        column: Column,
        rest: Vec<u8>,
        contents: &Contents,
    ) -> Option<Vec<u8>> {
        let mut pieces = self.0.iter().filter(|piece| piece.column == column).peekable();
        if pieces.peek().is_none() {
            return Some(rest);
        }
        let mut value = Vec::with_capacity(rest.len() + self.length());
        let mut taken = 0;
        for piece in pieces {
            value.extend_from_slice(rest.get(taken..piece.at)?);
            taken = piece.at;
            let content = contents.get(&piece.hash)?;
            if content.len() != piece.length {
                return None;
            }
            value.extend_from_slice(content);
        }
        value.extend_from_slice(&rest[taken..]);
        Some(value)
    }

    /// As they are stored; nothing when there are none. Of each piece: column, place, length, hash.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        let mut encoded = Vec::with_capacity(self.0.len() * 40);
        for piece in &self.0 {
            prost::encoding::encode_varint(u64::from(piece.column), &mut encoded);
            prost::encoding::encode_varint(piece.at as u64, &mut encoded);
            prost::encoding::encode_varint(piece.length as u64, &mut encoded);
            encoded.extend_from_slice(&piece.hash.0);
        }
        Some(encoded)
    }

    /// The pieces stored as `encoded`; nothing when that is damaged.
    pub(crate) fn decode(mut encoded: &[u8]) -> Option<Self> {
        let mut pieces = Vec::new();
        while !encoded.is_empty() {
            let mut number = || {
                let number = prost::encoding::decode_varint(&mut encoded).ok()?;
                usize::try_from(number).ok()
            };
            let (column, at, length) = (number()?, number()?, number()?);
            let column = Column::try_from(column).ok()?;
            let (hash, rest) = encoded.split_first_chunk()?;
            encoded = rest;
            pieces.push(Piece { column, at, length, hash: ContentHash(*hash) });
        }
        Some(Self(pieces))
    }
}

/// Cuts large pieces out of the values of one row.
#[derive(Debug)]
pub(crate) struct Cutter {
    least: usize,
    pieces: Pieces,
    contents: Vec<(ContentHash, Bytes)>,
}

impl Cutter {
    /// Cuts pieces of `least` bytes and more.
    pub(crate) fn new(least: usize) -> Self {
        Self { least, pieces: Pieces::default(), contents: Vec::new() }
    }

    /// What is left of a value that may be a protobuf message.
    pub(crate) fn bytes<'v>(&mut self, column: Column, value: &'v Bytes) -> Cow<'v, [u8]> {
        if value.len() < self.least {
            return Cow::Borrowed(value);
        }
        let mut ranges = Vec::new();
        find_large(value, 0, self.least, DEPTH, &mut ranges);
        self.cut(column, ranges, value)
    }

    /// What is left of a text.
    pub(crate) fn text<'v>(&mut self, column: Column, text: &'v str) -> Cow<'v, str> {
        let range = trimmed(text.as_bytes(), 0);
        if range.len() < self.least {
            return Cow::Borrowed(text);
        }
        let content = Bytes::copy_from_slice(text[range.clone()].as_bytes());
        self.take(column, range.start, content);
        Cow::Owned([&text[..range.start], &text[range.end..]].concat())
    }

    /// The pieces, and the contents that they are.
    pub(crate) fn finish(self) -> (Pieces, Vec<(ContentHash, Bytes)>) {
        (self.pieces, self.contents)
    }

    fn cut<'v>(
        &mut self,
        column: Column,
        ranges: Vec<Range<usize>>,
        value: &'v Bytes,
    ) -> Cow<'v, [u8]> {
        if ranges.is_empty() {
            return Cow::Borrowed(value);
        }
        let (mut rest, mut taken) = (Vec::new(), 0);
        for range in ranges {
            rest.extend_from_slice(&value[taken..range.start]);
            taken = range.end;
            self.take(column, rest.len(), value.slice(range));
        }
        rest.extend_from_slice(&value[taken..]);
        Cow::Owned(rest)
    }

    fn take(&mut self, column: Column, at: usize, content: Bytes) {
        let (length, hash) = (content.len(), ContentHash::of(&content));
        self.pieces.0.push(Piece { column, at, length, hash });
        self.contents.push((hash, content));
    }
}

/// Finds the large pieces of a value that begins at `base`: those in it, if it is a message that has
/// some, else the value itself.
fn find_large(
    value: &[u8],
    base: usize,
    least: usize,
    depth: usize,
    found: &mut Vec<Range<usize>>,
) {
    let before = found.len();
    if depth == 0 || !find_in_message(value, base, least, depth, found) {
        found.truncate(before);
    }
    if found.len() > before {
        return;
    }
    let whole = trimmed(value, base);
    if whole.len() >= least {
        found.push(whole);
    }
}

/// Whether the value is a message; its large pieces are found then.
fn find_in_message(
    value: &[u8],
    base: usize,
    least: usize,
    depth: usize,
    found: &mut Vec<Range<usize>>,
) -> bool {
    for field in Fields::of(value) {
        let Ok(field) = field else { return false };
        if let Some(range) = field.value
            && range.len() >= least
        {
            let start = base + range.start;
            find_large(&value[range], start, least, depth - 1, found);
        }
    }
    true
}

/// The value without white space at its ends, so that what a program wrote and the JSON value that was
/// read from it are one content.
fn trimmed(value: &[u8], base: usize) -> Range<usize> {
    let start = value.len() - value.trim_ascii_start().len();
    base + start..base + start + value.trim_ascii().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Node {
        #[prost(int64, tag = "1")]
        number: i64,
        #[prost(string, tag = "2")]
        text: String,
        #[prost(bytes = "vec", tag = "3")]
        bytes: Vec<u8>,
        #[prost(message, repeated, tag = "18")]
        children: Vec<Node>,
        #[prost(double, tag = "5")]
        seconds: f64,
    }

    /// Cuts a value, stores what is cut, and puts it back.
    fn cut_and_join(value: &Bytes, least: usize) -> (Vec<u8>, Pieces, Vec<u8>) {
        let mut cutter = Cutter::new(least);
        let rest = cutter.bytes(0, value).into_owned();
        let (pieces, contents) = cutter.finish();
        let stored = pieces
            .encode()
            .map_or_else(|| Some(Pieces::default()), |stored| Pieces::decode(&stored));
        assert_eq!(stored.as_ref(), Some(&pieces));
        let contents = contents.into_iter().collect();
        let joined = pieces.join(0, rest.clone(), &contents).expect("every piece is there");
        (rest, pieces, joined)
    }

    #[test]
    fn one_text_in_different_messages_is_one_content() {
        let text = "x".repeat(100);
        let event = Node {
            number: 7,
            children: vec![Node { number: 1, text: text.clone(), seconds: 0.5, ..Node::default() }],
            ..Node::default()
        };
        let run = Node { text: format!("{text}\n"), bytes: b"abc".to_vec(), ..Node::default() };
        let mut hashes = Vec::new();
        for message in [event, run] {
            let value = Bytes::from(message.encode_to_vec());
            let (rest, pieces, joined) = cut_and_join(&value, 64);
            assert_eq!(joined, value);
            assert_eq!(rest.len() + 100, value.len());
            hashes.extend(pieces.hashes());
        }
        let mut cutter = Cutter::new(64);
        assert_eq!(cutter.text(3, &text), "");
        hashes.extend(cutter.finish().0.hashes());
        assert_eq!(hashes, [ContentHash::of(text.as_bytes()); 3]);
    }

    #[test]
    fn what_is_small_stays_where_it_is() {
        let value = Bytes::from(Node { text: "x".repeat(50), ..Node::default() }.encode_to_vec());
        let mut cutter = Cutter::new(64);
        assert!(matches!(cutter.bytes(0, &value), Cow::Borrowed(_)));
        assert!(matches!(cutter.text(1, "short"), Cow::Borrowed("short")));
        let (pieces, contents) = cutter.finish();
        assert!(contents.is_empty());
        assert_eq!(pieces.encode(), None);
    }

    #[test]
    fn bytes_that_are_no_message_are_one_piece() {
        let json = Bytes::from(format!("{{\"a\":\"{}\"}}", "y".repeat(200)));
        let (rest, pieces, joined) = cut_and_join(&json, 64);
        assert_eq!((rest.len(), pieces.0.len(), &joined[..]), (0, 1, &json[..]));
        let many: Vec<Node> = (0..50).map(|n| Node { number: n, ..Node::default() }).collect();
        let value = Bytes::from(Node { children: many, ..Node::default() }.encode_to_vec());
        let (rest, pieces, joined) = cut_and_join(&value, 64);
        assert_eq!((rest.len(), pieces.0.len(), &joined[..]), (0, 1, &value[..]));
    }

    #[test]
    fn values_of_one_row_keep_their_pieces_apart() {
        let (long, longer) = ("a".repeat(80), "b".repeat(90));
        let mut cutter = Cutter::new(64);
        let first = cutter.text(0, &long).into_owned();
        let value = Bytes::from(Node { text: longer.clone(), ..Node::default() }.encode_to_vec());
        let second = cutter.bytes(1, &value).into_owned();
        let (pieces, contents) = cutter.finish();
        let contents: Contents = contents.into_iter().collect();
        assert_eq!(pieces.length(), 170);
        assert_eq!(pieces.join(0, first.into(), &contents), Some(long.into_bytes()));
        assert_eq!(pieces.join(1, second.clone(), &contents).as_deref(), Some(&value[..]));
        let mut cutter = Cutter::new(64);
        cutter.text(0, &"c".repeat(70));
        let (new, _) = cutter.finish();
        let replaced = pieces.replaced(0, &new);
        assert_eq!(replaced.length(), 160);
        assert_eq!(replaced.join(1, second, &contents).as_deref(), Some(&value[..]));
        assert_eq!(replaced.join(0, Vec::new(), &contents), None, "a content that is missing");
    }

    #[test]
    fn damaged_pieces_are_told() {
        for damaged in [&[0][..], &[0, 1], &[0, 1, 5], &[0; 34], &[0xff; 40]] {
            assert_eq!(Pieces::decode(damaged), None, "{damaged:?}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ -~]{0,40}", "[\\n {}a-z\"]{0,300}", "\\PC{0,60}"]
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf =
            (any::<i64>(), text(), proptest::collection::vec(any::<u8>(), 0..200), any::<f64>());
        let leaf = leaf.prop_map(|(number, text, bytes, seconds)| Node {
            number,
            text,
            bytes,
            seconds: if seconds.is_nan() { 0.0 } else { seconds },
            children: Vec::new(),
        });
        leaf.prop_recursive(5, 40, 4, |inner| {
            (proptest::collection::vec(inner, 0..4), any::<i64>(), text()).prop_map(
                |(children, number, text)| Node { number, text, children, ..Node::default() },
            )
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_put_back_exactly(
            value in proptest::collection::vec(any::<u8>(), 0..600),
            least in 1_usize..64,
        ) {
            let value = Bytes::from(value);
            let (rest, pieces, joined) = cut_and_join(&value, least);
            prop_assert_eq!(&joined[..], &value[..]);
            prop_assert_eq!(rest.len() + pieces.length(), value.len());
        }

        #[test]
        fn any_message_is_put_back_exactly(node in node(), least in 1_usize..200) {
            let value = Bytes::from(node.encode_to_vec());
            let (rest, pieces, joined) = cut_and_join(&value, least);
            prop_assert_eq!(&joined[..], &value[..]);
            prop_assert_eq!(rest.len() + pieces.length(), value.len());
            prop_assert!(pieces.0.iter().all(|piece| piece.length >= least));
        }

        #[test]
        fn any_text_is_put_back_exactly(text in text(), least in 1_usize..100) {
            let mut cutter = Cutter::new(least);
            let rest = cutter.text(2, &text).into_owned();
            let (pieces, contents) = cutter.finish();
            let joined = pieces.join(2, rest.into_bytes(), &contents.into_iter().collect());
            prop_assert_eq!(joined.as_deref(), Some(text.as_bytes()));
        }

        #[test]
        fn a_large_text_is_found_wherever_it_stands(
            text in "\\{[a-z]{80}\\}",
            depth in 0_usize..8,
            beside in "[a-z]{0,30}",
        ) {
            let mut message = Node { text: text.clone(), ..Node::default() };
            for _ in 0..depth {
                message = Node { text: beside.clone(), children: vec![message], ..Node::default() };
            }
            let (_, pieces, _) = cut_and_join(&message.encode_to_vec().into(), 64);
            prop_assert_eq!(pieces.hashes().collect::<Vec<_>>(), [ContentHash::of(text.as_bytes())]);
        }
    }
}

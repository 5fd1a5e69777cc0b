//! The wire format of protobuf, as far as fields are found in it without their schema
//! (<https://protobuf.dev/programming-guides/encoding/>).

use std::ops::Range;

/// The highest number that a field can have.
pub(crate) const LAST_FIELD: u32 = (1 << 29) - 1;
/// Bytes of a number of 64 bits at most.
const VARINT_BYTES: usize = 10;

/// These bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its number.
    pub(crate) number: u32,
    /// Where its value stands, if that has a length of its own: a string, bytes, a message.
    pub(crate) value: Option<Range<usize>>,
}

/// The fields of a message, in order. Ends with the first that is malformed.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn read(&mut self) -> Result<Field, Malformed> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        if number == 0 || number > LAST_FIELD {
            return Err(Malformed);
        }
        let value = match key & 7 {
            0 => self.varint().map(|_| None)?,
            1 => self.skip(8).map(|_| None)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Some(self.skip(length)?)
            }
            5 => self.skip(4).map(|_| None)?,
            // Groups went with proto2.
            _ => return Err(Malformed),
        };
        Ok(Field { number, value })
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (place, byte) in self.bytes[self.at..].iter().take(VARINT_BYTES).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.at += place + 1;
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn skip(&mut self, length: usize) -> Result<Range<usize>, Malformed> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let range = self.at..end.ok_or(Malformed)?;
        self.at = range.end;
        Ok(range)
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Field, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.at = self.bytes.len();
        }
        Some(field)
    }
}

/// The whole first field of a message, if its value has a length of its own.
pub(crate) fn first_field(message: &[u8]) -> Option<&[u8]> {
    let field = Fields::of(message).next()?.ok()?;
    Some(&message[..field.value?.end])
}

/// The value at a path of field numbers, from the outside in. As in every decoder the last one counts.
/// Nothing where it is absent, or where the bytes are no message.
pub(crate) fn find<'a>(message: &'a [u8], path: &[u32]) -> Option<&'a [u8]> {
    let Some((number, inner)) = path.split_first() else { return Some(message) };
    let mut found = None;
    for field in Fields::of(message) {
        let field = field.ok()?;
        if field.number == *number
            && let Some(value) = field.value
        {
            found = Some(value);
        }
    }
    find(&message[found?], inner)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Inner {
        #[prost(string, tag = "1")]
        text: String,
        #[prost(double, tag = "2")]
        number: f64,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Outer {
        #[prost(int64, tag = "1")]
        sequence: i64,
        #[prost(fixed32, tag = "2")]
        fixed: u32,
        #[prost(message, optional, tag = "1000")]
        inner: Option<Inner>,
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let inner = Inner { text: "found".into(), number: 0.5 };
        let bytes = Outer { sequence: -1, fixed: 7, inner: Some(inner) }.encode_to_vec();
        assert_eq!(find(&bytes, &[1000, 1]), Some(&b"found"[..]));
        assert_eq!(find(&bytes, &[]), Some(&bytes[..]));
        for absent in [&[1][..], &[1000, 2], &[1000, 3], &[7]] {
            assert_eq!(find(&bytes, absent), None, "{absent:?}");
        }
        let last =
            Outer { inner: Some(Inner { text: "last".into(), number: 0.0 }), ..Outer::default() };
        let twice = [bytes, last.encode_to_vec()].concat();
        assert_eq!(find(&twice, &[1000, 1]), Some(&b"last"[..]));
    }

    #[test]
    fn what_is_no_message_is_told() {
        for bytes in [
            &b"{\"a\":1}"[..],
            &[0x0a, 0x05, b'x'],
            &[0x00],
            &[0xff; 12],
            &[0x09, 1, 2],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert!(Fields::of(bytes).any(|field| field.is_err()), "{bytes:?}");
            assert_eq!(find(bytes, &[1]), None);
        }
    }
}

//! Frames and rows as bytes.

use bytes::Buf;
use prost::encoding::{decode_varint, encode_varint};

use crate::admin::table::{Cell, Column, Row};

pub(super) const HEADER: u8 = 1;
pub(super) const ROWS: u8 = 2;
pub(super) const TABLE_END: u8 = 3;
pub(super) const BLOB: u8 = 4;
pub(super) const BLOB_BYTES: u8 = 5;
pub(super) const TRAILER: u8 = 6;

/// Kind and length.
pub(super) const HEAD_BYTES: usize = 5;
/// The check.
pub(super) const CHECK_BYTES: usize = 8;

/// The check of a frame, over its head and payload.
pub(super) fn check(head_and_payload: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(head_and_payload).as_bytes()[..CHECK_BYTES]);
    check
}

const NULL: u8 = 0;
const INT: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BYTES: u8 = 4;

/// Adds the encoding of a row.
pub(in crate::admin) fn put_row(out: &mut Vec<u8>, row: &[Cell]) {
    for cell in row {
        match cell {
            Cell::Null => out.push(NULL),
            Cell::Int(number) => {
                out.push(INT);
                encode_varint(zigzag(*number), out);
            }
            Cell::Real(number) => {
                out.push(REAL);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            Cell::Text(text) => put_bytes(out, TEXT, text.as_bytes()),
            Cell::Bytes(bytes) => put_bytes(out, BYTES, bytes),
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    out.push(kind);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Takes a row of `columns` off the front of `bytes`.
pub(super) fn take_row(bytes: &mut &[u8], columns: &[Column]) -> Result<Row, String> {
    let mut row = Vec::with_capacity(columns.len());
    for column in columns {
        let cell = take_cell(bytes)?;
        if !cell.fits(column.kind) {
            return Err(format!("the column {} holds something else", column.name));
        }
        row.push(cell);
    }
    Ok(row)
}

fn take_cell(bytes: &mut &[u8]) -> Result<Cell, String> {
    let short = || "a row ends too early".to_owned();
    match bytes.try_get_u8().map_err(|_| short())? {
        NULL => Ok(Cell::Null),
        INT => Ok(Cell::Int(unzigzag(decode_varint(bytes).map_err(|_| short())?))),
        REAL => Ok(Cell::Real(f64::from_bits(bytes.try_get_u64_le().map_err(|_| short())?))),
        TEXT => {
            let text = String::from_utf8(take_bytes(bytes)?);
            text.map(Cell::Text).map_err(|_| "a text is not UTF-8".to_owned())
        }
        BYTES => take_bytes(bytes).map(Cell::Bytes),
        other => Err(format!("there is no kind {other} of value")),
    }
}

fn take_bytes(bytes: &mut &[u8]) -> Result<Vec<u8>, String> {
    let short = || "a value ends too early".to_owned();
    let length = decode_varint(bytes).map_err(|_| short())?;
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len());
    let (value, rest) = bytes.split_at(length.ok_or_else(short)?);
    *bytes = rest;
    Ok(value.to_vec())
}

/// Where the frames of a whole archive begin, and its end.
#[cfg(test)]
pub(super) fn boundaries(archive: &[u8]) -> Vec<usize> {
    let mut at = super::MAGIC.len() + 2;
    let mut found = vec![at];
    while at < archive.len() {
        let length = u32::from_le_bytes(archive[at + 1..at + 5].try_into().expect("4 bytes"));
        at += HEAD_BYTES + length as usize + CHECK_BYTES;
        found.push(at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_zigzag() {
        for number in [0, 1, -1, i64::MAX, i64::MIN, 1 << 40, -(1 << 40)] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}

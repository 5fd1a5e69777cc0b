//! Rows of any table, apart from the database that they stand in.

use serde::{Deserialize, Serialize};

/// What a column holds, beside nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Whole numbers.
    Int,
    /// Numbers with a fraction.
    Real,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// The value of one column of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Cell {
    /// Whether a column of `kind` can hold it.
    pub fn fits(&self, kind: Kind) -> bool {
        match self {
            Self::Null => true,
            Self::Int(_) => kind == Kind::Int,
            Self::Real(_) => kind == Kind::Real,
            Self::Text(_) => kind == Kind::Text,
            Self::Bytes(_) => kind == Kind::Bytes,
        }
    }

    /// What it takes in memory, nearly.
    pub fn size(&self) -> usize {
        match self {
            Self::Null => 1,
            Self::Int(_) | Self::Real(_) => 9,
            Self::Text(text) => text.len() + 5,
            Self::Bytes(bytes) => bytes.len() + 5,
        }
    }
}

/// The values of one row, in the order of its table's columns.
pub type Row = Vec<Cell>;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A table: its columns, and how many rows a snapshot of it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    /// Its name.
    pub name: String,
    /// The collection that its rows count for; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Rows of the snapshot.
    pub rows: i64,
}

/// What the rows of a table amount to, in the order of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableDigest {
    /// How many they are.
    pub rows: i64,
    /// BLAKE3 of their encoding.
    pub hash: [u8; 32],
}

/// Computes a [`TableDigest`] row by row.
#[derive(Debug, Clone, Default)]
pub struct TableHasher {
    rows: i64,
    hasher: blake3::Hasher,
    scratch: Vec<u8>,
}

impl TableHasher {
    /// Takes in the next row.
    pub fn add(&mut self, row: &[Cell]) {
        self.scratch.clear();
        super::archive::put_row(&mut self.scratch, row);
        self.hasher.update(&self.scratch);
        self.rows += 1;
    }

    /// Takes in `rows` encoded rows.
    pub(super) fn add_encoded(&mut self, rows: i64, encoded: &[u8]) {
        self.hasher.update(encoded);
        self.rows += rows;
    }

    /// What the rows amount to.
    pub fn finish(&self) -> TableDigest {
        TableDigest { rows: self.rows, hash: *self.hasher.finalize().as_bytes() }
    }
}

//! JSON of messages, by the rules of this API rather than canonical ProtoJSON.
//!
//! Written: field names as in the contract, 64-bit integers as numbers, enum values in short lower
//! case, JSON fields verbatim; every field but unset messages, unset optional fields, unset arms of
//! a oneof and empty JSON fields. Read: the same, and canonical ProtoJSON.

mod path;
mod read;
mod read_known;
mod scalar;
mod syntax;
mod text;
mod time;
mod write;
mod write_known;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    path::Path,
    read::Reader,
    syntax::{Malformed, check, check_body},
    text::{TextSource, parse_text},
    write::{WriteError, Writer},
};

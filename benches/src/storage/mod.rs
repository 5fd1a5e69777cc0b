//! What storage costs: bytes of a long session, and the time to open and read sessions of any length.

mod bytes;
mod conversation;
mod read;
mod session;

pub(crate) use bytes::measure as bytes;
pub(crate) use read::measure as read;

//! SQLite behind the ports: one task that writes and group-commits, a pool of readers.
//!
//! The file is in WAL mode with full synchronisation: what was answered survives a loss of power. The
//! single writer remembers the heads of the sessions it works on, so that a hot append reads nothing
//! but whether its request was made before; see [`writer`](self) for what happens when a commit fails.

mod cache;
mod connect;
mod error;
mod flush;
mod housekeeping;
mod load;
mod migrate;
mod needs;
mod ops;
mod read;
mod rows;
mod script;
mod store;
mod work;
mod writer;

#[cfg(test)]
mod tests;

pub use store::SqliteStore;

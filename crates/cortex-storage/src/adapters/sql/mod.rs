//! The ports on SQL: tasks that write and group-commit, and a pool of readers.
//!
//! SQL here is the part that SQLite and PostgreSQL have in common, with these conventions: values stand
//! as `?` in their order; every whole number is an `i64`, and a truth value is 0 or 1; `CROSS JOIN … ON`
//! is a join in the order in which it is written (PostgreSQL is free to choose). A list of values is
//! `(VALUES …) v` with the columns `column1`, `column2` and so on.

mod admin;
mod artifacts;
mod cache;
mod caching;
mod contents;
mod database;
mod encoded;
mod error;
mod flush;
mod follow;
mod housekeeping;
mod lately;
mod load;
mod lock;
mod maps;
mod migrate;
mod needs;
mod ops;
mod query;
mod read;
mod recall;
mod row;
mod rows;
mod script;
mod starts;
mod store;
mod stored;
mod time;
mod transfer;
mod value;
mod work;
mod writer;

#[cfg(test)]
mod tests;

pub use admin::SqlAdmin;
pub(in crate::adapters) use admin::TargetDatabase;
pub(in crate::adapters) use database::{Connection, Location, Pool};
pub(in crate::adapters) use follow::Followers;
pub(in crate::adapters) use migrate::{has_moved, migrate};
pub(in crate::adapters) use store::Opened;
pub use store::SqlStore;
pub(in crate::adapters) use time::Timekeeper;
pub(in crate::adapters) use value::Value;
pub(in crate::adapters) use writer::forget_writers;

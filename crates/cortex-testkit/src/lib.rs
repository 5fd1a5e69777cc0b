//! Real parts for tests. A dev-dependency alone.
//!
//! Nothing is faked: a part that is missing fails the test with the way to get it.

mod postgres;

pub use postgres::{Postgres, PostgresDatabase};

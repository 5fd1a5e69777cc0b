//! Databases behind the ports.
//!
//! [`sql`] is what they share: one batch machinery and one set of statements. The modules of the
//! databases hold what differs: how to connect, what errors mean, how values travel.

pub mod postgres;
pub mod sql;
pub mod sqlite;

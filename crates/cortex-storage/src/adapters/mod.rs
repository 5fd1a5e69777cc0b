//! Databases, and places for bytes, behind the ports.
//!
//! [`sql`] is what databases share: one batch machinery and one set of statements. Their modules hold
//! what differs: how to connect, what errors mean, how values travel.

pub mod blobs;
mod target;

pub mod postgres;
pub mod sql;
pub mod sqlite;

use target::open_target;

//! Databases behind the ports.

pub mod sqlite;

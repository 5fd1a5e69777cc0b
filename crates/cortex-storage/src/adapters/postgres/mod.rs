//! PostgreSQL: one database for any number of replicas.

mod statement;
mod value;

pub(super) use statement::statements;
pub(super) use value::{arguments, unescaped};

//! Values on their way to SQLite.

use sqlx::{Arguments, sqlite::SqliteArguments};

use crate::adapters::sql::Value;

/// The values as SQLite's driver takes them.
pub(in crate::adapters) fn arguments(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut args = SqliteArguments::default();
    args.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Int(value) => args.add(value),
            Value::Real(value) => args.add(value),
            Value::Text(value) => args.add(value),
            Value::Blob(value) => args.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(args)
}

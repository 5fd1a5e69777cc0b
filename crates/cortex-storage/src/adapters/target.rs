//! Databases by their URL, where an installation is copied to.

use std::path::PathBuf;

use super::{
    postgres::PostgresLocation,
    sql::{Location, TargetDatabase},
    sqlite::SqliteLocation,
};
use crate::{
    config::StorageConfig,
    error::{Result, StorageError},
};

/// The database at `url`; none when it is not there and should not be made.
///
/// # Errors
/// `Invalid` when the URL names no database, `TargetUnreachable` when it cannot be used.
pub(super) async fn open_target(
    url: &str,
    config: &StorageConfig,
    create: bool,
) -> Result<Option<TargetDatabase>> {
    if url.starts_with("postgres") {
        let location = PostgresLocation::parse(url, config).map_err(|error| match error {
            StorageError::Invalid { problem, .. } => StorageError::invalid("target_url", problem),
            other => other,
        })?;
        return Ok(Some(TargetDatabase { location: Location::Postgres(location), lock: None }));
    }
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Err(StorageError::invalid(
            "target_url",
            "must be sqlite:PATH or postgres://HOST/DATABASE",
        ));
    };
    let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
    if path.file_name().is_none() {
        return Err(StorageError::invalid("target_url", "names no file; it must be sqlite:PATH"));
    }
    let unreachable = |detail: String| StorageError::TargetUnreachable { detail };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Err(unreachable(format!("{} is no directory", directory.display())));
    }
    if !create && !path.exists() {
        return Ok(None);
    }
    let location = SqliteLocation::new(path, config.busy_timeout.get());
    let lock = location.lock().map_err(|error| unreachable(error.to_string()))?;
    Ok(Some(TargetDatabase { location: Location::Sqlite(location), lock: Some(lock) }))
}

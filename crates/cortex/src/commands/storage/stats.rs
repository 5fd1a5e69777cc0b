//! `cortex storage stats`.

use cortex_proto::cortex::storage::v1::{GetStorageStatsRequest, StorageStats};

use super::{Session, bytes, grouped, print_rows};
use crate::{connect::short, exit::Failure};

/// Prints what the installation holds.
pub async fn run(session: &Session) -> Result<(), Failure> {
    let answer = session.client().get_storage_stats(short(GetStorageStatsRequest {})).await;
    let stats = answer.map_err(|s| session.mesh.failure(&s))?.into_inner().stats;
    let stats = stats.unwrap_or_default();
    if session.is_json() {
        return session.output.json("cortex.storage.v1.StorageStats", &stats);
    }
    let facts: Vec<Vec<String>> =
        facts(&stats).into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    session.output.table(&["INSTALLATION", ""], &facts)?;
    session.output.line("")?;
    print_rows(&session.output, "ROWS", stats.rows)
}

fn facts(stats: &StorageStats) -> Vec<(&'static str, String)> {
    let version = format!("{}, usable from {}", stats.schema_version, stats.min_compatible_version);
    let mut statuses: Vec<_> = stats.sessions_by_status.iter().collect();
    statuses.sort();
    let statuses: Vec<_> =
        statuses.iter().map(|(status, count)| format!("{} {status}", grouped(**count))).collect();
    let mut facts = vec![
        ("database", format!("{} at {}", stats.backend, stats.location)),
        ("schema", version),
        ("size", format!("{}, {} unused", bytes(stats.database_bytes), bytes(stats.free_bytes))),
    ];
    if !stats.artifact_location.is_empty() {
        facts.push(("artifacts", stats.artifact_location.clone()));
    }
    facts.push(("contents", bytes(stats.content_bytes)));
    facts.push(("tenants", grouped(stats.tenants)));
    facts.push(("sessions", statuses.join(", ")));
    if let Some(oldest) = &stats.oldest_session_at {
        facts.push(("oldest session", oldest.to_string()));
    }
    facts
}

//! AdminService.

use std::time::Duration;

use cortex_proto::google::api::HttpBody;

use super::proto;
use crate::{
    admin::{
        BackupPiece, CheckEvent, Checked, Finding, MigrateEvent, Migrated, Progress, PruneEvent,
        PrunePlan, Pruned, RestoreOptions, Restored, StorageStats, archive,
    },
    error::{Result, StorageError},
};

/// Characters of a URL.
const MAX_URL: usize = 4096;

pub(crate) fn stats_to_proto(stats: StorageStats, artifacts: &str) -> proto::StorageStats {
    proto::StorageStats {
        backend: stats.backend.to_owned(),
        location: stats.location,
        schema_version: small(stats.schema_version),
        min_compatible_version: small(stats.min_compatible_version),
        database_bytes: stats.database_bytes,
        free_bytes: stats.free_bytes,
        artifact_location: artifacts.to_owned(),
        content_bytes: stats.content_bytes,
        rows: stats.rows.into_iter().collect(),
        tenants: stats.tenants,
        sessions_by_status: stats.sessions_by_status.into_iter().collect(),
        oldest_session_at: stats.oldest_session_at.map(Into::into),
    }
}

fn small(version: i64) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

fn progress_to_proto(progress: Progress) -> proto::StorageProgress {
    proto::StorageProgress {
        phase: progress.phase.name,
        done: progress.done,
        total: progress.phase.total,
        unit: progress.phase.unit.name().to_owned(),
    }
}

pub(crate) fn piece_to_proto(piece: BackupPiece) -> proto::BackupStorageResponse {
    // The media type stands in the first one, which is the one with a name.
    let content_type = match &piece.file_name {
        Some(_) => archive::MEDIA_TYPE.to_owned(),
        None => String::new(),
    };
    proto::BackupStorageResponse {
        content: Some(HttpBody { content_type, data: piece.bytes, ..HttpBody::default() }),
        progress: piece.progress.map(progress_to_proto),
        file_name: piece.file_name.unwrap_or_default(),
        digest: piece.digest.unwrap_or_default(),
    }
}

pub(crate) fn restore_options(request: &proto::RestoreStorageRequest) -> Result<RestoreOptions> {
    let digest = &request.expected_digest;
    let hex = digest.strip_prefix("b3_").unwrap_or_default();
    let is_digest =
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !digest.is_empty() && !is_digest {
        let problem = "must be b3_ and 64 hex digits in lower case";
        return Err(StorageError::invalid("expected_digest", problem));
    }
    let expected_digest = is_digest.then(|| digest.clone());
    Ok(RestoreOptions { expected_digest, validate_only: request.validate_only })
}

pub(crate) fn restored_to_proto(restored: Restored, valid: bool) -> proto::RestoreStorageResponse {
    proto::RestoreStorageResponse {
        status: if valid { "valid" } else { "restored" }.to_owned(),
        snapshot_at: Some(restored.snapshot_at.into()),
        rows: restored.rows.into_iter().collect(),
        content_bytes: restored.content_bytes,
    }
}

pub(crate) fn check_to_proto(event: CheckEvent) -> proto::CheckStorageResponse {
    use proto::check_storage_response::Event;

    let event = match event {
        CheckEvent::Progress(progress) => Event::Progress(progress_to_proto(progress)),
        CheckEvent::Finding(finding) => Event::Finding(finding_to_proto(finding)),
        CheckEvent::Completed(checked) => Event::Completed(checked_to_proto(checked)),
    };
    proto::CheckStorageResponse { event: Some(event) }
}

fn finding_to_proto(finding: Finding) -> proto::StorageFinding {
    proto::StorageFinding {
        code: finding.code.to_owned(),
        message: finding.message,
        collection: finding.collection.to_owned(),
        session_id: finding.session_id,
        subject: finding.subject,
    }
}

fn checked_to_proto(checked: Checked) -> proto::CheckCompleted {
    proto::CheckCompleted {
        status: if checked.findings == 0 { "ok" } else { "damaged" }.to_owned(),
        findings: checked.findings,
        checked: checked.rows.into_iter().collect(),
    }
}

pub(crate) fn target_url(url: &str) -> Result<&str> {
    if url.is_empty() {
        return Err(StorageError::invalid("target_url", "is missing"));
    }
    if url.len() > MAX_URL {
        let problem = format!("must have at most {MAX_URL} characters");
        return Err(StorageError::invalid("target_url", problem));
    }
    Ok(url)
}

pub(crate) fn migrate_to_proto(event: MigrateEvent) -> proto::MigrateStorageResponse {
    use proto::migrate_storage_response::Event;

    let event = match event {
        MigrateEvent::Progress(progress) => Event::Progress(progress_to_proto(progress)),
        MigrateEvent::Completed(migrated) => Event::Completed(migrated_to_proto(migrated)),
    };
    proto::MigrateStorageResponse { event: Some(event) }
}

fn migrated_to_proto(migrated: Migrated) -> proto::MigrationCompleted {
    proto::MigrationCompleted {
        rows: migrated.rows.into_iter().collect(),
        status: if migrated.valid_only { "valid" } else { "copied" }.to_owned(),
    }
}

pub(crate) fn prune_plan(request: &proto::PruneStorageRequest) -> Result<PrunePlan> {
    Ok(PrunePlan {
        ended_session_age: age("ended_session_age", request.ended_session_age.as_ref())?,
        session_age: age("session_age", request.session_age.as_ref())?,
        keep_ended_sessions: kept("keep_ended_sessions", request.keep_ended_sessions)?,
        metric_age: age("metric_age", request.metric_age.as_ref())?,
        keep_metrics: kept("keep_metrics", request.keep_metrics)?,
        artifact_age: age("artifact_age", request.artifact_age.as_ref())?,
        compact: request.compact,
        validate_only: request.validate_only,
    })
}

fn age(field: &'static str, age: Option<&prost_types::Duration>) -> Result<Option<Duration>> {
    let negative = |_| StorageError::invalid(field, "must not be negative");
    age.map(|age| Duration::try_from(*age).map_err(negative)).transpose()
}

fn kept(field: &'static str, kept: Option<i64>) -> Result<Option<u32>> {
    let problem = |_| StorageError::invalid(field, format!("must be 0 to {}", u32::MAX));
    kept.map(|kept| u32::try_from(kept).map_err(problem)).transpose()
}

pub(crate) fn prune_to_proto(event: PruneEvent) -> proto::PruneStorageResponse {
    use proto::prune_storage_response::Event;

    let event = match event {
        PruneEvent::Progress(progress) => Event::Progress(progress_to_proto(progress)),
        PruneEvent::Completed(pruned) => Event::Completed(pruned_to_proto(pruned)),
    };
    proto::PruneStorageResponse { event: Some(event) }
}

fn pruned_to_proto(pruned: Pruned) -> proto::PruneCompleted {
    proto::PruneCompleted {
        deleted: pruned.deleted.into_iter().collect(),
        freed_content_bytes: pruned.freed_content_bytes,
        freed_database_bytes: pruned.freed_database_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_counts_are_not_negative() {
        let request = proto::PruneStorageRequest {
            ended_session_age: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            ..Default::default()
        };
        let refused = prune_plan(&request).expect_err("an age is negative");
        assert_eq!(refused, StorageError::invalid("ended_session_age", "must not be negative"));
        let request = proto::PruneStorageRequest { keep_metrics: Some(-1), ..Default::default() };
        assert!(prune_plan(&request).is_err());
        assert_eq!(prune_plan(&Default::default()), Ok(PrunePlan::default()));
    }

    #[test]
    fn a_digest_is_written_in_full() {
        let request = |digest: &str| proto::RestoreStorageRequest {
            expected_digest: digest.to_owned(),
            ..Default::default()
        };
        let digest = format!("b3_{}", "0a".repeat(32));
        assert_eq!(
            restore_options(&request(&digest)).map(|options| options.expected_digest),
            Ok(Some(digest))
        );
        assert!(restore_options(&request("")).is_ok_and(|o| o.expected_digest.is_none()));
        for wrong in ["b3_", "0a", &format!("b3_{}", "0A".repeat(32))] {
            assert!(restore_options(&request(wrong)).is_err(), "{wrong}");
        }
    }
}

//! Records.

use std::time::Duration;

use super::proto;
use crate::{
    config::Limits,
    error::{Result, StorageError},
    record::{DeleteRecord, PutRecord, Record, RecordKey},
    watch::RecordEvent,
};

/// A record to write.
pub(crate) fn put_record(request: proto::PutRecordRequest, limits: &Limits) -> Result<PutRecord> {
    super::field::fits("value", request.value.len(), limits.record.get())?;
    Ok(PutRecord {
        key: RecordKey::parse(&request.key)?,
        value: request.value,
        expected: expected(request.expected_revision)?,
        ttl: request.ttl.map(|ttl| positive("ttl", &ttl)).transpose()?,
    })
}

/// A record to delete.
pub(crate) fn delete_record(request: &proto::DeleteRecordRequest) -> Result<DeleteRecord> {
    let key = RecordKey::parse(&request.key)?;
    Ok(DeleteRecord { key, expected: expected(request.expected_revision)? })
}

fn expected(revision: Option<i64>) -> Result<Option<i64>> {
    revision.map(|number| super::field::not_negative("expected_revision", number)).transpose()
}

/// A duration above zero in `field`.
pub(super) fn positive(field: &str, duration: &prost_types::Duration) -> Result<Duration> {
    let bad = || StorageError::invalid(field, "must be a duration above zero");
    let duration = Duration::try_from(*duration).map_err(|_| bad())?;
    if duration.is_zero() { Err(bad()) } else { Ok(duration) }
}

/// A record as the contract has it.
pub(crate) fn record_to_proto(record: Record) -> proto::Record {
    proto::Record {
        key: record.key.to_string(),
        value: record.value,
        revision: record.revision,
        created_at: Some(record.created_at.into()),
        updated_at: Some(record.updated_at.into()),
        expires_at: record.expires_at.map(Into::into),
    }
}

/// What a watcher of records is told, as the contract has it.
pub(crate) fn change_to_proto(event: RecordEvent) -> proto::WatchRecordsResponse {
    use proto::watch_records_response::Change;

    let (revision, change) = match event {
        RecordEvent::Bookmark(revision) => (revision, Change::Bookmark(proto::RecordBookmark {})),
        RecordEvent::Change(change) => match change.record {
            Some(record) => (change.revision, Change::Put(record_to_proto(record))),
            None => {
                let key = change.key.to_string();
                (change.revision, Change::Deleted(proto::DeletedRecord { key }))
            }
        },
    };
    proto::WatchRecordsResponse { revision, change: Some(change) }
}

//! The one mapping of what goes wrong in storage to what callers see.

use cortex_core::{Fault, Kind, PageError};

use super::StorageError;

impl StorageError {
    /// The class and the stable reason.
    fn class(&self) -> (Kind, &'static str) {
        match self {
            Self::Invalid { .. } | Self::Page(_) => (Kind::InvalidArgument, "INVALID_FIELD"),
            Self::TooLarge { .. } => (Kind::InvalidArgument, "TOO_LARGE"),
            Self::SessionNotFound { .. } => (Kind::NotFound, "SESSION_NOT_FOUND"),
            Self::SessionEnded { .. } => (Kind::FailedPrecondition, "SESSION_ENDED"),
            Self::SessionPaused { .. } => (Kind::FailedPrecondition, "SESSION_PAUSED"),
            Self::StaleEpoch { .. } => (Kind::Aborted, "STALE_EPOCH"),
            Self::LeaseVoid { .. } => (Kind::FailedPrecondition, "LEASE_VOID"),
            Self::AcquirerVoid { .. } => (Kind::Aborted, "LEASE_VOID"),
            Self::EpochMismatch { .. } => (Kind::Aborted, "EPOCH_MISMATCH"),
            Self::SessionHeld { .. } => (Kind::Aborted, "SESSION_HELD"),
            Self::TurnOpen { .. } => (Kind::FailedPrecondition, "TURN_OPEN"),
            Self::TurnNotOpen { .. } => (Kind::FailedPrecondition, "TURN_NOT_OPEN"),
            Self::QueueFull { .. } => (Kind::ResourceExhausted, "QUEUE_FULL"),
            Self::CursorBackwards { .. } => (Kind::FailedPrecondition, "CURSOR_BACKWARDS"),
            Self::NotPending { .. } => (Kind::FailedPrecondition, "NOT_PENDING"),
            Self::LedgerPrecondition { .. } => (Kind::FailedPrecondition, "LEDGER_PRECONDITION"),
            Self::CallsOpen { .. } => (Kind::FailedPrecondition, "CALLS_OPEN"),
            Self::RequestIdReused { .. } => (Kind::AlreadyExists, "REQUEST_ID_REUSED"),
            Self::AppendOutOfOrder { .. } => (Kind::FailedPrecondition, "APPEND_OUT_OF_ORDER"),
            Self::BeyondHead { .. } => (Kind::OutOfRange, "BEYOND_HEAD"),
            Self::ExecutionNotFound { .. } => (Kind::NotFound, "EXECUTION_NOT_FOUND"),
            Self::ExecutionNotIntended { .. } => {
                (Kind::FailedPrecondition, "EXECUTION_NOT_INTENDED")
            }
            Self::CommandsPending { .. } => (Kind::FailedPrecondition, "COMMANDS_PENDING"),
            Self::NotQuiescent { .. } => (Kind::FailedPrecondition, "NOT_QUIESCENT"),
            Self::ImportExpired => (Kind::Aborted, "IMPORT_EXPIRED"),
            Self::MessageNotFound { .. } => (Kind::NotFound, "MESSAGE_NOT_FOUND"),
            Self::MessageExists { .. } => (Kind::AlreadyExists, "MESSAGE_EXISTS"),
            Self::EtagMismatch { .. } => (Kind::Aborted, "ETAG_MISMATCH"),
            Self::RecordNotFound { .. } => (Kind::NotFound, "RECORD_NOT_FOUND"),
            Self::RevisionMismatch { .. } => (Kind::Aborted, "REVISION_MISMATCH"),
            Self::CacheEntryNotFound { .. } => (Kind::NotFound, "CACHE_ENTRY_NOT_FOUND"),
            Self::TooManyLabels { .. } => (Kind::InvalidArgument, "TOO_MANY_LABELS"),
            Self::TooManyPoints { .. } => (Kind::FailedPrecondition, "TOO_MANY_POINTS"),
            Self::TooManyNumbers { .. } => (Kind::FailedPrecondition, "TOO_MANY_NUMBERS"),
            Self::Compacted { .. } => (Kind::OutOfRange, "COMPACTED"),
            Self::ArtifactNotFound { .. } => (Kind::NotFound, "ARTIFACT_NOT_FOUND"),
            Self::ArtifactEmpty { .. } => (Kind::FailedPrecondition, "ARTIFACT_EMPTY"),
            Self::ArtifactComplete { .. } => (Kind::FailedPrecondition, "ARTIFACT_COMPLETE"),
            Self::DigestMismatch { .. } => (Kind::InvalidArgument, "DIGEST_MISMATCH"),
            Self::SizeMismatch { .. } => (Kind::InvalidArgument, "SIZE_MISMATCH"),
            Self::RangeBeyondEnd { .. } => (Kind::OutOfRange, "RANGE_BEYOND_END"),
            Self::UploadTooSlow { .. } => (Kind::DeadlineExceeded, "UPLOAD_TOO_SLOW"),
            Self::BytesDamaged { .. } => (Kind::DataLoss, "BYTES_DAMAGED"),
            Self::NotAdministrator => (Kind::PermissionDenied, "PERMISSION_DENIED"),
            Self::NotEmpty { .. } => (Kind::FailedPrecondition, "NOT_EMPTY"),
            Self::BackupInvalid { .. } => (Kind::InvalidArgument, "BACKUP_INVALID"),
            Self::BackupTooNew { .. } => (Kind::FailedPrecondition, "BACKUP_TOO_NEW"),
            Self::TargetUnreachable { .. } => (Kind::FailedPrecondition, "TARGET_UNREACHABLE"),
            Self::ReaderTooSlow { .. } => (Kind::DeadlineExceeded, "READER_TOO_SLOW"),
            Self::AdminBusy { .. } => (Kind::FailedPrecondition, "ADMIN_BUSY"),
            Self::Maintenance { .. } => (Kind::Unavailable, "STORAGE_MAINTENANCE"),
            Self::DiskFull { .. } => (Kind::ResourceExhausted, "DISK_FULL"),
            Self::Overloaded => (Kind::ResourceExhausted, "STORAGE_OVERLOADED"),
            Self::Closed => (Kind::Unavailable, "STORAGE_CLOSED"),
            Self::Full => (Kind::ResourceExhausted, "STORAGE_FULL"),
            Self::Locked => (Kind::Unavailable, "STORAGE_LOCKED"),
            Self::ReadOnly => (Kind::FailedPrecondition, "STORAGE_READ_ONLY"),
            Self::Denied { .. } => (Kind::FailedPrecondition, "STORAGE_DENIED"),
            Self::Corrupt { .. } => (Kind::DataLoss, "STORAGE_CORRUPT"),
            Self::Io { .. } => (Kind::Unavailable, "STORAGE_IO"),
            Self::Unreachable { .. } => (Kind::Unavailable, "STORAGE_UNREACHABLE"),
            Self::Contended { .. } => (Kind::Unavailable, "STORAGE_CONTENDED"),
            Self::Internal { .. } => (Kind::Internal, "STORAGE_INTERNAL"),
        }
    }
}

/// When to come back to storage that is overloaded, locked or out of reach.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(200);

/// When to come back to storage that is filled or copied.
const MAINTENANCE_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        let (kind, reason) = error.class();
        let fault = Self::new(kind, reason, error.to_string());
        match error {
            StorageError::Invalid { field, problem } => fault.with_violation(field, problem),
            StorageError::TooLarge { field, .. } => {
                let message = fault.message.clone();
                fault.with_violation(field, message)
            }
            StorageError::Page(error) => {
                let field = match error {
                    PageError::NegativeSize(_) => "page_size",
                    PageError::Malformed | PageError::OtherQuery => "page_token",
                };
                fault.with_violation(field, error.to_string())
            }
            StorageError::SessionNotFound { session_id } => {
                fault.with_resource("session", session_id)
            }
            StorageError::StaleEpoch { current, .. }
            | StorageError::EpochMismatch { current, .. } => fault.with("epoch", current),
            StorageError::SessionHeld { holder_id, .. } => fault.with("holder_id", holder_id),
            StorageError::TurnOpen { turn_id: Some(turn_id), .. } => fault.with("turn_id", turn_id),
            StorageError::QueueFull { session_id, what, limit } => {
                fault.with_quota(format!("session:{session_id}"), format!("{limit} {what}"))
            }
            StorageError::CursorBackwards { consumed, .. } => {
                fault.with("consumed_sequence", consumed)
            }
            StorageError::LedgerPrecondition { execution_id, state, .. } => {
                fault.with("state", state).with_resource("execution", execution_id)
            }
            StorageError::AppendOutOfOrder { last, .. } => fault.with("append_number", last),
            StorageError::BeyondHead { head, .. } => fault.with("head_sequence", head),
            StorageError::ExecutionNotFound { execution_id } => {
                fault.with_resource("execution", execution_id)
            }
            StorageError::ExecutionNotIntended { execution_id, state } => {
                fault.with("state", state.name()).with_resource("execution", execution_id)
            }
            StorageError::CommandsPending { last_command, consumed, .. } => fault
                .with("last_command_sequence", last_command)
                .with("consumed_sequence", consumed),
            StorageError::NotQuiescent { head, last } => {
                fault.with("head_sequence", head).with("quiescent_sequence", last)
            }
            StorageError::EtagMismatch { current, .. } => fault.with("etag", current),
            StorageError::RecordNotFound { key } => fault.with_resource("record", key),
            StorageError::RevisionMismatch { what, key, current, .. } => {
                fault.with("revision", current).with_resource(what, key)
            }
            StorageError::CacheEntryNotFound { key } => fault.with_resource("cache entry", key),
            StorageError::TooManyLabels { field, .. } => {
                let message = fault.message.clone();
                fault.with_violation(field, message)
            }
            StorageError::TooManyPoints { limit, .. } | StorageError::TooManyNumbers { limit } => {
                fault.with("limit", limit)
            }
            StorageError::Compacted { oldest, .. } => fault.with("oldest_revision", oldest),
            StorageError::ArtifactNotFound { artifact_id }
            | StorageError::ArtifactEmpty { artifact_id }
            | StorageError::ArtifactComplete { artifact_id }
            | StorageError::BytesDamaged { artifact_id } => {
                fault.with_resource("artifact", artifact_id)
            }
            StorageError::DigestMismatch { found, .. } => {
                let message = fault.message.clone();
                fault.with("digest", found).with_violation("expected_digest", message)
            }
            StorageError::SizeMismatch { .. } => {
                let message = fault.message.clone();
                fault.with_violation("expected_size", message)
            }
            StorageError::RangeBeyondEnd { size, .. } => fault.with("size", size),
            StorageError::Overloaded
            | StorageError::Locked
            | StorageError::Io { .. }
            | StorageError::Unreachable { .. }
            | StorageError::Contended { .. } => fault.with_retry_after(RETRY_AFTER),
            StorageError::Maintenance { .. } => fault.with_retry_after(MAINTENANCE_RETRY),
            _ => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_reason_and_its_facts() {
        let error =
            StorageError::StaleEpoch { session_id: "session_1".into(), epoch: 3, current: 5 };
        let fault = Fault::from(error);
        assert_eq!((fault.kind, fault.reason), (Kind::Aborted, "STALE_EPOCH"));
        assert_eq!(fault.metadata.get("epoch").map(String::as_str), Some("5"));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let fault = Fault::from(StorageError::invalid("events[2].type", "is empty"));
        assert_eq!(fault.kind, Kind::InvalidArgument);
        assert_eq!(fault.violations[0].field, "events[2].type");
    }
}

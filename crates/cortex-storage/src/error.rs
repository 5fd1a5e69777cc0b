//! What can go wrong in storage, as facts, and the one mapping to faults.

use cortex_core::{Fault, Kind, PageError};

use crate::{
    admin::Work,
    journal::{ExecutionState, Sequence},
};

/// The result of a storage operation.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Why storage refused, or could not do, what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A field of the request is wrong, whatever the state of storage.
    #[error("{field}: {problem}")]
    Invalid {
        /// The path of the field.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A field is larger than its limit.
    #[error("{field} has {bytes} bytes, and the limit is {limit}")]
    TooLarge {
        /// The path of the field.
        field: &'static str,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A page cannot be read.
    #[error("{0}")]
    Page(#[from] PageError),
    /// The tenant has no such session.
    #[error("session {session_id} does not exist")]
    SessionNotFound {
        /// What was asked for.
        session_id: String,
    },
    /// The session takes no commands any more, except those that reopen it.
    #[error("session {session_id} has ended")]
    SessionEnded {
        /// The session.
        session_id: String,
    },
    /// The session takes no messages until it is active again.
    #[error("session {session_id} is paused and takes no messages")]
    SessionPaused {
        /// The session.
        session_id: String,
    },
    /// The caller does not hold the session under this epoch.
    #[error("epoch {epoch} does not hold session {session_id}; its epoch is {current}")]
    StaleEpoch {
        /// The session.
        session_id: String,
        /// The epoch that the caller named.
        epoch: i64,
        /// The session's epoch.
        current: i64,
    },
    /// The lease was voided by a later incarnation, or was never granted.
    #[error("the lease of {holder_id} is void")]
    LeaseVoid {
        /// The holder.
        holder_id: String,
    },
    /// An acquisition by a holder whose lease is void.
    #[error("{holder_id} cannot acquire session {session_id}: its lease is void")]
    AcquirerVoid {
        /// The holder.
        holder_id: String,
        /// The session.
        session_id: String,
    },
    /// The session's epoch is not the one that the acquirer saw.
    #[error("session {session_id} has epoch {current}, not {seen}")]
    EpochMismatch {
        /// The session.
        session_id: String,
        /// What the caller saw.
        seen: i64,
        /// The session's epoch.
        current: i64,
    },
    /// Somebody else holds the session, with a live lease.
    #[error("session {session_id} is held by {holder_id}")]
    SessionHeld {
        /// The session.
        session_id: String,
        /// Who holds it.
        holder_id: String,
    },
    /// A turn is open, or a message waits, and the call needs none.
    #[error("session {session_id} is busy{}", turn_id.as_ref().map(|id| format!(" with turn {id}")).unwrap_or_default())]
    TurnOpen {
        /// The session.
        session_id: String,
        /// The open turn, if it is that.
        turn_id: Option<String>,
    },
    /// The call names a turn that is not the open one.
    #[error("turn {turn_id} of session {session_id} is not open")]
    TurnNotOpen {
        /// The session.
        session_id: String,
        /// What the caller named.
        turn_id: String,
    },
    /// As many messages wait as may, or as many commands.
    #[error("session {session_id} has {limit} waiting {what}, which is the limit")]
    QueueFull {
        /// The session.
        session_id: String,
        /// What waits.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The cursor over commands moves forward only.
    #[error("the cursor of session {session_id} is at {consumed} and cannot go to {requested}")]
    CursorBackwards {
        /// The session.
        session_id: String,
        /// Where it is.
        consumed: Sequence,
        /// Where the caller wanted it.
        requested: Sequence,
    },
    /// An effect names a sequence that is not what the effect needs.
    #[error("sequence {sequence} of session {session_id} is not {wanted}")]
    NotPending {
        /// The session.
        session_id: String,
        /// The sequence.
        sequence: Sequence,
        /// What it should be.
        wanted: &'static str,
    },
    /// A ledger row is not in the state that the settlement or intent needs.
    #[error("execution {execution_id} is {state}; {wanted}")]
    LedgerPrecondition {
        /// The execution.
        execution_id: String,
        /// Where its row stands.
        state: &'static str,
        /// What would be needed.
        wanted: &'static str,
    },
    /// A turn cannot close while calls of it have no result.
    #[error("turn {turn_id} has {open} calls without a result")]
    CallsOpen {
        /// The turn.
        turn_id: String,
        /// How many.
        open: i64,
    },
    /// A numbered append is neither the last one of its grant nor the next.
    #[error("append {number} of session {session_id} cannot be taken now; the last one is {last}")]
    AppendOutOfOrder {
        /// The session.
        session_id: String,
        /// The number that was given.
        number: i64,
        /// The number of the last append under the grant; 0: none.
        last: i64,
    },
    /// The request id was used with another body.
    #[error("request id '{request_id}' was used with another body")]
    RequestIdReused {
        /// The request id.
        request_id: String,
    },
    /// A position lies beyond the end.
    #[error("{after} lies beyond the head, {head}")]
    BeyondHead {
        /// Where the caller wanted to go on.
        after: i64,
        /// The last position.
        head: i64,
    },
    /// The tenant has no such execution.
    #[error("execution {execution_id} does not exist")]
    ExecutionNotFound {
        /// What was asked for.
        execution_id: String,
    },
    /// The execution cannot be claimed any more.
    #[error("execution {execution_id} is {}", state.name())]
    ExecutionNotIntended {
        /// The execution.
        execution_id: String,
        /// Where its row stands.
        state: ExecutionState,
    },
    /// A release while commands are not consumed.
    #[error(
        "session {session_id} has commands up to {last_command} and consumed those up to {consumed}"
    )]
    CommandsPending {
        /// The session.
        session_id: String,
        /// Its last command.
        last_command: Sequence,
        /// Its cursor.
        consumed: Sequence,
    },
    /// An import of a session that was exported while it had something to do.
    #[error(
        "the session was exported at {head}, where a turn was open or a command waited; its last \
         quiescent point is {last}: fork it there, and export the fork"
    )]
    NotQuiescent {
        /// Where it was exported.
        head: Sequence,
        /// Its last quiescent point.
        last: Sequence,
    },
    /// Nothing came for an import for so long that it was given up.
    #[error("the import was given up, since nothing came for too long; begin it again")]
    ImportExpired,
    /// The session's history has no such message.
    #[error("message {message_id} is not in the history of session {session_id}")]
    MessageNotFound {
        /// The session.
        session_id: String,
        /// The message.
        message_id: String,
    },
    /// The session's history has this message already.
    #[error("message {message_id} is already in the history of session {session_id}")]
    MessageExists {
        /// The session.
        session_id: String,
        /// The message.
        message_id: String,
    },
    /// The state is not the one that the caller saw.
    #[error("the state of session {session_id} has etag '{current}', not '{given}'")]
    EtagMismatch {
        /// The session.
        session_id: String,
        /// What the caller saw.
        given: String,
        /// What it is.
        current: String,
    },
    /// The tenant has no such record.
    #[error("record '{key}' does not exist")]
    RecordNotFound {
        /// What was asked for.
        key: String,
    },
    /// The record or cache entry does not have the expected revision.
    #[error("{what} '{key}' has revision {current}, not {expected}")]
    RevisionMismatch {
        /// What it is: a record or a cache entry.
        what: &'static str,
        /// Its key.
        key: String,
        /// What the caller expected; 0: none.
        expected: i64,
        /// What is there; 0: none.
        current: i64,
    },
    /// The tenant's cache has no such entry, or its time is over.
    #[error("cache entry '{key}' does not exist or has expired")]
    CacheEntryNotFound {
        /// What was asked for.
        key: String,
    },
    /// A number has more labels than it may.
    #[error("{field} has {given} labels, and the limit is {limit}")]
    TooManyLabels {
        /// The path of the field.
        field: String,
        /// How many there are.
        given: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An aggregation comes to more than one answer holds.
    #[error(
        "the numbers come to more than {limit} {what}; take longer steps, a shorter range or fewer groups"
    )]
    TooManyPoints {
        /// Of what there is too much.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// An aggregation would read more numbers than it may.
    #[error("the query takes in more than {limit} numbers; take a shorter range or more filters")]
    TooManyNumbers {
        /// How many it may read.
        limit: usize,
    },
    /// The history of records after a revision is gone.
    #[error("changes of records after revision {after} are gone; the oldest kept one is {oldest}")]
    Compacted {
        /// Where the caller wanted to go on.
        after: i64,
        /// From where on changes are kept.
        oldest: i64,
    },
    /// The tenant has no such artifact.
    #[error("artifact {artifact_id} does not exist")]
    ArtifactNotFound {
        /// What was asked for.
        artifact_id: String,
    },
    /// The artifact has no bytes here.
    #[error("artifact {artifact_id} has no bytes here")]
    ArtifactEmpty {
        /// The artifact.
        artifact_id: String,
    },
    /// The artifact has its bytes already, and they never change.
    #[error("artifact {artifact_id} has its bytes already")]
    ArtifactComplete {
        /// The artifact.
        artifact_id: String,
    },
    /// Uploaded bytes are not those that were announced.
    #[error("the bytes have the digest {found}, and {expected} was expected")]
    DigestMismatch {
        /// The digest that was announced.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// Uploaded bytes are not as many as were announced.
    #[error("{found} bytes came, and {expected} were expected")]
    SizeMismatch {
        /// How many were announced.
        expected: u64,
        /// How many came, until there were too many.
        found: u64,
    },
    /// A range begins at or beyond the end of the bytes.
    #[error("offset {offset} lies at or beyond the end of {size} bytes")]
    RangeBeyondEnd {
        /// Where the range begins; negative: before the end.
        offset: i64,
        /// How many bytes there are.
        size: u64,
    },
    /// Nothing came of an upload for too long.
    #[error("nothing of the upload came for {patience:?}")]
    UploadTooSlow {
        /// How long was waited.
        patience: std::time::Duration,
    },
    /// The bytes of an artifact are not what was stored.
    #[error("the bytes of artifact {artifact_id} are damaged or gone")]
    BytesDamaged {
        /// The artifact.
        artifact_id: String,
    },
    /// The caller is nobody who may look at the installation as a whole.
    #[error("administration of storage is for administrators")]
    NotAdministrator,
    /// The installation that should be filled holds something.
    #[error("the installation is not empty: it has {what}; fill a new one")]
    NotEmpty {
        /// What it holds.
        what: String,
    },
    /// The archive is none, or not what was written.
    #[error("{detail}")]
    BackupInvalid {
        /// What is wrong with it.
        detail: String,
    },
    /// The archive needs a later program.
    #[error("{detail}")]
    BackupTooNew {
        /// What it needs.
        detail: String,
    },
    /// The database that should be filled cannot be used.
    #[error("the target cannot be used: {detail}")]
    TargetUnreachable {
        /// What it says.
        detail: String,
    },
    /// Nobody took an answer of administration for too long.
    #[error("nobody took the next answer for {patience:?}, and the work was given up")]
    ReaderTooSlow {
        /// How long was waited.
        patience: std::time::Duration,
    },
    /// Another work of administration is under way.
    #[error("another {work} is under way; one at a time")]
    AdminBusy {
        /// Which.
        work: &'static str,
    },
    /// Writes are refused for a while.
    #[error("nothing can be written: {}", work.reason())]
    Maintenance {
        /// Why.
        work: Work,
    },
    /// There is no room for what administration makes.
    #[error("the disk is full: there is no room for {what}")]
    DiskFull {
        /// What should have been written.
        what: String,
    },
    /// Too much is waiting to be written.
    #[error("storage has too many writes waiting")]
    Overloaded,
    /// Storage is shutting down.
    #[error("storage is closed")]
    Closed,
    /// The disk or the database's size limit is full.
    #[error("storage cannot grow: the disk is full")]
    Full,
    /// Somebody else holds the database's lock.
    #[error("the database is locked by another process")]
    Locked,
    /// The database, or where bytes are kept, cannot be written to.
    #[error("storage is read-only")]
    ReadOnly,
    /// Where bytes are kept refuses us.
    #[error("storage may not use where the bytes of artifacts are kept: {detail}")]
    Denied {
        /// What it says.
        detail: String,
    },
    /// The stored data is damaged.
    #[error("the database is damaged: {detail}")]
    Corrupt {
        /// What the database says.
        detail: String,
    },
    /// The device failed. Whether a write was done is not known; repeat it with its request id.
    #[error("reading or writing storage failed: {detail}")]
    Io {
        /// What the database, or where bytes are kept, says.
        detail: String,
    },
    /// The database's server cannot be reached, or does not let us in. Nothing was written.
    #[error("the database cannot be used: {detail}")]
    Unreachable {
        /// Where it is and what it says, without credentials.
        detail: String,
    },
    /// Others kept a write from its turn for too long. Nothing was written.
    #[error("the write had to give way to others: {detail}")]
    Contended {
        /// What the database says.
        detail: String,
    },
    /// A promise of ours is broken.
    #[error("{detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

impl StorageError {
    /// A wrong field.
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// A broken promise of ours.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::Internal { detail: detail.into() }
    }

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

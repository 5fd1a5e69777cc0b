//! What can go wrong in storage, as facts.

mod fault;

use cortex_core::PageError;

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
}

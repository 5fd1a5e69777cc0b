//! The journal's domain: what a session's log holds, where its protocol stands, and the decisions
//! that move it. Pure: no database, no runtime, no clock of its own.
//!
//! Each decision takes the session's [`SessionHead`] and the facts that an adapter has read, and
//! answers a [`Change`] that the adapter commits in one transaction, or an error and no change. The
//! rules and their order are those of the session protocol (docs/session-protocol.md).

mod acquire;
mod append;
mod change;
mod delta;
mod direct;
mod effects;
mod entry;
mod execution;
mod fork;
mod head;
mod holder;
mod mark;
mod release;
mod request;
mod submit;
mod text;

pub use acquire::{Acquire, Acquired, acquire};
pub use append::{Append, Appended, append};
pub use change::{Change, Decision, Facts, HolderFacts, MessageChange, NewContent};
pub(crate) use delta::AddedCall;
pub use delta::{AddedMessage, ChangedMessage, Delta, ObjectText, StateDelta};
pub use direct::{Direct, DirectEffect, DirectOutcome, direct};
pub use effects::{Effects, Intent, MessageUpdate, Settlement, SettlementKind};
pub use entry::{Command, CommandKind, Entry, EntryKind, Event, Payload, Sequence};
pub use execution::{
    Claim, Execution, ExecutionKind, ExecutionState, Finish, Outcome, OutcomeKind, claim, finish,
};
pub use fork::{
    Fork, ForkDescription, ForkRequest, Part, forked_head, restored_head, shared_parts,
};
pub use head::{OpenTurn, PendingCommand, SessionHead, SessionNo, Wait};
pub use holder::{Holder, Lease, Registration};
pub use mark::{Cut, Fold, FoldError, Mark, MarkNo, Projection, STATE_PATCHES};
pub use release::{Release, release};
pub use request::{AppendKey, Fingerprint, Known, LastAppend, Method, RequestId, RequestKey};
pub use submit::{Submit, Submitted, submit};

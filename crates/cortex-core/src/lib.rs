//! Vocabulary of Cortex-Prime: what every crate names in the same way.
//!
//! No tokio, no tonic: the types here are plain values. Arrows: none.
//!
//! ```
//! use cortex_core::{Fault, SessionId};
//!
//! let id = SessionId::generate();
//! assert!(id.as_str().starts_with("session_"));
//!
//! let fault = Fault::not_found("SESSION_NOT_FOUND", format!("session {id} does not exist"))
//!     .with_resource("session", id.as_str());
//! assert_eq!(fault.reason, "SESSION_NOT_FOUND");
//! ```

mod clock;
mod fault;
mod id;
mod page;
mod secret;

pub use clock::{Clock, ManualClock, SystemClock};
pub use fault::{Fault, FieldViolation, Kind, Quota, Resource};
pub use id::{
    ArtifactId, CallId, ClaimantId, ExecutionId, HolderId, IdError, MessageId, MetricId, RelicId,
    SessionId, TurnId,
};
pub use page::{PageError, PageSize, PageToken};
pub use secret::Secret;

//! A failure as a turn's event shows it, and whether trying again can help.

use std::time::Duration;

use cortex_core::{Fault, Kind};
use cortex_proto::cortex::agent::v1::TurnFailed;
use tonic::Status;

/// Why a model call or a turn failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
}

impl Failure {
    /// What a service answered.
    pub(crate) fn of(status: &Status) -> Self {
        Self { fault: cortex_rpc::fault(status) }
    }

    /// Whether the same call can succeed later.
    pub(crate) fn retryable(&self) -> bool {
        match self.fault.kind {
            Kind::Unavailable | Kind::Aborted | Kind::DeadlineExceeded | Kind::Internal => true,
            Kind::ResourceExhausted => self.fault.retry_after.is_some(),
            _ => false,
        }
    }

    /// The pause before try number `tries` (from 1): what the service asks for, else doubling.
    pub(crate) fn pause(&self, tries: u32) -> Duration {
        let doubled = FIRST_PAUSE * 2u32.saturating_pow(tries.saturating_sub(1).min(6));
        self.fault.retry_after.unwrap_or(doubled).min(LONGEST_PAUSE)
    }

    /// The event that ends the turn.
    pub(crate) fn event(self) -> TurnFailed {
        let retryable = self.retryable();
        TurnFailed {
            reason: self.fault.reason.to_owned(),
            message: self.fault.message,
            code: code_name(self.fault.kind).to_owned(),
            metadata: self.fault.metadata.into_iter().collect(),
            retryable,
        }
    }
}

/// Pause before the first repetition of a failed model call.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two model calls.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The fault that a turn's last event tells of, for a caller who waits for one answer.
pub(crate) fn fault_of(failed: &TurnFailed) -> Fault {
    let mut fault = cortex_rpc::fault(&Status::new(tonic::Code::Unknown, failed.message.clone()));
    fault.kind = kind(&failed.code);
    fault.reason = cortex_rpc::reason_text(&failed.reason);
    fault.metadata = failed.metadata.clone().into_iter().collect();
    fault
}

const NAMES: [(Kind, &str); 15] = [
    (Kind::Cancelled, "CANCELLED"),
    (Kind::InvalidArgument, "INVALID_ARGUMENT"),
    (Kind::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Kind::NotFound, "NOT_FOUND"),
    (Kind::AlreadyExists, "ALREADY_EXISTS"),
    (Kind::PermissionDenied, "PERMISSION_DENIED"),
    (Kind::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Kind::FailedPrecondition, "FAILED_PRECONDITION"),
    (Kind::Aborted, "ABORTED"),
    (Kind::OutOfRange, "OUT_OF_RANGE"),
    (Kind::Unimplemented, "UNIMPLEMENTED"),
    (Kind::Internal, "INTERNAL"),
    (Kind::Unavailable, "UNAVAILABLE"),
    (Kind::DataLoss, "DATA_LOSS"),
    (Kind::Unauthenticated, "UNAUTHENTICATED"),
];

fn code_name(kind: Kind) -> &'static str {
    NAMES.iter().find(|(k, _)| *k == kind).map_or("UNKNOWN", |(_, name)| name)
}

fn kind(name: &str) -> Kind {
    NAMES.iter().find(|(_, n)| *n == name).map_or(Kind::Internal, |(kind, _)| *kind)
}

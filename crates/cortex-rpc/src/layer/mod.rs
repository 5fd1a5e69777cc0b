//! Layers of both sides of a call, one per file.

mod auth;
mod catch_panic;
mod deadline;
mod drain;
mod enter;
mod gather;
mod hops;
mod load_shed;
mod metrics;
mod normalise;
mod request_id;
mod strip;
mod timeout;
mod trace;

pub(crate) use auth::{Authenticate, identify};
pub use auth::{Authenticator, OpenAccess};
pub(crate) use catch_panic::CatchPanic;
pub(crate) use deadline::ServerDeadline;
pub(crate) use drain::DrainCalls;
pub(crate) use enter::Enter;
pub(crate) use gather::Gather;
pub(crate) use hops::HopLimit;
pub(crate) use load_shed::{CallLimits, LoadShed};
pub(crate) use metrics::{CallMetrics, Measure, Side};
pub(crate) use normalise::{NormaliseErrors, NotSent};
pub(crate) use request_id::RequestId;
pub(crate) use strip::StripExtensions;
pub(crate) use timeout::{Deadline, EnforceTimeout, read_timeout, write_timeout};
pub(crate) use trace::Trace;

use std::future::{Ready, ready};

use cortex_core::Fault;

use crate::{body, status::status, transport::Answer};

/// The answer of a layer that refuses a call.
pub(crate) fn refuse(fault: &Fault) -> Ready<Answer> {
    ready(Ok(body::respond(status(fault))))
}

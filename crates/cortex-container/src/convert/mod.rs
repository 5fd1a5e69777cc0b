//! Between the contracts and the domain: all validation of requests is here.

mod engine;
mod ledger;
mod request;
mod run;

pub(crate) use engine::{StatsPage, container_id, container_stats, engine, orphan, stats_page};
pub(crate) use ledger::{ledger_row, outcome, state_name};
pub(crate) use request::{
    declaration, execute_command, execution_id, request_id, run_command, session_id,
};
pub(crate) use run::{event, tool_run};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// A time as the contracts have it. Before 1970: absent.
fn timestamp(at: SystemTime) -> Option<Timestamp> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp {
        seconds: i64::try_from(since.as_secs()).ok()?,
        nanos: i32::try_from(since.subsec_nanos()).ok()?,
    })
}

/// A time of the contracts.
fn system_time(at: &Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(at.seconds).ok()?;
    let nanos = u32::try_from(at.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

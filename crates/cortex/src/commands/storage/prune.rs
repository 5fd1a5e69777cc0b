//! `cortex storage prune`.

use cortex_config::Duration;
use cortex_proto::cortex::storage::v1::{
    PruneCompleted, PruneStorageRequest, prune_storage_response::Event,
};

use super::{Session, bytes, print_rows, progress::Progress};
use crate::{cli::StoragePrune, exit::Failure};

/// Deletes what is older, or more, than it should be.
pub async fn run(session: &Session, prune: StoragePrune) -> Result<(), Failure> {
    let request = request(&prune);
    if request == (PruneStorageRequest { validate_only: prune.validate_only, ..Default::default() })
    {
        let message = "nothing is named that could go; see `cortex storage prune --help`";
        return Err(Failure::usage(message));
    }
    let answer = session.client().prune_storage(request).await;
    let mut events = answer.map_err(|s| session.mesh.failure(&s))?.into_inner();
    let mut progress = Progress::new(&session.output);
    let mut completed = None;
    while let Some(event) =
        session.next("cortex.storage.v1.PruneStorageResponse", &mut events).await?
    {
        match event.event {
            Some(Event::Progress(at)) => progress.show(&at),
            Some(Event::Completed(end)) => completed = Some(end),
            None => {}
        }
    }
    session.output.clear();
    let broken = || Failure::other("the pruning broke off; run it again for the rest");
    tell(session, prune.validate_only, completed.ok_or_else(broken)?)
}

fn request(prune: &StoragePrune) -> PruneStorageRequest {
    // A duration of ours has milliseconds and fits.
    let age = |age: Option<Duration>| age.and_then(|age| age.get().try_into().ok());
    PruneStorageRequest {
        ended_session_age: age(prune.ended_session_age),
        session_age: age(prune.session_age),
        keep_ended_sessions: prune.keep_ended_sessions.map(i64::from),
        metric_age: age(prune.metric_age),
        keep_metrics: prune.keep_metrics.map(i64::from),
        artifact_age: age(prune.artifact_age),
        compact: prune.compact,
        validate_only: prune.validate_only,
    }
}

fn tell(session: &Session, only: bool, completed: PruneCompleted) -> Result<(), Failure> {
    if session.is_json() {
        return Ok(());
    }
    let (contents, database) =
        (bytes(completed.freed_content_bytes), bytes(completed.freed_database_bytes));
    let would = if only { "would be " } else { "" };
    if completed.deleted.is_empty() {
        session.output.line(&format!("nothing {would}deleted"))?;
    } else {
        print_rows(&session.output, if only { "WOULD GO" } else { "DELETED" }, completed.deleted)?;
    }
    session.output.line("")?;
    session.output.line(&format!("{contents} of contents and {database} of the file {would}freed"))
}

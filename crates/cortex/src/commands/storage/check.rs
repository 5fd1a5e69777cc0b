//! `cortex storage check`.

use cortex_proto::cortex::storage::v1::{
    CheckCompleted, CheckStorageRequest, StorageFinding, check_storage_response::Event,
};

use super::{Session, grouped, progress::Progress};
use crate::{exit::Failure, output::Style};

/// Prints what is damaged. Fails if anything is.
pub async fn run(session: &Session, full: bool) -> Result<(), Failure> {
    let answer = session.client().check_storage(CheckStorageRequest { full }).await;
    let mut events = answer.map_err(|s| session.mesh.failure(&s))?.into_inner();
    let mut progress = Progress::new(&session.output);
    let mut completed = None;
    while let Some(event) =
        session.next("cortex.storage.v1.CheckStorageResponse", &mut events).await?
    {
        match event.event {
            Some(Event::Progress(at)) => progress.show(&at),
            Some(Event::Finding(finding)) if !session.is_json() => print(session, &finding)?,
            Some(Event::Completed(end)) => completed = Some(end),
            Some(Event::Finding(_)) | None => {}
        }
    }
    session.output.clear();
    conclude(session, completed)
}

fn print(session: &Session, finding: &StorageFinding) -> Result<(), Failure> {
    let output = &session.output;
    output.clear();
    let places = [&finding.collection, &finding.session_id, &finding.subject];
    let place: Vec<_> = places.into_iter().filter(|p| !p.is_empty()).map(String::as_str).collect();
    let code = output.styled(Style::Bad, &finding.code);
    output.line(&format!("{code}  {}\n  {}", place.join("  "), finding.message))
}

fn conclude(session: &Session, completed: Option<CheckCompleted>) -> Result<(), Failure> {
    let completed =
        completed.ok_or_else(|| Failure::other("the check broke off; nothing is known"))?;
    if completed.findings > 0 {
        let findings = grouped(completed.findings);
        return Err(Failure::other(format!("what is stored is damaged: {findings} findings")));
    }
    if session.is_json() {
        return Ok(());
    }
    let mut checked: Vec<_> = completed.checked.into_iter().collect();
    checked.sort();
    let checked: Vec<_> = checked
        .into_iter()
        .map(|(name, rows)| format!("{} {}", grouped(rows), name.replace('_', " ")))
        .collect();
    let ok = session.output.styled(Style::Good, "ok");
    session.output.line(&format!("{ok}  {}", checked.join(", ")))
}

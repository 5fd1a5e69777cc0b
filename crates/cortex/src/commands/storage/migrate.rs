//! `cortex storage migrate`.

use std::{io, path::Path};

use cortex_proto::cortex::storage::v1::{
    MigrateStorageRequest, MigrationCompleted, migrate_storage_response::Event,
};
use tokio::io::AsyncReadExt;

use super::{Session, print_rows, progress::Progress};
use crate::{cli::StorageMigrate, exit::Failure};

/// Copies the installation into another database.
pub async fn run(session: &Session, migrate: StorageMigrate) -> Result<(), Failure> {
    let request = MigrateStorageRequest {
        target_url: target(&migrate).await?,
        validate_only: migrate.validate_only,
    };
    let answer = session.client().migrate_storage(request).await;
    let mut events = answer.map_err(|s| session.mesh.failure(&s))?.into_inner();
    let mut progress = Progress::new(&session.output);
    let mut completed = None;
    while let Some(event) =
        session.next("cortex.storage.v1.MigrateStorageResponse", &mut events).await?
    {
        match event.event {
            Some(Event::Progress(at)) => progress.show(&at),
            Some(Event::Completed(end)) => completed = Some(end),
            None => {}
        }
    }
    session.output.clear();
    let broken =
        || Failure::other("the migration broke off; the other database is as empty as before");
    tell(session, completed.ok_or_else(broken)?)
}

/// The URL, from the command line, the environment or a file.
async fn target(migrate: &StorageMigrate) -> Result<String, Failure> {
    let Some(file) = &migrate.target_file else {
        let missing = "name the database: a URL, CORTEX_MIGRATE_TARGET, or --target-file";
        return migrate.target.clone().ok_or_else(|| Failure::usage(missing));
    };
    let read = read(file).await;
    let read = read
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))?;
    Ok(read.trim().to_owned())
}

async fn read(file: &Path) -> io::Result<String> {
    if file != Path::new("-") {
        return tokio::fs::read_to_string(file).await;
    }
    let mut text = String::new();
    tokio::io::stdin().read_to_string(&mut text).await?;
    Ok(text)
}

fn tell(session: &Session, completed: MigrationCompleted) -> Result<(), Failure> {
    if session.is_json() {
        return Ok(());
    }
    let said = match completed.status.as_str() {
        "valid" => "the database can be used; nothing was copied",
        _ => {
            "copied and compared. Nothing can be written any more: restart the installation with the \
             other database"
        }
    };
    session.output.line(said)?;
    session.output.line("")?;
    print_rows(&session.output, "ROWS", completed.rows)
}

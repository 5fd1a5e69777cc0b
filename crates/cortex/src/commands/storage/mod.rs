//! `cortex storage`: the installation as a whole.

mod backup;
mod check;
mod migrate;
mod progress;
mod prune;
mod restore;
mod stats;

use std::collections::HashMap;

use cortex_proto::cortex::storage::v1::admin_service_client::AdminServiceClient;
use cortex_rpc::Transport;
use tonic::Streaming;

use crate::{
    cli::{Format, Global, Storage, StorageCommand},
    connect::Mesh,
    exit::Failure,
    output::Output,
};

/// What every command needs.
struct Session {
    mesh: Mesh,
    output: Output,
    format: Format,
}

impl Session {
    fn client(&self) -> AdminServiceClient<Transport> {
        AdminServiceClient::new(self.mesh.transport.clone())
    }

    /// The next event of a stream; for programs it is printed as it is.
    async fn next<M: prost::Message>(
        &self,
        full_name: &str,
        events: &mut Streaming<M>,
    ) -> Result<Option<M>, Failure> {
        let event = events.message().await.map_err(|status| {
            self.output.clear();
            self.mesh.failure(&status)
        })?;
        match &event {
            Some(event) if self.is_json() => self.output.json(full_name, event)?,
            _ => {}
        }
        Ok(event)
    }

    fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Does what is asked, until it is done or somebody presses ctrl-c: then the service stops too.
pub async fn run(global: &Global, storage: Storage) -> Result<(), Failure> {
    let mesh = Mesh::new(global)?;
    let session = Session { mesh, output: Output::new(global), format: global.output };
    let work = Box::pin(act(&session, storage.command));
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => {
            session.output.clear();
            Err(Failure::interrupted("stopped"))
        }
    }
}

async fn act(session: &Session, command: StorageCommand) -> Result<(), Failure> {
    match command {
        StorageCommand::Stats => stats::run(session).await,
        StorageCommand::Backup(backup) => backup::run(session, backup).await,
        StorageCommand::Restore(restore) => restore::run(session, restore).await,
        StorageCommand::Check { full } => check::run(session, full).await,
        StorageCommand::Migrate(migrate) => migrate::run(session, migrate).await,
        StorageCommand::Prune(prune) => prune::run(session, prune).await,
    }
}

/// Prints how many rows each collection has, most first.
fn print_rows(output: &Output, heading: &str, rows: HashMap<String, i64>) -> Result<(), Failure> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|(name, rows), (other, others)| others.cmp(rows).then(name.cmp(other)));
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, rows)| vec![name.replace('_', " "), grouped(rows)]).collect();
    output.table(&["COLLECTION", heading], &rows)
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    if number < 0 {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as people read them.
fn bytes(number: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut whole, mut rest, mut unit) = (number / 1024, number % 1024, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1024, whole % 1024, unit + 1);
    }
    format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let numbers = [0, 999, 1000, 1_234_567, -1000];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "1,234,567", "-1,000"]);
        let sizes = [0, 1023, 1024, 1536, 3 << 20, 5 << 40];
        let expected = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 MiB", "5.0 TiB"];
        assert_eq!(sizes.map(bytes), expected);
    }
}

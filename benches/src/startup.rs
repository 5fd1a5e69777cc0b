//! How long a process takes to be ready, and how much memory it holds when nothing happens.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Arguments, Outcome,
    mesh::{Mesh, Plan},
    process::resident_mebibytes,
    relay,
    report::{Figure, progress},
};

/// From exec to ready, in milliseconds.
const START_LIMIT: f64 = 1000.0;
/// Resident memory of an idle process, in MiB.
const MEMORY_LIMIT: f64 = 80.0;
/// How long a process is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(10);

/// From exec to ready, with an empty data directory and with one that a killed process left.
pub(crate) async fn start(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    progress("the start");
    let rounds = if arguments.quick { 3 } else { 9 };
    let used = tempfile::tempdir()?;
    fill(arguments, used.path()).await?;
    let (mut empty_times, mut used_times, mut exec_times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        exec_times.push(exec(&arguments.cortex)?);
        let empty = tempfile::tempdir()?;
        empty_times.push(ready_after(arguments, empty.path()).await?);
        used_times.push(ready_after(arguments, used.path()).await?);
    }
    let baseline = "exec of `cortex --version`";
    Ok(vec![
        Figure::new("start_empty", "exec to ready, empty data directory", "ms", &empty_times)
            .at_most(START_LIMIT)
            .beside(baseline, &exec_times),
        Figure::new("start_used", "exec to ready, after a kill", "ms", &used_times)
            .at_most(START_LIMIT)
            .beside(baseline, &exec_times),
    ])
}

/// Resident memory of an idle `cortex up`, beside that of the storage service alone.
pub(crate) async fn memory(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    progress("idle memory");
    let all = tempfile::tempdir()?;
    let one = tempfile::tempdir()?;
    let up = Plan::up(&arguments.cortex, &arguments.manifests, all.path());
    let storage = Plan {
        command: &["serve", "storage"],
        ports: &[8084],
        directory: one.path(),
        ..up.clone()
    };
    let up = Mesh::start(&up).await?;
    let storage = Mesh::start(&storage).await?;
    tokio::time::sleep(IDLE).await;
    let whole = [resident_mebibytes(up.id())?];
    let part = [resident_mebibytes(storage.id())?];
    Ok(vec![
        Figure::new("idle_memory", "resident memory, idle", "MiB", &whole)
            .at_most(MEMORY_LIMIT)
            .beside("`cortex serve storage`", &part),
    ])
}

/// Leaves a session with a turn behind in the data directory, and no orderly end.
async fn fill(arguments: &Arguments, directory: &Path) -> Outcome<()> {
    let mesh = Mesh::start(&Plan::up(&arguments.cortex, &arguments.manifests, directory)).await?;
    relay::ask(&mesh, "assistant", "hello").await?;
    Ok(())
}

async fn ready_after(arguments: &Arguments, directory: &Path) -> Outcome<f64> {
    let plan = Plan::up(&arguments.cortex, &arguments.manifests, directory);
    Ok(millis(Mesh::start(&plan).await?.ready_after))
}

/// What it takes to start and end the binary.
fn exec(cortex: &Path) -> Outcome<f64> {
    let begun = Instant::now();
    let status = Command::new(cortex)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("{} --version: {status}", cortex.display()).into());
    }
    Ok(millis(begun.elapsed()))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

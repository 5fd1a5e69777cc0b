//! Measures what docs/performance.md says: `make bench`.
//!
//! Each figure is measured beside a baseline of the same run, so that a slow or busy machine is told
//! from a slow program. A figure that misses its limit makes the run fail.

mod calls;
mod echo;
mod generator;
mod keep_alive;
mod load;
mod machine;
mod manifests;
mod mesh;
mod process;
mod relay;
mod report;
mod startup;
mod stats;
mod storage;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

use crate::report::Report;

/// What may go wrong here has no caller who would tell the cases apart.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures calls, relayed tokens, memory, start and storage of a `cortex` binary.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary, built with optimisation.
    #[arg(long)]
    cortex: PathBuf,
    /// Manifests that it serves while its memory and its start are measured.
    #[arg(long, default_value = "manifests")]
    manifests: PathBuf,
    /// Where the figures are written as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fewer repetitions: for a look, not for the record.
    #[arg(long)]
    quick: bool,
    /// What is measured. Default: everything.
    #[arg(value_enum)]
    parts: Vec<Part>,
}

/// A group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Unary calls, in the process and over TCP.
    Calls,
    /// Tokens from the model to a client.
    Relay,
    /// Tokens of many sessions at once.
    Load,
    /// Memory of an idle process.
    Memory,
    /// Time until a process is ready.
    Start,
    /// Appends of many sessions.
    StorageAppend,
    /// A session with many subscribers.
    StorageFanout,
    /// Calls of storage over HTTP.
    StorageHttp,
    /// Bytes that a long session takes.
    StorageBytes,
    /// Time to open and read sessions, long and short.
    StorageRead,
}

impl Arguments {
    fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let measured = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(Box::pin(measure(&arguments))));
    match measured.and_then(|report| finish(&arguments, &report)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&*error);
            ExitCode::from(2)
        }
    }
}

async fn measure(arguments: &Arguments) -> Outcome<Report> {
    // As in `cortex up`: spans are made for every call.
    let _guard = cortex_telemetry::init(&cortex_telemetry::TelemetryConfig::default())?;
    let mut report = Report::new(machine::Machine::read()?);
    if arguments.wants(Part::Calls) {
        // A caller in a service is a task of the runtime, not the thread that waits for it.
        let quick = arguments.quick;
        report.extend(tokio::spawn(async move { calls::measure(quick).await }).await??);
    }
    if arguments.wants(Part::Start) {
        report.extend(startup::start(arguments).await?);
    }
    if arguments.wants(Part::Memory) {
        report.extend(startup::memory(arguments).await?);
    }
    if arguments.wants(Part::StorageAppend) {
        report.extend(storage::append(arguments).await?);
    }
    if arguments.wants(Part::StorageFanout) {
        report.extend(storage::fanout(arguments).await?);
    }
    if arguments.wants(Part::StorageHttp) {
        report.extend(storage::http(arguments).await?);
    }
    if arguments.wants(Part::StorageBytes) {
        report.extend(storage::bytes(arguments).await?);
    }
    if arguments.wants(Part::StorageRead) {
        report.extend(storage::read(arguments).await?);
    }
    if arguments.wants(Part::Relay) {
        report.extend(relay::measure(arguments).await?);
    }
    if arguments.wants(Part::Load) {
        report.extend(load::measure(arguments).await?);
    }
    Ok(report)
}

fn finish(arguments: &Arguments, report: &Report) -> Outcome<bool> {
    report.print();
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json())?;
    }
    Ok(report.holds())
}

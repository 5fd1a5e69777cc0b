//! The `cortex` command: runs the services, and talks to them.
//!
//! `up` and `serve` are the product; every other command is a client of it over gRPC.

mod cli;
mod commands;
mod connect;
mod data_dir;
mod exit;
mod output;
mod services;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&exit::Failure::other(format!("no threads: {error}"))),
    };
    let outcome = runtime.block_on(Box::pin(run(cli)));
    // Blocking reads of standard input may still be under way; nothing waits for them.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => exit::report(&failure),
    }
}

async fn run(cli: Cli) -> Result<(), exit::Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Up(up) => commands::up::run(&global, up).await,
        Command::Serve(serve) => commands::serve::run(&global, serve).await,
        Command::Chat(chat) => commands::chat::run(&global, chat).await,
        Command::Session(session) => commands::session::run(&global, session).await,
        Command::Artifact(artifact) => commands::artifact::run(&global, artifact).await,
        Command::Storage(storage) => commands::storage::run(&global, storage).await,
        Command::Call(call) => commands::call::run(&global, call).await,
        Command::Health(health) => commands::health::run(&global, health).await,
        Command::Config(config) => commands::config::run(&global, &config),
        Command::Completions { shell } => commands::completions::run(&global, shell),
    }
}

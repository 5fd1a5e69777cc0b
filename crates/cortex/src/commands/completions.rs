//! `cortex completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    cli::{Cli, Global},
    exit::Failure,
    output::Output,
};

/// Prints the completions of a shell.
pub fn run(global: &Global, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cortex", &mut script);
    Output::new(global).write(&String::from_utf8_lossy(&script))
}

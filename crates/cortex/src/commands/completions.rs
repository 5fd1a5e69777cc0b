//! `cortex completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints the completions of a shell.
pub fn run(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "cortex", &mut std::io::stdout());
}

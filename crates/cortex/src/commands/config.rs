//! `cortex config`.

use crate::{
    cli::{Config, ConfigCommand, Global},
    exit::Failure,
    output::{Output, Style},
    settings,
};

/// Prints or checks the configuration.
pub fn run(global: &Global, command: &Config) -> Result<(), Failure> {
    let output = Output::new(global);
    let loaded = settings::load(global, None)?;
    match command.command {
        ConfigCommand::Print => output.write(&loaded.print_with_origins()),
        ConfigCommand::Check => {
            let file = loaded.file().map_or_else(
                || "no file; defaults and environment".to_owned(),
                |file| file.display().to_string(),
            );
            output.line(&format!(
                "{} ({file})",
                output.styled(Style::Good, "the configuration is valid")
            ))
        }
    }
}

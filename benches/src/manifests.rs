//! The agent that relays tokens: the built-in model, no tools, no limit on the answer.

use std::{fs, path::Path};

use crate::Outcome;

/// The agent's name.
pub(crate) const AGENT: &str = "relay";

const MANIFEST: &str = r"kind: Agent
version: '1.0'
name: relay
summary: Relays the built-in model
description: Relays the tokens of the built-in model, so that they can be counted.
persona:
  agent: ./prompt.md
cognitive_engine:
  primary:
    provider: rehearsal
    model: rehearsal
";

/// Writes the agent's manifest into `root`.
pub(crate) fn write(root: &Path) -> Outcome<()> {
    let agent = root.join("agents").join(AGENT);
    fs::create_dir_all(&agent)?;
    fs::write(agent.join("agent.yml"), MANIFEST)?;
    fs::write(agent.join("prompt.md"), "You relay.\n")?;
    Ok(())
}

//! What manifests say, as types that cannot hold nonsense: one file per kind.

mod agent;
mod common;
mod fields;
mod parameters;
mod relic;
mod tool;
mod workflow;

pub use agent::{Agent, Engine, EngineParameters, PersonaText};
pub use common::{Common, Import, is_legacy, parse};
pub use fields::Fields;
pub use relic::Relic;
pub use tool::Tool;
pub use workflow::Workflow;

/// What a manifest says beyond what all kinds say.
#[derive(Debug, Clone)]
pub enum Body {
    /// An agent.
    Agent(Box<Agent>),
    /// A tool.
    Tool(Box<Tool>),
    /// A relic.
    Relic(Relic),
    /// A workflow.
    Workflow(Workflow),
    /// A kind that is kept and shown, but not run.
    Other,
}

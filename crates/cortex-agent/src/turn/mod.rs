//! A turn as pure transitions: journal entries in, decisions out. No I/O, no clock.

mod context;
mod events;
mod next;
mod text;
mod view;

pub(crate) use context::{Context, ContextLimits, prompt_messages, tool_definitions};
pub(crate) use events::*;
pub(crate) use next::{Cut, Next, next};
pub(crate) use text::{StreamedText, TextRange};
pub(crate) use view::{AttemptPhase, Call, TurnView};

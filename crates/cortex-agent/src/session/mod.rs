//! Work on one held session: its journal, its commands, its turns.

mod abort;
mod attempt;
mod calls;
mod commands;
mod feed;
mod grant;
mod messages;
mod model;
mod runner;
mod steps;

pub(crate) use feed::decode_event;
pub(crate) use grant::COMMAND_TYPE;
pub(crate) use runner::{Runner, RunnerContext};

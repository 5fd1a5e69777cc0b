//! The gRPC services: parse, call the domain, answer.

mod engine;
mod tool;

pub(crate) use engine::Engines;
pub(crate) use tool::Tools;

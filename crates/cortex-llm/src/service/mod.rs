//! The gRPC services: parse, call the domain, answer.

mod completion;
mod provider;

pub use completion::Completions;
pub use provider::Providers;

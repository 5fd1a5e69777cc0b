//! The gRPC services: parse, call the domain, answer.

mod tool;

pub(crate) use tool::Tools;

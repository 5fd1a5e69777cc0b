//! The gRPC services of the agent service: parse, call the domain, answer.

mod agents;
mod sessions;
mod stream;
mod turns;

pub(crate) use agents::Agents;
pub(crate) use sessions::Sessions;
pub(crate) use turns::Turns;

use std::pin::Pin;

use futures::Stream;
use tonic::Status;

/// A response stream.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

//! What storage costs: appends, their followers and calls over HTTP, bytes of a long session, and the
//! time to open and read sessions of any length.

mod append;
mod bytes;
mod conversation;
mod fanout;
mod http;
mod raw;
mod read;
mod session;

use std::path::Path;

use cortex_proto::cortex::storage::v1::NewEvent;
use prost_types::Any;

use crate::{
    Arguments, Outcome,
    mesh::{Mesh, Plan},
};

pub(crate) use append::measure as append;
pub(crate) use bytes::measure as bytes;
pub(crate) use fanout::measure as fanout;
pub(crate) use http::measure as http;
pub(crate) use read::measure as read;

/// Bytes of an event.
const PAYLOAD: usize = 200;

/// The storage service in a process of its own, with its data in `directory`.
async fn serve(arguments: &Arguments, directory: &Path) -> Outcome<Mesh> {
    let plan = Plan {
        command: &["serve", "storage"],
        ports: &[8084],
        ..Plan::up(&arguments.cortex, &arguments.manifests, directory)
    };
    Mesh::start(&plan).await
}

/// An event of [`PAYLOAD`] bytes.
fn event() -> NewEvent {
    let payload = Any {
        type_url: "type.googleapis.com/cortex.agent.v1.SessionEvent".to_owned(),
        value: vec![7; PAYLOAD],
    };
    NewEvent { r#type: "content_delta".to_owned(), payload: Some(payload) }
}

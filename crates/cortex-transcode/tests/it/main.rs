//! The transcoder from the outside: HTTP in, HTTP out, a dynamic gRPC service behind it.

mod bodies;
mod bytes;
mod contracts;
mod errors;
mod openapi;
mod paths;
mod server;
mod streams;
mod wire;

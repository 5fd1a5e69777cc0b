//! HTTP and JSON for any gRPC service, from its google.api.http annotations.
mod answer;
mod binding;
mod call;
mod codec;
mod download;
mod error;
mod frames;
mod json;
mod limits;
mod metadata;
mod options;
mod problem;
mod query;
mod range;
mod relay;
mod request;
mod router;
mod schema;
mod service;
mod status;
mod template;
#[cfg(test)]
mod testing;
mod transcoder;
mod upload;

pub use self::{
    codec::{CodecError, JsonCodec},
    error::BuildError,
    limits::Limits,
    transcoder::{Builder, Route, Transcoder, Unmatched},
};

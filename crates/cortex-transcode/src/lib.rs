//! HTTP and JSON for any gRPC service, from its google.api.http annotations.
//!
//! A [`Transcoder`] stands in front of gRPC services, local or remote, and answers HTTP: it reads
//! the annotations from the descriptors when it is built, and for each request finds the method,
//! makes its message from path, query and body, calls the service, and tells the answer as JSON, as
//! server-sent events, as lines of JSON or as bytes. Nothing is generated per service. Arrows: none.
//!
//! ```
//! use cortex_transcode::Transcoder;
//! use tower::ServiceExt;
//! # use tonic::body::Body;
//! # let storage = tower::service_fn(|_: http::Request<Body>| async {
//! #     Ok::<_, std::convert::Infallible>(tonic::Status::unavailable("no storage").into_http())
//! # });
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let pool = cortex_proto::descriptor_pool().clone();
//! let transcoder = Transcoder::builder(pool)
//!     .service("cortex.storage.v1.SessionService", storage) // a channel, a server, a transport
//!     .build()?;
//! let request = http::Request::get("/storage/sessions/session_1").body(Body::empty())?;
//! let response = transcoder.oneshot(request).await?;
//! assert_eq!(response.status(), 503);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Requests
//!
//! Paths are those of google.api.http; a literal wins over `*`, which wins over `**`. Segments are
//! percent-decoded one by one; in a variable of several segments `%2F` stays. What the path says wins
//! over the body. Where the body is not the whole request, other fields come from the query:
//! `a.b=1`, repeated fields by repetition, messages only of the well-known textual types. Unknown
//! fields and parameters are 400, and every wrong field is listed with its path. A body is
//! `application/json`, or missing. `authorization`, `x-request-id`, `traceparent` and `tracestate`
//! become metadata; `grpc-timeout` or `x-timeout` (seconds) becomes the call's deadline. There is
//! no other deadline here: the layers of the mesh have them. Extensions of the request, such as the
//! caller's identity, go along to a local service.
//!
//! # JSON
//!
//! Field names as in the contract, 64-bit integers as numbers, enum values in short lower case
//! (`SESSION_STATUS_ACTIVE` is `active`), fields marked with `cortex.api.v1.json` verbatim. Every
//! field is written but unset messages, unset optional fields, unset arms of a oneof and empty JSON
//! fields. Canonical ProtoJSON is read as well; `null` is an unset field. [`JsonCodec`] offers the
//! same for messages that do not come over HTTP.
//!
//! # Answers
//!
//! `response_body` unwraps; a `next_page_token` beside it travels in `x-next-page-token`. Errors are
//! `{"error":{"code","status","message","details"}}` with the google.rpc details as JSON, and
//! `retry-after` from RetryInfo. A server-streaming method answers events, or lines of JSON where
//! `application/x-ndjson` is accepted; an error before the first message is an HTTP status, a later
//! one the event `error` or the last line. google.api.HttpBody is the bytes that it holds, with
//! `Range`; OUT_OF_RANGE of a method that takes offsets is 416, with the length that its ErrorInfo tells
//! as `size`. What annotations cannot say stands in `cortex.api.v1.http_stream` and `http_bytes`.
//!
//! Reasons of the transcoder's own errors (google.rpc.ErrorInfo, domain `cortex`): ROUTE_NOT_FOUND,
//! METHOD_NOT_ALLOWED, INVALID_PATH, PATH_TOO_LONG, QUERY_TOO_LONG, INVALID_FIELD, MALFORMED_JSON,
//! UNSUPPORTED_MEDIA_TYPE, UNEXPECTED_BODY, BODY_TOO_LARGE, BODY_TOO_SLOW, BODY_BROKEN,
//! RESUME_NEEDS_REQUEST_ID, RANGE_NOT_SATISFIABLE, INVALID_RESPONSE.

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
mod openapi;
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
    openapi::{OpenApiInfo, openapi},
    transcoder::{Builder, Route, Transcoder, Unmatched},
};

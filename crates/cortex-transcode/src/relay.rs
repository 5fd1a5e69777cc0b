//! A gRPC stream told over HTTP while it runs.
//!
//! Pull-based: a message is taken from the service when the client has room for it, so a slow client
//! slows its own stream and nothing is queued here. When the client goes, the body is dropped and
//! with it the call.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture, stream};
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use prost_reflect::DynamicMessage;
use tokio::time::timeout;
use tonic::{Response, Status, Streaming, body::Body, metadata::MetadataMap};

use crate::{
    answer,
    binding::{Binding, StreamPlan, Target},
    frames::{Framer, Framing, HEARTBEAT, RETRY},
    limits::Limits,
    problem::Problem,
    schema::Schema,
    status,
};

/// What is ready is sent in one piece, up to about this size.
const PIECE: usize = 32 << 10;

/// A call whose stream has not opened yet.
pub(crate) type Opening = BoxFuture<'static, Result<Response<Streaming<DynamicMessage>>, Status>>;

enum Source {
    Opening(Opening),
    Open(Box<Streaming<DynamicMessage>>),
}

/// What the next message of a stream is.
type Next = Result<Option<DynamicMessage>, Status>;

/// A gRPC stream, open or about to be.
pub(crate) struct Upstreamed {
    source: Source,
    pub(crate) metadata: MetadataMap,
}

impl Upstreamed {
    pub(crate) fn new(opening: Opening) -> Self {
        Self { source: Source::Opening(opening), metadata: MetadataMap::new() }
    }

    /// Waits until the stream is open. Cancel-safe.
    pub(crate) async fn open(&mut self) -> Result<&mut Streaming<DynamicMessage>, Status> {
        if let Source::Opening(opening) = &mut self.source {
            let (metadata, streaming, _) = opening.await?.into_parts();
            self.metadata = metadata;
            self.source = Source::Open(Box::new(streaming));
        }
        match &mut self.source {
            Source::Open(streaming) => Ok(streaming),
            Source::Opening(_) => Err(Status::internal("the stream did not open")),
        }
    }

    /// The next message, or the end. Cancel-safe. Not to be called again after the end.
    pub(crate) async fn next(&mut self) -> Next {
        self.open().await?.message().await
    }
}

/// Tells one stream.
pub(crate) struct Relay {
    pub(crate) schema: Arc<Schema>,
    pub(crate) binding: Arc<Binding>,
    pub(crate) plan: StreamPlan,
    pub(crate) target: Target,
    pub(crate) framing: Framing,
    pub(crate) limits: Limits,
    pub(crate) upstream: Upstreamed,
}

impl Relay {
    /// The answer: an HTTP error if the stream fails before its first message, 204 if it ends
    /// before that and `resuming`, else the stream.
    ///
    /// Waits for the first message, but only so long: a stream that is open and silent is answered.
    pub(crate) async fn answer(mut self, resuming: bool) -> Result<http::Response<Body>, Problem> {
        let first = self.first().await;
        let mut response = match first {
            Some(Err(status)) => return Err(status::problem(&self.schema, &status)),
            Some(Ok(None)) if resuming => no_content(),
            first => {
                let metadata = self.upstream.metadata.clone();
                let mut response = self.stream(first);
                answer::name_request(&mut response, &metadata);
                return Ok(response);
            }
        };
        answer::name_request(&mut response, &self.upstream.metadata);
        Ok(response)
    }

    async fn first(&mut self) -> Option<Next> {
        match timeout(self.limits.heartbeat, self.upstream.open()).await {
            Err(_) => return None,
            Ok(Err(status)) => return Some(Err(status)),
            Ok(Ok(_)) => {}
        }
        timeout(self.limits.first_message, self.upstream.next()).await.ok()
    }

    fn stream(self, first: Option<Next>) -> http::Response<Body> {
        let content_type = HeaderValue::from_static(self.framing.content_type());
        let telling = Telling { relay: self, pending: first, begun: false, ended: false };
        let pieces = stream::unfold(telling, async |mut telling| {
            let piece = telling.piece().await?;
            Some((Ok::<_, Status>(Frame::data(piece)), telling))
        });
        let mut response = http::Response::new(Body::new(StreamBody::new(pieces)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // nginx and its like must not hold events back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

fn no_content() -> http::Response<Body> {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A stream whose answer has begun.
struct Telling {
    relay: Relay,
    pending: Option<Next>,
    begun: bool,
    ended: bool,
}

impl Telling {
    /// The next bytes of the body: whatever is ready, else the next message, else a heartbeat.
    async fn piece(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) && self.relay.framing == Framing::Events {
            out.extend_from_slice(RETRY);
        }
        loop {
            while let Some(next) = self.ready(&out) {
                self.tell(next, &mut out);
            }
            if !out.is_empty() {
                return Some(out.into());
            }
            if self.ended {
                return None;
            }
            match timeout(self.relay.limits.heartbeat, self.relay.upstream.next()).await {
                Ok(next) => self.pending = Some(next),
                Err(_) if self.relay.framing == Framing::Events => {
                    return Some(Bytes::from_static(HEARTBEAT));
                }
                // Lines have no comments.
                Err(_) => {}
            }
        }
    }

    /// What can be told without waiting.
    fn ready(&mut self, out: &[u8]) -> Option<Next> {
        if self.ended || out.len() >= PIECE {
            return None;
        }
        self.pending.take().or_else(|| self.relay.upstream.next().now_or_never())
    }

    fn tell(&mut self, next: Next, out: &mut Vec<u8>) {
        let relay = &self.relay;
        let framer = Framer {
            schema: &relay.schema,
            framing: relay.framing,
            plan: &relay.plan,
            target: &relay.target,
        };
        match next {
            Ok(Some(message)) => {
                if let Err(error) = framer.message(out, &message) {
                    framer.error(out, &Problem::response(&error.to_string()));
                    self.ended = true;
                }
            }
            Ok(None) => self.ended = true,
            Err(status) => {
                tracing::debug!(rpc = relay.binding.rpc, code = ?status.code(), "stream failed");
                framer.error(out, &status::problem(&relay.schema, &status));
                self.ended = true;
            }
        }
    }
}

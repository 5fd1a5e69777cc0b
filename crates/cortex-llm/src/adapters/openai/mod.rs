//! Everything that speaks OpenAI's chat completions: OpenAI, Groq, Ollama's /v1, vLLM, llama.cpp,
//! GitHub Models, OpenRouter.
//!
//! Answers are always streamed, also where the caller wants one piece: only a stream can be cancelled
//! and watched. The format is read as the servers write it, not only as OpenAI documents it
//! (<https://platform.openai.com/docs/api-reference/chat-streaming>): calls without index, whole calls
//! in one chunk, usage in odd places, errors within the stream, streams without `[DONE]`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{
    config::{Endpoint, TimeoutConfig},
    failure::{Class, Failure},
    ports::{Call, EventStream, ModelInfo, Provider},
};

mod calls;
mod classify;
mod decode;
mod http_client;
mod models;
mod reader;
mod request;
mod wire;

pub(crate) use http_client::HttpClient;

/// How long and how large the parts of a response may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From the request to the first token.
    pub(crate) first_token: Duration,
    /// Between two reads of a response that has begun.
    pub(crate) idle: Duration,
    /// For the list of models.
    pub(crate) list: Duration,
    /// Bytes of one event of the stream.
    pub(crate) frame_bytes: usize,
    /// Bytes of an answer that is not streamed.
    pub(crate) body_bytes: usize,
}

impl Bounds {
    pub(crate) fn first_token(mut self, limit: Duration) -> Self {
        self.first_token = limit;
        self
    }

    /// The bounds that the configuration gives for most providers.
    pub(crate) fn new(timeouts: &TimeoutConfig, frame_bytes: usize, body_bytes: usize) -> Self {
        Self {
            first_token: timeouts.first_token.get(),
            idle: timeouts.idle.get(),
            list: timeouts.list.get(),
            frame_bytes,
            body_bytes,
        }
    }
}

/// A provider that speaks OpenAI's chat completions.
#[derive(Clone)]
pub(crate) struct OpenAi(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    client: HttpClient,
    bounds: Bounds,
    chat: Uri,
    models: Uri,
    authorization: Option<HeaderValue>,
}

impl OpenAi {
    /// A provider at `endpoint`.
    ///
    /// # Errors
    /// What is wrong with the address or the key, for a person.
    pub(crate) fn new(
        endpoint: Endpoint,
        client: HttpClient,
        bounds: Bounds,
    ) -> Result<Self, String> {
        let (chat, models) = (uri(&endpoint, "chat/completions")?, uri(&endpoint, "models")?);
        let authorization =
            endpoint.api_key.as_ref().map(|key| bearer(key.expose())).transpose()?;
        Ok(Self(Arc::new(Inner { endpoint, client, bounds, chat, models, authorization })))
    }
}

fn uri(endpoint: &Endpoint, path: &str) -> Result<Uri, String> {
    let mut url = endpoint.base_url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{path}"));
    url.as_str().parse().map_err(|error| format!("'{url}' is not an address: {error}"))
}

fn bearer(key: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
        .map_err(|_| "the key holds characters that a header cannot carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

impl Provider for OpenAi {
    fn attempt(&self, call: Call) -> EventStream {
        let inner = self.0.clone();
        let scrubber = inner.clone();
        stream::once(async move { inner.open(call).await })
            .try_flatten()
            .map_err(move |failure| scrubber.scrub(failure))
            .boxed()
    }

    fn list_models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Failure>> {
        self.0.list_models().map(|models| models.map_err(|failure| self.0.scrub(failure))).boxed()
    }
}

impl Inner {
    async fn open(&self, call: Call) -> Result<EventStream, Failure> {
        let start = Instant::now();
        let first_token =
            call.request.parameters.first_token_timeout.unwrap_or(self.bounds.first_token);
        let deadlines = reader::Deadlines {
            first_token: start + first_token.min(call.remaining),
            total: start + call.remaining,
            idle: self.bounds.idle,
        };
        let body = request::body(&call.request, &call.model, &self.endpoint)?;
        let asked = self.client.send(self.request(Method::POST, &self.chat, body)?);
        let response = tokio::time::timeout_at(deadlines.first_token, asked)
            .await
            .map_err(|_| timeout("no response came", first_token.min(call.remaining)))??;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is = |expected: &[u8]| kind.is_some_and(|kind| kind.starts_with(expected));
        if is(b"text/html") {
            return Err(protocol("a web page came in place of an answer; is the base URL right?"));
        }
        let is_json = is(b"application/json");
        let decoder = decode::Decoder::new(call.request.clone());
        let body = response.into_body();
        if is_json {
            let limit = self.bounds.body_bytes;
            return Ok(reader::whole(body, decoder, deadlines, limit).boxed());
        }
        Ok(reader::Reader::new(body, decoder, deadlines, self.bounds.frame_bytes).into_events())
    }

    fn request(
        &self,
        method: Method,
        uri: &Uri,
        body: Bytes,
    ) -> Result<http_client::Request, Failure> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(uri.clone())
            .header(header::ACCEPT, "text/event-stream, application/json")
            .header(header::USER_AGENT, concat!("cortex-prime/", env!("CARGO_PKG_VERSION")));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        request
            .body(body.into())
            .map_err(|error| Failure::new(Class::Rejected, format!("cannot ask: {error}")))
    }

    /// What a response says that is not an answer.
    async fn refusal(&self, response: http::Response<Incoming>) -> Failure {
        let (parts, body) = response.into_parts();
        let read = http_client::collect(body, http_client::REFUSAL_BYTES);
        let body = tokio::time::timeout(http_client::REFUSAL_TIME, read).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        classify::response(parts.status, &parts.headers, &body)
    }

    async fn list_models(&self) -> Result<Vec<ModelInfo>, Failure> {
        let limit = self.bounds.list;
        let listed = async {
            let request = self.request(Method::GET, &self.models, Bytes::new())?;
            let response = self.client.send(request).await?;
            if response.status() != StatusCode::OK {
                return Err(self.refusal(response).await);
            }
            let body = http_client::collect(response.into_body(), self.bounds.body_bytes).await?;
            models::parse(&body)
        };
        let listed = tokio::time::timeout(limit, listed).await;
        listed.map_err(|_| timeout("no list of models came", limit))?
    }

    /// A server may repeat the key that it refuses.
    fn scrub(&self, mut failure: Failure) -> Failure {
        if let Some(key) = &self.endpoint.api_key {
            failure.message = failure.message.replace(key.expose().trim(), "[redacted]");
        }
        failure
    }
}

fn timeout(what: &str, limit: Duration) -> Failure {
    Failure::new(Class::Timeout, format!("{what} within {limit:?}"))
}

/// What a server does that the protocol does not allow.
fn protocol(what: impl Into<String>) -> Failure {
    Failure::new(Class::Protocol, what)
}

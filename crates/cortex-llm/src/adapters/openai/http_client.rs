//! The HTTP client that all providers share: pooled, without Nagle's delay, connecting in bounded
//! time, with Mozilla's roots of trust built in.

use std::{
    error::Error,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::Uri;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower::{BoxError, Service};

use super::protocol;
use crate::failure::{Class, Failure};

pub(super) type Request = http::Request<Full<Bytes>>;

/// Bytes of a refusal that are read.
pub(super) const REFUSAL_BYTES: usize = 64 * 1024;
/// How long a refusal's body is waited for.
pub(super) const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// How long a connection is kept without use: less than the 100 s and more of the usual balancers.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// How often an HTTP/2 connection is asked whether it is alive while answers are awaited.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A client for HTTP and HTTPS. Cloning is cheap; clones share connections.
#[derive(Clone)]
pub(crate) struct HttpClient(Client<Bounded<HttpsConnector<HttpConnector>>, Full<Bytes>>);

impl HttpClient {
    /// A client that connects within `connect` and keeps up to `idle` connections per provider.
    pub(crate) fn new(connect: Duration, idle: usize) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(IDLE_CONNECTION));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(idle)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .build(Bounded { inner: connector, limit: connect });
        Self(client)
    }

    /// Sends a request and waits for the response's headers.
    ///
    /// # Errors
    /// [`Class::Connect`] when there is no connection or it breaks before the headers.
    pub(super) async fn send(&self, request: Request) -> Result<http::Response<Incoming>, Failure> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        self.0.request(request).await.map_err(|error| refused(&host, &error))
    }
}

fn refused(host: &str, error: &ClientError) -> Failure {
    let what = if error.is_connect() {
        format!("cannot connect to {host}")
    } else {
        format!("{host} broke the connection before it answered")
    };
    Failure::new(Class::Connect, format!("{what}: {}", deepest(error)))
}

/// What really happened: the last cause.
pub(super) fn deepest(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Reads a body of at most `limit` bytes. The caller bounds the time.
///
/// # Errors
/// [`Failure`] when it breaks off or is larger.
pub(super) async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Failure> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::new(Class::Cut, format!("the response broke off: {}", deepest(&error)))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > limit {
            return Err(protocol(format!("the response is larger than {limit} bytes")));
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// A connector that gives up: name resolution, TCP and TLS together take a bounded time.
#[derive(Clone)]
struct Bounded<C> {
    inner: C,
    limit: Duration,
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<C::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {limit:?}").into()),
            }
        })
    }
}

//! The HTTP client of object stores: hyper and rustls, which are in the binary anyway.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector as TcpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take to begin, from the request's first byte on: a part of 64 MiB is sent
/// within it at 1 MiB/s.
const ANSWER: Duration = Duration::from_secs(90);
/// How long an answer may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a connection is kept without use.
const IDLE: Duration = Duration::from_secs(60);
/// Connections to one host that are kept without use.
const IDLE_CONNECTIONS: usize = 64;

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(IDLE));
        tcp.set_connect_timeout(Some(CONNECT));
        // Plain HTTP is for endpoints that say so, and for the address at which an instance learns its
        // role.
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Ok(HttpClient::new(Hyper(client)))
    }
}

#[derive(Debug)]
struct Hyper(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[tonic::async_trait]
impl HttpService for Hyper {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = timeout(ANSWER, self.0.request(request)).await;
        let answer = answer.map_err(|_| late("the answer did not begin in time"))?;
        let answer = answer.map_err(|error| HttpError::new(kind(&error), error))?;
        Ok(answer.map(|body| HttpResponseBody::new(Impatient::new(body))))
    }
}

/// Decides whether a request is repeated.
fn kind(error: &ClientError) -> HttpErrorKind {
    if error.is_connect() {
        return HttpErrorKind::Connect;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<hyper::Error>()
            && (error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted())
        {
            return HttpErrorKind::Request;
        }
        if cause.downcast_ref::<io::Error>().is_some() {
            return HttpErrorKind::Interrupted;
        }
        source = cause.source();
    }
    HttpErrorKind::Unknown
}

fn late(what: &'static str) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, io::Error::new(io::ErrorKind::TimedOut, what))
}

/// A body that may not be silent for long while somebody waits for it.
#[derive(Debug)]
struct Impatient {
    body: Incoming,
    silence: Pin<Box<Sleep>>,
    waited_for: bool,
}

impl Impatient {
    fn new(body: Incoming) -> Self {
        Self { body, silence: Box::pin(sleep(SILENCE)), waited_for: false }
    }
}

impl Body for Impatient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waited_for = false;
            let frame = frame.map(|frame| {
                frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))
            });
            return Poll::Ready(frame);
        }
        if !std::mem::replace(&mut self.waited_for, true) {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
        }
        ready!(self.silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(late("the answer fell silent"))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

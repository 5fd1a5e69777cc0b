//! A panic of a service is the end of one call, not of its caller.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use cortex_core::Fault;
use futures::{FutureExt, future::Either};
use http::Request;
use http_body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

use crate::{
    body::{self, Reply},
    status::status,
    transport::{Answer, GrpcService},
};

/// Answers a panic of the service or of its response's stream with INTERNAL. The panic hook of
/// cortex-telemetry has logged where it happened.
#[derive(Debug)]
pub(crate) struct CatchPanic<S> {
    inner: S,
}

impl<S> CatchPanic<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> GrpcService for CatchPanic<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let call = match catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
            Ok(call) => call,
            Err(panic) => {
                return Either::Left(std::future::ready(Ok(body::respond(panicked(&*panic)))));
            }
        };
        Either::Right(AssertUnwindSafe(call).catch_unwind().map(|ended| match ended {
            Ok(Ok(response)) => Ok(response.map(guard)),
            Ok(Err(error)) => Err(error),
            Err(panic) => Ok(body::respond(panicked(&*panic))),
        }))
    }
}

fn guard(reply: Reply) -> Reply {
    match reply {
        Reply::Flow(body) if !body.is_end_stream() => {
            Reply::Flow(Body::new(GuardedBody(Some(body))))
        }
        over => over,
    }
}

/// A body whose panics end it. `None` after the end.
struct GuardedBody(Option<Body>);

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            Ok(frame) => frame,
            Err(panic) => {
                self.0 = None;
                let trailers = body::trailers(&panicked(&*panic));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Status {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned());
    status(&Fault::internal("PANIC", format!("the handler panicked: {message}")))
}

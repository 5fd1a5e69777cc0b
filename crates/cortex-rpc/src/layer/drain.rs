//! What happens to open calls when their server leaves.

use std::{
    future::ready,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use cortex_core::Fault;
use futures::future::{Either, select};
use http::Request;
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::task_tracker::TaskTrackerToken,
};
use tonic::{Status, body::Body};

use crate::{
    body::{self, Cut},
    context::context_mut,
    method::{Drains, Method},
    server::Drain,
    status::status,
    transport::{Answer, GrpcService},
};

/// When a caller whose stream was ended should try again: at once, elsewhere or after the restart.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Ends watches when the server stops accepting, and everything else at the drain deadline, with
/// UNAVAILABLE and RetryInfo.
#[derive(Debug)]
pub(crate) struct DrainCalls<S> {
    inner: S,
    drain: Drain,
}

impl<S> DrainCalls<S> {
    pub(crate) fn new(inner: S, drain: Drain) -> Self {
        Self { inner, drain }
    }
}

impl<S: GrpcService> GrpcService for DrainCalls<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let method = context_mut(&mut request).method.as_deref();
        let token = match method.map(|method| method.drain) {
            Some(Drains::AtOnce) => self.drain.stopping(),
            Some(Drains::WhenFinished) | None => self.drain.forcing(),
        };
        // The answer of a unary handler is complete with its head.
        let whole = method.is_some_and(Method::is_unary);
        if token.is_cancelled() {
            return Either::Left(ready(Ok(body::respond(leaving()))));
        }
        let open = self.drain.open_call();
        let call = self.inner.call(request);
        // Nothing further in holds the request, so that to hold the call twice costs little.
        Either::Right(async move {
            match select(pin!(call), pin!(token.cancelled())).await {
                Either::Left((Ok(response), _)) if !whole => {
                    Ok(response.map(|body| body::cut(body, DrainCut::new(token.clone(), open))))
                }
                Either::Left((answer, _)) => answer,
                Either::Right(((), _)) => Ok(body::respond(leaving())),
            }
        })
    }
}

struct DrainCut {
    token: CancellationToken,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Counts the call as open.
    _open: TaskTrackerToken,
}

impl DrainCut {
    fn new(token: CancellationToken, open: TaskTrackerToken) -> Self {
        Self { token, cancelled: None, _open: open }
    }
}

impl Cut for DrainCut {
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let token = &self.token;
        let cancelled =
            self.cancelled.get_or_insert_with(|| Box::pin(token.clone().cancelled_owned()));
        cancelled.as_mut().poll(cx).map(|()| leaving())
    }

    fn is_due(&self) -> bool {
        self.token.is_cancelled()
    }
}

fn leaving() -> Status {
    let fault = Fault::unavailable("DRAINING", "the service is leaving; continue at its successor")
        .with_retry_after(RETRY_AFTER);
    status(&fault)
}

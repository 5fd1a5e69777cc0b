//! Bodies that something is done to while they flow: cut short, observed, held on to.
//!
//! A gRPC response ends with its status, as trailers. Whoever ends one early must therefore add
//! trailers, and whoever wants to know how a call went must read them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status, body::Body};

/// One poll of a response body.
type FramePoll = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// `status` as the trailers of a response.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        // Only metadata that is no valid header gets here; the code is what must arrive.
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from(status.code() as i32));
    }
    headers
}

/// `status` as a whole response: headers only, no body.
pub(crate) fn respond(status: Status) -> http::Response<Body> {
    status.into_http()
}

/// The status in `headers`, when they carry one. A response that failed at once has it in its
/// headers, every other one in its trailers.
pub(crate) fn status_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// What ends a body before its time.
pub(crate) trait Cut: Send + Unpin + 'static {
    /// The status to end with, once it is time. Must register the waker while it is not.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Status>;

    /// Whether it is time, without registering anything. For bodies that are always ready.
    fn is_due(&self) -> bool;

    /// The status of a body that came to its own end, before it travels on.
    fn on_trailers(&mut self, _trailers: &mut HeaderMap) {}
}

/// Ends `body` with the status of `cut` as soon as that fires, and lets go of the body at once.
pub(crate) fn cut<C: Cut>(body: Body, cut: C) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(CutBody(Some((body, cut))))
}

/// `None` after the end: both are let go of as soon as nothing follows.
struct CutBody<C>(Option<(Body, C)>);

impl<C: Cut> HttpBody for CutBody<C> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll {
        let Some((body, cut)) = &mut self.0 else { return Poll::Ready(None) };
        if !cut.is_due()
            && let Poll::Ready(mut frame) = Pin::new(body).poll_frame(cx)
        {
            if let Some(Ok(frame)) = &mut frame
                && let Some(trailers) = frame.trailers_mut()
            {
                cut.on_trailers(trailers);
            }
            if ends(&frame) {
                self.0 = None;
            }
            return Poll::Ready(frame);
        }
        match cut.poll_cut(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(status) => {
                self.0 = None;
                Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// What watches a body flow, and may change how it ends.
pub(crate) trait Observe: Send + Unpin + 'static {
    /// The status, before it travels on. Called at most once, and never for a body that is dropped
    /// early or breaks off.
    fn on_trailers(&mut self, trailers: &mut HeaderMap);

    /// The body broke off without a status.
    fn on_error(&mut self, _error: &Status) {}
}

/// `body`, watched by `observer`, which is dropped when the body ends or is dropped.
pub(crate) fn observe<O: Observe>(body: Body, observer: O) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(ObservedBody { body, observer: Some(observer) })
}

struct ObservedBody<O> {
    body: Body,
    observer: Option<O>,
}

impl<O: Observe> HttpBody for ObservedBody<O> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(frame) = &mut polled {
            let last = ends(frame);
            if let Some(observer) = &mut this.observer {
                match frame {
                    Some(Ok(frame)) => {
                        if let Some(trailers) = frame.trailers_mut() {
                            observer.on_trailers(trailers);
                        }
                    }
                    Some(Err(error)) => observer.on_error(error),
                    None => {}
                }
            }
            if last {
                this.observer = None;
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Holds a value, such as a permit, until a body ends or is dropped.
pub(crate) struct Held<T>(pub(crate) T);

impl<T: Send + Unpin + 'static> Observe for Held<T> {
    fn on_trailers(&mut self, _trailers: &mut HeaderMap) {}
}

/// Whether nothing follows `frame`.
fn ends(frame: &Option<Result<Frame<Bytes>, Status>>) -> bool {
    match frame {
        Some(Ok(frame)) => frame.is_trailers(),
        Some(Err(_)) | None => true,
    }
}

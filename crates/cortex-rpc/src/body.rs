//! Bodies that something is done to while they flow: cut short, observed, held on to.
//!
//! A gRPC response ends with its status, as trailers. Whoever ends one early must therefore add
//! trailers, and whoever wants to know how a call went must read them.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status, body::Body};

/// One poll of a response body.
type FramePoll = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// The body of a response, on its way through the layers.
pub(crate) enum Reply {
    /// All of it is here: the message of a unary call, and its status.
    Whole(Box<Whole>),
    /// It comes piece by piece.
    Flow(Body),
}

impl Reply {
    /// Takes a body as a whole, if all of it is here: at most one piece of data, then trailers.
    pub(crate) fn gather(self) -> Self {
        let mut body = match self {
            Self::Flow(body) if !body.is_end_stream() => body,
            other => return other,
        };
        // Whoever reads what is left polls it again, with a waker of its own.
        let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let data = match poll() {
            Poll::Pending => return Self::Flow(body),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => frame.into_data().ok(),
            other => return Self::Flow(Body::new(Resumed { first: vec![other], body })),
        };
        let data = data.unwrap_or_default();
        match poll() {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let code = status_code(&trailers).unwrap_or(Code::Unknown);
                let (data, trailers) = (Some(data), Some(trailers));
                Self::Whole(Box::new(Whole { data, trailers, code }))
            }
            other => {
                let data = Poll::Ready(Some(Ok(Frame::data(data))));
                Self::Flow(Body::new(Resumed { first: vec![other, data], body }))
            }
        }
    }

    /// The same as what tonic and hyper send.
    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::Whole(whole) => Body::new(whole),
            Self::Flow(body) => body,
        }
    }
}

/// A body that is here.
pub(crate) struct Whole {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// What the trailers say.
    code: Code,
}

impl Whole {
    /// Lets `end` read and change the status.
    fn end(&mut self, end: impl FnOnce(Code, &mut HeaderMap)) {
        if let Some(trailers) = &mut self.trailers {
            end(self.code, trailers);
            if self.code != Code::Ok {
                self.code = status_code(trailers).unwrap_or(Code::Unknown);
            }
        }
    }
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> FramePoll {
        let frame = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

/// A body of which some polls were answered already, the next one last.
struct Resumed {
    first: Vec<FramePoll>,
    body: Body,
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll {
        match self.first.pop() {
            Some(Poll::Ready(frame)) => Poll::Ready(frame),
            Some(Poll::Pending) | None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.body.is_end_stream()
    }
}

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
pub(crate) fn respond(status: Status) -> Response<Reply> {
    status.into_http::<Body>().map(Reply::Flow)
}

/// The status in `headers`, when they carry one. A response that failed at once has it in its
/// headers, every other one in its trailers.
pub(crate) fn status_code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// The status of a response that has it in its headers.
pub(crate) fn head_code(response: &Response<Reply>) -> Option<Code> {
    match response.body() {
        Reply::Whole(_) => None,
        Reply::Flow(_) => status_code(response.headers()),
    }
}

/// What ends a body before its time.
pub(crate) trait Cut: Send + Unpin + 'static {
    /// The status to end with, once it is time. Must register the waker while it is not.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Status>;

    /// Whether it is time, without registering anything. For bodies that are always ready.
    fn is_due(&self) -> bool;

    /// The status of a body that came to its own end, before it travels on.
    fn on_trailers(&mut self, _code: Code, _trailers: &mut HeaderMap) {}
}

/// Ends `reply` with the status of `cut` as soon as that fires, and lets go of its body at once. One
/// that is here as a whole has ended.
pub(crate) fn cut<C: Cut>(reply: Reply, mut cut: C) -> Reply {
    match reply {
        Reply::Whole(mut whole) => {
            whole.end(|code, trailers| cut.on_trailers(code, trailers));
            Reply::Whole(whole)
        }
        Reply::Flow(body) if body.is_end_stream() => Reply::Flow(body),
        Reply::Flow(body) => Reply::Flow(Body::new(CutBody(Some((body, cut))))),
    }
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
                cut.on_trailers(status_code(trailers).unwrap_or(Code::Unknown), trailers);
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
    fn on_trailers(&mut self, code: Code, trailers: &mut HeaderMap);

    /// The body broke off without a status.
    fn on_error(&mut self, _error: &Status) {}
}

/// `reply`, watched by `observer`, which is dropped when the body ends or is dropped; at once if all
/// of it is here.
pub(crate) fn observe<O: Observe>(reply: Reply, mut observer: O) -> Reply {
    match reply {
        Reply::Whole(mut whole) => {
            whole.end(|code, trailers| observer.on_trailers(code, trailers));
            Reply::Whole(whole)
        }
        Reply::Flow(body) if body.is_end_stream() => Reply::Flow(body),
        Reply::Flow(body) => {
            Reply::Flow(Body::new(ObservedBody { body, observer: Some(observer) }))
        }
    }
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
                            let code = status_code(trailers).unwrap_or(Code::Unknown);
                            observer.on_trailers(code, trailers);
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
    fn on_trailers(&mut self, _code: Code, _trailers: &mut HeaderMap) {}
}

/// Whether nothing follows `frame`.
fn ends(frame: &Option<Result<Frame<Bytes>, Status>>) -> bool {
    match frame {
        Some(Ok(frame)) => frame.is_trailers(),
        Some(Err(_)) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

    /// A body of these polls. One that is pending wakes at once.
    struct Script(VecDeque<FramePoll>);

    impl HttpBody for Script {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll {
            let next = self.0.pop_front().unwrap_or(Poll::Ready(None));
            if next.is_pending() {
                cx.waker().wake_by_ref();
            }
            next
        }
    }

    fn data(text: &'static str) -> FramePoll {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }

    fn end(code: Code) -> FramePoll {
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&Status::new(code, "end"))))))
    }

    /// What a reader gets: the text, and the code or what broke it off.
    async fn read(reply: Reply) -> (String, Option<Code>) {
        let (mut body, mut text, mut code) = (reply.into_body(), String::new(), None);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) if frame.is_trailers() => {
                    code = frame.trailers_ref().and_then(status_code);
                }
                Ok(frame) => {
                    text += str::from_utf8(frame.data_ref().expect("data")).expect("text");
                }
                Err(error) => code = Some(error.code()),
            }
        }
        (text, code)
    }

    #[tokio::test]
    async fn what_is_gathered_reads_as_before() {
        let broken = || Poll::Ready(Some(Err(Status::data_loss("broken"))));
        let cases = [
            (vec![data("ab"), end(Code::Ok)], true, "ab", Some(Code::Ok)),
            (vec![data(""), end(Code::Aborted)], true, "", Some(Code::Aborted)),
            (vec![Poll::Pending, data("ab"), end(Code::Ok)], false, "ab", Some(Code::Ok)),
            (vec![data("ab"), Poll::Pending, end(Code::Ok)], false, "ab", Some(Code::Ok)),
            (vec![data("a"), data("b"), end(Code::Ok)], false, "ab", Some(Code::Ok)),
            (vec![end(Code::NotFound)], false, "", Some(Code::NotFound)),
            (vec![data("a"), broken()], false, "a", Some(Code::DataLoss)),
            (vec![broken()], false, "", Some(Code::DataLoss)),
            (vec![data("a")], false, "a", None),
            (vec![], false, "", None),
        ];
        for (number, (polls, whole, text, code)) in cases.into_iter().enumerate() {
            let reply = Reply::Flow(Body::new(Script(polls.into()))).gather();
            assert_eq!(matches!(reply, Reply::Whole(_)), whole, "case {number}");
            assert_eq!(read(reply).await, (text.to_owned(), code), "case {number}");
        }
    }

    struct Renames(Code);

    impl Observe for Renames {
        fn on_trailers(&mut self, code: Code, headers: &mut HeaderMap) {
            assert_eq!(code, self.0);
            if code != Code::Ok {
                headers.extend(trailers(&Status::new(Code::Unavailable, "")));
            }
        }
    }

    #[tokio::test]
    async fn who_watches_a_whole_answer_sees_what_the_one_before_made_of_it() {
        let script = Script([data("ab"), end(Code::Aborted)].into());
        let reply = Reply::Flow(Body::new(script)).gather();
        let reply = observe(observe(reply, Renames(Code::Aborted)), Renames(Code::Unavailable));
        assert_eq!(read(reply).await, ("ab".to_owned(), Some(Code::Unavailable)));
    }
}

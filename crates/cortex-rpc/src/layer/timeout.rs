//! The time that a call may take: `grpc-timeout` on the wire, an instant in the process.

use std::{
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cortex_core::Fault;
use futures::{FutureExt, TryFutureExt, future::Either};
use http::{HeaderMap, HeaderValue, Request};
use tokio::time::{Instant, Sleep, timeout_at};
use tonic::{Code, Status, body::Body};

use crate::{
    body::{self, Cut, Reply},
    context::TIMEOUT,
    status::status,
    transport::{Answer, GrpcService},
};

/// Enforces the `grpc-timeout` of a call, until the end of the response's body. A peer that answers
/// CANCELLED when that time is over (as tonic does) is read as DEADLINE_EXCEEDED.
#[derive(Debug)]
pub(crate) struct EnforceTimeout<S> {
    inner: S,
}

impl<S> EnforceTimeout<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> GrpcService for EnforceTimeout<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let deadline = read_timeout(request.headers()).and_then(Deadline::after);
        let call = self.inner.call(request);
        match deadline {
            Some(deadline) => Either::Left(deadline.enforce(call)),
            None => Either::Right(call),
        }
    }
}

/// A point in time by which a call must be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
}

impl Deadline {
    pub(crate) fn at(at: Instant) -> Self {
        Self { at }
    }

    /// `None` when that lies beyond what the clock can count.
    fn after(time: Duration) -> Option<Self> {
        Instant::now().checked_add(time).map(Self::at)
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.at
    }

    /// `call`, and the body of its response, until the deadline.
    pub(crate) fn enforce<F>(self, call: F) -> impl Future<Output = Answer> + Send
    where
        F: Future<Output = Answer> + Send,
    {
        self.enforce_head(call).map_ok(move |response| response.map(|body| self.enforce_body(body)))
    }

    /// `call` until the deadline.
    ///
    /// The timer is only started when the call does not answer at once.
    pub(crate) fn enforce_head<F>(self, call: F) -> impl Future<Output = Answer> + Send
    where
        F: Future<Output = Answer> + Send,
    {
        timeout_at(self.at, call).map(move |answer| match answer {
            Ok(answer) => {
                let mut response = answer?;
                if let Some(code) = body::head_code(&response) {
                    self.correct(code, response.headers_mut());
                }
                Ok(response)
            }
            Err(_) => Ok(body::respond(deadline_exceeded())),
        })
    }

    /// `body` until the deadline.
    fn enforce_body(self, reply: Reply) -> Reply {
        body::cut(reply, DeadlineCut { deadline: self, sleep: None })
    }

    /// Reads CANCELLED as what it is when the time is over.
    fn correct(self, code: Code, headers: &mut HeaderMap) {
        if code == Code::Cancelled && self.is_over() {
            headers.remove(Status::GRPC_STATUS);
            headers.remove(Status::GRPC_MESSAGE);
            headers.remove(Status::GRPC_STATUS_DETAILS);
            headers.extend(body::trailers(&deadline_exceeded()));
        }
    }
}

struct DeadlineCut {
    deadline: Deadline,
    /// Started when the body is first found waiting.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Cut for DeadlineCut {
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let at = self.deadline.at;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        sleep.as_mut().poll(cx).map(|()| deadline_exceeded())
    }

    fn is_due(&self) -> bool {
        self.deadline.is_over()
    }

    fn on_trailers(&mut self, code: Code, trailers: &mut HeaderMap) {
        self.deadline.correct(code, trailers);
    }
}

pub(crate) fn deadline_exceeded() -> Status {
    status(&Fault::deadline_exceeded("DEADLINE_EXCEEDED", "the call ran out of time"))
}

/// Reads `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). What is
/// malformed is no deadline.
pub(crate) fn read_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Writes `grpc-timeout` in the finest unit that fits into eight digits.
pub(crate) fn write_timeout(headers: &mut HeaderMap, timeout: Duration) {
    const LIMIT: u128 = 100_000_000;
    let candidates = [
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (u128::from(timeout.as_secs()), 'S'),
    ];
    let (amount, unit) =
        candidates.into_iter().find(|(n, _)| *n < LIMIT).unwrap_or((LIMIT - 1, 'H'));
    // Written for every call, so into an array: eight digits and the unit.
    let mut text = [0; 9];
    let mut written = text.as_mut_slice();
    if write!(written, "{amount}{unit}").is_err() {
        return;
    }
    let length = 9 - written.len();
    if let Ok(value) = HeaderValue::from_bytes(&text[..length]) {
        headers.insert(TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;
    use crate::transport::{Transport, TransportError};

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, HeaderValue::from_str(text).ok()?);
        read_timeout(&headers)
    }

    #[test]
    fn every_unit_is_read() {
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("50m"), Some(Duration::from_millis(50)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("9n"), Some(Duration::from_nanos(9)));
    }

    #[test]
    fn what_is_malformed_is_no_deadline() {
        for bad in ["", "m", "50", "-1m", "123456789m", "1.5S", "5 S", "5s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    /// A peer that, as tonic does, says CANCELLED when the time that it was given is over.
    fn cancels_at_the_deadline(in_trailers: bool) -> Transport {
        Transport::new(tower::service_fn(move |request: Request<Body>| async move {
            let time = read_timeout(request.headers()).expect("a deadline");
            let cancelled = Status::cancelled("Timeout expired");
            if in_trailers {
                let end = async move {
                    tokio::time::sleep(time).await;
                    Some(Ok(body::trailers(&cancelled)))
                };
                let frames = http_body_util::Empty::new().with_trailers(end);
                return Ok::<_, TransportError>(Response::new(Body::new(frames)));
            }
            tokio::time::sleep(time).await;
            Ok(cancelled.into_http())
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_at_the_deadline_is_deadline_exceeded() {
        for in_trailers in [false, true] {
            let service = EnforceTimeout::new(cancels_at_the_deadline(in_trailers));
            let request = Request::post("/a.B/C").header(TIMEOUT, "50m").body(Body::empty());
            let response = service.call(request.expect("a request")).await.expect("an answer");
            let head = response.headers().clone();
            let body = response.into_body().into_body().collect().await.expect("a body");
            let end = body.trailers().cloned().unwrap_or(head);
            assert_eq!(body::status_code(&end), Some(Code::DeadlineExceeded), "{in_trailers}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_at_most_a_unit_short(micros in 0u64..u64::MAX / 4096) {
            let sent = Duration::from_micros(micros);
            let mut headers = HeaderMap::new();
            write_timeout(&mut headers, sent);
            let received = read_timeout(&headers).expect("well-formed");
            prop_assert!(received <= sent || received.as_secs() > 99_999_999);
            if micros < 100_000_000 {
                prop_assert_eq!(received, sent);
            }
        }

        #[test]
        fn any_text_is_read_or_refused_but_never_panics(text in "[ -~]{0,12}") {
            let _ = read(&text);
        }
    }
}

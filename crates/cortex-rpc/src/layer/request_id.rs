//! Every call has an id, which the caller sees, the log carries and the next services get.

use std::sync::Arc;

use futures::TryFutureExt;
use http::{HeaderMap, HeaderValue, Request};
use tonic::{Code, Status, body::Body};

use crate::{
    body::{self, Observe},
    context::{REQUEST_ID, context_mut, new_request_id},
    status::seal,
    transport::{Answer, GrpcService},
};

/// Longest request id that is taken over from a caller.
const LONGEST: usize = 128;

/// Answers the request id that [`take_over`] found as `x-request-id`, and replaces what INTERNAL
/// statuses say by it.
#[derive(Debug)]
pub(crate) struct RequestId<S> {
    inner: S,
}

impl<S> RequestId<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: GrpcService> GrpcService for RequestId<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let id = take_over(&mut request);
        self.inner.call(request).map_ok(|mut response| {
            if let Some(code) = body::head_code(&response) {
                seal_status(code, response.headers_mut(), &id);
            }
            if let Ok(value) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            response.map(|body| body::observe(body, Seal(id)))
        })
    }
}

/// The request id of a call: the caller's, or a new one. It stays the same from then on.
pub(super) fn take_over(request: &mut Request<Body>) -> Arc<str> {
    if let Some(id) = &context_mut(request).request_id {
        return id.clone();
    }
    let id = read(request.headers()).unwrap_or_else(new_request_id);
    context_mut(request).request_id = Some(id.clone());
    id
}

/// The caller's id, when it is one that logs and headers can carry.
fn read(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let valid = !id.is_empty() && id.len() <= LONGEST && id.bytes().all(plain);
    valid.then(|| id.into())
}

struct Seal(Arc<str>);

impl Observe for Seal {
    fn on_trailers(&mut self, code: Code, trailers: &mut HeaderMap) {
        seal_status(code, trailers, &self.0);
    }
}

fn seal_status(code: Code, headers: &mut HeaderMap, id: &str) {
    if code == Code::Ok {
        return;
    }
    let sealed = Status::from_header_map(headers).and_then(|status| seal(&status, id));
    if let Some(sealed) = sealed {
        headers.remove(Status::GRPC_MESSAGE);
        headers.remove(Status::GRPC_STATUS_DETAILS);
        headers.extend(body::trailers(&sealed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_forge_a_log_line_are_replaced() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(text).expect("a header"));
            read(&headers)
        };
        assert_eq!(of("abc-1_2.3:4").as_deref(), Some("abc-1_2.3:4"));
        for bad in ["", "a b", "a\"b", "a{b}", &"x".repeat(129)] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}

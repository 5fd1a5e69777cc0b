//! An HTTP body as a stream of requests to a client-streaming method.
//!
//! The first request carries what path and query say, the content type and the first bytes; each
//! one after that carries only bytes. Pull-based: the body is read as fast as the service takes it.

use bytes::Bytes;
use futures::stream::{self, Stream};
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use prost_reflect::{DynamicMessage, FieldDescriptor};
use tokio::sync::oneshot;
use tonic::body::Body;

use crate::{problem::Problem, request};

/// The most bytes of one request. Messages in the mesh are at most 4 MiB.
const CHUNK: usize = 256 << 10;

/// The requests, and what tells why there are no more if the body broke off.
pub(crate) fn requests(
    first: DynamicMessage,
    field: Option<FieldDescriptor>,
    headers: HeaderMap,
    body: Body,
) -> (impl Stream<Item = DynamicMessage> + Send + 'static, oneshot::Receiver<Problem>) {
    let (broken, report) = oneshot::channel();
    let empty = DynamicMessage::new(prost_reflect::ReflectMessage::descriptor(&first));
    let upload = Upload {
        first: Some(first),
        empty,
        field,
        headers,
        body,
        left: Bytes::new(),
        broken: Some(broken),
    };
    let requests = stream::unfold(upload, async |mut upload| {
        let request = upload.next().await?;
        Some((request, upload))
    });
    (requests, report)
}

struct Upload {
    first: Option<DynamicMessage>,
    empty: DynamicMessage,
    /// The field that is the HttpBody; `None` if the request is.
    field: Option<FieldDescriptor>,
    headers: HeaderMap,
    body: Body,
    left: Bytes,
    broken: Option<oneshot::Sender<Problem>>,
}

impl Upload {
    async fn next(&mut self) -> Option<DynamicMessage> {
        let data = self.data().await;
        // An empty body is an upload too: of nothing.
        let Some(mut message) = self.first.take() else { return Some(self.request(data?)) };
        self.put(&mut message, &self.headers.clone(), data.unwrap_or_default());
        Some(message)
    }

    fn request(&self, data: Bytes) -> DynamicMessage {
        let mut message = self.empty.clone();
        self.put(&mut message, &HeaderMap::new(), data);
        message
    }

    fn put(&self, message: &mut DynamicMessage, headers: &HeaderMap, data: Bytes) {
        match &self.field {
            Some(field) => request::put_bytes(message, field, headers, data),
            None => *message = request::http_body(message, headers, data),
        }
    }

    async fn data(&mut self) -> Option<Bytes> {
        while self.left.is_empty() {
            if self.body.is_end_stream() {
                return None;
            }
            match self.body.frame().await? {
                Ok(frame) => self.left = frame.into_data().unwrap_or_default(),
                Err(error) => return self.break_off(&error).await,
            }
        }
        let length = self.left.len().min(CHUNK);
        Some(self.left.split_to(length))
    }

    /// Reports why the body broke off and never ends, so that the service does not take half an
    /// upload for a whole one: the call is dropped by who reads the report.
    async fn break_off(&mut self, error: &tonic::Status) -> Option<Bytes> {
        let problem =
            Problem::bad_request("BODY_BROKEN", format!("the body broke off: {}", error.message()));
        if let Some(broken) = self.broken.take() {
            let _ = broken.send(problem);
        }
        std::future::pending().await
    }
}

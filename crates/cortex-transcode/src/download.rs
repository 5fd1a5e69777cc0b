//! google.api.HttpBody as the bytes that it is, whole or streamed, with `Range`.
//!
//! A service that streams says the length in the response metadata `x-content-length` if it knows
//! it; only then are ranges served and the length told. `etag`, `last-modified`,
//! `content-disposition` and `cache-control` of the metadata become headers.

use std::ops::Range;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Status, body::Body, metadata::MetadataMap};

use crate::{
    answer,
    binding::{AnswerRule, Target},
    problem::Problem,
    range,
    relay::Upstreamed,
    schema::Schema,
    status,
};

/// What decides how a download is answered.
pub(crate) struct Download<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) target: &'a Target,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// One piece of a download.
struct Piece {
    content_type: String,
    data: Bytes,
}

impl Download<'_> {
    /// The answer whose bytes are all in one message.
    pub(crate) fn whole(
        &self,
        message: &DynamicMessage,
        metadata: &MetadataMap,
    ) -> Result<http::Response<Body>, Problem> {
        let piece = piece(self.field(), message);
        let length = piece.data.len() as u64;
        let (mut response, range) = self.head(&piece.content_type, Some(length), metadata)?;
        if response.status() != StatusCode::NOT_MODIFIED {
            let data = match range {
                Some(range) => piece.data.slice(index(range.start)..index(range.end)),
                None => piece.data,
            };
            *response.body_mut() = answer::full(data);
        }
        Ok(response)
    }

    /// The answer whose bytes come in many messages; the first one is waited for.
    pub(crate) async fn streamed(
        &self,
        mut upstream: Upstreamed,
    ) -> Result<http::Response<Body>, Problem> {
        let problem = |status: Status| status::problem(self.schema, &status);
        let first = upstream.next().await.map_err(problem)?;
        let ended = first.is_none();
        let first = first.map(|message| piece(self.field(), &message));
        let content_type = first.as_ref().map(|piece| piece.content_type.as_str());
        let length = content_length(&upstream.metadata);
        let (mut response, range) =
            self.head(content_type.unwrap_or_default(), length, &upstream.metadata)?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let bounds = range.or(length.map(|length| 0..length));
        if let Some(bounds) = &bounds {
            let left = HeaderValue::from(bounds.end - bounds.start);
            response.headers_mut().insert(header::CONTENT_LENGTH, left);
        }
        let pieces = Pieces {
            field: self.field(),
            upstream,
            pending: first.map(|piece| piece.data),
            ended,
            skip: bounds.as_ref().map_or(0, |bounds| bounds.start),
            left: bounds.map(|bounds| bounds.end - bounds.start),
        };
        let frames = stream::unfold(pieces, async |mut pieces| {
            let piece = pieces.next().await?;
            Some((piece.map(Frame::data), pieces))
        });
        *response.body_mut() = Body::new(StreamBody::new(frames));
        Ok(response)
    }

    fn head(
        &self,
        content_type: &str,
        length: Option<u64>,
        metadata: &MetadataMap,
    ) -> Result<(http::Response<Body>, Option<Range<u64>>), Problem> {
        let mut response = http::Response::new(Body::empty());
        let headers = response.headers_mut();
        let octets = HeaderValue::from_static("application/octet-stream");
        let known = Some(content_type).filter(|text| !text.is_empty());
        let content_type = known.and_then(|text| HeaderValue::from_str(text).ok());
        headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(octets));
        protect(headers);
        pass_on(headers, metadata);
        let etag = headers.get(header::ETAG).cloned();
        if self.is_known(etag.as_ref()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok((response, None));
        }
        let Some(length) = length else { return Ok((response, None)) };
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let range = range::requested(self.method, self.headers, length, etag.as_ref())?;
        if let Some(range) = &range {
            if let Some(value) = range::content_range(range, length) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok((response, range))
    }

    /// The number of the response's field that is the HttpBody.
    fn field(&self) -> Option<u32> {
        let AnswerRule::FieldBytes(position) = self.target.answer else { return None };
        Some(self.schema.message(self.target.output).fields[position].descriptor.number())
    }

    /// Whether the client has these bytes already.
    fn is_known(&self, etag: Option<&HeaderValue>) -> bool {
        let known = self.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let (Some(known), Some(Ok(etag))) = (known, etag.map(HeaderValue::to_str)) else {
            return false;
        };
        let mut tags = known.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == etag.trim_start_matches("W/"))
    }
}

/// The bytes may be anybody's: a browser must neither guess what they are nor run them as ours.
fn protect(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
}

fn pass_on(headers: &mut HeaderMap, metadata: &MetadataMap) {
    let names: [HeaderName; 4] =
        [header::ETAG, header::LAST_MODIFIED, header::CONTENT_DISPOSITION, header::CACHE_CONTROL];
    for name in names {
        if let Some(value) = metadata.as_ref().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(id) = metadata.as_ref().get(crate::metadata::REQUEST_ID) {
        headers.insert(crate::metadata::REQUEST_ID, id.clone());
    }
}

fn content_length(metadata: &MetadataMap) -> Option<u64> {
    metadata.get("x-content-length")?.to_str().ok()?.parse().ok()
}

/// The HttpBody in `field` of the message, or that the message is.
fn piece(field: Option<u32>, message: &DynamicMessage) -> Piece {
    let held = field.and_then(|number| message.get_field_by_number(number));
    let body = held.as_deref().and_then(Value::as_message).unwrap_or(message);
    let content_type = body.get_field_by_number(1);
    let content_type = content_type.as_deref().and_then(Value::as_str).unwrap_or_default();
    let data = body.get_field_by_number(2);
    let data = data.as_deref().and_then(Value::as_bytes).cloned().unwrap_or_default();
    Piece { content_type: content_type.to_owned(), data }
}

/// A download under way. What fails now can only be told by breaking off.
struct Pieces {
    field: Option<u32>,
    upstream: Upstreamed,
    pending: Option<Bytes>,
    ended: bool,
    /// Bytes before the range.
    skip: u64,
    /// Bytes of the range that are not sent yet, if it has an end.
    left: Option<u64>,
}

impl Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if self.left == Some(0) {
                return None;
            }
            let data = match self.pending.take() {
                Some(data) => data,
                None if self.ended => return self.end(),
                None => match self.upstream.next().await {
                    Ok(Some(message)) => piece(self.field, &message).data,
                    Ok(None) => {
                        self.ended = true;
                        continue;
                    }
                    Err(status) => {
                        self.left = Some(0);
                        return Some(Err(status));
                    }
                },
            };
            let data = self.cut(data);
            if !data.is_empty() {
                return Some(Ok(data));
            }
        }
    }

    /// What of the next bytes belongs to the range.
    fn cut(&mut self, mut data: Bytes) -> Bytes {
        let skipped = self.skip.min(data.len() as u64);
        self.skip -= skipped;
        let _ = data.split_to(index(skipped));
        if let Some(left) = &mut self.left {
            let taken = (*left).min(data.len() as u64);
            *left -= taken;
            data.truncate(index(taken));
        }
        data
    }

    /// Fewer bytes than were promised are not a whole answer.
    fn end(&mut self) -> Option<Result<Bytes, Status>> {
        let missing = self.left.filter(|left| *left > 0)?;
        self.left = Some(0);
        Some(Err(Status::data_loss(format!("{missing} bytes of the download are missing"))))
    }
}

/// A position within bytes that are in memory.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

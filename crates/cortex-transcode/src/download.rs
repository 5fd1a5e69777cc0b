//! google.api.HttpBody as the bytes that it is, whole or streamed, with `Range`.
//!
//! What HTTP says in headers stands in fields that `cortex.api.v1.http_bytes` names: size, etag and
//! file name in the first response, offset and length in the request. Where the request has none,
//! a range is cut out here.

use std::ops::Range;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost_reflect::{DynamicMessage, Value};
use tonic::{Code, Status, body::Body};

use crate::{
    answer,
    binding::{AnswerRule, Binding, BytesPlan, Target},
    problem::Problem,
    range::{self, Ends},
    relay::Upstreamed,
    schema::Schema,
    status,
};

type Answer = Result<http::Response<Body>, Problem>;

/// What decides how a download is answered.
pub(crate) struct Download<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) binding: &'a Binding,
    pub(crate) target: &'a Target,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// What is known of the bytes before they are sent.
#[derive(Debug, Default)]
struct Facts {
    content_type: String,
    /// How many bytes the whole has.
    size: Option<u64>,
    etag: Option<HeaderValue>,
    disposition: Option<HeaderValue>,
}

/// How the range of a request came to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The service sends everything; a range is cut out here.
    All,
    /// The service sends the range.
    Range(Ends),
    /// The caller has named offset or length itself; what that makes is not known here.
    Otherwise,
}

impl Download<'_> {
    /// Asks for the range of the header in the fields of the request, if it has some.
    pub(crate) fn ask(&self, message: &mut DynamicMessage) -> Asked {
        let input = &self.schema.message(self.binding.input).fields;
        let BytesPlan { offset, length, .. } = self.binding.bytes;
        let field = |position: Option<usize>| position.map(|position| &input[position].descriptor);
        let (offset, length) = (field(offset), field(length));
        if [offset, length].into_iter().flatten().any(|field| message.has_field(field)) {
            return Asked::Otherwise;
        }
        let ends = range::requested(self.method, self.headers);
        let asked = ends.and_then(|ends| Some((ends, ends.offset_and_length()?)));
        let (Some((ends, (from, many))), Some(offset), Some(length)) = (asked, offset, length)
        else {
            return Asked::All;
        };
        message.set_field(offset, Value::I64(from));
        message.set_field(length, Value::I64(many));
        Asked::Range(ends)
    }

    /// The answer whose bytes are all in one message.
    pub(crate) fn whole(&self, message: &DynamicMessage) -> Answer {
        let piece = self.piece(message).unwrap_or_default();
        let mut facts = Facts { content_type: piece.0, ..Facts::default() };
        self.learn(&mut facts, message);
        facts.size = Some(piece.1.len() as u64);
        let (mut response, range) = self.head(&facts, Asked::All)?;
        if response.status() != StatusCode::NOT_MODIFIED {
            let data = match range {
                Some(range) => piece.1.slice(index(range.start)..index(range.end)),
                None => piece.1,
            };
            *response.body_mut() = answer::full(data);
        }
        Ok(response)
    }

    /// The answer whose bytes come in many messages; the first bytes are waited for. `None` if the
    /// service was asked for a range and should be asked for everything.
    pub(crate) async fn streamed(
        &self,
        mut upstream: Upstreamed,
        asked: Asked,
    ) -> Result<Option<http::Response<Body>>, Problem> {
        let mut facts = Facts::default();
        let first = self.first(&mut upstream, &mut facts).await;
        let first = first.map_err(|status| self.refusal(&status, asked))?;
        let in_range = facts.size.is_some() && range::applies(self.headers, facts.etag.as_ref());
        if matches!(asked, Asked::Range(_)) && !in_range && !self.is_known(facts.etag.as_ref()) {
            return Ok(None);
        }
        let (mut response, range) = self.head(&facts, asked)?;
        answer::name_request(&mut response, &upstream.metadata);
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Some(response));
        }
        let size = facts.size.filter(|_| asked != Asked::Otherwise);
        let bounds = range.or(size.map(|size| 0..size));
        let cut_here = bounds.as_ref().filter(|_| asked == Asked::All);
        let pieces = Pieces {
            field: self.field(),
            upstream,
            ended: first.is_none(),
            pending: first,
            skip: cut_here.map_or(0, |bounds| bounds.start),
            left: bounds.map(|bounds| bounds.end - bounds.start),
        };
        if let Some(left) = pieces.left {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(left));
        }
        *response.body_mut() = pieces.into_body();
        Ok(Some(response))
    }

    /// The first bytes, and what the messages up to there say about them. `None`: there are none.
    async fn first(
        &self,
        upstream: &mut Upstreamed,
        facts: &mut Facts,
    ) -> Result<Option<Bytes>, Status> {
        while let Some(message) = upstream.next().await? {
            self.learn(facts, &message);
            if let Some((content_type, data)) = self.piece(&message) {
                facts.content_type = content_type;
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Why there are no bytes. Of a service that takes offsets, OUT_OF_RANGE is about the bytes.
    fn refusal(&self, status: &Status, asked: Asked) -> Problem {
        let problem = status::problem(self.schema, status);
        if status.code() != Code::OutOfRange || self.binding.bytes.offset.is_none() {
            return problem;
        }
        let length = status::fact(status, "size").and_then(|size| size.parse().ok());
        let unsatisfiable = range::unsatisfiable(length);
        match asked {
            Asked::Range(_) => unsatisfiable,
            _ => Problem {
                http: unsatisfiable.http,
                content_range: unsatisfiable.content_range,
                ..problem
            },
        }
    }

    fn learn(&self, facts: &mut Facts, message: &DynamicMessage) {
        let output = &self.schema.message(self.target.output).fields;
        let plan = &self.binding.bytes;
        let value = |position: Option<usize>| {
            let field = &output[position?].descriptor;
            message.has_field(field).then(|| message.get_field(field))
        };
        if let Some(size) = value(plan.size).and_then(|size| u64::try_from(size.as_i64()?).ok()) {
            facts.size = Some(size);
        }
        if let Some(etag) = value(plan.etag) {
            let etag = etag.as_str().map(|name| HeaderValue::from_str(&format!("\"{name}\"")));
            facts.etag = etag.and_then(Result::ok);
        }
        if let Some(name) = value(plan.file_name) {
            facts.disposition = name.as_str().and_then(disposition);
        }
    }

    fn head(
        &self,
        facts: &Facts,
        asked: Asked,
    ) -> Result<(http::Response<Body>, Option<Range<u64>>), Problem> {
        let mut response = http::Response::new(Body::empty());
        describe(response.headers_mut(), facts);
        if self.is_known(facts.etag.as_ref()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok((response, None));
        }
        let Some(size) = facts.size.filter(|_| asked != Asked::Otherwise) else {
            return Ok((response, None));
        };
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let ends = range::requested(self.method, self.headers);
        let ends = ends.filter(|_| range::applies(self.headers, facts.etag.as_ref()));
        let Some(ends) = ends else { return Ok((response, None)) };
        let range = ends.resolve(size).ok_or_else(|| range::unsatisfiable(Some(size)))?;
        if let Some(value) = range::content_range(&range, size) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        Ok((response, Some(range)))
    }

    /// Whether the client has these bytes already.
    fn is_known(&self, etag: Option<&HeaderValue>) -> bool {
        let known = self.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let (Some(known), Some(Ok(etag))) = (known, etag.map(HeaderValue::to_str)) else {
            return false;
        };
        known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
    }

    /// The number of the response's field that is the HttpBody.
    fn field(&self) -> Option<u32> {
        let AnswerRule::FieldBytes(position) = self.target.answer else { return None };
        Some(self.schema.message(self.target.output).fields[position].descriptor.number())
    }

    /// Content type and bytes of a message, if it has any.
    fn piece(&self, message: &DynamicMessage) -> Option<(String, Bytes)> {
        piece(self.field(), message)
    }
}

fn describe(headers: &mut HeaderMap, facts: &Facts) {
    let content_type = HeaderValue::from_str(&facts.content_type).ok();
    let content_type = content_type.filter(|value| !value.is_empty());
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(octets));
    // The bytes may be anybody's: a browser must neither guess what they are nor run them as ours.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    let said = [(header::ETAG, &facts.etag), (header::CONTENT_DISPOSITION, &facts.disposition)];
    for (name, value) in said {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
}

/// RFC 6266: the name in ASCII for the old, and as it is for all others.
fn disposition(name: &str) -> Option<HeaderValue> {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let name = name.rsplit(['/', '\\']).next().filter(|name| !name.is_empty())?;
    let plain = |character: char| character.is_ascii_graphic() && !"\"\\%".contains(character);
    let ascii: String =
        name.chars().map(|it| if plain(it) || it == ' ' { it } else { '_' }).collect();
    let exact = utf8_percent_encode(name, KEPT);
    let value = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{exact}");
    HeaderValue::from_str(&value).ok()
}

/// The HttpBody in `field` of the message, or that the message is.
fn piece(field: Option<u32>, message: &DynamicMessage) -> Option<(String, Bytes)> {
    if field.is_some_and(|number| !message.has_field_by_number(number)) {
        return None;
    }
    let held = field.and_then(|number| message.get_field_by_number(number));
    let body = held.as_deref().and_then(Value::as_message).unwrap_or(message);
    let content_type = body.get_field_by_number(1);
    let content_type = content_type.as_deref().and_then(Value::as_str).unwrap_or_default();
    let data = body.get_field_by_number(2);
    let data = data.as_deref().and_then(Value::as_bytes).cloned().unwrap_or_default();
    Some((content_type.to_owned(), data))
}

/// A download under way. What fails now can only be told by breaking off.
struct Pieces {
    field: Option<u32>,
    upstream: Upstreamed,
    pending: Option<Bytes>,
    ended: bool,
    /// Bytes before the range.
    skip: u64,
    /// Bytes that are promised and not sent yet, if that is known.
    left: Option<u64>,
}

impl Pieces {
    fn into_body(self) -> Body {
        let frames = stream::unfold(self, async |mut pieces| {
            let piece = pieces.next().await?;
            Some((piece.map(Frame::data), pieces))
        });
        Body::new(StreamBody::new(frames))
    }

    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if self.left == Some(0) {
                return None;
            }
            let data = match self.pending.take() {
                Some(data) => data,
                None if self.ended => return self.end(),
                None => match self.upstream.next().await {
                    Ok(Some(message)) => piece(self.field, &message).unwrap_or_default().1,
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

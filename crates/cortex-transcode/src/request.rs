//! From the parts of an HTTP request to the message of a gRPC call.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use prost_reflect::{DynamicMessage, Value};
use tonic::Code;

use crate::{
    binding::{Binding, BodyRule, StreamPlan},
    json::{Malformed, Path, Reader, TextSource, check_body, parse_text},
    limits::Limits,
    problem::Problem,
    query,
    router::Segments,
    schema::{FieldPlan, MessageIndex, Schema},
};

/// What a request is made from, beside its body.
pub(crate) struct Source<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) limits: &'a Limits,
    pub(crate) binding: &'a Binding,
    pub(crate) segments: &'a Segments<'a>,
    /// Whether the template's verb was split off the last segment.
    pub(crate) verb: bool,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

/// The message of a call.
pub(crate) struct Parsed {
    pub(crate) message: DynamicMessage,
    /// Whether a stream is wanted, where there is a choice.
    pub(crate) stream: bool,
    /// Whether the caller resumes a stream that it has seen part of.
    pub(crate) resuming: bool,
}

impl Source<'_> {
    /// The message that body, query, path and headers make together.
    pub(crate) fn parse(&self, body: &Bytes) -> Result<Parsed, Problem> {
        let reader = Reader::new(self.schema, self.limits.violations);
        let mut message = self.body(&reader, body)?;
        let depth = self.limits.nesting();
        query::apply(self.schema, &reader, self.binding, self.query, depth, &mut message);
        self.path(&reader, &mut message);
        let resumed = match &self.binding.stream {
            Some(plan) => self.resume(plan, &mut message)?,
            None => false,
        };
        reader.finish()?;
        let stream = self.wants_stream(&reader, &message);
        Ok(Parsed { resuming: resumed || self.continues(&message), stream, message })
    }

    fn empty(&self) -> DynamicMessage {
        DynamicMessage::new(self.schema.message(self.binding.input).descriptor.clone())
    }

    fn body(&self, reader: &Reader<'_>, body: &Bytes) -> Result<DynamicMessage, Problem> {
        let plan = self.schema.message(self.binding.input);
        match self.binding.body {
            BodyRule::None => {
                self.refuse_body(body)?;
                Ok(self.empty())
            }
            BodyRule::Bytes => Ok(http_body(&self.empty(), self.headers, body.clone())),
            BodyRule::FieldBytes(field) => {
                let mut message = self.empty();
                put_bytes(&mut message, &plan.fields[field].descriptor, self.headers, body.clone());
                Ok(message)
            }
            BodyRule::Whole => match self.json(body)? {
                Some(text) => reader.message(self.binding.input, text).map_err(malformed),
                None => Ok(self.empty()),
            },
            BodyRule::Field(field) => {
                let mut message = self.empty();
                let field = &plan.fields[field];
                let Some(text) = self.json(body)? else { return Ok(message) };
                if let Some(value) = reader.field(field, text).map_err(malformed)? {
                    let set = message.try_set_field(&field.descriptor, value);
                    set.map_err(|error| Problem::response(&error.to_string()))?;
                }
                Ok(message)
            }
        }
    }

    /// The body as text if there is one, once its type is known to be JSON.
    fn json<'b>(&self, body: &'b Bytes) -> Result<Option<&'b str>, Problem> {
        let content_type = self.headers.get(header::CONTENT_TYPE);
        match content_type.map(|value| value.to_str().unwrap_or_default()) {
            None if body.is_empty() => return Ok(None),
            Some(value) if is_json(value) => {}
            None => return Err(unsupported("the body has no content type")),
            Some(value) => return Err(unsupported(&format!("the body is {value:?}"))),
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        check_body(body, self.limits.nesting()).map(Some).map_err(malformed)
    }

    /// A body that nothing reads would be a surprise to who sent it. `{}` says nothing either.
    fn refuse_body(&self, body: &Bytes) -> Result<(), Problem> {
        let reads_none = self.binding.method == Method::GET;
        if reads_none || body.trim_ascii().is_empty() || body.trim_ascii() == b"{}" {
            return Ok(());
        }
        let (method, path) = (&self.binding.method, &self.binding.path);
        let message = format!("{method} {path} takes no body; use query parameters");
        Err(Problem::bad_request("UNEXPECTED_BODY", message))
    }

    fn path(&self, reader: &Reader<'_>, message: &mut DynamicMessage) {
        for variable in &self.binding.variables {
            let end = variable.variable.end(&self.binding.template);
            let begin = variable.variable.begin;
            let text = self.segments.capture(begin, end, variable.multiple, self.verb);
            let Some((index, position)) = variable.field.last() else { continue };
            let field = &self.schema.message(*index).fields[*position];
            let Some(element) = field.single() else { continue };
            let value = parse_text(self.schema, element, &text, TextSource::Plain);
            // What the path says is said, whatever the body says.
            clear(self.schema, message, &variable.field);
            let put = value
                .and_then(|value| query::put(self.schema, message, &variable.field, value, false));
            if let Err(description) = put {
                let name = variable.variable.field.join(".");
                reader.wrong(&Path::Field(&Path::Root, &name), description);
            }
        }
    }

    /// Fills the field that resumes from `Last-Event-ID`. Whether the header was there.
    fn resume(&self, plan: &StreamPlan, message: &mut DynamicMessage) -> Result<bool, Problem> {
        let Some(id) = self.headers.get("last-event-id").filter(|id| !id.is_empty()) else {
            return Ok(false);
        };
        let input = self.schema.message(self.binding.input);
        if self.binding.method == Method::POST {
            let request_id = plan.request_id.map(|field| &input.fields[field]);
            if !request_id.is_some_and(|field| message.has_field(&field.descriptor)) {
                return Err(needs_request_id(request_id.map(FieldPlan::name)));
            }
        }
        let Some(field) = plan.resume.map(|field| &input.fields[field]) else { return Ok(false) };
        let element = field.single().ok_or("cannot be a header".to_owned());
        let id = id.to_str().map_err(|_| "expected visible ASCII".to_owned());
        let value = element.and_then(|element| {
            id.and_then(|id| parse_text(self.schema, element, id, TextSource::Plain))
        });
        value
            .and_then(|value| {
                message.try_set_field(&field.descriptor, value).map_err(|error| error.to_string())
            })
            .map_err(|description| {
                Problem::field("Last-Event-ID", format!("{description}; send an id of this stream"))
            })?;
        Ok(true)
    }

    /// Whether the caller names a place to go on from by other means than the header.
    fn continues(&self, message: &DynamicMessage) -> bool {
        let Some(field) = self.binding.stream.as_ref().and_then(|plan| plan.resume) else {
            return false;
        };
        let field = &self.schema.message(self.binding.input).fields[field].descriptor;
        message.has_field(field) && *message.get_field(field) != field.default_value()
    }

    fn wants_stream(&self, reader: &Reader<'_>, message: &DynamicMessage) -> bool {
        let switch = self.binding.stream.as_ref().and_then(|plan| plan.switch.as_ref());
        let Some(switch) = switch else { return true };
        let field = &self.schema.message(self.binding.input).fields[switch.field].descriptor;
        match reader.was_given(field.number()) {
            true => message.get_field(field).as_bool() == Some(true),
            false => switch.default,
        }
    }
}

fn clear(schema: &Schema, message: &mut DynamicMessage, path: &[(MessageIndex, usize)]) {
    let Some(((index, position), rest)) = path.split_first() else { return };
    let plan = schema.message(*index);
    let field = &plan.fields[*position];
    if field.oneof.is_some() {
        let arms = plan.fields.iter().filter(|other| other.oneof == field.oneof);
        arms.filter(|arm| rest.is_empty() || arm.descriptor != field.descriptor)
            .for_each(|arm| message.clear_field(&arm.descriptor));
    }
    if !rest.is_empty()
        && let Some(within) = message.get_field_mut(&field.descriptor).as_message_mut()
    {
        clear(schema, within, rest);
    }
}

/// A google.api.HttpBody of these bytes.
pub(crate) fn http_body(
    empty: &DynamicMessage,
    headers: &HeaderMap,
    data: Bytes,
) -> DynamicMessage {
    let mut message = empty.clone();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(content_type) = content_type {
        let _ = message.try_set_field_by_number(1, Value::String(content_type.to_owned()));
    }
    let _ = message.try_set_field_by_number(2, Value::Bytes(data));
    message
}

/// Sets a field that is a google.api.HttpBody.
pub(crate) fn put_bytes(
    message: &mut DynamicMessage,
    field: &prost_reflect::FieldDescriptor,
    headers: &HeaderMap,
    data: Bytes,
) {
    if let Some(body) = message.get_field_mut(field).as_message_mut() {
        let empty = body.clone();
        *body = http_body(&empty, headers, data);
    }
}

fn malformed(error: Malformed) -> Problem {
    Problem::bad_request("MALFORMED_JSON", format!("the body is not valid JSON: {error}"))
}

fn unsupported(found: &str) -> Problem {
    let message = format!("{found}; expected \"application/json\"");
    let http = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(http, Code::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", message)
}

/// `application/json` or `application/…+json`, in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    })
}

fn needs_request_id(field: Option<&str>) -> Problem {
    let message = match field {
        Some(field) => format!(
            "a POST with Last-Event-ID resumes the call of its `{field}`; send the same `{field}` again"
        ),
        None => {
            "a POST with Last-Event-ID would begin anew; this stream cannot be resumed".to_owned()
        }
    };
    Problem::bad_request("RESUME_NEEDS_REQUEST_ID", message)
}

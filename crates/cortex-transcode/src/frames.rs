//! Messages of a stream as server-sent events or as lines of JSON.
//!
//! Server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::borrow::Cow;

use http::{HeaderMap, header};
use prost_reflect::{DynamicMessage, Value};

use crate::{
    answer,
    binding::{StreamPlan, Target},
    json::{WriteError, Writer},
    problem::Problem,
    schema::{MessageIndex, Schema},
};

/// How a stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `text/event-stream`.
    Events,
    /// `application/x-ndjson`.
    Lines,
}

/// Asks the client to wait a second before it reconnects.
pub(crate) const RETRY: &[u8] = b"retry: 1000\n\n";
/// Keeps an idle connection open; clients ignore it.
pub(crate) const HEARTBEAT: &[u8] = b": heartbeat\n\n";

impl Framing {
    /// What the client prefers; events if it does not say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (Self::Events, 0.0);
        for range in ranges.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let framing = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
                "text/event-stream" => Self::Events,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let quality: f32 = quality.unwrap_or(1.0);
            if quality > best.1 {
                best = (framing, quality);
            }
        }
        best.0
    }

    /// The content type of the answer.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// Writes the frames of one stream.
pub(crate) struct Framer<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) framing: Framing,
    pub(crate) plan: &'a StreamPlan,
    pub(crate) target: &'a Target,
}

impl Framer<'_> {
    /// Appends the frame of a message. On an error nothing is appended.
    pub(crate) fn message(
        &self,
        out: &mut Vec<u8>,
        message: &DynamicMessage,
    ) -> Result<(), WriteError> {
        let mut json = Vec::with_capacity(128);
        if self.framing == Framing::Lines {
            answer::write(self.schema, self.target, message, &mut json)?;
            line(out, &json);
            return Ok(());
        }
        let event = self.data(message, &mut json)?;
        self.id(out, message);
        if let Some(event) = event {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(event.as_bytes());
            out.push(b'\n');
        }
        data(out, &json);
        Ok(())
    }

    /// Appends the frame of an error, which is the last.
    pub(crate) fn error(&self, out: &mut Vec<u8>, problem: &Problem) {
        let json = problem.to_json();
        if self.framing == Framing::Lines {
            line(out, json.as_bytes());
            return;
        }
        out.extend_from_slice(b"event: error\n");
        data(out, json.as_bytes());
    }

    /// Writes the data of an event, and says its name if it has one.
    fn data(
        &self,
        message: &DynamicMessage,
        json: &mut Vec<u8>,
    ) -> Result<Option<&str>, WriteError> {
        let event = self.plan.event.as_ref();
        let held = event.and_then(|event| Some((event, self.within(message, &event.within)?)));
        if let Some((event, holder)) = held {
            let fields = &self.schema.message(event.message).fields;
            let mut arms = event.arms.iter().map(|position| &fields[*position]);
            if let Some(arm) = arms.find(|arm| holder.has_field(&arm.descriptor)) {
                Writer::new(self.schema).field(json, arm, &holder.get_field(&arm.descriptor))?;
                return Ok(Some(arm.name()));
            }
        }
        answer::write(self.schema, self.target, message, json)?;
        Ok(None)
    }

    /// The message at the end of `path`, if it and all on the way are set.
    fn within<'m>(
        &self,
        message: &'m DynamicMessage,
        path: &[(MessageIndex, usize)],
    ) -> Option<&'m DynamicMessage> {
        path.iter().try_fold(message, |message, (index, position)| {
            let field = &self.schema.message(*index).fields[*position].descriptor;
            match message.get_field(field) {
                Cow::Borrowed(Value::Message(inner)) => Some(inner),
                _ => None,
            }
        })
    }

    fn id(&self, out: &mut Vec<u8>, message: &DynamicMessage) {
        let Some(((index, position), holder)) = self.plan.id.split_last() else { return };
        let Some(holder) = self.within(message, holder) else { return };
        let field = &self.schema.message(*index).fields[*position];
        let value = holder.get_field(&field.descriptor);
        if *value == field.descriptor.default_value() {
            return;
        }
        let mut id = Vec::new();
        match value.as_str() {
            Some(text) => id.extend_from_slice(text.as_bytes()),
            None => {
                if Writer::new(self.schema).field(&mut id, field, &value).is_err() {
                    return;
                }
            }
        }
        if id.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return;
        }
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(&id);
        out.push(b'\n');
    }
}

/// A line of JSON: a line end can only be whitespace between its tokens.
fn line(out: &mut Vec<u8>, json: &[u8]) {
    out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.push(b'\n');
}

/// The data of an event, a line of its own for each line, and the end of the event.
fn data(out: &mut Vec<u8>, json: &[u8]) {
    let mut lines = json.split(|byte| matches!(byte, b'\n' | b'\r')).peekable();
    while let Some(line) = lines.next() {
        let last = lines.peek().is_none();
        if line.is_empty() && !last {
            continue;
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn accept_chooses_the_framing() {
        for (accept, framing) in [
            ("*/*", Framing::Events),
            ("text/event-stream", Framing::Events),
            ("application/x-ndjson", Framing::Lines),
            ("text/event-stream;q=0.5, application/x-ndjson", Framing::Lines),
            ("application/x-ndjson;q=0, */*", Framing::Events),
            ("application/json", Framing::Events),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Framing::of(&headers), framing, "{accept}");
        }
        assert_eq!(Framing::of(&HeaderMap::new()), Framing::Events);
    }

    #[test]
    fn json_of_several_lines_stays_one_frame() {
        let mut out = Vec::new();
        data(&mut out, b"{\r\n \"a\": 1\n}");
        assert_eq!(out, b"data: {\ndata:  \"a\": 1\ndata: }\n\n");
        out.clear();
        line(&mut out, b"{\n \"a\": 1}");
        assert_eq!(out, b"{  \"a\": 1}\n");
    }
}

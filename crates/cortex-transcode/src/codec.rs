//! The JSON rules by themselves, for messages that do not come over HTTP.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};

use crate::{
    json::{Reader, Writer},
    schema::Schema,
};

/// Wrong fields of one message that are listed.
const VIOLATIONS: usize = 32;

/// Reads and writes messages of a pool by the JSON rules of the API.
///
/// ```
/// let codec = cortex_transcode::JsonCodec::new(cortex_proto::descriptor_pool());
/// let request = r#"{"agent_name":"assistant","metadata":{"n":6}}"#;
/// let bytes = codec.parse("cortex.agent.v1.CreateSessionRequest", request)?;
/// let back = codec.transcode("cortex.agent.v1.CreateSessionRequest", &bytes)?;
/// assert!(back.contains(r#""metadata":{"n":6}"#));
/// # Ok::<(), cortex_transcode::CodecError>(())
/// ```
pub struct JsonCodec {
    schema: Schema,
}

/// Why a message cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl JsonCodec {
    /// A codec for the messages of `pool`.
    pub fn new(pool: &DescriptorPool) -> Self {
        Self { schema: Schema::new(pool) }
    }

    /// The encoded message of the type `full_name` that the JSON `text` is.
    ///
    /// # Errors
    /// A type that the pool lacks, a text that is not JSON, or every field that is wrong.
    pub fn parse(&self, full_name: &str, text: &str) -> Result<Vec<u8>, CodecError> {
        let index = self.index(full_name)?;
        let reader = Reader::new(&self.schema, VIOLATIONS);
        let message =
            reader.message(index, text).map_err(|malformed| CodecError(malformed.to_string()))?;
        reader.finish().map_err(|problem| CodecError(problem.message))?;
        Ok(message.encode_to_vec())
    }

    /// The JSON of an encoded message of the type `full_name`.
    ///
    /// # Errors
    /// A type that the pool lacks, or bytes that are not such a message.
    pub fn transcode(&self, full_name: &str, bytes: &[u8]) -> Result<String, CodecError> {
        let index = self.index(full_name)?;
        let descriptor = self.schema.message(index).descriptor.clone();
        let message = DynamicMessage::decode(descriptor, bytes)
            .map_err(|error| CodecError(format!("not a {full_name}: {error}")))?;
        let mut out = Vec::new();
        Writer::new(&self.schema)
            .message(&mut out, index, &message)
            .map_err(|error| CodecError(error.to_string()))?;
        String::from_utf8(out).map_err(|error| CodecError(error.to_string()))
    }

    /// The JSON of a message of the type `type_url` names, with `@type`, if [`JsonCodec::parse_any`] makes
    /// the same bytes of it again. `None` if the type is not known here, or the bytes say more than
    /// JSON can, or can be written in another order.
    pub fn exact_any(&self, type_url: &str, value: &[u8]) -> Option<String> {
        let index = self.schema.find(type_url.rsplit('/').next()?)?;
        let descriptor = self.schema.message(index).descriptor.clone();
        let message = DynamicMessage::decode(descriptor, value).ok()?;
        if has_no_order(&message) {
            return None;
        }
        let text = self.transcode(ANY, &any(type_url, value)).ok()?;
        let (url, bytes) = self.parse_any(&text).ok()?;
        (url == type_url && bytes == value).then_some(text)
    }

    /// The type URL and the encoded message that the JSON `text` is, which says its type in `@type`.
    ///
    /// # Errors
    /// As [`JsonCodec::parse`].
    pub fn parse_any(&self, text: &str) -> Result<(String, Vec<u8>), CodecError> {
        let bytes = self.parse(ANY, text)?;
        let any = prost_types::Any::decode(bytes.as_slice())
            .map_err(|error| CodecError(error.to_string()))?;
        Ok((any.type_url, any.value))
    }

    fn index(&self, full_name: &str) -> Result<crate::schema::MessageIndex, CodecError> {
        self.schema
            .find(full_name)
            .ok_or_else(|| CodecError(format!("there is no message {full_name}")))
    }
}

const ANY: &str = "google.protobuf.Any";

fn any(type_url: &str, value: &[u8]) -> Vec<u8> {
    prost_types::Any { type_url: type_url.to_owned(), value: value.to_vec() }.encode_to_vec()
}

/// Whether its encoding may come out in another order: a map with several entries has none. What an
/// Any holds is not looked at, and counts as such.
fn has_no_order(message: &DynamicMessage) -> bool {
    fn unordered(value: &Value) -> bool {
        match value {
            Value::Map(entries) => entries.len() > 1 || entries.values().any(unordered),
            Value::List(values) => values.iter().any(unordered),
            Value::Message(message) => {
                message.descriptor().full_name() == ANY || has_no_order(message)
            }
            _ => false,
        }
    }
    message.fields().any(|(_, value)| unordered(value))
}

impl std::fmt::Debug for JsonCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonCodec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cortex_proto::cortex::agent::v1::{
        ContentDelta, SessionEvent, TurnFailed, session_event::Event,
    };

    use super::*;

    const EVENT: &str = "type.googleapis.com/cortex.agent.v1.SessionEvent";

    fn event(event: Event) -> Vec<u8> {
        SessionEvent { event: Some(event), ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn a_message_in_an_any_is_json_only_if_its_bytes_come_back() -> Result<(), CodecError> {
        let codec = JsonCodec::new(cortex_proto::descriptor_pool());
        let delta = event(Event::ContentDelta(ContentDelta { text: "hi".into(), attempt: 1 }));
        let text = codec.exact_any(EVENT, &delta).ok_or_else(|| CodecError("no JSON".into()))?;
        assert!(text.contains(r#""@type":"type.googleapis.com/cortex.agent.v1.SessionEvent""#));
        assert_eq!(codec.parse_any(&text)?, (EVENT.to_owned(), delta.clone()));
        let one = [("a".to_owned(), "1".to_owned())];
        let failed = |metadata| TurnFailed { metadata, ..Default::default() };
        assert!(codec.exact_any(EVENT, &event(Event::TurnFailed(failed(one.into())))).is_some());
        let two = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
        let without_order = event(Event::TurnFailed(failed(two.into())));
        let zero_said = [&[8, 0], delta.as_slice()].concat();
        let unknown_field = [delta.as_slice(), &[0xf8, 0x7f, 1]].concat();
        for bytes in [without_order, zero_said, unknown_field, vec![255]] {
            assert_eq!(codec.exact_any(EVENT, &bytes), None, "{bytes:?}");
        }
        assert_eq!(codec.exact_any("nobody.knows.This", &[]), None);
        Ok(())
    }
}

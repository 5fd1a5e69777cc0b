//! The JSON rules by themselves, for messages that do not come over HTTP.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};

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

    fn index(&self, full_name: &str) -> Result<crate::schema::MessageIndex, CodecError> {
        self.schema
            .find(full_name)
            .ok_or_else(|| CodecError(format!("there is no message {full_name}")))
    }
}

impl std::fmt::Debug for JsonCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JsonCodec").finish_non_exhaustive()
    }
}

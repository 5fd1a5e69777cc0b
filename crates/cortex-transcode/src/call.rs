//! The gRPC call itself: dynamic messages over any tower service.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Status,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tower::util::BoxCloneSyncService;

use crate::error::UpstreamError;

/// A gRPC service, wherever it is.
pub(crate) type Upstream =
    BoxCloneSyncService<http::Request<Body>, http::Response<Body>, UpstreamError>;

/// Encodes any message, decodes one.
#[derive(Clone)]
pub(crate) struct DynamicCodec {
    pub(crate) output: MessageDescriptor,
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        self.clone()
    }
}

/// Encodes any message.
pub(crate) struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.output.clone(), buffer).map(Some).map_err(|error| {
            Status::internal(format!("the service's answer does not fit its contract: {error}"))
        })
    }
}

/// A client that is ready for one call.
pub(crate) async fn client(upstream: Upstream, message: usize) -> Result<Grpc<Upstream>, Status> {
    let mut client = Grpc::new(upstream).max_decoding_message_size(message);
    client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    Ok(client)
}

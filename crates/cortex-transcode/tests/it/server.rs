//! A gRPC service over dynamic messages whose methods are closures, and a client of the transcoder.

use std::{path::Path, pin::Pin, sync::Arc, sync::LazyLock};

use bytes::Bytes;
use cortex_transcode::{Limits, Transcoder};
use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use tonic::{
    Status, Streaming,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    server::StreamingService,
};
use tower::{Service, ServiceExt as _, service_fn};

/// The test contract.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let includes = [here.join("tests/proto"), here.join("../../proto")];
        let mut compiler = protox::Compiler::new(includes).expect("the directories exist");
        compiler.include_imports(true).include_source_info(true);
        compiler.open_files(["test/v1/library.proto"]).expect("the test contract");
        let files = compiler.encode_file_descriptor_set();
        DescriptorPool::decode(files.as_slice()).expect("protox makes valid descriptors")
    });
    &POOL
}

/// The one service of the test contract.
pub(crate) const LIBRARY: &str = "test.v1.LibraryService";

/// A call as the service sees it.
pub(crate) struct Call {
    pub(crate) rpc: String,
    pub(crate) metadata: MetadataMap,
    pub(crate) requests: Streaming<DynamicMessage>,
    output: MessageDescriptor,
}

/// What the service answers.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;
pub(crate) type Reply = Result<tonic::Response<Messages>, Status>;

impl Call {
    /// The one request of a unary call.
    pub(crate) async fn request(&mut self) -> DynamicMessage {
        self.requests.next().await.expect("a request").expect("a valid request")
    }

    /// The request in a form to compare: text format of protobuf.
    pub(crate) async fn shown(&mut self) -> String {
        show(&self.request().await)
    }

    /// A response with these fields.
    pub(crate) fn response(&self, fields: &[(&str, Value)]) -> DynamicMessage {
        with_fields(&self.output, fields)
    }
}

/// A message with these fields.
pub(crate) fn with_fields(
    descriptor: &MessageDescriptor,
    fields: &[(&str, Value)],
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in fields {
        message.set_field_by_name(name, value.clone());
    }
    message
}

/// A message of the test contract with these fields.
pub(crate) fn message(name: &str, fields: &[(&str, Value)]) -> DynamicMessage {
    let name = format!("test.v1.{name}");
    with_fields(&pool().get_message_by_name(&name).expect("a message"), fields)
}

/// Text of a message: `{name="a" filter={status=1}}`, what is not set left out.
pub(crate) fn show(message: &DynamicMessage) -> String {
    let shown: Vec<_> = message
        .fields()
        .map(|(field, value)| format!("{}={}", field.name(), show_value(value)))
        .collect();
    format!("{{{}}}", shown.join(" "))
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Message(message) => show(message),
        Value::List(values) => {
            let values: Vec<_> = values.iter().map(show_value).collect();
            format!("[{}]", values.join(","))
        }
        Value::String(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{bytes:?}"),
        Value::Bool(value) => value.to_string(),
        Value::I32(value) | Value::EnumNumber(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::Map(map) => format!("map of {}", map.len()),
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// One message as an answer.
pub(crate) fn once(message: DynamicMessage) -> Reply {
    Ok(tonic::Response::new(stream::iter([Ok(message)]).boxed()))
}

/// Several messages, and perhaps an error, as an answer.
pub(crate) fn several(messages: Vec<Result<DynamicMessage, Status>>) -> Reply {
    Ok(tonic::Response::new(stream::iter(messages).boxed()))
}

/// A transcoder in front of a service that answers every call with `handler`.
pub(crate) fn transcoder<F>(handler: F) -> Transcoder
where
    F: Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    transcoder_with(Limits::default(), handler)
}

pub(crate) fn transcoder_with<F>(limits: Limits, handler: F) -> Transcoder
where
    F: Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    Transcoder::builder(pool().clone())
        .service(LIBRARY, service(handler))
        .limits(limits)
        .build()
        .expect("the annotations fit")
}

/// A transcoder whose service answers what it was asked, as an error: `rpc {fields}`.
pub(crate) fn asked() -> Transcoder {
    transcoder(|mut call| {
        async move {
            let request = call.shown().await;
            Err(Status::aborted(format!("{} {request}", call.rpc)))
        }
        .boxed()
    })
}

/// The gRPC service itself.
pub(crate) fn service<F>(
    handler: F,
) -> impl Service<
    Request<Body>,
    Response = Response<Body>,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static
where
    F: Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    service_fn(move |request: Request<Body>| {
        let handler = Arc::clone(&handler);
        async move {
            let rpc = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let service = pool().get_service_by_name(LIBRARY).expect("the service");
            let method = service.methods().find(|method| method.name() == rpc).expect("a method");
            let codec = TestCodec { input: method.input() };
            let methods = Methods { rpc, output: method.output(), handler };
            Ok(tonic::server::Grpc::new(codec).streaming(methods, request).await)
        }
    })
}

struct Methods<F> {
    rpc: String,
    output: MessageDescriptor,
    handler: Arc<F>,
}

impl<F> StreamingService<DynamicMessage> for Methods<F>
where
    F: Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    type Response = DynamicMessage;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Reply>;

    fn call(&mut self, request: tonic::Request<Streaming<DynamicMessage>>) -> Self::Future {
        let (metadata, _, requests) = request.into_parts();
        let (rpc, output) = (self.rpc.clone(), self.output.clone());
        (self.handler)(Call { rpc, metadata, requests, output })
    }
}

struct TestCodec {
    input: MessageDescriptor,
}

struct TestEncoder;

struct TestDecoder(MessageDescriptor);

impl Codec for TestCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = TestEncoder;
    type Decoder = TestDecoder;

    fn encoder(&mut self) -> TestEncoder {
        TestEncoder
    }

    fn decoder(&mut self) -> TestDecoder {
        TestDecoder(self.input.clone())
    }
}

impl Encoder for TestEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for TestDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), buffer);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, String>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().expect("a whole body")).expect("text")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a text header"))
    }

    /// HTTP status and message of an error.
    pub(crate) fn error(&self) -> (u16, String) {
        let json: serde_json::Value = serde_json::from_str(self.text()).expect("an error as JSON");
        let message = json["error"]["message"].as_str().expect("a message").to_owned();
        assert_eq!(json["error"]["code"], self.status.as_u16());
        (self.status.as_u16(), message)
    }
}

/// A request with headers and a body. A body is JSON unless `headers` say otherwise.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let typed = headers.iter().any(|(name, _)| *name == "content-type");
    if !body.is_empty() && !typed {
        request = request.header("content-type", "application/json");
    }
    request.body(Full::new(Bytes::copy_from_slice(body))).expect("a valid request")
}

/// Sends a request and reads the answer to its end.
pub(crate) async fn send(transcoder: &Transcoder, request: Request<Full<Bytes>>) -> Answer {
    let response = transcoder.clone().oneshot(request).await.expect("it cannot fail");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes);
    let body = body.map_err(|status| status.message().to_owned());
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Sends a request without special headers.
pub(crate) async fn call(transcoder: &Transcoder, method: &str, path: &str, body: &str) -> Answer {
    send(transcoder, request(method, path, &[], body.as_bytes())).await
}

/// What the service was asked, by a transcoder of [`asked`]; or the HTTP error.
pub(crate) async fn ask(transcoder: &Transcoder, method: &str, path: &str, body: &str) -> String {
    match call(transcoder, method, path, body).await.error() {
        (409, asked) => asked,
        (status, error) => format!("{status} {error}"),
    }
}

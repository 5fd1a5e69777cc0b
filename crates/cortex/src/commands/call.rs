//! `cortex call`: any method of any service, by what the server says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cortex_rpc::{RawCodec, Transport};
use cortex_transcode::JsonCodec;
use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor, prost_types::FileDescriptorProto};
use tokio::io::AsyncReadExt;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    cli::{Call, Global},
    connect::{Mesh, short},
    exit::Failure,
    output::Output,
};

/// Calls a method, or lists them all.
pub async fn run(global: &Global, call: Call) -> Result<(), Failure> {
    let mesh = Mesh::new(global)?;
    let output = Output::new(global);
    let pool = reflect(&mesh).await?;
    let Some(name) = &call.method else {
        return list(&output, &pool);
    };
    let method = find(&pool, name)?;
    let codec = JsonCodec::new(&pool);
    let request = codec
        .parse(method.input().full_name(), &request_text(&call.request).await?)
        .map_err(|error| Failure::usage(format!("the request: {error}")))?;
    send(&mesh, &output, &codec, &method, request, call.timeout).await
}

async fn request_text(given: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    tokio::io::stdin()
        .read_to_string(&mut text)
        .await
        .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    Ok(text)
}

fn list(output: &Output, pool: &DescriptorPool) -> Result<(), Failure> {
    for service in pool.services() {
        for method in service.methods() {
            output.line(&format!("{}/{}", service.full_name(), method.name()))?;
        }
    }
    Ok(())
}

/// The method by its name: `package.Service/Method`, or the end of it where that is enough.
fn find(pool: &DescriptorPool, name: &str) -> Result<MethodDescriptor, Failure> {
    let (service, method) = name.rsplit_once('/').ok_or_else(|| {
        Failure::usage(format!("'{name}' is not package.Service/Method; `cortex call` lists them"))
    })?;
    let dotted = format!(".{service}");
    let found: Vec<MethodDescriptor> = pool
        .services()
        .filter(|s| s.full_name() == service || s.full_name().ends_with(&dotted))
        .flat_map(|s| s.methods().collect::<Vec<_>>())
        .filter(|m| m.name() == method)
        .collect();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::usage(format!(
            "there is no method '{name}' here; `cortex call` lists them"
        ))),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|m| format!("{}/{}", m.parent_service().full_name(), m.name()))
                .collect();
            Err(Failure::usage(format!("'{name}' may be any of {}", names.join(", "))))
        }
    }
}

async fn send(
    mesh: &Mesh,
    output: &Output,
    codec: &JsonCodec,
    method: &MethodDescriptor,
    message: Vec<u8>,
    timeout: Option<f64>,
) -> Result<(), Failure> {
    if method.is_client_streaming() {
        return Err(Failure::usage(
            "methods to which the client streams cannot be called from here",
        ));
    }
    let mut request = tonic::Request::new(message);
    if let Some(timeout) = timeout.and_then(|s| Duration::try_from_secs_f64(s).ok()) {
        request.set_timeout(timeout);
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut answers =
        stream(mesh.transport.clone(), request, path).await.map_err(|s| mesh.failure(&s))?;
    while let Some(answer) = answers.next().await {
        let bytes = answer.map_err(|s| mesh.failure(&s))?;
        let text = codec
            .transcode(method.output().full_name(), &bytes)
            .map_err(|error| Failure::other(format!("the answer cannot be printed: {error}")))?;
        output.line(&text)?;
    }
    Ok(())
}

async fn stream(
    transport: Transport,
    request: tonic::Request<Vec<u8>>,
    path: String,
) -> Result<tonic::Streaming<Vec<u8>>, Status> {
    let path = path.parse().map_err(|_| Status::invalid_argument("not a method's path"))?;
    let mut grpc = tonic::client::Grpc::new(transport);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc.server_streaming(request, path, RawCodec).await?.into_inner())
}

/// Every service that the server tells of, with what its methods need.
async fn reflect(mesh: &Mesh) -> Result<DescriptorPool, Failure> {
    let list = MessageRequest::ListServices(String::new());
    let Some(MessageResponse::ListServicesResponse(services)) = ask(mesh, vec![list]).await?.pop()
    else {
        return Err(Failure::other("the server does not list its services"));
    };
    let mut questions: Vec<MessageRequest> = services
        .service
        .into_iter()
        .map(|service| MessageRequest::FileContainingSymbol(service.name))
        .collect();
    let mut files = BTreeMap::new();
    while !questions.is_empty() {
        for answer in ask(mesh, questions).await? {
            if let MessageResponse::FileDescriptorResponse(found) = answer {
                for bytes in found.file_descriptor_proto {
                    let file = FileDescriptorProto::decode(bytes.as_slice()).map_err(|error| {
                        Failure::other(format!("the server's descriptions: {error}"))
                    })?;
                    files.insert(file.name().to_owned(), (file.dependency, bytes));
                }
            }
        }
        let wanted: BTreeSet<&String> = files
            .values()
            .flat_map(|(dependencies, _)| dependencies)
            .filter(|name| !files.contains_key(*name))
            .collect();
        questions =
            wanted.into_iter().map(|name| MessageRequest::FileByFilename(name.clone())).collect();
    }
    pool(files.into_values().map(|(_, bytes)| bytes).collect())
}

/// A pool of files that may stand in any order.
fn pool(mut files: Vec<Vec<u8>>) -> Result<DescriptorPool, Failure> {
    let mut pool = DescriptorPool::new();
    while !files.is_empty() {
        let before = files.len();
        files.retain(|file| pool.decode_file_descriptor_proto(file.as_slice()).is_err());
        if files.len() == before {
            return Err(Failure::other(
                "the server's descriptions of its services do not fit together",
            ));
        }
    }
    Ok(pool)
}

async fn ask(mesh: &Mesh, questions: Vec<MessageRequest>) -> Result<Vec<MessageResponse>, Failure> {
    let requests: Vec<ServerReflectionRequest> = questions
        .into_iter()
        .map(|question| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        })
        .collect();
    let mut client = ServerReflectionClient::new(mesh.transport.clone());
    let mut answers = client
        .server_reflection_info(short(tokio_stream::iter(requests)))
        .await
        .map_err(|s| mesh.failure(&s))?
        .into_inner();
    let mut collected = Vec::new();
    while let Some(answer) = answers.message().await.map_err(|s| mesh.failure(&s))? {
        collected.extend(answer.message_response);
    }
    Ok(collected)
}

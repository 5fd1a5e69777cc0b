//! Calls by the names of methods, with requests and answers as JSON: over gRPC, and over HTTP as the
//! method's annotation has it.

use std::time::Duration;

use bytes::Bytes;
use cortex_proto::descriptor_pool;
use cortex_rpc::RawCodec;
use cortex_transcode::JsonCodec;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value as Reflected};
use serde_json::Value;
use tonic::{Request, Status, client::Grpc};

use crate::port::{Answer, Port, encoded};

/// How long the first answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every method of storage, by `Service.Method`.
pub fn methods() -> Vec<(String, MethodDescriptor)> {
    let services = descriptor_pool().services();
    let ours = services.filter(|service| service.package_name() == "cortex.storage.v1");
    let named = |method: MethodDescriptor| {
        (format!("{}.{}", method.parent_service().name(), method.name()), method)
    };
    ours.flat_map(|service| service.methods().map(named).collect::<Vec<_>>()).collect()
}

/// The method called `Service.Method`.
pub fn method(name: &str) -> MethodDescriptor {
    let found = methods().into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("there is no method {name}")).1
}

/// Calls a method for a tenant, and answers the first message, as JSON.
pub async fn grpc(
    port: &Port,
    tenant: &str,
    method: &MethodDescriptor,
    request: &str,
) -> Result<String, Status> {
    let json = JsonCodec::new(descriptor_pool());
    let input = json.parse(method.input().full_name(), request);
    let input = input.unwrap_or_else(|error| panic!("{}: {error}: {request}", method.full_name()));
    let answer = grpc_bytes(port, tenant, method, input).await?;
    Ok(json.transcode(method.output().full_name(), &answer).expect("as the contract says"))
}

/// The same with an encoded request.
pub async fn grpc_bytes(
    port: &Port,
    tenant: &str,
    method: &MethodDescriptor,
    input: Vec<u8>,
) -> Result<Vec<u8>, Status> {
    let mut client = Grpc::new(port.transport.clone()).max_decoding_message_size(16 << 20);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(tokio_stream::once(input));
    request.metadata_mut().insert("x-cortex-tenant", tenant.parse().expect("a tenant's name"));
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.parse().expect("a path");
    let first = async {
        let mut answers = client.streaming(request, path, RawCodec).await?.into_inner();
        let first = answers.message().await?;
        Ok(first.unwrap_or_default())
    };
    tokio::time::timeout(PATIENCE, first).await.expect("an answer in time")
}

/// Calls a method over HTTP as its first annotation has it; none if that cannot say the request, since
/// a part of its path would be empty.
pub async fn http(port: &Port, method: &MethodDescriptor, request: &str) -> Option<Answer> {
    let rule = http_rule(method);
    let (verb, template) = rule.verb;
    let Value::Object(mut fields) = serde_json::from_str(request).expect("JSON") else {
        panic!("no object: {request}")
    };
    let mut path = String::new();
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (variable, after) = after.split_once('}').expect("a whole template");
        let (name, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        let value = fields.shift_remove(name).unwrap_or_default();
        let value = value.as_str().unwrap_or_default();
        if value.is_empty() {
            return None;
        }
        let value = match pattern {
            "**" => value.split('/').map(encoded).collect::<Vec<_>>().join("/"),
            _ => encoded(value),
        };
        path.push_str(before);
        path.push_str(&value);
        rest = after;
    }
    path.push_str(rest);
    if rule.body == "*" {
        let body = Bytes::from(Value::Object(fields).to_string());
        return Some(port.call(&verb, &path, body).await);
    }
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = match value {
            Value::Array(values) => values,
            Value::Null => Vec::new(),
            one => vec![one],
        };
        for value in values {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            pairs.push(format!("{name}={}", encoded(&text)));
        }
    }
    let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
    Some(port.call(&verb, &format!("{path}{query}"), None).await)
}

struct HttpRule {
    /// The HTTP method, and the path's template.
    verb: (String, String),
    body: String,
}

fn http_rule(method: &MethodDescriptor) -> HttpRule {
    let extension = descriptor_pool().get_extension_by_name("google.api.http").expect("known");
    let options = method.options();
    let rule = options.get_extension(&extension);
    let rule: &DynamicMessage = rule.as_message().expect("a rule");
    let text = |name: &str| match rule.get_field_by_name(name).as_deref() {
        Some(Reflected::String(text)) => text.clone(),
        _ => String::new(),
    };
    let verbs = ["get", "put", "post", "delete", "patch"];
    let verb = verbs.into_iter().find(|verb| !text(verb).is_empty()).expect("a verb");
    HttpRule { verb: (verb.to_uppercase(), text(verb)), body: text("body") }
}

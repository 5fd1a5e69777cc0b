//! One message as the JSON body of an answer.

use http::{HeaderValue, header};
use prost_reflect::DynamicMessage;
use tonic::{body::Body, metadata::MetadataMap};

use crate::{
    binding::{AnswerRule, Target},
    json::{WriteError, Writer},
    metadata::REQUEST_ID,
    problem::Problem,
    schema::Schema,
};

/// Header with the next page's token, where the answer is the bare list.
const NEXT_PAGE_TOKEN: &str = "x-next-page-token";

/// 200 with the message, or the field of it that is the answer.
pub(crate) fn json(
    schema: &Schema,
    target: &Target,
    message: &DynamicMessage,
) -> Result<http::Response<Body>, Problem> {
    let mut json = Vec::with_capacity(256);
    write(schema, target, message, &mut json)
        .map_err(|error| Problem::response(&error.to_string()))?;
    let mut response = http::Response::new(full(json));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = page_token(schema, target, message) {
        headers.insert(NEXT_PAGE_TOKEN, token);
    }
    Ok(response)
}

/// Appends what the answer of `target` is, as JSON.
pub(crate) fn write(
    schema: &Schema,
    target: &Target,
    message: &DynamicMessage,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let writer = Writer::new(schema);
    let AnswerRule::Field(position) = target.answer else {
        return writer.message(out, target.output, message);
    };
    let field = &schema.message(target.output).fields[position];
    if field.presence && !message.has_field(&field.descriptor) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    writer.field(out, field, &message.get_field(&field.descriptor))
}

fn page_token(schema: &Schema, target: &Target, message: &DynamicMessage) -> Option<HeaderValue> {
    let field = &schema.message(target.output).fields[target.page_token?];
    let value = message.get_field(&field.descriptor);
    let token = value.as_str().filter(|token| !token.is_empty())?;
    HeaderValue::from_str(token)
        .inspect_err(|_| tracing::error!(field = field.descriptor.full_name(), "no header value"))
        .ok()
}

/// A body whose length is known.
pub(crate) fn full(bytes: impl Into<bytes::Bytes>) -> Body {
    Body::new(http_body_util::Full::new(bytes.into()))
}

/// Tells the caller the name of the request, as the service knows it.
pub(crate) fn name_request(response: &mut http::Response<Body>, metadata: &MetadataMap) {
    if let Some(id) = metadata.as_ref().get(REQUEST_ID) {
        response.headers_mut().insert(REQUEST_ID, id.clone());
    }
}

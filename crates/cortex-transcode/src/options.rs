//! Reads google.api.http, google.api.field_behavior and our own options out of the descriptors.
//!
//! By reflection, so that any pool will do; what a pool does not define is simply not set.

use http::Method;
use prost_reflect::{DynamicMessage, FieldDescriptor, MethodDescriptor, Value};

/// One HTTP binding of a method, as it is annotated.
#[derive(Debug, Clone)]
pub(crate) struct HttpRule {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Empty: no body. `*`: the whole request. Else a field of the request.
    pub(crate) body: String,
    /// Empty: the whole response. Else a field of it.
    pub(crate) response_body: String,
}

/// `cortex.api.v1.HttpStreamOptions`.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamOptions {
    pub(crate) id_field: String,
    pub(crate) event_oneof: String,
    pub(crate) resume_field: String,
    pub(crate) request_id_field: String,
    pub(crate) switch_field: String,
    pub(crate) unary_method: String,
    pub(crate) switch_default: bool,
}

/// `cortex.api.v1.HttpBytesOptions`.
#[derive(Debug, Clone, Default)]
pub(crate) struct BytesOptions {
    pub(crate) offset_field: String,
    pub(crate) length_field: String,
    pub(crate) size_field: String,
    pub(crate) etag_field: String,
    pub(crate) file_name_field: String,
}

/// Whether the field holds JSON text that is embedded verbatim.
pub(crate) fn is_json(field: &FieldDescriptor) -> bool {
    if field.field_descriptor_proto().options.is_none() {
        return false;
    }
    let extension = field.parent_pool().get_extension_by_name("cortex.api.v1.json");
    extension.is_some_and(|json| field.options().get_extension(&json).as_bool() == Some(true))
}

/// Whether the field is annotated as one that a request must have.
pub(crate) fn is_required(field: &FieldDescriptor) -> bool {
    const REQUIRED: i32 = 2;
    if field.field_descriptor_proto().options.is_none() {
        return false;
    }
    let Some(behavior) = field.parent_pool().get_extension_by_name("google.api.field_behavior")
    else {
        return false;
    };
    let options = field.options();
    let values = options.get_extension(&behavior);
    values
        .as_list()
        .is_some_and(|values| values.iter().any(|value| value.as_enum_number() == Some(REQUIRED)))
}

/// The binding of a method and its additional ones, in their order. Empty: not offered over HTTP.
/// A binding whose verb is not valid is `Err` with what is wrong.
pub(crate) fn http_rules(method: &MethodDescriptor) -> Result<Vec<HttpRule>, String> {
    let Some(rule) = extension(method, "google.api.http") else { return Ok(Vec::new()) };
    let mut rules = vec![http_rule(&rule)?];
    if let Some(more) = rule.get_field_by_name("additional_bindings") {
        for binding in more.as_list().unwrap_or_default() {
            let binding = binding.as_message().ok_or("additional_bindings is damaged")?;
            rules.push(http_rule(binding)?);
        }
    }
    Ok(rules)
}

fn http_rule(rule: &DynamicMessage) -> Result<HttpRule, String> {
    let (method, path) = pattern(rule)?;
    Ok(HttpRule {
        method,
        path,
        body: text(rule, "body"),
        response_body: text(rule, "response_body"),
    })
}

fn pattern(rule: &DynamicMessage) -> Result<(Method, String), String> {
    let verbs = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ];
    for (field, method) in verbs {
        if rule.has_field_by_name(field) {
            return Ok((method, text(rule, field)));
        }
    }
    let custom = rule.get_field_by_name("custom").filter(|_| rule.has_field_by_name("custom"));
    let custom = custom.as_deref().and_then(Value::as_message);
    let Some(custom) = custom else { return Err("the rule names no path".to_owned()) };
    let kind = text(custom, "kind");
    let method = Method::from_bytes(kind.as_bytes())
        .map_err(|_| format!("`{kind}` is not a method of HTTP"))?;
    Ok((method, text(custom, "path")))
}

/// How a stream is offered over HTTP; the defaults if nothing is said.
pub(crate) fn stream_options(method: &MethodDescriptor) -> StreamOptions {
    let Some(options) = extension(method, "cortex.api.v1.http_stream") else {
        return StreamOptions::default();
    };
    let flag = options.get_field_by_name("switch_default");
    StreamOptions {
        id_field: text(&options, "id_field"),
        event_oneof: text(&options, "event_oneof"),
        resume_field: text(&options, "resume_field"),
        request_id_field: text(&options, "request_id_field"),
        switch_field: text(&options, "switch_field"),
        unary_method: text(&options, "unary_method"),
        switch_default: flag.and_then(|flag| flag.as_bool()).unwrap_or(false),
    }
}

/// How bytes are offered over HTTP; without ranges if nothing is said.
pub(crate) fn bytes_options(method: &MethodDescriptor) -> BytesOptions {
    let Some(options) = extension(method, "cortex.api.v1.http_bytes") else {
        return BytesOptions::default();
    };
    BytesOptions {
        offset_field: text(&options, "offset_field"),
        length_field: text(&options, "length_field"),
        size_field: text(&options, "size_field"),
        etag_field: text(&options, "etag_field"),
        file_name_field: text(&options, "file_name_field"),
    }
}

/// The value of a message-typed extension of a method's options, if it is set.
fn extension(method: &MethodDescriptor, name: &str) -> Option<DynamicMessage> {
    let extension = method.parent_pool().get_extension_by_name(name)?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

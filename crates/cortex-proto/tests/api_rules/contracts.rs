//! The contracts as the rules look at them: what is ours in a descriptor pool, with its options.

use cortex_proto::google::api::{HttpRule, http_rule::Pattern};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

/// What is ours in a descriptor pool: every package below `cortex`.
pub(crate) struct Contracts<'a> {
    pool: &'a DescriptorPool,
}

/// One HTTP mapping of a method.
pub(crate) struct Binding {
    /// `GET`, `POST`, ...
    pub(crate) verb: &'static str,
    /// The path template.
    pub(crate) template: String,
    /// The request field that the body is; `*` for all that remain; empty for none.
    pub(crate) body: String,
    /// The response field that the body of the answer is; empty for the whole response.
    pub(crate) response_body: String,
}

/// What a dotted path of an option leads to.
pub(crate) enum Target {
    Field(FieldDescriptor),
    Oneof,
}

impl<'a> Contracts<'a> {
    pub(crate) fn new(pool: &'a DescriptorPool) -> Self {
        Self { pool }
    }

    pub(crate) fn files(&self) -> Vec<FileDescriptor> {
        self.pool.files().filter(|file| ours(file.package_name())).collect()
    }

    pub(crate) fn services(&self) -> Vec<ServiceDescriptor> {
        self.pool.services().filter(|service| ours(service.package_name())).collect()
    }

    pub(crate) fn methods(&self) -> Vec<MethodDescriptor> {
        self.services().iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
    }

    /// Every message, nested ones included, without the entries of maps.
    pub(crate) fn messages(&self) -> Vec<MessageDescriptor> {
        let ours =
            |message: &MessageDescriptor| ours(message.package_name()) && !message.is_map_entry();
        self.pool.all_messages().filter(ours).collect()
    }

    pub(crate) fn enums(&self) -> Vec<EnumDescriptor> {
        self.pool.all_enums().filter(|e| ours(e.package_name())).collect()
    }

    pub(crate) fn fields(&self) -> Vec<FieldDescriptor> {
        self.messages().iter().flat_map(|message| message.fields().collect::<Vec<_>>()).collect()
    }
}

fn ours(package: &str) -> bool {
    package.starts_with("cortex.")
}

/// An option of a method that is a message, decoded. None: it is not set.
pub(crate) fn method_option<T>(method: &MethodDescriptor, name: &str) -> Option<T>
where
    T: prost::Message + Default,
{
    let extension = method.parent_pool().get_extension_by_name(name)?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    let value = options.get_extension(&extension);
    let message = value.as_message().expect("the option is a message");
    Some(message.transcode_to().expect("the generated type is that of the descriptor"))
}

/// Whether a field carries `(cortex.api.v1.json) = true`.
pub(crate) fn is_json(field: &FieldDescriptor) -> bool {
    let pool = field.parent_message().parent_pool().clone();
    let extension = pool.get_extension_by_name("cortex.api.v1.json");
    extension.is_some_and(|json| {
        let options = field.options();
        options.has_extension(&json) && options.get_extension(&json).as_bool() == Some(true)
    })
}

/// The level that the contract states. None: it states none, so the call must not be repeated blindly.
pub(crate) fn idempotency(method: &MethodDescriptor) -> Option<&'static str> {
    use prost_types::method_options::IdempotencyLevel::{Idempotent, NoSideEffects};
    let level = method.method_descriptor_proto().options.as_ref()?.idempotency_level();
    [Idempotent, NoSideEffects].contains(&level).then(|| level.as_str_name())
}

/// The method's own binding and its additional ones, in order.
pub(crate) fn bindings(method: &MethodDescriptor) -> Vec<Binding> {
    let rule: Option<HttpRule> = method_option(method, "google.api.http");
    let Some(rule) = rule else { return Vec::new() };
    let additional = rule.additional_bindings.clone();
    std::iter::once(rule).chain(additional).filter_map(binding).collect()
}

fn binding(rule: HttpRule) -> Option<Binding> {
    let (verb, template) = match rule.pattern? {
        Pattern::Get(template) => ("GET", template),
        Pattern::Put(template) => ("PUT", template),
        Pattern::Post(template) => ("POST", template),
        Pattern::Delete(template) => ("DELETE", template),
        Pattern::Patch(template) => ("PATCH", template),
        Pattern::Custom(custom) => ("custom", custom.path),
    };
    Some(Binding { verb, template, body: rule.body, response_body: rule.response_body })
}

/// The variables of a template with their patterns: `{key=**}` is `("key", "**")`, `{id}` is
/// `("id", "*")`.
pub(crate) fn variables(template: &str) -> Vec<(String, String)> {
    let inside = template.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    inside
        .map(|(variable, _)| variable.split_once('=').unwrap_or((variable, "*")))
        .map(|(name, pattern)| (name.to_owned(), pattern.to_owned()))
        .collect()
}

/// The template with the names of its variables left out: what decides whether two are the same.
pub(crate) fn shape(template: &str) -> String {
    variables(template).into_iter().fold(template.to_owned(), |shape, (name, pattern)| {
        let written = [format!("{{{name}={pattern}}}"), format!("{{{name}}}")];
        written.iter().fold(shape, |shape, variable| shape.replace(variable, &pattern))
    })
}

/// Follows a dotted path from a message through message fields to a field or a oneof.
pub(crate) fn resolve(message: &MessageDescriptor, path: &str) -> Option<Target> {
    if let Some((first, rest)) = path.split_once('.') {
        let Kind::Message(inner) = message.get_field_by_name(first)?.kind() else { return None };
        return resolve(&inner, rest);
    }
    let oneof = message.oneofs().find(|oneof| oneof.name() == path).map(|_| Target::Oneof);
    oneof.or_else(|| message.get_field_by_name(path).map(Target::Field))
}

/// The full name of a field's message type. None: it has another type.
pub(crate) fn message_type(field: &FieldDescriptor) -> Option<String> {
    match field.kind() {
        Kind::Message(message) => Some(message.full_name().to_owned()),
        _ => None,
    }
}

/// The option itself, to keep the name in one place.
pub(crate) fn call_option(
    method: &MethodDescriptor,
) -> Option<cortex_proto::cortex::api::v1::CallOptions> {
    method_option(method, "cortex.api.v1.call")
}

/// As [`call_option`].
pub(crate) fn http_stream_option(
    method: &MethodDescriptor,
) -> Option<cortex_proto::cortex::api::v1::HttpStreamOptions> {
    method_option(method, "cortex.api.v1.http_stream")
}

/// As [`call_option`].
pub(crate) fn http_bytes_option(
    method: &MethodDescriptor,
) -> Option<cortex_proto::cortex::api::v1::HttpBytesOptions> {
    method_option(method, "cortex.api.v1.http_bytes")
}

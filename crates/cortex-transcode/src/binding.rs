//! What an HTTP route does, worked out once at build: which fields come from where, how the answer
//! is told.

use http::{Method, uri::PathAndQuery};
use prost_reflect::{MethodDescriptor, ServiceDescriptor};

use crate::{
    options::{self, HttpRule, StreamOptions},
    schema::{Element, FieldPlan, Form, MessageIndex, MessagePlan, Schema},
    template::{Template, Variable},
};

/// One HTTP method and path of one gRPC method.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) service: String,
    pub(crate) rpc: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) template: Template,
    pub(crate) variables: Vec<PathVariable>,
    pub(crate) body: BodyRule,
    pub(crate) input: MessageIndex,
    pub(crate) client_streaming: bool,
    pub(crate) target: Target,
    /// Set for a server-streaming method.
    pub(crate) stream: Option<StreamPlan>,
    pub(crate) bytes: BytesPlan,
}

/// A gRPC method and how its answer is told.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) grpc_path: PathAndQuery,
    pub(crate) output: MessageIndex,
    pub(crate) answer: AnswerRule,
    /// Position of `next_page_token`, where unwrapping would lose it.
    pub(crate) page_token: Option<usize>,
}

/// A field of the request, as positions of fields in messages.
pub(crate) type FieldPath = Vec<(MessageIndex, usize)>;

/// A path variable with its field.
#[derive(Debug)]
pub(crate) struct PathVariable {
    pub(crate) variable: Variable,
    pub(crate) multiple: bool,
    pub(crate) field: FieldPath,
}

/// Where the body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRule {
    /// There is none.
    None,
    /// It is the request.
    Whole,
    /// It is this field of the request.
    Field(usize),
    /// Its bytes are the request, a google.api.HttpBody.
    Bytes,
    /// Its bytes are this field of the request, a google.api.HttpBody.
    FieldBytes(usize),
}

/// What the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerRule {
    /// The response.
    Whole,
    /// This field of it.
    Field(usize),
    /// The bytes of the response, a google.api.HttpBody.
    Bytes,
    /// The bytes of this field of it, a google.api.HttpBody.
    FieldBytes(usize),
}

/// How a stream is told, and when it is none.
#[derive(Debug, Clone)]
pub(crate) struct StreamPlan {
    /// Where the response has the `id:`. Empty: nowhere.
    pub(crate) id: FieldPath,
    pub(crate) event: Option<EventPlan>,
    pub(crate) resume: Option<usize>,
    pub(crate) request_id: Option<usize>,
    pub(crate) switch: Option<Switch>,
}

/// The oneof that gives an event its `event:` and its `data:`.
#[derive(Debug, Clone)]
pub(crate) struct EventPlan {
    /// Where the message that has it is. Empty: it is the response.
    pub(crate) within: FieldPath,
    pub(crate) message: MessageIndex,
    pub(crate) arms: Vec<usize>,
}

/// Which fields of request and response say what HTTP says of bytes in headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct BytesPlan {
    pub(crate) offset: Option<usize>,
    pub(crate) length: Option<usize>,
    pub(crate) size: Option<usize>,
    pub(crate) etag: Option<usize>,
    pub(crate) file_name: Option<usize>,
}

/// The choice between the stream and a unary method.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    pub(crate) field: usize,
    pub(crate) default: bool,
    pub(crate) unary: Target,
}

impl Target {
    /// Whether the answer is bytes, not JSON.
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.answer, AnswerRule::Bytes | AnswerRule::FieldBytes(_))
    }

    fn new(
        schema: &Schema,
        method: &MethodDescriptor,
        response_body: &str,
    ) -> Result<Self, String> {
        let output = schema.index_of(&method.output());
        let plan = schema.message(output);
        let answer = answer_rule(schema, plan, response_body)?;
        let page_token = match answer {
            AnswerRule::Field(_) => plan.position("next_page_token"),
            _ => None,
        };
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let grpc_path = PathAndQuery::try_from(path).map_err(|error| error.to_string())?;
        Ok(Self { grpc_path, output, answer, page_token })
    }
}

/// Every binding of a method. Empty: it is not offered over HTTP.
pub(crate) fn bindings(schema: &Schema, method: &MethodDescriptor) -> Result<Vec<Binding>, String> {
    options::http_rules(method)?
        .into_iter()
        .map(|rule| {
            let place = format!("{} {}", rule.method, rule.path);
            binding(schema, method, rule).map_err(|reason| format!("{place}: {reason}"))
        })
        .collect()
}

fn binding(schema: &Schema, method: &MethodDescriptor, rule: HttpRule) -> Result<Binding, String> {
    let template = Template::parse(&rule.path).map_err(|error| error.to_string())?;
    let input = schema.index_of(&method.input());
    let body = body_rule(schema, schema.message(input), &rule.body)?;
    let takes_bytes = matches!(body, BodyRule::Bytes | BodyRule::FieldBytes(_));
    if method.is_client_streaming() && (!takes_bytes || method.is_server_streaming()) {
        return Err("a stream of requests is only offered for uploads, whose body is a \
                    google.api.HttpBody and whose answer is one message"
            .to_owned());
    }
    let variables = template.variables.iter().map(|variable| {
        let field = variable_field(schema, input, &variable.field)?;
        let multiple = variable.is_multiple(&template);
        Ok(PathVariable { variable: variable.clone(), multiple, field })
    });
    let variables = variables.collect::<Result<_, String>>()?;
    let stream = method.is_server_streaming().then(|| stream_plan(schema, method)).transpose()?;
    Ok(Binding {
        service: method.parent_service().full_name().to_owned(),
        rpc: method.name().to_owned(),
        target: Target::new(schema, method, &rule.response_body)?,
        client_streaming: method.is_client_streaming(),
        bytes: bytes_plan(schema, method)?,
        method: rule.method,
        path: rule.path,
        template,
        variables,
        body,
        input,
        stream,
    })
}

/// The field of a path variable, which holds one value that a text can stand for.
fn variable_field(
    schema: &Schema,
    input: MessageIndex,
    names: &[String],
) -> Result<FieldPath, String> {
    let mut path = Vec::with_capacity(names.len());
    let mut message = input;
    for (depth, name) in names.iter().enumerate() {
        let plan = schema.message(message);
        let position = find(plan, name)?;
        path.push((message, position));
        let single = plan.fields[position].single();
        let last = depth + 1 == names.len();
        match single {
            Some(Element::Message(next)) if !last => message = next,
            Some(Element::Message(next)) if is_plain(schema, next) => {
                return Err(format!("the path variable `{name}` is a message"));
            }
            Some(_) if last => {}
            _ => return Err(format!("`{name}` cannot be part of a path")),
        }
    }
    Ok(path)
}

fn is_plain(schema: &Schema, message: MessageIndex) -> bool {
    schema.message(message).form == Form::Plain
}

fn body_rule(schema: &Schema, input: &MessagePlan, body: &str) -> Result<BodyRule, String> {
    match body {
        "" => Ok(BodyRule::None),
        "*" if is_http_body(input) => Ok(BodyRule::Bytes),
        "*" => Ok(BodyRule::Whole),
        name => {
            let position = find(input, name)?;
            let bytes = holds_http_body(schema, &input.fields[position]);
            Ok(if bytes { BodyRule::FieldBytes(position) } else { BodyRule::Field(position) })
        }
    }
}

fn answer_rule(schema: &Schema, output: &MessagePlan, name: &str) -> Result<AnswerRule, String> {
    if name.is_empty() {
        let bytes = is_http_body(output);
        return Ok(if bytes { AnswerRule::Bytes } else { AnswerRule::Whole });
    }
    let position = find(output, name)?;
    let bytes = holds_http_body(schema, &output.fields[position]);
    Ok(if bytes { AnswerRule::FieldBytes(position) } else { AnswerRule::Field(position) })
}

fn is_http_body(plan: &MessagePlan) -> bool {
    plan.descriptor.full_name() == "google.api.HttpBody"
}

fn holds_http_body(schema: &Schema, field: &FieldPlan) -> bool {
    match field.single() {
        Some(Element::Message(index)) => is_http_body(schema.message(index)),
        _ => false,
    }
}

/// By its name in the contract alone: annotations are part of the contract.
fn find(plan: &MessagePlan, name: &str) -> Result<usize, String> {
    let position = plan.fields.iter().position(|field| field.name() == name);
    position.ok_or_else(|| format!("{} has no field `{name}`", plan.descriptor.full_name()))
}

fn optional(plan: &MessagePlan, name: &str) -> Result<Option<usize>, String> {
    if name.is_empty() { Ok(None) } else { find(plan, name).map(Some) }
}

fn stream_plan(schema: &Schema, method: &MethodDescriptor) -> Result<StreamPlan, String> {
    let options = options::stream_options(method);
    let input = schema.message(schema.index_of(&method.input()));
    let output = schema.index_of(&method.output());
    Ok(StreamPlan {
        id: dotted(schema, output, &options.id_field)?,
        event: event_plan(schema, output, &options.event_oneof)?,
        resume: optional(input, &options.resume_field)?,
        request_id: optional(input, &options.request_id_field)?,
        switch: switch(schema, method, &options)?,
    })
}

/// The field that a path such as `event.sequence` names; empty for an empty path.
fn dotted(schema: &Schema, message: MessageIndex, path: &str) -> Result<FieldPath, String> {
    let mut fields = FieldPath::new();
    let mut within = Some(message);
    for name in path.split('.').filter(|_| !path.is_empty()) {
        let message = within.ok_or_else(|| format!("`{path}` goes into what is no message"))?;
        let plan = schema.message(message);
        let position = find(plan, name)?;
        fields.push((message, position));
        within = match plan.fields[position].single() {
            Some(Element::Message(next)) => Some(next),
            _ => None,
        };
    }
    Ok(fields)
}

fn event_plan(
    schema: &Schema,
    output: MessageIndex,
    path: &str,
) -> Result<Option<EventPlan>, String> {
    if path.is_empty() {
        return Ok(None);
    }
    let (within, oneof) = path.rsplit_once('.').unwrap_or(("", path));
    let within = dotted(schema, output, within)?;
    let message = match within.last() {
        None => output,
        Some((holder, position)) => match schema.message(*holder).fields[*position].single() {
            Some(Element::Message(message)) => message,
            _ => return Err(format!("`{path}` goes into what is no message")),
        },
    };
    let plan = schema.message(message);
    let index = plan.descriptor.oneofs().position(|found| found.name() == oneof);
    let index =
        index.ok_or_else(|| format!("{} has no oneof `{oneof}`", plan.descriptor.full_name()))?;
    let fields = plan.fields.iter().enumerate();
    let arms: Vec<_> =
        fields.filter(|(_, field)| field.oneof == Some(index)).map(|(at, _)| at).collect();
    if arms.iter().any(|arm| plan.fields[*arm].name() == "error") {
        return Err(format!(
            "an arm of `{path}` is named `error`, as the event of a failed stream"
        ));
    }
    Ok(Some(EventPlan { within, message, arms }))
}

fn bytes_plan(schema: &Schema, method: &MethodDescriptor) -> Result<BytesPlan, String> {
    let options = options::bytes_options(method);
    let input = schema.message(schema.index_of(&method.input()));
    let output = schema.message(schema.index_of(&method.output()));
    let of = |plan: &MessagePlan, name: &str, element: Element| {
        let position = optional(plan, name)?;
        match position.map(|position| plan.fields[position].single()) {
            Some(found) if found != Some(element) => {
                Err(format!("`{name}` is not of the type that http_bytes needs"))
            }
            _ => Ok(position),
        }
    };
    Ok(BytesPlan {
        offset: of(input, &options.offset_field, Element::I64)?,
        length: of(input, &options.length_field, Element::I64)?,
        size: of(output, &options.size_field, Element::I64)?,
        etag: of(output, &options.etag_field, Element::String)?,
        file_name: of(output, &options.file_name_field, Element::String)?,
    })
}

fn switch(
    schema: &Schema,
    method: &MethodDescriptor,
    options: &StreamOptions,
) -> Result<Option<Switch>, String> {
    let input = schema.message(schema.index_of(&method.input()));
    let Some(field) = optional(input, &options.switch_field)? else { return Ok(None) };
    if input.fields[field].single() != Some(Element::Bool) {
        return Err(format!("switch_field `{}` is not a boolean", options.switch_field));
    }
    let unary = sibling(method.parent_service(), &options.unary_method)?;
    same_fields(method.input().full_name(), input, &unary)?;
    let rules = options::http_rules(&unary)?;
    let response_body = rules.first().map(|rule| rule.response_body.as_str()).unwrap_or_default();
    let unary = Target::new(schema, &unary, response_body)?;
    Ok(Some(Switch { field, default: options.switch_default, unary }))
}

fn sibling(service: &ServiceDescriptor, name: &str) -> Result<MethodDescriptor, String> {
    let method = service.methods().find(|method| method.name() == name);
    let method = method.ok_or_else(|| format!("unary_method `{name}` is not in the service"))?;
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err(format!("unary_method `{name}` is a stream"));
    }
    Ok(method)
}

/// The unary method reads the stream's request as it is on the wire: what both have must agree.
fn same_fields(request: &str, input: &MessagePlan, unary: &MethodDescriptor) -> Result<(), String> {
    for field in unary.input().fields() {
        let theirs = input.fields.iter().find(|other| {
            other.name() == field.name() || other.descriptor.number() == field.number()
        });
        let agrees = theirs.is_none_or(|other| {
            other.name() == field.name()
                && other.descriptor.number() == field.number()
                && other.descriptor.kind() == field.kind()
                && other.descriptor.cardinality() == field.cardinality()
        });
        if !agrees {
            let (name, unary) = (field.name(), unary.name());
            return Err(format!("`{name}` of {unary} is not the same field in {request}"));
        }
    }
    Ok(())
}

//! One operation per binding: what it takes and what it answers.

use std::collections::{HashMap, HashSet};

use http::Method;
use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value, json};

use super::{
    comments::{Comments, summary},
    parameters::parameters,
    paths::Paths,
    schemas::Schemas,
};
use crate::{
    binding::{AnswerRule, Binding, BodyRule, StreamPlan, Target},
    options,
    schema::Schema,
};

/// The operations of a document, in the order in which they are added.
pub(crate) struct Operations<'a> {
    schema: &'a Schema,
    comments: &'a Comments,
    paths: Paths,
    items: Map<String, Value>,
    ids: HashSet<String>,
    /// Which service has taken a short name for its operations.
    services: HashMap<String, String>,
}

impl<'a> Operations<'a> {
    pub(crate) fn new(schema: &'a Schema, comments: &'a Comments) -> Self {
        Self {
            schema,
            comments,
            paths: Paths::default(),
            items: Map::new(),
            ids: HashSet::new(),
            services: HashMap::new(),
        }
    }

    /// The object `paths`.
    pub(crate) fn finish(self) -> Value {
        Value::Object(self.items)
    }

    /// Adds the operation of a binding. Methods that OpenAPI does not know are left out.
    pub(crate) fn add(&mut self, binding: &Binding, schemas: &mut Schemas<'_>) {
        const KNOWN: [Method; 7] = [
            Method::GET,
            Method::PUT,
            Method::POST,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
            Method::HEAD,
        ];
        if !KNOWN.contains(&binding.method) {
            return;
        }
        let (path, variables) = self.paths.write(binding);
        let mut operation = self.describe(binding);
        let parameters = parameters(self.schema, binding, variables, schemas);
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(body) = self.body(binding, schemas) {
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("responses".to_owned(), self.responses(binding, schemas));
        let item = self.items.entry(path).or_insert_with(|| json!({}));
        item[binding.method.as_str().to_ascii_lowercase()] = Value::Object(operation);
    }

    fn describe(&mut self, binding: &Binding) -> Map<String, Value> {
        let mut operation = Map::new();
        operation.insert("tags".to_owned(), json!([binding.service]));
        let method = self.method(binding);
        let comment = method.and_then(|method| {
            self.comments.get(&method.parent_file(), method.path()).map(str::to_owned)
        });
        if let Some(comment) = comment {
            operation.insert("summary".to_owned(), json!(summary(&comment)));
            operation.insert("description".to_owned(), json!(comment));
        }
        operation.insert("operationId".to_owned(), json!(self.id(binding)));
        let name = format!("{}/{}", binding.service, binding.rpc);
        operation.insert("x-grpc-method".to_owned(), json!(name));
        operation
    }

    fn method(&self, binding: &Binding) -> Option<MethodDescriptor> {
        let service = self.schema.pool().get_service_by_name(&binding.service)?;
        service.methods().find(|method| method.name() == binding.rpc)
    }

    /// `TurnService_SendMessage`; numbered from the second binding on, and with the package where
    /// two services share a name.
    fn id(&mut self, binding: &Binding) -> String {
        let short = binding.service.rsplit('.').next().unwrap_or_default().to_owned();
        let owner = self.services.entry(short.clone()).or_insert_with(|| binding.service.clone());
        let service =
            if *owner == binding.service { short } else { binding.service.replace('.', "_") };
        let id = format!("{service}_{}", binding.rpc);
        let numbered = (2_usize..).map(|number| format!("{id}_{number}"));
        let mut ids = std::iter::once(id.clone()).chain(numbered);
        ids.find(|id| self.ids.insert(id.clone())).unwrap_or(id)
    }

    fn body(&self, binding: &Binding, schemas: &mut Schemas<'_>) -> Option<Value> {
        let input = self.schema.message(binding.input);
        match binding.body {
            BodyRule::None => None,
            BodyRule::Bytes | BodyRule::FieldBytes(_) => {
                Some(json!({"required": true, "content": {"*/*": {"schema": {}}}}))
            }
            BodyRule::Whole => {
                let content =
                    json!({"application/json": {"schema": schemas.message(binding.input)}});
                let in_path = |position: usize| {
                    binding.variables.iter().any(|variable| {
                        matches!(variable.field.as_slice(), [(_, found)] if *found == position)
                    })
                };
                let mut fields = input.fields.iter().enumerate();
                let required = fields.any(|(position, field)| {
                    options::is_required(&field.descriptor) && !in_path(position)
                });
                Some(json!({"required": required, "content": content}))
            }
            BodyRule::Field(position) => {
                let field = &input.fields[position];
                let required = options::is_required(&field.descriptor);
                let content = json!({"application/json": {"schema": schemas.field(field)}});
                Some(json!({"required": required, "content": content}))
            }
        }
    }

    fn responses(&self, binding: &Binding, schemas: &mut Schemas<'_>) -> Value {
        let mut responses = Map::new();
        let target = &binding.target;
        match &binding.stream {
            _ if target.is_bytes() => self.bytes(binding, &mut responses),
            None => {
                responses.insert("200".to_owned(), self.ok(target, self.json(target, schemas)));
            }
            Some(plan) => self.stream(target, plan, &mut responses, schemas),
        }
        responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Error"}));
        Value::Object(responses)
    }

    fn ok(&self, target: &Target, content: Value) -> Value {
        let output = &self.schema.message(target.output).descriptor;
        let comment = self.comments.get(&output.parent_file(), output.path());
        let mut response = json!({"description": comment.unwrap_or("The answer.")});
        if target.page_token.is_some() {
            response["headers"] = json!({"x-next-page-token": {
                "description": "Where the next page begins, as `page_token`. Absent: nowhere.",
                "schema": {"type": "string"},
            }});
        }
        response["content"] = content;
        response
    }

    fn json(&self, target: &Target, schemas: &mut Schemas<'_>) -> Value {
        json!({"application/json": {"schema": self.answer(target, schemas)}})
    }

    fn answer(&self, target: &Target, schemas: &mut Schemas<'_>) -> Value {
        match target.answer {
            AnswerRule::Field(position) => {
                schemas.field(&self.schema.message(target.output).fields[position])
            }
            _ => schemas.message(target.output),
        }
    }

    fn stream(
        &self,
        target: &Target,
        plan: &StreamPlan,
        responses: &mut Map<String, Value>,
        schemas: &mut Schemas<'_>,
    ) {
        let line = self.answer(target, schemas);
        let mut events = json!({"schema": {
            "type": "string",
            "description": "Server-sent events, whose `data:` is JSON; `event: error` is an Error.",
        }});
        if let Some(event) = &plan.event {
            let fields = &self.schema.message(event.message).fields;
            let arms = event.arms.iter().map(|position| &fields[*position]);
            let arms: Map<_, _> =
                arms.map(|arm| (arm.name().to_owned(), schemas.field(arm))).collect();
            events["x-events"] = Value::Object(arms);
        }
        let mut content = json!({
            "text/event-stream": events,
            "application/x-ndjson": {"schema": line},
        });
        if let Some(switch) = &plan.switch {
            content["application/json"] = json!({"schema": self.answer(&switch.unary, schemas)});
        }
        responses.insert("200".to_owned(), self.ok(target, content));
        if plan.resume.is_some() {
            let over = "Nothing comes after the event from which it was to go on.";
            responses.insert("204".to_owned(), json!({"description": over}));
        }
    }

    fn bytes(&self, binding: &Binding, responses: &mut Map<String, Value>) {
        let content = json!({"*/*": {"schema": {}}});
        responses.insert("200".to_owned(), self.ok(&binding.target, content.clone()));
        let whole = binding.stream.is_none();
        if binding.method == Method::GET && (whole || binding.bytes.size.is_some()) {
            let part = json!({"description": "The range that was asked for.", "content": content});
            responses.insert("206".to_owned(), part);
        }
        if binding.bytes.etag.is_some() {
            let same = "The client has it, as `If-None-Match` says.";
            responses.insert("304".to_owned(), json!({"description": same}));
        }
    }
}

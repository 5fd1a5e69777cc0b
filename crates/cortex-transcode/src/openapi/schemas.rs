//! Messages and enums as JSON Schemas, by the rules by which their JSON is written.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost_reflect::{EnumDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments::Comments;
use crate::{
    binding::Binding,
    options,
    schema::{Element, FieldPlan, Form, MessageIndex, MessagePlan, Schema, Shape, short_names},
};

/// The schemas that a document refers to, made as they are asked for.
pub(crate) struct Schemas<'a> {
    schema: &'a Schema,
    comments: &'a Comments,
    /// Fields of requests that the path gives and a body need not.
    in_path: HashMap<MessageIndex, HashSet<usize>>,
    named: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(schema: &'a Schema, comments: &'a Comments, bindings: &[Binding]) -> Self {
        let mut in_path: HashMap<MessageIndex, HashSet<usize>> = HashMap::new();
        for variable in bindings.iter().flat_map(|binding| &binding.variables) {
            if let [(message, position)] = variable.field.as_slice() {
                in_path.entry(*message).or_default().insert(*position);
            }
        }
        let named = BTreeMap::from([("Error".to_owned(), error())]);
        Self { schema, comments, in_path, named }
    }

    /// Every schema that was asked for.
    pub(crate) fn finish(self) -> Value {
        Value::Object(self.named.into_iter().collect::<Map<_, _>>())
    }

    /// What a message is in JSON.
    pub(crate) fn message(&mut self, index: MessageIndex) -> Value {
        let plan = self.schema.message(index);
        match plan.form {
            Form::Timestamp => json!({"type": "string", "format": "date-time"}),
            Form::Duration => json!({
                "type": "string",
                "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$",
                "examples": ["1.5s"],
            }),
            Form::FieldMask => json!({
                "type": "string",
                "description": "Paths of fields, separated by commas.",
            }),
            Form::Any => json!({
                "type": "object",
                "properties": {"@type": {"type": "string"}},
                "required": ["@type"],
                "additionalProperties": true,
            }),
            Form::Struct => json!({"type": "object", "additionalProperties": true}),
            Form::List => json!({"type": "array", "items": {}}),
            Form::Value => json!({}),
            Form::Wrapper => self.wrapper(plan),
            Form::Plain => self.reference(index),
        }
    }

    fn wrapper(&mut self, plan: &MessagePlan) -> Value {
        let inner = plan.fields.first().and_then(FieldPlan::single);
        let mut schema = inner.map_or_else(|| json!({}), |element| self.element(element, None));
        if let Some(kind) = schema.get("type").cloned() {
            schema["type"] = json!([kind, "null"]);
        }
        schema
    }

    fn reference(&mut self, index: MessageIndex) -> Value {
        let plan = self.schema.message(index);
        let name = plan.descriptor.full_name();
        if !self.named.contains_key(name) {
            // Before its fields, which may lead back here.
            self.named.insert(name.to_owned(), Value::Null);
            let object = self.object(index, plan);
            self.named.insert(name.to_owned(), object);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn object(&mut self, index: MessageIndex, plan: &MessagePlan) -> Value {
        let in_path = self.in_path.get(&index).cloned().unwrap_or_default();
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (position, field) in plan.fields.iter().enumerate() {
            properties.insert(field.name().to_owned(), self.field(field));
            if options::is_required(&field.descriptor) && !in_path.contains(&position) {
                required.push(field.name());
            }
        }
        let mut object = json!({"type": "object"});
        if let Some(comment) = self.message_comment(&plan.descriptor) {
            object["description"] = json!(comment);
        }
        object["properties"] = Value::Object(properties);
        if !required.is_empty() {
            object["required"] = json!(required);
        }
        object
    }

    /// What a field holds, with its comment.
    pub(crate) fn field(&mut self, field: &FieldPlan) -> Value {
        let kind = field.descriptor.kind();
        let mut schema = match field.shape {
            Shape::Single(element) => self.element(element, Some(&kind)),
            Shape::List(element) => {
                json!({"type": "array", "items": self.element(element, Some(&kind))})
            }
            Shape::Map(_, value) => {
                let kind = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
                json!({
                    "type": "object",
                    "additionalProperties": self.element(value, kind.as_ref()),
                })
            }
        };
        if let Some(comment) = self.field_comment(field) {
            schema["description"] = json!(comment);
        }
        schema
    }

    /// The comment of a field, and which fields exclude it.
    pub(crate) fn field_comment(&self, field: &FieldPlan) -> Option<String> {
        let descriptor = &field.descriptor;
        let comment = self.comments.get(&descriptor.parent_file(), descriptor.path());
        let oneof = descriptor.containing_oneof().filter(|_| field.oneof.is_some());
        let others = oneof.map(|oneof| {
            let fields = oneof.fields().filter(|other| other.number() != descriptor.number());
            let names: Vec<_> = fields.map(|other| format!("`{}`", other.name())).collect();
            format!("Not together with {}.", names.join(", "))
        });
        match (comment, others.filter(|_| oneof_has_others(field))) {
            (Some(comment), Some(others)) => Some(format!("{comment}\n\n{others}")),
            (comment, others) => comment.map(str::to_owned).or(others),
        }
    }

    fn message_comment(&self, descriptor: &MessageDescriptor) -> Option<&str> {
        self.comments.get(&descriptor.parent_file(), descriptor.path())
    }

    /// One value. `kind` is known but within a wrapper, which holds no enum.
    fn element(&mut self, element: Element, kind: Option<&Kind>) -> Value {
        match element {
            Element::Bool => json!({"type": "boolean"}),
            Element::I32 => json!({"type": "integer", "format": "int32"}),
            Element::U32 => json!({"type": "integer", "format": "int64", "minimum": 0}),
            Element::I64 => json!({"type": "integer", "format": "int64"}),
            Element::U64 => json!({"type": "integer", "format": "uint64", "minimum": 0}),
            Element::F32 => json!({"type": "number", "format": "float"}),
            Element::F64 => json!({"type": "number", "format": "double"}),
            Element::String => json!({"type": "string"}),
            Element::Json => json!({}),
            Element::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Element::Enum(_) => match kind.and_then(Kind::as_enum) {
                Some(descriptor) => self.enumeration(descriptor),
                None => json!({"type": "string"}),
            },
            Element::Message(index) => self.message(index),
        }
    }

    fn enumeration(&mut self, descriptor: &EnumDescriptor) -> Value {
        let name = descriptor.full_name();
        if name == "google.protobuf.NullValue" {
            return json!({"type": "null"});
        }
        if !self.named.contains_key(name) {
            let schema = self.enum_schema(descriptor);
            self.named.insert(name.to_owned(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn enum_schema(&self, descriptor: &EnumDescriptor) -> Value {
        let file = descriptor.parent_file();
        let mut description =
            self.comments.get(&file, descriptor.path()).unwrap_or_default().to_owned();
        let mut names: Vec<String> = Vec::new();
        for (index, (_, _, short)) in short_names(descriptor).into_iter().enumerate() {
            if names.contains(&short) {
                continue;
            }
            let mut path = descriptor.path().to_vec();
            // `value` of EnumDescriptorProto is its field 2.
            path.extend([2, i32::try_from(index).unwrap_or_default()]);
            if let Some(comment) = self.comments.get(&file, &path) {
                let comment = comment.replace('\n', " ");
                description.push_str(&format!("\n- `{short}`: {comment}"));
            }
            names.push(short);
        }
        json!({"type": "string", "description": description.trim(), "enum": names})
    }
}

fn oneof_has_others(field: &FieldPlan) -> bool {
    field.descriptor.containing_oneof().is_some_and(|oneof| oneof.fields().len() > 1)
}

fn error() -> Value {
    json!({
        "type": "object",
        "description": "An error, as Google's APIs tell it.",
        "properties": {"error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {
                    "type": "string",
                    "description": "The name of the code of google.rpc.Code.",
                    "examples": ["NOT_FOUND"],
                },
                "message": {"type": "string", "description": "What is wrong, for a person."},
                "details": {
                    "type": "array",
                    "description": "Facts for programs: google.rpc.ErrorInfo and others.",
                    "items": {
                        "type": "object",
                        "properties": {"@type": {"type": "string"}},
                        "required": ["@type"],
                        "additionalProperties": true,
                    },
                },
            },
            "required": ["code", "status", "message", "details"],
        }},
        "required": ["error"],
    })
}

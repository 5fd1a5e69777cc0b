//! Parameters of tools and triggers, as the JSON Schema that a model sees.
//!
//! Keywords stand in one fixed order, parameters in the order in which the author wrote them: the
//! same manifest always gives the same bytes, so that a provider's prompt cache hits.

use cortex_config::{
    KeyPath, closest,
    yaml::{Content, Node},
};
use serde_json::{Map, Value, json};

use super::Fields;
use crate::diagnostic::code;

/// The order of keywords in a schema. Others follow, in alphabetical order.
const ORDER: &[&str] = &[
    "type",
    "description",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "additionalProperties",
];

/// What authors call the types of JSON.
const TYPES: &[(&str, &str)] = &[
    ("string", "string"),
    ("integer", "integer"),
    ("number", "number"),
    ("boolean", "boolean"),
    ("array", "array"),
    ("object", "object"),
    ("str", "string"),
    ("text", "string"),
    ("int", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("bool", "boolean"),
    ("list", "array"),
    ("dict", "object"),
    ("map", "object"),
];

/// What authors call the constraints of JSON Schema.
const CONSTRAINTS: &[(&str, &str)] = &[
    ("min", "minimum"),
    ("minimum", "minimum"),
    ("max", "maximum"),
    ("maximum", "maximum"),
    ("min_length", "minLength"),
    ("max_length", "maxLength"),
    ("pattern", "pattern"),
    ("format", "format"),
    ("min_items", "minItems"),
    ("max_items", "maxItems"),
    ("enum", "enum"),
];

/// The schema of what stands under `key`: a list of parameters, a map of them, or a schema.
pub(super) fn schema(owner: &Fields<'_>, key: &str) -> Value {
    let mut schema = Builder::default();
    match owner.value(key).map(|node| &node.content) {
        None => {}
        Some(Content::Map(_)) => {
            if let Some(section) = owner.section(key) {
                if is_schema(&section) {
                    return canonical(owner.value(key).map(Node::to_json).unwrap_or_default());
                }
                for (name, node, path) in section.entries() {
                    schema.parameter(&section, name, node, path);
                }
            }
        }
        Some(_) => {
            for parameter in owner.sections(key) {
                if let Some(name) = parameter.required_text("name") {
                    let path = parameter.path().clone();
                    schema.parameter(&parameter, name, parameter.node(), path);
                }
            }
        }
    }
    schema.finish()
}

fn is_schema(section: &Fields<'_>) -> bool {
    let type_ = section.value("type").and_then(Node::as_text);
    let properties = section.value("properties").map(|node| &node.content);
    type_ == Some("object") && matches!(properties, Some(Content::Map(_)))
}

#[derive(Default)]
struct Builder {
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Builder {
    fn parameter(&mut self, owner: &Fields<'_>, name: &str, node: &Node, path: KeyPath) {
        if self.properties.contains_key(name) {
            let message = format!("the parameter '{name}' is declared twice");
            owner.report().error(code::INVALID_VALUE, node.at, &path, message);
            return;
        }
        // `max_age_days: integer` is short for a parameter of that type, which is then optional.
        if let Some(short) = node.as_text() {
            let type_ = json_type(short);
            if type_.is_none() {
                unknown_type(owner, short, node, &path);
            }
            let type_ = type_.filter(|name| *name != "any");
            self.properties
                .insert(name.to_owned(), type_.map_or(json!({}), |t| json!({"type": t})));
            return;
        }
        let Some(fields) = owner.as_section(node, path) else { return };
        let property = property(&fields);
        let has_default = property.get("default").is_some();
        if fields.boolean("required").unwrap_or(!has_default) {
            self.required.push(Value::String(name.to_owned()));
        }
        self.properties.insert(name.to_owned(), canonical(Value::Object(property)));
    }

    fn finish(self) -> Value {
        let mut schema = json!({"type": "object", "properties": self.properties});
        if !self.required.is_empty() {
            schema["required"] = Value::Array(self.required);
        }
        schema
    }
}

fn property(fields: &Fields<'_>) -> Map<String, Value> {
    let mut property = Map::new();
    if let Some(text) = fields.spelled("type") {
        match json_type(&text) {
            Some("any") => {}
            Some(type_) => {
                property.insert("type".into(), type_.into());
            }
            None => {
                let node = fields.value("type").unwrap_or(fields.node());
                unknown_type(fields, &text, node, &fields.path().key("type"));
            }
        }
    }
    if let Some(text) = fields.spelled("description") {
        property.insert("description".into(), text.trim().into());
    }
    if let Some(node) = fields.value("default") {
        property.insert("default".into(), default(fields, node, &property));
    }
    for (key, keyword) in
        [("enum", "enum"), ("format", "format"), ("items", "items"), ("properties", "properties")]
    {
        if let Some(node) = fields.value(key) {
            property.insert(keyword.into(), node.to_json());
        }
    }
    constraints(fields, &mut property);
    property
}

/// The default, as the declared type has it: `no` is false where a boolean is meant.
fn default(fields: &Fields<'_>, node: &Node, property: &Map<String, Value>) -> Value {
    let declared = property.get("type").and_then(Value::as_str);
    match (declared, &node.content) {
        (Some("boolean"), Content::Text(_)) => {
            fields.boolean("default").map_or_else(|| node.to_json(), Value::Bool)
        }
        _ => node.to_json(),
    }
}

fn constraints(fields: &Fields<'_>, property: &mut Map<String, Value>) {
    let Some(validation) = fields.section("validation") else { return };
    for (key, keyword) in CONSTRAINTS {
        if let Some(node) = validation.value(key) {
            property.insert((*keyword).to_owned(), node.to_json());
        }
    }
    let known: Vec<&str> = CONSTRAINTS.iter().map(|(key, _)| *key).collect();
    validation.suspect_typos(&known);
}

fn json_type(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    if text == "any" {
        return Some("any");
    }
    TYPES.iter().find(|(name, _)| *name == text).map(|(_, type_)| *type_)
}

fn unknown_type(owner: &Fields<'_>, text: &str, node: &Node, path: &KeyPath) {
    let names = TYPES.iter().map(|(name, _)| *name);
    let hint =
        closest(text, names).map(|near| format!("did you mean '{near}'?")).unwrap_or_default();
    let message =
        format!("'{text}' is not one of string, integer, number, boolean, array, object, any");
    owner.report().error_with_hint(code::INVALID_VALUE, node.at, path, message, hint);
}

/// A schema with its keywords in the fixed order. Properties keep theirs.
pub(super) fn canonical(schema: Value) -> Value {
    let Value::Object(map) = schema else { return schema };
    let rank = |key: &str| ORDER.iter().position(|name| *name == key).unwrap_or(ORDER.len());
    let mut entries: Vec<(String, Value)> = map.into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    let entries = entries.into_iter().map(|(key, value)| match (key.as_str(), value) {
        ("properties", Value::Object(properties)) => {
            let properties = properties.into_iter().map(|(name, value)| (name, canonical(value)));
            (key, Value::Object(properties.collect()))
        }
        ("items" | "additionalProperties", value) => (key, canonical(value)),
        (_, value) => (key, value),
    });
    Value::Object(entries.collect())
}

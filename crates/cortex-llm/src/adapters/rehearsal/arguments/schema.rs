//! What a JSON Schema says about a tool's parameters, as far as words can fill them.

use serde_json::{Map, Value, value::RawValue};

use crate::adapters::rehearsal::vocabulary;

/// A parameter of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) shape: Shape,
    /// Whether it is looked for in the words: it is required, or the schema requires nothing.
    pub(super) wanted: bool,
    /// Its default or constant value, as JSON.
    pub(super) default: Option<String>,
}

/// What a parameter holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Enum(Vec<Choice>),
    Integer,
    Number,
    Boolean,
    Text,
    Texts,
    Numbers,
    Object,
}

/// A value of an enum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub(super) text: String,
    pub(super) json: String,
}

/// The parameters, in the schema's order. A schema that cannot be read has none.
pub(super) fn parameters(schema: Option<&RawValue>) -> Vec<Parameter> {
    let schema = schema.and_then(|raw| serde_json::from_str::<Map<_, _>>(raw.get()).ok());
    let Some(schema) = schema else { return Vec::new() };
    let required = schema.get("required").and_then(Value::as_array);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    let parameter = |(name, property): (&String, &Value)| Parameter {
        name: name.clone(),
        shape: shape(property),
        wanted: required.is_none_or(|names| names.iter().any(|n| n == name)),
        default: property.get("default").or(property.get("const")).map(Value::to_string),
    };
    properties.iter().map(parameter).collect()
}

fn shape(property: &Value) -> Shape {
    if let Some(values) = property.get("enum").and_then(Value::as_array) {
        let choice = |value: &Value| Choice {
            text: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            json: value.to_string(),
        };
        return Shape::Enum(values.iter().filter(|value| !value.is_null()).map(choice).collect());
    }
    let alternatives = property.get("anyOf").or(property.get("oneOf")).and_then(Value::as_array);
    if let Some(first) = alternatives.and_then(|all| all.iter().find(|one| kind(one) != "null")) {
        return shape(first);
    }
    match kind(property) {
        "integer" => Shape::Integer,
        "number" => Shape::Number,
        "boolean" => Shape::Boolean,
        "object" => Shape::Object,
        "array" => match property.get("items").map_or("string", kind) {
            "integer" | "number" => Shape::Numbers,
            _ => Shape::Texts,
        },
        _ => Shape::Text,
    }
}

/// The type of a schema; of several, the first that is not null.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("string")
        }
        _ if schema.get("properties").is_some() => "object",
        _ => "string",
    }
}

/// The value of an enum that `word` means, as JSON.
pub(super) fn choose<'a>(choices: &'a [Choice], word: &str) -> Option<&'a str> {
    let exact = choices.iter().find(|choice| choice.text.eq_ignore_ascii_case(word));
    let means = || choices.iter().find(|choice| vocabulary::means(&choice.text, word));
    exact.or_else(means).map(|choice| choice.json.as_str())
}

/// Whether a number is written without a fraction or an exponent.
pub(super) fn is_whole(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

//! JSON to the well-known types, which have forms of their own.

use std::borrow::Cow;

use prost::Message as _;
use prost_reflect::{DynamicMessage, MapKey, Value};
use serde::de::{Deserialize, DeserializeSeed, Deserializer};
use serde_json::value::RawValue;

use super::{
    Path,
    read::{Container, ElementSeed, Read, Reader, Wanted},
    scalar::Scalar,
    time,
};
use crate::schema::{Element, FieldPlan, Form, MessageIndex, MessagePlan};

/// A value of a well-known type.
pub(super) fn read<'de, D: Deserializer<'de>>(
    reader: &Reader<'_>,
    plan: &MessagePlan,
    path: &Path<'_>,
    deserializer: D,
) -> Result<Read, D::Error> {
    match plan.form {
        Form::Any => {
            let raw = <&RawValue>::deserialize(deserializer)?;
            Ok(if raw.get() == "null" { Read::Null } else { any(reader, plan, path, raw.get()) })
        }
        Form::Struct | Form::List | Form::Value => {
            let value = serde_json::Value::deserialize(deserializer)?;
            Ok(dynamic(reader, plan, path, value))
        }
        Form::Wrapper => wrapper(reader, plan, path, deserializer),
        Form::Plain | Form::Timestamp | Form::Duration | Form::FieldMask => {
            let scalar = Scalar::deserialize(deserializer)?;
            Ok(textual(reader, plan, path, &scalar))
        }
    }
}

fn textual(reader: &Reader<'_>, plan: &MessagePlan, path: &Path<'_>, scalar: &Scalar<'_>) -> Read {
    let text = match scalar {
        Scalar::Null => return Read::Null,
        Scalar::Text(text) => text,
        other => return reader.wrong(path, format!("expected a string, got {other}")),
    };
    let message = match plan.form {
        Form::Timestamp => timestamp(plan, text),
        Form::Duration => duration(plan, text),
        _ => Ok(field_mask(plan, text)),
    };
    match message {
        Ok(message) => Read::Value(Value::Message(message)),
        Err(expected) => reader.wrong(path, format!("{expected}, got {scalar}")),
    }
}

fn wrapper<'de, D: Deserializer<'de>>(
    reader: &Reader<'_>,
    plan: &MessagePlan,
    path: &Path<'_>,
    deserializer: D,
) -> Result<Read, D::Error> {
    let Some(element) = plan.fields.first().and_then(FieldPlan::single) else {
        return Ok(reader.wrong(path, "this wrapper holds nothing"));
    };
    let read = ElementSeed { reader, element, path }.deserialize(deserializer)?;
    Ok(match read {
        Read::Value(value) => Read::Value(Value::Message(with_fields(plan, [(1, value)]))),
        other => other,
    })
}

/// `google.protobuf.Timestamp`.
pub(super) fn timestamp(plan: &MessagePlan, text: &str) -> Result<DynamicMessage, String> {
    let (seconds, nanos) = time::parse_timestamp(text)?;
    Ok(with_fields(plan, [(1, Value::I64(seconds)), (2, Value::I32(nanos))]))
}

/// `google.protobuf.Duration`.
pub(super) fn duration(plan: &MessagePlan, text: &str) -> Result<DynamicMessage, String> {
    let (seconds, nanos) = time::parse_duration(text)?;
    Ok(with_fields(plan, [(1, Value::I64(seconds)), (2, Value::I32(nanos))]))
}

/// `google.protobuf.FieldMask`: `displayName,owner.user_id`.
pub(super) fn field_mask(plan: &MessagePlan, text: &str) -> DynamicMessage {
    let paths = text.split(',').map(str::trim).filter(|path| !path.is_empty());
    let paths = paths.map(|path| Value::String(snake_case(path))).collect();
    with_fields(plan, [(1, Value::List(paths))])
}

fn snake_case(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for character in path.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// A message with these fields, by number.
pub(super) fn with_fields<const N: usize>(
    plan: &MessagePlan,
    fields: [(u32, Value); N],
) -> DynamicMessage {
    let mut message = DynamicMessage::new(plan.descriptor.clone());
    for (number, value) in fields {
        // What does not fit means that the pool's well-known type is not the known one: left unset.
        let _ = message.try_set_field_by_number(number, value);
    }
    message
}

/// `google.protobuf.Any`: an object with `@type`, and the fields of the message that it names.
fn any(reader: &Reader<'_>, plan: &MessagePlan, path: &Path<'_>, text: &str) -> Read {
    #[derive(serde::Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "@type", borrow)]
        url: Cow<'a, str>,
    }
    let Ok(Typed { url }) = serde_json::from_str(text) else {
        return reader.wrong(path, "expected an object with one \"@type\", a string");
    };
    let name = url.rsplit('/').next().unwrap_or_default();
    let Some(index) = reader.schema.find(name) else {
        return reader.wrong(path, format!("\"@type\" names {url:?}, which is not known here"));
    };
    let message = match packed(reader, index, path, text) {
        Ok(Read::Value(Value::Message(message))) => message,
        Ok(_) => return Read::Wrong,
        Err(error) => return reader.wrong(path, format!("cannot be read: {error}")),
    };
    let value = Value::Bytes(message.encode_to_vec().into());
    let fields = [(1, Value::String(url.into_owned())), (2, value)];
    Read::Value(Value::Message(with_fields(plan, fields)))
}

fn packed(
    reader: &Reader<'_>,
    index: MessageIndex,
    path: &Path<'_>,
    text: &str,
) -> Result<Read, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Valued<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
    }
    let plan = reader.schema.message(index);
    if plan.form == Form::Plain {
        let wanted = Wanted::Message { plan, typed: true };
        let container = Container { reader, path, wanted };
        return serde_json::Deserializer::from_str(text).deserialize_any(container);
    }
    let valued: Valued<'_> = serde_json::from_str(text)?;
    let seed = ElementSeed { reader, element: Element::Message(index), path };
    seed.deserialize(&mut serde_json::Deserializer::from_str(valued.value.get()))
}

/// Struct, ListValue and Value.
fn dynamic(
    reader: &Reader<'_>,
    plan: &MessagePlan,
    path: &Path<'_>,
    value: serde_json::Value,
) -> Read {
    let message = match (plan.form, value) {
        (Form::Value, value) => value_message(reader, plan, value),
        (_, serde_json::Value::Null) => return Read::Null,
        (Form::Struct, serde_json::Value::Object(object)) => struct_message(reader, plan, object),
        (Form::List, serde_json::Value::Array(array)) => list_message(reader, plan, array),
        (Form::Struct, _) => return reader.wrong(path, "expected an object"),
        (_, _) => return reader.wrong(path, "expected an array"),
    };
    Read::Value(Value::Message(message))
}

fn value_message(
    reader: &Reader<'_>,
    plan: &MessagePlan,
    value: serde_json::Value,
) -> DynamicMessage {
    use serde_json::Value as Json;
    let nested = |number: u32| nested(reader, plan, number);
    let (number, value) = match value {
        Json::Null => (1, Some(Value::EnumNumber(0))),
        Json::Number(number) => (2, number.as_f64().map(Value::F64)),
        Json::String(text) => (3, Some(Value::String(text))),
        Json::Bool(flag) => (4, Some(Value::Bool(flag))),
        Json::Object(object) => {
            (5, nested(5).map(|plan| Value::Message(struct_message(reader, plan, object))))
        }
        Json::Array(array) => {
            (6, nested(6).map(|plan| Value::Message(list_message(reader, plan, array))))
        }
    };
    match value {
        Some(value) => with_fields(plan, [(number, value)]),
        None => with_fields(plan, []),
    }
}

fn struct_message(
    reader: &Reader<'_>,
    plan: &MessagePlan,
    object: serde_json::Map<String, serde_json::Value>,
) -> DynamicMessage {
    let Some(values) = nested(reader, plan, 1) else { return with_fields(plan, []) };
    let fields = object
        .into_iter()
        .map(|(key, value)| {
            (MapKey::String(key), Value::Message(value_message(reader, values, value)))
        })
        .collect();
    with_fields(plan, [(1, Value::Map(fields))])
}

fn list_message(
    reader: &Reader<'_>,
    plan: &MessagePlan,
    array: Vec<serde_json::Value>,
) -> DynamicMessage {
    let Some(values) = nested(reader, plan, 1) else { return with_fields(plan, []) };
    let values =
        array.into_iter().map(|value| Value::Message(value_message(reader, values, value)));
    with_fields(plan, [(1, Value::List(values.collect()))])
}

/// The message that a field of a well-known type holds.
fn nested<'s>(reader: &Reader<'s>, plan: &MessagePlan, number: u32) -> Option<&'s MessagePlan> {
    use crate::schema::Shape;
    let field = plan.fields.iter().find(|field| field.descriptor.number() == number)?;
    match field.shape {
        Shape::Single(Element::Message(index))
        | Shape::List(Element::Message(index))
        | Shape::Map(_, Element::Message(index)) => Some(reader.schema.message(index)),
        _ => None,
    }
}

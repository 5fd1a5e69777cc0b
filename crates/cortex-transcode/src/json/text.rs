//! Values out of a path or a query, where everything is text.

use std::borrow::Cow;

use prost_reflect::{DynamicMessage, Value};

use super::{
    check, read_known,
    scalar::{Scalar, convert},
};
use crate::schema::{Element, FieldPlan, Form, MessageIndex, Schema};

/// Where a text comes from, which decides what it may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextSource {
    /// A path or a header.
    Plain,
    /// A query, in which `+` may have become a space.
    Query,
}

/// The value of `element` that `text` stands for, or what would have been right.
pub(crate) fn parse_text(
    schema: &Schema,
    element: Element,
    text: &str,
    source: TextSource,
) -> Result<Value, String> {
    let scalar = Scalar::Text(Cow::Borrowed(text));
    match element {
        Element::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("expected true or false, got {scalar}")),
        },
        Element::Enum(index) => match text.parse::<i64>() {
            Ok(number) => convert(schema, Element::Enum(index), &Scalar::Int(number)),
            Err(_) => convert(schema, element, &scalar),
        },
        Element::Json => match check(text) {
            Ok(json) => Ok(Value::String(json.to_owned())),
            Err(error) => Err(format!("expected JSON: {error}")),
        },
        Element::Message(index) => message(schema, index, text, source).map(Value::Message),
        _ => convert(schema, element, &scalar),
    }
}

fn message(
    schema: &Schema,
    index: MessageIndex,
    text: &str,
    source: TextSource,
) -> Result<DynamicMessage, String> {
    let plan = schema.message(index);
    match plan.form {
        Form::Timestamp if source == TextSource::Query => {
            // An offset such as +02:00 whose plus sign was not percent-encoded.
            read_known::timestamp(plan, &text.replace(' ', "+"))
        }
        Form::Timestamp => read_known::timestamp(plan, text),
        Form::Duration => read_known::duration(plan, text),
        Form::FieldMask => Ok(read_known::field_mask(plan, text)),
        Form::Wrapper => {
            let inner = plan.fields.first().and_then(FieldPlan::single);
            let inner = inner.ok_or("this wrapper holds nothing")?;
            Ok(read_known::with_fields(plan, [(1, parse_text(schema, inner, text, source)?)]))
        }
        _ => {
            let name = plan.descriptor.full_name();
            Err(format!("a value of {name} cannot be given as text; name one of its fields"))
        }
    }
}

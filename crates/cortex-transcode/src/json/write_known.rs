//! The well-known types to JSON.

use prost_reflect::{DynamicMessage, Value};

use super::{
    time,
    write::{WriteError, Writer, base64, display, string},
};
use crate::schema::{Form, MessagePlan};

/// Appends a message of a well-known type.
pub(super) fn write(
    writer: Writer<'_>,
    out: &mut Vec<u8>,
    plan: &MessagePlan,
    message: &DynamicMessage,
) -> Result<(), WriteError> {
    match plan.form {
        Form::Timestamp => {
            let (seconds, nanos) = seconds_and_nanos(message);
            text(out, plan, time::format_timestamp(seconds, nanos))
        }
        Form::Duration => {
            let (seconds, nanos) = seconds_and_nanos(message);
            text(out, plan, time::format_duration(seconds, nanos))
        }
        Form::FieldMask => {
            string(out, &field_mask(message));
            Ok(())
        }
        Form::Any => any(writer, out, message),
        Form::Value => value(writer, out, plan, message),
        Form::Wrapper | Form::Struct | Form::List => inner(writer, out, plan, message),
        Form::Plain => Err(WriteError::Mistyped),
    }
}

fn seconds_and_nanos(message: &DynamicMessage) -> (i64, i32) {
    let seconds = message.get_field_by_number(1).and_then(|value| value.as_i64());
    let nanos = message.get_field_by_number(2).and_then(|value| value.as_i32());
    (seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

fn text(out: &mut Vec<u8>, plan: &MessagePlan, text: Option<String>) -> Result<(), WriteError> {
    let out_of_range =
        || WriteError::OutOfRange { message: plan.descriptor.full_name().to_owned() };
    string(out, &text.ok_or_else(out_of_range)?);
    Ok(())
}

/// `owner.user_id` -> `owner.userId`.
fn field_mask(message: &DynamicMessage) -> String {
    let paths = message.get_field_by_number(1);
    let paths = paths.as_deref().and_then(Value::as_list).unwrap_or_default();
    let paths: Vec<_> = paths.iter().filter_map(Value::as_str).map(lower_camel).collect();
    paths.join(",")
}

fn lower_camel(path: &str) -> String {
    let mut camel = String::with_capacity(path.len());
    let mut raise = false;
    for character in path.chars() {
        match character {
            '_' => raise = true,
            _ if raise => {
                camel.push(character.to_ascii_uppercase());
                raise = false;
            }
            _ => camel.push(character),
        }
    }
    camel
}

/// A wrapper, a Struct or a ListValue: its one field is all that shows.
fn inner(
    writer: Writer<'_>,
    out: &mut Vec<u8>,
    plan: &MessagePlan,
    message: &DynamicMessage,
) -> Result<(), WriteError> {
    let field = plan.fields.first().ok_or(WriteError::Mistyped)?;
    writer.field(out, field, &message.get_field(&field.descriptor))
}

/// A Value: the arm that is set, and whole numbers without a fraction.
fn value(
    writer: Writer<'_>,
    out: &mut Vec<u8>,
    plan: &MessagePlan,
    message: &DynamicMessage,
) -> Result<(), WriteError> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let set = plan.fields.iter().find(|field| message.has_field(&field.descriptor));
    let Some(field) = set else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    let value = message.get_field(&field.descriptor);
    match value.as_ref() {
        Value::F64(number) if number.fract() == 0.0 && number.abs() < EXACT => {
            display(out, format_args!("{number}"));
            Ok(())
        }
        Value::F64(number) if !number.is_finite() => {
            Err(WriteError::OutOfRange { message: plan.descriptor.full_name().to_owned() })
        }
        value => writer.field(out, field, value),
    }
}

/// An Any: `@type` and the fields, or `@type` and the value of a type with a form of its own. What
/// is not known or damaged keeps its bytes.
fn any(writer: Writer<'_>, out: &mut Vec<u8>, message: &DynamicMessage) -> Result<(), WriteError> {
    let url = message.get_field_by_number(1);
    let url = url.as_deref().and_then(Value::as_str).unwrap_or_default();
    let bytes = message.get_field_by_number(2);
    let bytes = bytes.as_deref().and_then(Value::as_bytes).cloned().unwrap_or_default();
    out.extend_from_slice(b"{\"@type\":");
    string(out, url);
    let packed = url.rsplit('/').next().and_then(|name| writer.schema.find(name)).and_then(|it| {
        let descriptor = writer.schema.message(it).descriptor.clone();
        Some((it, DynamicMessage::decode(descriptor, bytes.clone()).ok()?))
    });
    match packed {
        Some((index, packed)) if writer.schema.message(index).form == Form::Plain => {
            writer.deeper()?.fields(out, index, &packed, false)?;
        }
        Some((index, packed)) => {
            out.extend_from_slice(b",\"value\":");
            writer.message(out, index, &packed)?;
        }
        None => {
            out.extend_from_slice(b",\"value\":");
            base64(out, &bytes);
        }
    }
    out.push(b'}');
    Ok(())
}

//! A message to JSON, straight into a buffer.

use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value};

use super::{check, write_known};
use crate::schema::{Element, FieldPlan, Form, MessageIndex, Schema, Shape};

/// Why a message cannot be told as JSON: it breaks its own contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("{field} does not hold JSON: {cause}")]
    NotJson { field: String, cause: String },
    #[error("a value of {message} is out of range")]
    OutOfRange { message: String },
    #[error("a message is nested deeper than {DEEPEST} levels")]
    TooDeep,
    #[error("a value is not of the type that its contract says")]
    Mistyped,
}

/// Messages may nest 100 deep on the wire, but an Any begins to count anew.
const DEEPEST: usize = 200;

/// Writes messages of one schema.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'s> {
    pub(super) schema: &'s Schema,
    depth: usize,
}

impl<'s> Writer<'s> {
    pub(crate) fn new(schema: &'s Schema) -> Self {
        Self { schema, depth: 0 }
    }

    /// One level further in.
    pub(super) fn deeper(self) -> Result<Self, WriteError> {
        let depth = self.depth + 1;
        if depth > DEEPEST { Err(WriteError::TooDeep) } else { Ok(Self { depth, ..self }) }
    }

    /// Appends the message.
    pub(crate) fn message(
        self,
        out: &mut Vec<u8>,
        index: MessageIndex,
        message: &DynamicMessage,
    ) -> Result<(), WriteError> {
        let plan = self.schema.message(index);
        if plan.form != Form::Plain {
            return write_known::write(self.deeper()?, out, plan, message);
        }
        out.push(b'{');
        self.deeper()?.fields(out, index, message, true)?;
        out.push(b'}');
        Ok(())
    }

    /// Appends the fields of a message, with their commas. `first` if nothing stands before them.
    pub(super) fn fields(
        self,
        out: &mut Vec<u8>,
        index: MessageIndex,
        message: &DynamicMessage,
        mut first: bool,
    ) -> Result<(), WriteError> {
        for field in &self.schema.message(index).fields {
            if field.presence && !message.has_field(&field.descriptor) {
                continue;
            }
            let value = message.get_field(&field.descriptor);
            if is_absent_json(field, &value) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(&field.key);
            self.field(out, field, &value)?;
        }
        Ok(())
    }

    /// Appends the value of a field, as it stands after its name.
    pub(crate) fn field(
        self,
        out: &mut Vec<u8>,
        field: &FieldPlan,
        value: &Value,
    ) -> Result<(), WriteError> {
        let at = out.len();
        let written = match (field.shape, value) {
            (Shape::Single(element), value) => self.element(out, element, value),
            (Shape::List(element), Value::List(values)) => self.list(out, element, values),
            (Shape::Map(_, element), Value::Map(entries)) => self.map(out, element, entries),
            _ => Err(WriteError::Mistyped),
        };
        written.map_err(|error| {
            out.truncate(at);
            name_field(error, field)
        })
    }

    fn list(self, out: &mut Vec<u8>, element: Element, values: &[Value]) -> Result<(), WriteError> {
        out.push(b'[');
        for (position, value) in values.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            self.element(out, element, value)?;
        }
        out.push(b']');
        Ok(())
    }

    /// By key, so that the same message is always the same text.
    fn map(
        self,
        out: &mut Vec<u8>,
        element: Element,
        entries: &std::collections::HashMap<MapKey, Value>,
    ) -> Result<(), WriteError> {
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        out.push(b'{');
        for (position, (key, value)) in entries.into_iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            match key {
                MapKey::Bool(key) => display(out, format_args!("\"{key}\"")),
                MapKey::I32(key) => display(out, format_args!("\"{key}\"")),
                MapKey::I64(key) => display(out, format_args!("\"{key}\"")),
                MapKey::U32(key) => display(out, format_args!("\"{key}\"")),
                MapKey::U64(key) => display(out, format_args!("\"{key}\"")),
                MapKey::String(key) => string(out, key),
            }
            out.push(b':');
            self.element(out, element, value)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends one value.
    pub(super) fn element(
        self,
        out: &mut Vec<u8>,
        element: Element,
        value: &Value,
    ) -> Result<(), WriteError> {
        match (element, value) {
            (Element::Json, Value::String(text)) => return verbatim(out, text),
            (Element::Enum(index), Value::EnumNumber(number)) => {
                let plan = self.schema.enumeration(index);
                match plan.short(*number) {
                    _ if plan.null => out.extend_from_slice(b"null"),
                    Some(short) => display(out, format_args!("\"{short}\"")),
                    None => display(out, format_args!("{number}")),
                }
            }
            (Element::Message(index), Value::Message(message)) => {
                if message.descriptor() != self.schema.message(index).descriptor {
                    return Err(WriteError::Mistyped);
                }
                return self.message(out, index, message);
            }
            (_, Value::String(text)) => string(out, text),
            (_, Value::Bool(value)) => display(out, format_args!("{value}")),
            (_, Value::I32(value)) => display(out, format_args!("{value}")),
            (_, Value::U32(value)) => display(out, format_args!("{value}")),
            (_, Value::I64(value)) => display(out, format_args!("{value}")),
            (_, Value::U64(value)) => display(out, format_args!("{value}")),
            (_, Value::F32(value)) => float(out, f64::from(*value), value),
            (_, Value::F64(value)) => float(out, *value, value),
            (_, Value::Bytes(bytes)) => base64(out, bytes),
            _ => return Err(WriteError::Mistyped),
        }
        Ok(())
    }
}

/// An empty JSON field is one that is not there.
fn is_absent_json(field: &FieldPlan, value: &Value) -> bool {
    field.single() == Some(Element::Json) && value.as_str() == Some("")
}

fn name_field(error: WriteError, field: &FieldPlan) -> WriteError {
    match error {
        WriteError::NotJson { field: inner, cause } if inner.is_empty() => {
            WriteError::NotJson { field: field.descriptor.full_name().to_owned(), cause }
        }
        other => other,
    }
}

/// JSON text as it is; nothing at all is `null`.
fn verbatim(out: &mut Vec<u8>, text: &str) -> Result<(), WriteError> {
    if text.is_empty() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match check(text) {
        Ok(json) => out.extend_from_slice(json.as_bytes()),
        Err(error) => {
            return Err(WriteError::NotJson { field: String::new(), cause: error.to_string() });
        }
    }
    Ok(())
}

/// Appends what cannot fail: a vector takes everything.
pub(super) fn display(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let _ = out.write_fmt(arguments);
}

/// A JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

/// The shortest decimal that is this number again; `narrow` is what decides how short.
fn float(out: &mut Vec<u8>, value: f64, narrow: &impl serde::Serialize) {
    if value.is_finite() {
        let _ = serde_json::to_writer(out, narrow);
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        let sign = if value < 0.0 { "-" } else { "" };
        display(out, format_args!("\"{sign}Infinity\""));
    }
}

/// A JSON string of standard base64 with padding.
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    use base64::{display::Base64Display, engine::general_purpose::STANDARD};
    display(out, format_args!("\"{}\"", Base64Display::new(bytes, &STANDARD)));
}

//! Query parameters to fields: `?page_size=5&filter.status=active&label=a&label=b`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, Value};

use crate::{
    binding::{Binding, BodyRule, FieldPath},
    json::{Path, Reader, TextSource, parse_text},
    schema::{Element, FieldPlan, Form, MessageIndex, Schema, Shape},
};

/// Sets the fields that `query` names, and writes down what is wrong with it.
pub(crate) fn apply(
    schema: &Schema,
    reader: &Reader<'_>,
    binding: &Binding,
    query: &str,
    depth: usize,
    message: &mut DynamicMessage,
) {
    let mut parameters = Parameters { schema, reader, binding, depth, message, set: Vec::new() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        match (decode(name), decode(text)) {
            (Some(name), Some(text)) => parameters.parameter(&name, &text),
            (decoded, _) => {
                let name = decoded.unwrap_or(Cow::Borrowed(name));
                wrong(reader, &name, "is not UTF-8 once decoded".to_owned());
            }
        }
    }
}

/// As HTML forms encode: `+` is a space.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
        return Some(Cow::Owned(decoded.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}

fn wrong(reader: &Reader<'_>, name: &str, description: String) {
    reader.wrong(&Path::Field(&Path::Root, name), description);
}

struct Parameters<'a> {
    schema: &'a Schema,
    reader: &'a Reader<'a>,
    binding: &'a Binding,
    /// How deep a name may go into messages that hold themselves.
    depth: usize,
    message: &'a mut DynamicMessage,
    /// Fields of one value that are set already.
    set: Vec<FieldPath>,
}

impl Parameters<'_> {
    fn parameter(&mut self, name: &str, text: &str) {
        if let Err(description) = self.assign(name, text) {
            wrong(self.reader, name, description);
        }
    }

    fn assign(&mut self, name: &str, text: &str) -> Result<(), String> {
        let (path, shape) = self.resolve(name)?;
        self.may_be_set(&path)?;
        let (element, list) = match shape {
            Shape::Single(element) => (element, false),
            Shape::List(element) => (element, true),
            Shape::Map(..) => return Err("is a map, which a query cannot hold".to_owned()),
        };
        if !list && self.set.contains(&path) {
            return Err("is given twice".to_owned());
        }
        let value = parse_text(self.schema, element, text, TextSource::Query)?;
        if let [(message, position)] = path.as_slice() {
            self.reader.give(self.schema.message(*message).fields[*position].descriptor.number());
        }
        put(self.schema, self.message, &path, value, list)?;
        if !list {
            self.set.push(path);
        }
        Ok(())
    }

    /// The field of a dotted name.
    fn resolve(&self, name: &str) -> Result<(FieldPath, Shape), String> {
        if matches!(self.binding.body, BodyRule::Whole | BodyRule::Bytes) {
            return Err("is not taken from the query; this request is its body".to_owned());
        }
        if name.split('.').nth(self.depth).is_some() {
            return Err(format!("goes deeper than {} levels", self.depth));
        }
        let mut path: FieldPath = Vec::new();
        let mut message = Some(self.binding.input);
        let mut shape = None;
        for part in name.split('.') {
            let index = message.ok_or_else(|| format!("has nothing within that is `{part}`"))?;
            let plan = self.schema.message(index);
            let position = plan.position(part).ok_or_else(|| self.unknown(index, path.len()))?;
            path.push((index, position));
            let field = plan.fields[position].shape;
            message = match field {
                Shape::Single(Element::Message(next))
                    if self.schema.message(next).form == Form::Plain =>
                {
                    Some(next)
                }
                _ => None,
            };
            shape = Some(field);
        }
        let shape = shape.ok_or("names nothing")?;
        Ok((path, shape))
    }

    fn unknown(&self, message: MessageIndex, depth: usize) -> String {
        let plan = self.schema.message(message);
        let taken = |name: &str| depth == 0 && self.taken_elsewhere(name).is_some();
        let names = plan.fields.iter().map(FieldPlan::name).filter(|name| !taken(name));
        let names: Vec<_> = names.collect();
        match names.as_slice() {
            [] => "is not known; this call takes no query parameters".to_owned(),
            names => format!("is not known; known parameters: {}", names.join(", ")),
        }
    }

    /// Where a field of the request comes from, if not from the query.
    fn taken_elsewhere(&self, name: &str) -> Option<&'static str> {
        let input = self.schema.message(self.binding.input);
        let position = input.fields.iter().position(|field| field.name() == name)?;
        let in_body = match self.binding.body {
            BodyRule::Field(field) | BodyRule::FieldBytes(field) => field == position,
            _ => false,
        };
        let in_path = |path: &FieldPath| matches!(path.as_slice(), [(_, at)] if *at == position);
        let in_path = self.binding.variables.iter().any(|variable| in_path(&variable.field));
        if in_body { Some("is the body") } else { in_path.then_some("is part of the path") }
    }

    fn may_be_set(&self, path: &FieldPath) -> Result<(), String> {
        let Some((message, position)) = path.first() else { return Ok(()) };
        let field = &self.schema.message(*message).fields[*position];
        if let Some(elsewhere) = self.taken_elsewhere(field.name()) {
            return Err(format!("{elsewhere} and cannot be in the query"));
        }
        if self.binding.variables.iter().any(|variable| variable.field == *path) {
            return Err("is part of the path and cannot be in the query".to_owned());
        }
        Ok(())
    }
}

/// Sets or, in a list, adds the value of a field that may be within another.
pub(crate) fn put(
    schema: &Schema,
    message: &mut DynamicMessage,
    path: &FieldPath,
    value: Value,
    list: bool,
) -> Result<(), String> {
    let mistyped = || "has a type that its contract does not say".to_owned();
    let mut within = message;
    for (depth, (index, position)) in path.iter().enumerate() {
        let plan = schema.message(*index);
        let field = &plan.fields[*position];
        if let Some(other) = plan.fields.iter().find(|other| {
            field.oneof.is_some()
                && other.oneof == field.oneof
                && other.descriptor != field.descriptor
                && within.has_field(&other.descriptor)
        }) {
            return Err(format!("cannot be given together with {}", other.name()));
        }
        if depth + 1 == path.len() {
            if list {
                let values = within.get_field_mut(&field.descriptor).as_list_mut();
                values.ok_or_else(mistyped)?.push(value);
                return Ok(());
            }
            return within.try_set_field(&field.descriptor, value).map_err(|_| mistyped());
        }
        let next = within.get_field_mut(&field.descriptor).as_message_mut();
        within = next.ok_or_else(mistyped)?;
    }
    Ok(())
}

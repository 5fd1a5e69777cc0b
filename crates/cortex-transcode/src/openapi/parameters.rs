//! The parameters of an operation: path, query and headers.

use serde_json::{Value, json};

use super::{paths::PathParameter, schemas::Schemas};
use crate::{
    binding::{Binding, BodyRule},
    options,
    schema::{Element, FieldPlan, Form, MessageIndex, Schema, Shape},
};

/// How far query parameters of nested messages are listed. Deeper ones are still understood.
const DEPTH: usize = 3;

/// Every parameter of a binding.
pub(crate) fn parameters(
    schema: &Schema,
    binding: &Binding,
    path: Vec<PathParameter>,
    schemas: &mut Schemas<'_>,
) -> Vec<Value> {
    let mut parameters: Vec<_> =
        path.into_iter().map(|parameter| in_path(schema, &parameter, schemas)).collect();
    if !matches!(binding.body, BodyRule::Whole | BodyRule::Bytes) {
        let mut query = Query { schema, binding, schemas, parameters: &mut parameters };
        query.message(binding.input, "", 0);
    }
    let resume = binding.stream.as_ref().and_then(|stream| stream.resume);
    if let Some(position) = resume {
        let field = &schema.message(binding.input).fields[position];
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": format!("Goes on after this event. Wins over `{}`.", field.name()),
            "schema": bare(schemas.field(field)),
        }));
    }
    parameters
}

fn in_path(schema: &Schema, parameter: &PathParameter, schemas: &mut Schemas<'_>) -> Value {
    let field = parameter.field.as_ref().and_then(|path| path.last());
    let field = field.map(|(message, position)| &schema.message(*message).fields[*position]);
    let comment = field.and_then(|field| schemas.field_comment(field));
    let notes: Vec<_> = comment.into_iter().chain(parameter.note.clone()).collect();
    let schema = match field {
        Some(field) => bare(schemas.field(field)),
        None => json!({"type": "string"}),
    };
    let mut value = json!({"name": parameter.name, "in": "path", "required": true});
    if !notes.is_empty() {
        value["description"] = json!(notes.join(" "));
    }
    value["schema"] = schema;
    value
}

/// Without the description, which stands beside the schema.
fn bare(mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.shift_remove("description");
    }
    schema
}

struct Query<'a, 's> {
    schema: &'a Schema,
    binding: &'a Binding,
    schemas: &'a mut Schemas<'s>,
    parameters: &'a mut Vec<Value>,
}

impl Query<'_, '_> {
    fn message(&mut self, index: MessageIndex, prefix: &str, depth: usize) {
        let schema = self.schema;
        for (position, field) in schema.message(index).fields.iter().enumerate() {
            if depth == 0 && self.is_elsewhere(position) {
                continue;
            }
            let name = format!("{prefix}{}", field.name());
            match field.shape {
                Shape::Single(Element::Message(next)) if self.form(next) == Form::Plain => {
                    if depth < DEPTH {
                        self.message(next, &format!("{name}."), depth + 1);
                    }
                }
                Shape::Single(element) | Shape::List(element) if self.is_text(element) => {
                    self.parameter(name, field, depth);
                }
                Shape::Single(_) | Shape::List(_) | Shape::Map(..) => {}
            }
        }
    }

    fn parameter(&mut self, name: String, field: &FieldPlan, depth: usize) {
        let mut parameter = json!({"name": name, "in": "query"});
        if let Some(comment) = self.schemas.field_comment(field) {
            parameter["description"] = json!(comment);
        }
        if depth == 0 && options::is_required(&field.descriptor) {
            parameter["required"] = json!(true);
        }
        parameter["schema"] = bare(self.schemas.field(field));
        self.parameters.push(parameter);
    }

    fn form(&self, message: MessageIndex) -> Form {
        self.schema.message(message).form
    }

    /// Whether a text can stand for it.
    fn is_text(&self, element: Element) -> bool {
        match element {
            Element::Message(message) => matches!(
                self.form(message),
                Form::Timestamp | Form::Duration | Form::FieldMask | Form::Wrapper
            ),
            _ => true,
        }
    }

    /// Whether the field comes from the path or is the body.
    fn is_elsewhere(&self, position: usize) -> bool {
        let in_body = match self.binding.body {
            BodyRule::Field(field) | BodyRule::FieldBytes(field) => field == position,
            _ => false,
        };
        let mut variables = self.binding.variables.iter();
        in_body
            || variables.any(
                |variable| matches!(variable.field.as_slice(), [(_, found)] if *found == position),
            )
    }
}

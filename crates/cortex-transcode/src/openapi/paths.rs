//! Path templates as OpenAPI writes them, where a variable is one segment and two paths that differ
//! only in the names of variables are one.

use std::collections::HashMap;

use crate::{
    binding::{Binding, FieldPath},
    template::Segment,
};

/// One variable of an OpenAPI path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathParameter {
    /// Its name in the path.
    pub(crate) name: String,
    /// The field, if it takes the whole of it.
    pub(crate) field: Option<FieldPath>,
    /// What a reader must know.
    pub(crate) note: Option<String>,
}

/// The paths of a document.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// By the path without names: how it was first written.
    first: HashMap<String, Written>,
}

#[derive(Debug, Clone)]
struct Written {
    path: String,
    names: Vec<String>,
}

impl Paths {
    /// The path of a binding and its variables, under the names that the path was first given.
    pub(crate) fn write(&mut self, binding: &Binding) -> (String, Vec<PathParameter>) {
        let (shape, mut parameters) = expand(binding);
        let names: Vec<_> = parameters.iter().map(|parameter| parameter.name.clone()).collect();
        let written = self.first.entry(shape.join("{}")).or_insert_with(|| {
            let mut path = shape[0].clone();
            for (name, literal) in names.iter().zip(&shape[1..]) {
                path.push_str(&format!("{{{name}}}{literal}"));
            }
            Written { path, names }
        });
        for (parameter, name) in parameters.iter_mut().zip(&written.names) {
            if parameter.name != *name {
                parameter.note = Some(format!("Here: `{}`.", parameter.name));
                parameter.name.clone_from(name);
            }
        }
        (written.path.clone(), parameters)
    }
}

/// The literal text around the variables, and the variables: one text more than variables.
fn expand(binding: &Binding) -> (Vec<String>, Vec<PathParameter>) {
    let template = &binding.template;
    let mut texts = vec![String::new()];
    let mut parameters = Vec::new();
    for (index, segment) in template.segments.iter().enumerate() {
        let last = texts.len() - 1;
        texts[last].push('/');
        match segment {
            Segment::Literal(text) => texts[last].push_str(text),
            Segment::One | Segment::Rest => {
                parameters.push(parameter(binding, index, parameters.len()));
                texts.push(String::new());
            }
        }
    }
    if template.segments.is_empty() {
        texts[0].push('/');
    }
    if let Some(verb) = &template.verb {
        let last = texts.len() - 1;
        texts[last].push_str(&format!(":{verb}"));
    }
    (texts, parameters)
}

fn parameter(binding: &Binding, segment: usize, number: usize) -> PathParameter {
    let template = &binding.template;
    let variable = binding.variables.iter().find(|variable| {
        let end = variable.variable.end(template).unwrap_or(template.segments.len());
        (variable.variable.begin..end).contains(&segment)
    });
    let Some(variable) = variable else {
        let note = Some("Any text; it is not looked at.".to_owned());
        return PathParameter { name: format!("segment_{}", number + 1), field: None, note };
    };
    let name = variable.variable.field.join(".");
    let rest = template.segments[segment] == Segment::Rest;
    let end = variable.variable.end(template).unwrap_or(template.segments.len());
    if end - variable.variable.begin == 1 {
        let note = rest.then(|| "May hold `/`.".to_owned());
        return PathParameter { name, field: Some(variable.field.clone()), note };
    }
    let note = Some(format!("Part of `{name}`."));
    PathParameter { name: format!("{name}.{}", number + 1), field: None, note }
}

//! Rules about `google.api.http`.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::contracts::{Binding, Contracts, bindings, message_type, shape, variables};

/// Methods that only services of the mesh call, and only over gRPC. None so far.
const INTERNAL: &[&str] = &[];

/// Messages that a query can hold, as one text.
const TEXTUAL: &[&str] =
    &["google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"];

pub(crate) fn every_rpc_has_http(contracts: &Contracts) -> Vec<String> {
    let internal = |method: &MethodDescriptor| INTERNAL.contains(&method.full_name());
    let methods = contracts.methods().into_iter().filter(|method| !internal(method));
    let without = methods.filter(|method| bindings(method).is_empty());
    without.map(|method| format!("{}: no google.api.http", method.full_name())).collect()
}

pub(crate) fn paths_are_unique(contracts: &Contracts) -> Vec<String> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for method in contracts.methods() {
        for binding in bindings(&method) {
            let route = format!("{} {}", binding.verb, shape(&binding.template));
            users.entry(route).or_default().push(method.full_name().to_owned());
        }
    }
    let shared = users.into_iter().filter(|(_, methods)| methods.len() > 1);
    shared.map(|(route, methods)| format!("{route}: {}", methods.join(", "))).collect()
}

pub(crate) fn variables_are_fields(contracts: &Contracts) -> Vec<String> {
    each_binding(contracts, |method, binding| {
        let request = method.input();
        let wrong = variables(&binding.template).into_iter().filter(|(name, _)| {
            let field = request.get_field_by_name(name);
            !field.is_some_and(|field| field.kind() == Kind::String && !field.is_list())
        });
        wrong
            .map(|(name, _)| format!("{name} in {} is no string field", binding.template))
            .collect()
    })
}

pub(crate) fn bodies_fit(contracts: &Contracts) -> Vec<String> {
    each_binding(contracts, |method, binding| {
        let mut findings = Vec::new();
        let bodiless = ["GET", "DELETE"].contains(&binding.verb);
        let body = binding.body.as_str();
        if binding.verb == "custom" {
            findings.push("a verb of its own".to_owned());
        } else if bodiless != body.is_empty() {
            findings.push(format!("{} with body {body:?}", binding.verb));
        } else if !body.is_empty() && body != "*" && !has(&method.input(), body) {
            findings.push(format!("no field {body} for the body"));
        }
        let answer = binding.response_body.as_str();
        if !answer.is_empty() && !has(&method.output(), answer) {
            findings.push(format!("no field {answer} for the answer"));
        }
        if method.is_client_streaming() && method.is_server_streaming() {
            findings.push("HTTP cannot stream both ways".to_owned());
        }
        findings
    })
}

/// What is neither in the path nor in the body must fit a query: scalars, lists of them, times.
pub(crate) fn query_fields_can_be_written(contracts: &Contracts) -> Vec<String> {
    each_binding(contracts, |method, binding| {
        if binding.body == "*" {
            return Vec::new();
        }
        let elsewhere: Vec<_> = variables(&binding.template)
            .into_iter()
            .map(|(name, _)| name)
            .chain([binding.body.clone()])
            .collect();
        let fields: Vec<_> = method.input().fields().collect();
        let left = fields.iter().filter(|field| !elsewhere.iter().any(|name| name == field.name()));
        let wrong = left.filter(|field| !fits_a_query(field));
        wrong.map(|field| format!("{} cannot be written in a query", field.name())).collect()
    })
}

fn fits_a_query(field: &FieldDescriptor) -> bool {
    !field.is_map() && message_type(field).is_none_or(|name| TEXTUAL.contains(&name.as_str()))
}

fn has(message: &MessageDescriptor, field: &str) -> bool {
    message.get_field_by_name(field).is_some()
}

fn each_binding(
    contracts: &Contracts,
    check: impl Fn(&MethodDescriptor, &Binding) -> Vec<String>,
) -> Vec<String> {
    let mut findings = Vec::new();
    for method in contracts.methods() {
        for binding in bindings(&method) {
            let found = check(&method, &binding).into_iter();
            findings.extend(found.map(|finding| format!("{}: {finding}", method.full_name())));
        }
    }
    findings
}

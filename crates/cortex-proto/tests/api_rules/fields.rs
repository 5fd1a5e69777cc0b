//! Rules about fields: pages, ids, times, JSON.

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::contracts::{Contracts, is_json, message_type};

/// Names of string fields that hold JSON wherever they stand.
const JSON_NAMES: &[&str] = &[
    "arguments",
    "data",
    "document",
    "extra",
    "initial_state",
    "input_data",
    "manifest_data",
    "merge_patch",
    "metadata",
    "output",
    "outputs",
    "parameters",
    "parsed_data",
    "patch",
    "payload",
    "provider_data",
    "registry",
    "replacement",
    "response_schema",
    "result",
    "value",
];

/// Types that lose the spelling of numbers and the order of keys.
const SCHEMALESS: &[&str] =
    &["google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"];

pub(crate) fn lists_are_paginated(contracts: &Contracts) -> Vec<String> {
    let lists = contracts.methods().into_iter().filter(|method| method.name().starts_with("List"));
    lists.flat_map(|method| unpaginated(&method)).collect()
}

fn unpaginated(method: &MethodDescriptor) -> Vec<String> {
    let (request, response) = (method.input(), method.output());
    let mut findings = Vec::new();
    let mut want = |holds: bool, what: &str| {
        if !holds {
            findings.push(format!("{}: {what}", method.full_name()));
        }
    };
    want(has(&request, "page_size", &Kind::Int32), "no int32 page_size");
    want(has(&request, "page_token", &Kind::String), "no string page_token");
    want(has(&response, "next_page_token", &Kind::String), "no string next_page_token");
    want(!method.is_server_streaming(), "a list is not a stream");
    findings
}

fn has(message: &MessageDescriptor, name: &str, kind: &Kind) -> bool {
    message.get_field_by_name(name).is_some_and(|field| !field.is_list() && field.kind() == *kind)
}

pub(crate) fn ids_are_strings(contracts: &Contracts) -> Vec<String> {
    let wrong = |field: &FieldDescriptor| {
        let (one, many) = (field.name().ends_with("_id"), field.name().ends_with("_ids"));
        (one || many) && (field.kind() != Kind::String || field.is_list() != many)
    };
    let fields = contracts.fields().into_iter().filter(wrong);
    fields.map(|field| format!("{}: an id is a string", field.full_name())).collect()
}

pub(crate) fn times_are_timestamps(contracts: &Contracts) -> Vec<String> {
    let fields = contracts.fields();
    fields.iter().filter_map(wrong_time).collect()
}

fn wrong_time(field: &FieldDescriptor) -> Option<String> {
    let name = field.name();
    if ["create_time", "update_time", "delete_time", "expire_time"].contains(&name) {
        return Some(format!("{}: times end in _at", field.full_name()));
    }
    let timestamp = message_type(field).as_deref() == Some("google.protobuf.Timestamp");
    let time = name.ends_with("_at") || name.ends_with("_time") || name == "timestamp";
    (time && (!timestamp || field.cardinality() == Cardinality::Repeated))
        .then(|| format!("{}: a time is a google.protobuf.Timestamp", field.full_name()))
}

pub(crate) fn json_payloads_are_marked(contracts: &Contracts) -> Vec<String> {
    let unmarked = |field: &FieldDescriptor| {
        field.kind() == Kind::String && JSON_NAMES.contains(&field.name()) && !is_json(field)
    };
    let fields = contracts.fields().into_iter().filter(unmarked);
    fields.map(|field| format!("{}: no (cortex.api.v1.json)", field.full_name())).collect()
}

pub(crate) fn json_marks_strings(contracts: &Contracts) -> Vec<String> {
    let wrong = |field: &FieldDescriptor| is_json(field) && field.kind() != Kind::String;
    let fields = contracts.fields().into_iter().filter(wrong);
    fields.map(|field| format!("{}: JSON text is a string", field.full_name())).collect()
}

pub(crate) fn no_schemaless_types(contracts: &Contracts) -> Vec<String> {
    let fields = contracts.fields();
    let wrong = fields.iter().filter_map(|field| {
        let name = message_type(field).filter(|name| SCHEMALESS.contains(&name.as_str()))?;
        Some(format!("{}: {name}", field.full_name()))
    });
    wrong.collect()
}

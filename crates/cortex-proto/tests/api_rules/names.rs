//! Rules about names, packages and comments: Buf STANDARD, and VerbNoun.

use std::collections::{BTreeMap, HashSet};

use prost_reflect::{EnumDescriptor, FileDescriptor, MessageDescriptor};

use crate::contracts::Contracts;

/// The verbs that a method may begin with. A new one is a decision: is it none of these?
const VERBS: &[&str] = &[
    // The standard ones.
    "Get",
    "List",
    "Create",
    "Update",
    "Delete",
    "Watch",
    "Batch",
    // Of values: with an expectation, as a whole, in part.
    "Put",
    "Replace",
    "Patch",
    "Clear",
    "Add",
    "Record",
    "Aggregate",
    "Truncate",
    // Of runs and their steps.
    "Run",
    "Execute",
    "Start",
    "Stop",
    "Cancel",
    "Pause",
    "Resume",
    "Signal",
    "Call",
    "Complete",
    "Generate",
    "Embed",
    "Send",
    "Submit",
    "Respond",
    "Publish",
    "Reconcile",
    "Stream",
    // Of the journal.
    "Register",
    "Renew",
    "Retire",
    "Acquire",
    "Append",
    "Release",
    "Claim",
    "Finish",
    "Fork",
    // Of manifests and sessions.
    "Apply",
    "Validate",
    "Resolve",
    "Reload",
    "Upgrade",
    "End",
    "Check",
    // Of operation and whole stores.
    "Export",
    "Import",
    "Upload",
    "Download",
    "Backup",
    "Restore",
    "Migrate",
    "Prune",
    "Cleanup",
    "Build",
    "Snapshot",
    "Reset",
];

/// Methods that are a verb alone: what they do is the service's whole subject.
const BARE_VERBS: &[&str] = &["Complete", "Generate", "Embed"];

pub(crate) fn package_is_directory(contracts: &Contracts) -> Vec<String> {
    let wrong = |file: &FileDescriptor| {
        let directory = file.name().rsplit_once('/').map_or("", |(directory, _)| directory);
        let package = file.package_name();
        let versioned = package.rsplit_once('.').is_some_and(|(_, last)| is_version(last));
        (package.replace('.', "/") != directory || !versioned)
            .then(|| format!("{}: package {package}", file.name()))
    };
    contracts.files().iter().filter_map(wrong).collect()
}

fn is_version(segment: &str) -> bool {
    let digits = segment.strip_prefix('v').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn services_end_in_service(contracts: &Contracts) -> Vec<String> {
    let services = contracts.services();
    let wrong = services.iter().filter(|service| !service.name().ends_with("Service"));
    wrong.map(|service| format!("{}: no Service at its end", service.full_name())).collect()
}

pub(crate) fn rpcs_are_verb_and_noun(contracts: &Contracts) -> Vec<String> {
    let methods = contracts.methods();
    let wrong = methods.iter().filter(|method| !is_verb_and_noun(method.name()));
    wrong.map(|method| format!("{}: not a known verb and a noun", method.full_name())).collect()
}

fn is_verb_and_noun(name: &str) -> bool {
    let end = name.char_indices().skip(1).find(|(_, c)| c.is_ascii_uppercase());
    let (verb, noun) = name.split_at(end.map_or(name.len(), |(index, _)| index));
    VERBS.contains(&verb) && (!noun.is_empty() || BARE_VERBS.contains(&verb))
}

pub(crate) fn messages_belong_to_rpcs(contracts: &Contracts) -> Vec<String> {
    let mut findings = Vec::new();
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for method in contracts.methods() {
        let package = method.parent_service().package_name().to_owned();
        for (message, suffix) in [(method.input(), "Request"), (method.output(), "Response")] {
            let wanted = format!("{package}.{}{suffix}", method.name());
            if message.full_name() != wanted {
                findings.push(format!(
                    "{}: {} is not {wanted}",
                    method.full_name(),
                    message.full_name()
                ));
            }
            users.entry(message.full_name().to_owned()).or_default().push(method.name().to_owned());
        }
    }
    let shared = users.into_iter().filter(|(_, methods)| methods.len() > 1);
    findings.extend(shared.map(|(message, methods)| format!("{message}: shared by {methods:?}")));
    findings
}

pub(crate) fn enum_values_are_prefixed(contracts: &Contracts) -> Vec<String> {
    contracts.enums().iter().flat_map(wrong_values).collect()
}

fn wrong_values(descriptor: &EnumDescriptor) -> Vec<String> {
    let prefix = format!("{}_", upper_snake(descriptor.name()));
    let zero = format!("{prefix}UNSPECIFIED");
    let wrong =
        |name: &str, number: i32| (number == 0) != (name == zero) || !name.starts_with(&prefix);
    descriptor
        .values()
        .filter(|value| wrong(value.name(), value.number()))
        .map(|value| format!("{}: {} = {}", descriptor.full_name(), value.name(), value.number()))
        .collect()
}

/// `HttpStatus` as `HTTP_STATUS`.
fn upper_snake(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.char_indices() {
        if index > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

pub(crate) fn everything_has_a_comment(contracts: &Contracts) -> Vec<String> {
    let commented: HashSet<(String, Vec<i32>)> =
        contracts.files().iter().flat_map(commented_paths).collect();
    let elements = contracts.services().into_iter().flat_map(|service| {
        let methods = service
            .methods()
            .map(|m| (m.parent_file(), m.path().to_vec(), m.full_name().to_owned()));
        let methods: Vec<_> = methods.collect();
        let own = (service.parent_file(), service.path().to_vec(), service.full_name().to_owned());
        std::iter::once(own).chain(methods)
    });
    let enums = contracts.enums().into_iter().flat_map(|e| {
        let file = e.parent_file();
        let values =
            e.values().map(|v| (file.clone(), v.path().to_vec(), v.full_name().to_owned()));
        let values: Vec<_> = values.collect();
        std::iter::once((file, e.path().to_vec(), e.full_name().to_owned())).chain(values)
    });
    let messages = contracts.messages().into_iter().flat_map(|message| message_elements(&message));
    elements
        .chain(enums)
        .chain(messages)
        .filter(|(file, path, _)| !commented.contains(&(file.name().to_owned(), path.clone())))
        .map(|(_, _, name)| format!("{name}: no comment"))
        .collect()
}

type Element = (FileDescriptor, Vec<i32>, String);

/// A message, its fields and its oneofs that stand in the file.
fn message_elements(message: &MessageDescriptor) -> Vec<Element> {
    let file = message.parent_file();
    let element = |path: &[i32], name: &str| (file.clone(), path.to_vec(), name.to_owned());
    let own = element(message.path(), message.full_name());
    let fields = message.fields().map(|field| element(field.path(), field.full_name()));
    let oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic());
    let oneofs = oneofs.map(|oneof| element(oneof.path(), oneof.full_name()));
    std::iter::once(own).chain(fields).chain(oneofs).collect()
}

/// Where a file has leading comments, as paths of its source info.
fn commented_paths(file: &FileDescriptor) -> Vec<(String, Vec<i32>)> {
    let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
    let commented = info.location.into_iter().filter(|location| {
        location.leading_comments.as_ref().is_some_and(|comment| !comment.trim().is_empty())
    });
    commented.map(|location| (file.name().to_owned(), location.path)).collect()
}

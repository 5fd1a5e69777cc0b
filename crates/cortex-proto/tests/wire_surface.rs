//! The wire surface of the contracts: every field with its number and type, every enum value, every
//! method, one to a line, in `wire_surface.txt`.
//!
//! A line that changes or goes breaks clients that exist; a line that comes does not. To renew the
//! file deliberately: `CORTEX_UPDATE_WIRE_SURFACE=1 cargo test -p cortex-proto --test wire_surface`.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

const UPDATE: &str = "CORTEX_UPDATE_WIRE_SURFACE";

#[test]
fn wire_surface_is_as_recorded() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire_surface.txt");
    let surface = surface(cortex_proto::descriptor_pool());
    if env::var_os(UPDATE).is_some() {
        let text = surface.iter().map(|line| format!("{line}\n")).collect::<String>();
        fs::write(&path, text).expect("the tree is writable");
    }
    let recorded = fs::read_to_string(&path).expect("wire_surface.txt is part of the tree");
    let recorded: BTreeSet<_> = recorded.lines().map(str::to_owned).collect();
    let gone: Vec<_> = recorded.difference(&surface).map(|line| format!("- {line}")).collect();
    let new: Vec<_> = surface.difference(&recorded).map(|line| format!("+ {line}")).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the wire surface differs from wire_surface.txt; if that is meant, renew it with {UPDATE}=1\n{}\n{}",
        gone.join("\n"),
        new.join("\n"),
    );
}

#[test]
fn a_renumbered_field_changes_the_surface() {
    let surface = surface(cortex_proto::descriptor_pool());
    assert!(surface.contains("cortex.agent.v1.SessionEvent.sequence = 1: int64"));
    assert!(surface.contains(
        "cortex.agent.v1.SessionEvent.content_delta = 16: cortex.agent.v1.ContentDelta in event"
    ));
    assert!(surface.contains("cortex.storage.v1.SESSION_STATUS_ENDED = 3"));
    assert!(surface.contains(
        "cortex.agent.v1.TurnService.SendMessage(cortex.agent.v1.SendMessageRequest) returns (stream cortex.agent.v1.SendMessageResponse)"
    ));
}

/// Every line of the surface, sorted.
fn surface(pool: &DescriptorPool) -> BTreeSet<String> {
    let ours = |name: &str| name.starts_with("cortex.");
    let messages = pool.all_messages().filter(|m| ours(m.full_name()) && !m.is_map_entry());
    let enums = pool.all_enums().filter(|e| ours(e.full_name()));
    let services = pool.services().filter(|s| ours(s.full_name()));
    messages
        .flat_map(|message| fields(&message))
        .chain(enums.flat_map(|descriptor| values(&descriptor)))
        .chain(services.flat_map(|service| methods(&service)))
        .collect()
}

fn fields(message: &MessageDescriptor) -> Vec<String> {
    message
        .fields()
        .map(|field| format!("{} = {}: {}", field.full_name(), field.number(), type_of(&field)))
        .collect()
}

fn type_of(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map<{}, {}>", kind(&key), kind(&value));
    }
    let kind = kind(field);
    if field.is_list() {
        return format!("repeated {kind}");
    }
    match field.containing_oneof() {
        Some(oneof) if oneof.is_synthetic() => format!("optional {kind}"),
        Some(oneof) => format!("{kind} in {}", oneof.name()),
        None => kind,
    }
}

fn kind(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(descriptor) => descriptor.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    }
}

fn values(descriptor: &EnumDescriptor) -> Vec<String> {
    descriptor.values().map(|value| format!("{} = {}", value.full_name(), value.number())).collect()
}

fn methods(service: &ServiceDescriptor) -> Vec<String> {
    let line = |method: MethodDescriptor| {
        let stream = |streams: bool| if streams { "stream " } else { "" };
        format!(
            "{}({}{}) returns ({}{})",
            method.full_name(),
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name(),
        )
    };
    service.methods().map(line).collect()
}

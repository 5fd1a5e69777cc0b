//! Rules about how methods behave as calls: repetition, deadlines, and our options for streams.

use std::time::Duration;

use cortex_proto::cortex::api::v1::{DrainKind, HttpBytesOptions, HttpStreamOptions};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::contracts::{
    Contracts, Target, bindings, call_option, http_bytes_option, http_stream_option, idempotency,
    message_type, resolve,
};

/// Writes that may not be repeated blindly and need no request id, each with what protects it.
const FENCED: &[(&str, &str)] = &[
    ("cortex.storage.v1.JournalService.RegisterHolder", "holder_id is new for every start"),
    ("cortex.storage.v1.JournalService.AcquireSession", "seen_epoch: the second grant is refused"),
    ("cortex.storage.v1.AdminService.RestoreStorage", "refuses a target that is not empty"),
    ("cortex.storage.v1.AdminService.MigrateStorage", "refuses a target that is not empty"),
    ("cortex.llm.v1.CompletionService.Complete", "writes nothing; the caller journals the attempt"),
    ("cortex.llm.v1.CompletionService.Generate", "writes nothing; costs tokens"),
];

/// A longer deadline than this is no deadline.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn reads_have_no_side_effects(contracts: &Contracts) -> Vec<String> {
    let reads = |method: &MethodDescriptor| {
        let name = method.name();
        let named = ["Get", "List", "Watch", "Download"].iter().any(|verb| name.starts_with(verb));
        named || bindings(method).iter().any(|binding| binding.verb == "GET")
    };
    let methods = contracts.methods().into_iter().filter(reads);
    let wrong = methods.filter(|method| idempotency(method) != Some("NO_SIDE_EFFECTS"));
    wrong.map(|method| format!("{}: a read without NO_SIDE_EFFECTS", method.full_name())).collect()
}

pub(crate) fn writes_can_be_repeated(contracts: &Contracts) -> Vec<String> {
    let fenced =
        |method: &MethodDescriptor| FENCED.iter().any(|(name, _)| *name == method.full_name());
    let protected = |method: &MethodDescriptor| {
        let request = method.input();
        let expects = request.get_field_by_name("expected_revision");
        is_string(&request, "request_id") || expects.is_some_and(|field| field.supports_presence())
    };
    let writes = contracts.methods().into_iter().filter(|method| idempotency(method).is_none());
    let wrong = writes.filter(|method| !protected(method) && !fenced(method));
    wrong.map(|method| format!("{}: no request_id", method.full_name())).collect()
}

fn is_string(message: &MessageDescriptor, name: &str) -> bool {
    message
        .get_field_by_name(name)
        .is_some_and(|field| field.kind() == Kind::String && !field.is_list())
}

pub(crate) fn calls_are_sane(contracts: &Contracts) -> Vec<String> {
    each(contracts, call_option, |method, call| {
        let mut findings = Vec::new();
        let length = |d: Option<prost_types::Duration>| d.map(Duration::try_from).transpose();
        match (length(call.default_deadline), length(call.max_deadline)) {
            (Ok(default), Ok(max)) => {
                if default.is_some() != max.is_some() {
                    findings.push("default and maximum deadline go together".to_owned());
                }
                if default > max {
                    findings.push("the default deadline is beyond the maximum".to_owned());
                }
                if max.is_some_and(|max| max > LONGEST) || default.is_some_and(|d| d.is_zero()) {
                    findings.push("a deadline is above zero and at most a day".to_owned());
                }
            }
            _ => findings.push("a negative deadline".to_owned()),
        }
        let streams = method.is_server_streaming() || method.is_client_streaming();
        if call.drain() != DrainKind::Unspecified && !streams {
            findings.push("only streams drain".to_owned());
        }
        findings
    })
}

pub(crate) fn http_streams_refer_to_fields(contracts: &Contracts) -> Vec<String> {
    each(contracts, http_stream_option, |method, stream| {
        let mut findings = wrong_stream_fields(method, stream);
        if !method.is_server_streaming() {
            findings.push("only a server stream is offered as events".to_owned());
        }
        findings
    })
}

fn wrong_stream_fields(method: &MethodDescriptor, stream: &HttpStreamOptions) -> Vec<String> {
    let (request, response) = (method.input(), method.output());
    let cursor = |field: &FieldDescriptor| {
        !field.is_list() && matches!(field.kind(), Kind::Int64 | Kind::Uint64 | Kind::String)
    };
    let text = |field: &FieldDescriptor| !field.is_list() && field.kind() == Kind::String;
    let switch = |field: &FieldDescriptor| !field.is_list() && field.kind() == Kind::Bool;
    let mut findings = Vec::new();
    let mut want = |holds: bool, option: &str, path: &str| {
        if !path.is_empty() && !holds {
            findings.push(format!("{option} {path:?} leads nowhere that fits"));
        }
    };
    let oneof = matches!(resolve(&response, &stream.event_oneof), Some(Target::Oneof));
    want(field_is(&response, &stream.id_field, cursor), "id_field", &stream.id_field);
    want(oneof, "event_oneof", &stream.event_oneof);
    want(field_is(&request, &stream.resume_field, cursor), "resume_field", &stream.resume_field);
    want(
        field_is(&request, &stream.request_id_field, text),
        "request_id_field",
        &stream.request_id_field,
    );
    want(field_is(&request, &stream.switch_field, switch), "switch_field", &stream.switch_field);
    if stream.resume_field.is_empty() != stream.id_field.is_empty() {
        findings.push("an id and a field that resumes from it go together".to_owned());
    }
    findings
}

fn field_is(
    message: &MessageDescriptor,
    path: &str,
    fits: impl Fn(&FieldDescriptor) -> bool,
) -> bool {
    matches!(resolve(message, path), Some(Target::Field(field)) if fits(&field))
}

pub(crate) fn siblings_accept_the_same(contracts: &Contracts) -> Vec<String> {
    each(contracts, http_stream_option, |method, stream| {
        if stream.switch_field.is_empty() != stream.unary_method.is_empty() {
            return vec!["a switch and a unary method go together".to_owned()];
        }
        if stream.unary_method.is_empty() {
            return Vec::new();
        }
        let service = method.parent_service();
        let sibling = service.methods().find(|sibling| sibling.name() == stream.unary_method);
        match sibling {
            None => vec![format!("no method {}", stream.unary_method)],
            Some(sibling) if sibling.is_server_streaming() || sibling.is_client_streaming() => {
                vec![format!("{} is not unary", stream.unary_method)]
            }
            Some(sibling) => unlike(&method.input(), &sibling.input()),
        }
    })
}

fn unlike(request: &MessageDescriptor, sibling: &MessageDescriptor) -> Vec<String> {
    let alike = |field: &FieldDescriptor| {
        sibling.get_field_by_name(field.name()).is_some_and(|other| {
            other.number() == field.number()
                && other.kind() == field.kind()
                && other.cardinality() == field.cardinality()
        })
    };
    let wrong = request.fields().filter(|field| !alike(field));
    wrong.map(|field| format!("{} differs in {}", field.name(), sibling.name())).collect()
}

pub(crate) fn http_bytes_refer_to_fields(contracts: &Contracts) -> Vec<String> {
    each(contracts, http_bytes_option, |method, bytes| {
        let mut findings = wrong_bytes_fields(method, bytes);
        let moves_bytes = bindings(method).iter().all(|binding| {
            let field = method.output().get_field_by_name(&binding.response_body);
            field.and_then(|field| message_type(&field)).as_deref() == Some("google.api.HttpBody")
        });
        if !moves_bytes || !method.is_server_streaming() {
            findings.push("its answer is no stream of google.api.HttpBody".to_owned());
        }
        if bytes.offset_field.is_empty() != bytes.length_field.is_empty() {
            findings.push("offset and length go together".to_owned());
        }
        findings
    })
}

fn wrong_bytes_fields(method: &MethodDescriptor, bytes: &HttpBytesOptions) -> Vec<String> {
    let (request, response) = (method.input(), method.output());
    let options = [
        (&request, "offset_field", &bytes.offset_field, Kind::Int64),
        (&request, "length_field", &bytes.length_field, Kind::Int64),
        (&response, "size_field", &bytes.size_field, Kind::Int64),
        (&response, "etag_field", &bytes.etag_field, Kind::String),
        (&response, "file_name_field", &bytes.file_name_field, Kind::String),
    ];
    let wrong = options.iter().filter(|(message, _, name, kind)| {
        let field = message.get_field_by_name(name);
        !name.is_empty() && !field.is_some_and(|field| !field.is_list() && field.kind() == *kind)
    });
    wrong.map(|(_, option, name, kind)| format!("{option} {name:?} is no {kind:?} field")).collect()
}

fn each<T>(
    contracts: &Contracts,
    option: impl Fn(&MethodDescriptor) -> Option<T>,
    check: impl Fn(&MethodDescriptor, &T) -> Vec<String>,
) -> Vec<String> {
    let mut findings = Vec::new();
    for method in contracts.methods() {
        let Some(option) = option(&method) else { continue };
        let found = check(&method, &option).into_iter();
        findings.extend(found.map(|finding| format!("{}: {finding}", method.full_name())));
    }
    findings
}

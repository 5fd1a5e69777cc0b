//! A sample contract that obeys every rule, and how to break each rule in one place of it.

use std::path::Path;

use prost_reflect::DescriptorPool;
use protox::file::{
    ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver,
};

/// One change that makes the sample break a rule.
pub(crate) struct Offence {
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What stands in the sample, once or more; the first is changed.
    from: &'static str,
    /// What stands there instead.
    to: &'static str,
    /// What the rule must say.
    pub(crate) finding: &'static str,
}

impl Offence {
    /// The sample with this change.
    pub(crate) fn commit(&self) -> String {
        let changed = SAMPLE.replacen(self.from, self.to, 1);
        assert_ne!(changed, SAMPLE, "{:?} does not stand in the sample", self.from);
        changed
    }
}

/// A contract that obeys every rule.
pub(crate) const SAMPLE: &str = include_str!("sample.proto");

const NAME: &str = "cortex/sample/v1/sample.proto";

/// Compiles a contract in memory, with the real options.
pub(crate) fn compile(source: &str) -> DescriptorPool {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut resolver = ChainFileResolver::new();
    resolver.add(InMemory(source.to_owned()));
    resolver.add(IncludeFileResolver::new(proto));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    let opened = compiler.open_file(NAME);
    assert!(opened.is_ok(), "{:?}\n{source}", opened.err());
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("just compiled")
}

struct InMemory(String);

impl FileResolver for InMemory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == NAME {
            File::from_source(name, &self.0)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

const fn offence(
    rule: &'static str,
    from: &'static str,
    to: &'static str,
    finding: &'static str,
) -> Offence {
    Offence { rule, from, to, finding }
}

/// Every way to offend that a rule must notice.
pub(crate) const OFFENCES: &[Offence] = &[
    offence(
        "package is directory",
        "package cortex.sample.v1;",
        "package cortex.other.v1;",
        "cortex/sample/v1/sample.proto: package cortex.other.v1",
    ),
    offence(
        "services end in Service",
        "service ThingService",
        "service ThingServer",
        "cortex.sample.v1.ThingServer: no Service at its end",
    ),
    offence(
        "rpcs are verb and noun",
        "rpc GetThing(",
        "rpc FetchThing(",
        "cortex.sample.v1.ThingService.FetchThing: not a known verb and a noun",
    ),
    offence(
        "rpcs are verb and noun",
        "rpc GetThing(",
        "rpc Get(",
        "cortex.sample.v1.ThingService.Get: not a known verb and a noun",
    ),
    offence(
        "requests and responses belong to one rpc",
        "returns (GetThingResponse)",
        "returns (Thing)",
        "cortex.sample.v1.ThingService.GetThing: cortex.sample.v1.Thing is not cortex.sample.v1.GetThingResponse",
    ),
    offence(
        "requests and responses belong to one rpc",
        "rpc GetThing(GetThingRequest)",
        "rpc GetThing(ListThingsRequest)",
        r#"cortex.sample.v1.ListThingsRequest: shared by ["GetThing", "ListThings"]"#,
    ),
    offence(
        "enum values are prefixed from zero",
        "THING_KIND_UNSPECIFIED = 0",
        "THING_KIND_NONE = 0",
        "cortex.sample.v1.ThingKind: THING_KIND_NONE = 0",
    ),
    offence(
        "enum values are prefixed from zero",
        "THING_KIND_SMALL = 1",
        "SMALL = 1",
        "cortex.sample.v1.ThingKind: SMALL = 1",
    ),
    offence(
        "everything has a comment",
        "  // Its kind.\n",
        "",
        "cortex.sample.v1.Thing.kind: no comment",
    ),
    offence(
        "everything has a comment",
        "  // What happened.\n",
        "",
        "cortex.sample.v1.ThingEvent.event: no comment",
    ),
    offence(
        "everything has a comment",
        "  // One thing.\n",
        "",
        "cortex.sample.v1.ThingService.GetThing: no comment",
    ),
    offence(
        "everything has a comment",
        "  // Small.\n",
        "",
        "cortex.sample.v1.THING_KIND_SMALL: no comment",
    ),
    offence(
        "lists are paginated",
        "int32 page_size = 2;",
        "int64 page_size = 2;",
        "cortex.sample.v1.ThingService.ListThings: no int32 page_size",
    ),
    offence(
        "lists are paginated",
        "string next_page_token = 2;",
        "string next_token = 2;",
        "cortex.sample.v1.ThingService.ListThings: no string next_page_token",
    ),
    offence(
        "lists are paginated",
        "returns (ListThingsResponse)",
        "returns (stream ListThingsResponse)",
        "cortex.sample.v1.ThingService.ListThings: a list is not a stream",
    ),
    offence(
        "ids are strings",
        "string owner_id = 2;",
        "int64 owner_id = 2;",
        "cortex.sample.v1.Thing.owner_id: an id is a string",
    ),
    offence(
        "ids are strings",
        "repeated string part_ids = 3;",
        "string part_ids = 3;",
        "cortex.sample.v1.Thing.part_ids: an id is a string",
    ),
    offence(
        "times are timestamps",
        "google.protobuf.Timestamp created_at = 4;",
        "string created_at = 4;",
        "cortex.sample.v1.Thing.created_at: a time is a google.protobuf.Timestamp",
    ),
    offence(
        "times are timestamps",
        "google.protobuf.Timestamp created_at = 4;",
        "google.protobuf.Timestamp create_time = 4;",
        "cortex.sample.v1.Thing.create_time: times end in _at",
    ),
    offence(
        "json payloads are marked",
        "string metadata = 5 [(cortex.api.v1.json) = true];",
        "string metadata = 5;",
        "cortex.sample.v1.Thing.metadata: no (cortex.api.v1.json)",
    ),
    offence(
        "json marks strings only",
        "string metadata = 5 [",
        "bytes metadata = 5 [",
        "cortex.sample.v1.Thing.metadata: JSON text is a string",
    ),
    offence(
        "no schemaless well-known types",
        "string metadata = 5 [(cortex.api.v1.json) = true];",
        "google.protobuf.Struct metadata = 5;",
        "cortex.sample.v1.Thing.metadata: google.protobuf.Struct",
    ),
    offence(
        "every rpc has http",
        "option (google.api.http) = {get: \"/things/{thing_id}\"};",
        "",
        "cortex.sample.v1.ThingService.GetThing: no google.api.http",
    ),
    offence(
        "http paths are unique",
        "{get: \"/things/{thing_id}\"}",
        "{get: \"/things\"}",
        "GET /things: cortex.sample.v1.ThingService.GetThing, cortex.sample.v1.ThingService.ListThings",
    ),
    offence(
        "http paths are unique",
        "get: \"/things/{thing_id}/content\"",
        "get: \"/things/{thing_id=*}\"",
        "GET /things/*: cortex.sample.v1.ThingService.GetThing, cortex.sample.v1.ThingService.DownloadThing",
    ),
    offence(
        "path variables are request fields",
        "{get: \"/things/{thing_id}\"}",
        "{get: \"/things/{id}\"}",
        "cortex.sample.v1.ThingService.GetThing: id in /things/{id} is no string field",
    ),
    offence(
        "bodies fit",
        "{get: \"/things/{thing_id}\"}",
        "{get: \"/things/{thing_id}\", body: \"*\"}",
        "cortex.sample.v1.ThingService.GetThing: GET with body \"*\"",
    ),
    offence(
        "bodies fit",
        "response_body: \"content\"",
        "response_body: \"bytes\"",
        "cortex.sample.v1.ThingService.DownloadThing: no field bytes for the answer",
    ),
    offence(
        "bodies fit",
        "post: \"/things\"\n      body: \"*\"",
        "post: \"/things\"\n      body: \"thing\"",
        "cortex.sample.v1.ThingService.SendThing: no field thing for the body",
    ),
    offence(
        "query fields can be written",
        "repeated string tags = 1;",
        "map<string, string> tags = 1;",
        "cortex.sample.v1.ThingService.ListThings: tags cannot be written in a query",
    ),
    offence(
        "reads have no side effects",
        "    option idempotency_level = NO_SIDE_EFFECTS; // of GetThing\n",
        "",
        "cortex.sample.v1.ThingService.GetThing: a read without NO_SIDE_EFFECTS",
    ),
    offence(
        "writes can be repeated",
        "string request_id = 2;",
        "string nonce = 2;",
        "cortex.sample.v1.ThingService.SendThing: no request_id",
    ),
    offence(
        "deadlines and drains are sane",
        "default_deadline: {seconds: 60}",
        "default_deadline: {seconds: 600}",
        "cortex.sample.v1.ThingService.SubmitThing: the default deadline is beyond the maximum",
    ),
    offence(
        "deadlines and drains are sane",
        "max_deadline: {seconds: 120}",
        "",
        "cortex.sample.v1.ThingService.SubmitThing: default and maximum deadline go together",
    ),
    offence(
        "deadlines and drains are sane",
        "max_deadline: {seconds: 120}",
        "max_deadline: {seconds: 864000}",
        "cortex.sample.v1.ThingService.SubmitThing: a deadline is above zero and at most a day",
    ),
    offence(
        "deadlines and drains are sane",
        "max_deadline: {seconds: 120}",
        "max_deadline: {seconds: 120}\n      drain: DRAIN_KIND_WORK",
        "cortex.sample.v1.ThingService.SubmitThing: only streams drain",
    ),
    offence(
        "http streams refer to fields",
        "id_field: \"event.sequence\"",
        "id_field: \"event.number\"",
        "cortex.sample.v1.ThingService.SendThing: id_field \"event.number\" leads nowhere that fits",
    ),
    offence(
        "http streams refer to fields",
        "event_oneof: \"event.event\"",
        "event_oneof: \"event.sequence\"",
        "cortex.sample.v1.ThingService.SendThing: event_oneof \"event.sequence\" leads nowhere that fits",
    ),
    offence(
        "http streams refer to fields",
        "resume_field: \"after_sequence\"",
        "",
        "cortex.sample.v1.ThingService.SendThing: an id and a field that resumes from it go together",
    ),
    offence(
        "http streams refer to fields",
        "returns (stream SendThingResponse)",
        "returns (SendThingResponse)",
        "cortex.sample.v1.ThingService.SendThing: only a server stream is offered as events",
    ),
    offence(
        "unary siblings accept the same",
        "unary_method: \"SubmitThing\"",
        "unary_method: \"PostThing\"",
        "cortex.sample.v1.ThingService.SendThing: no method PostThing",
    ),
    offence(
        "unary siblings accept the same",
        "string request_id = 2; // of SubmitThing",
        "string request_id = 7;",
        "cortex.sample.v1.ThingService.SendThing: request_id differs in SubmitThingRequest",
    ),
    offence(
        "http bytes refer to fields",
        "offset_field: \"offset\"",
        "offset_field: \"start\"",
        "cortex.sample.v1.ThingService.DownloadThing: offset_field \"start\" is no int64 field",
    ),
    offence(
        "http bytes refer to fields",
        "response_body: \"content\"",
        "",
        "cortex.sample.v1.ThingService.DownloadThing: its answer is no stream of google.api.HttpBody",
    ),
];

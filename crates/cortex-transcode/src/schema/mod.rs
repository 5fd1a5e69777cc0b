//! What the JSON reader and writer need to know of every message, looked up once at build.

mod enums;

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

pub(crate) use self::enums::{EnumPlan, short_names};
use crate::options;

/// Names a [`MessagePlan`] of a [`Schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MessageIndex(usize);

/// Names an [`EnumPlan`] of a [`Schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EnumIndex(usize);

/// Every message and enum of a pool.
///
/// Not `Debug`, like all that holds a descriptor: a field descriptor prints its default value, and
/// that of a recursive message has no end.
pub(crate) struct Schema {
    pool: DescriptorPool,
    messages: Vec<MessagePlan>,
    enums: Vec<EnumPlan>,
    by_name: HashMap<String, MessageIndex>,
}

/// One message: its JSON form and its fields in the order of their declaration.
pub(crate) struct MessagePlan {
    pub(crate) descriptor: MessageDescriptor,
    pub(crate) form: Form,
    pub(crate) fields: Vec<FieldPlan>,
    names: HashMap<Box<str>, usize>,
}

/// How a message looks in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object of its fields.
    Plain,
    /// `google.protobuf.Any`.
    Any,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.Duration`.
    Duration,
    /// `google.protobuf.FieldMask`.
    FieldMask,
    /// `google.protobuf.Struct`.
    Struct,
    /// `google.protobuf.ListValue`.
    List,
    /// `google.protobuf.Value`.
    Value,
    /// `google.protobuf.Int32Value` and the like: the value itself.
    Wrapper,
}

/// One field of a message.
pub(crate) struct FieldPlan {
    pub(crate) descriptor: FieldDescriptor,
    /// `"name":`, as it is written.
    pub(crate) key: Box<[u8]>,
    pub(crate) shape: Shape,
    /// Whether the field can be told from its default, and is left out when it is not set.
    pub(crate) presence: bool,
    /// The oneof that it is an arm of, counted within the message.
    pub(crate) oneof: Option<usize>,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Single(Element),
    List(Element),
    Map(Element, Element),
}

/// What one value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
    String,
    /// JSON text that is embedded verbatim.
    Json,
    Bytes,
    Enum(EnumIndex),
    Message(MessageIndex),
}

impl Schema {
    /// Plans of everything in `pool`.
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let by_name: HashMap<_, _> = pool
            .all_messages()
            .enumerate()
            .map(|(index, message)| (message.full_name().to_owned(), MessageIndex(index)))
            .collect();
        let enums: Vec<_> = pool.all_enums().map(|descriptor| EnumPlan::new(&descriptor)).collect();
        let enum_names: HashMap<_, _> = pool
            .all_enums()
            .enumerate()
            .map(|(index, descriptor)| (descriptor.full_name().to_owned(), EnumIndex(index)))
            .collect();
        let names = Names { messages: &by_name, enums: &enum_names };
        let messages =
            pool.all_messages().map(|descriptor| MessagePlan::new(descriptor, &names)).collect();
        Self { pool: pool.clone(), messages, enums, by_name }
    }

    /// The pool that this was made from.
    pub(crate) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The plan of a message.
    pub(crate) fn message(&self, index: MessageIndex) -> &MessagePlan {
        &self.messages[index.0]
    }

    /// The plan of an enum.
    pub(crate) fn enumeration(&self, index: EnumIndex) -> &EnumPlan {
        &self.enums[index.0]
    }

    /// The message of that full name.
    pub(crate) fn find(&self, full_name: &str) -> Option<MessageIndex> {
        self.by_name.get(full_name).copied()
    }

    /// The message that `descriptor`, which belongs to this pool, describes.
    pub(crate) fn index_of(&self, descriptor: &MessageDescriptor) -> MessageIndex {
        self.by_name[descriptor.full_name()]
    }
}

impl MessagePlan {
    fn new(descriptor: MessageDescriptor, names: &Names<'_>) -> Self {
        let oneofs: Vec<_> =
            descriptor.oneofs().map(|oneof| oneof.full_name().to_owned()).collect();
        let fields: Vec<_> = declared_fields(&descriptor)
            .into_iter()
            .map(|field| FieldPlan::new(field, &oneofs, names))
            .collect();
        let mut by_name = HashMap::with_capacity(fields.len() * 2);
        for (index, field) in fields.iter().enumerate() {
            by_name.entry(field.descriptor.json_name().into()).or_insert(index);
        }
        for (index, field) in fields.iter().enumerate() {
            by_name.insert(field.name().into(), index);
        }
        let form = Form::of(descriptor.full_name());
        Self { descriptor, form, fields, names: by_name }
    }

    /// The position of a field by its name in the contract or in canonical JSON.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The fields of a list of names, for a message to a person.
    pub(crate) fn known_fields(&self) -> String {
        match self.fields.as_slice() {
            [] => "it has no fields".to_owned(),
            fields => {
                let names: Vec<_> = fields.iter().map(FieldPlan::name).collect();
                format!("known fields: {}", names.join(", "))
            }
        }
    }
}

/// The order of the file, which is the order in which people read a message.
fn declared_fields(descriptor: &MessageDescriptor) -> Vec<FieldDescriptor> {
    descriptor
        .descriptor_proto()
        .field
        .iter()
        .filter_map(|field| descriptor.get_field_by_name(field.name()))
        .collect()
}

impl Form {
    fn of(full_name: &str) -> Self {
        let Some(name) = full_name.strip_prefix("google.protobuf.") else { return Self::Plain };
        match name {
            "Any" => Self::Any,
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "FieldMask" => Self::FieldMask,
            "Struct" => Self::Struct,
            "ListValue" => Self::List,
            "Value" => Self::Value,
            "BoolValue" | "Int32Value" | "UInt32Value" | "Int64Value" | "UInt64Value"
            | "FloatValue" | "DoubleValue" | "StringValue" | "BytesValue" => Self::Wrapper,
            _ => Self::Plain,
        }
    }
}

impl FieldPlan {
    fn new(descriptor: FieldDescriptor, oneofs: &[String], names: &Names<'_>) -> Self {
        let json = options::is_json(&descriptor);
        let shape = match descriptor.kind() {
            Kind::Message(entry) if descriptor.is_map() => Shape::Map(
                names.element(&entry.map_entry_key_field().kind(), false),
                names.element(&entry.map_entry_value_field().kind(), json),
            ),
            kind if descriptor.is_list() => Shape::List(names.element(&kind, json)),
            kind => Shape::Single(names.element(&kind, json)),
        };
        let oneof = descriptor
            .containing_oneof()
            .filter(|oneof| !oneof.is_synthetic())
            .and_then(|oneof| oneofs.iter().position(|name| name == oneof.full_name()));
        Self {
            key: format!("\"{}\":", descriptor.name()).into_bytes().into(),
            presence: descriptor.supports_presence(),
            shape,
            oneof,
            descriptor,
        }
    }

    /// Its name in the contract.
    pub(crate) fn name(&self) -> &str {
        self.descriptor.name()
    }

    /// What its value is, if it holds exactly one.
    pub(crate) fn single(&self) -> Option<Element> {
        match self.shape {
            Shape::Single(element) => Some(element),
            Shape::List(_) | Shape::Map(..) => None,
        }
    }
}

struct Names<'a> {
    messages: &'a HashMap<String, MessageIndex>,
    enums: &'a HashMap<String, EnumIndex>,
}

impl Names<'_> {
    fn element(&self, kind: &Kind, json: bool) -> Element {
        match kind {
            Kind::Bool => Element::Bool,
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Element::I32,
            Kind::Uint32 | Kind::Fixed32 => Element::U32,
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Element::I64,
            Kind::Uint64 | Kind::Fixed64 => Element::U64,
            Kind::Float => Element::F32,
            Kind::Double => Element::F64,
            Kind::String if json => Element::Json,
            Kind::String => Element::String,
            Kind::Bytes => Element::Bytes,
            Kind::Enum(descriptor) => Element::Enum(self.enums[descriptor.full_name()]),
            Kind::Message(descriptor) => Element::Message(self.messages[descriptor.full_name()]),
        }
    }
}

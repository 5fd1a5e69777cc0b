//! JSON to a message, in one pass, straight into its fields.
//!
//! Only a text that is not JSON ends the pass. What is wrong with a value is written down with its
//! path, so that one answer tells of every wrong field.

use std::cell::{Cell, RefCell};

use prost_reflect::{DynamicMessage, MapKey, Value};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::value::RawValue;

use super::{
    Malformed, Path, read_known,
    scalar::{Scalar, convert},
};
use crate::{
    problem::{Problem, Violation},
    schema::{Element, FieldPlan, Form, MessageIndex, MessagePlan, Schema, Shape},
};

/// What became of one JSON value.
pub(crate) enum Read {
    Value(Value),
    /// `null`, which means that the field is not set.
    Null,
    /// It is wrong, and that is written down.
    Wrong,
}

/// Reads one request and collects what is wrong with it.
pub(crate) struct Reader<'s> {
    pub(super) schema: &'s Schema,
    limit: usize,
    violations: RefCell<Vec<Violation>>,
    more: Cell<usize>,
    given: RefCell<Vec<u32>>,
}

impl<'s> Reader<'s> {
    /// A reader that lists at most `limit` violations.
    pub(crate) fn new(schema: &'s Schema, limit: usize) -> Self {
        Self {
            schema,
            limit: limit.max(1),
            violations: RefCell::default(),
            more: Cell::new(0),
            given: RefCell::default(),
        }
    }

    /// The message that `text` is.
    pub(crate) fn message(
        &self,
        index: MessageIndex,
        text: &str,
    ) -> Result<DynamicMessage, Malformed> {
        let seed =
            ElementSeed { reader: self, element: Element::Message(index), path: &Path::Root };
        match whole(text, seed)? {
            Read::Value(Value::Message(message)) => Ok(message),
            _ => Ok(DynamicMessage::new(self.schema.message(index).descriptor.clone())),
        }
    }

    /// The value of one field that `text` is; `None` if it is `null` or wrong.
    pub(crate) fn field(&self, field: &FieldPlan, text: &str) -> Result<Option<Value>, Malformed> {
        let path = Path::Field(&Path::Root, field.name());
        match whole(text, FieldSeed { reader: self, field, path: &path })? {
            Read::Value(value) => Ok(Some(value)),
            Read::Null | Read::Wrong => Ok(None),
        }
    }

    /// Writes down what is wrong at `path`.
    pub(crate) fn wrong(&self, path: &Path<'_>, description: impl Into<String>) -> Read {
        let mut violations = self.violations.borrow_mut();
        if violations.len() < self.limit {
            let description = description.into();
            violations.push(Violation { field: path.to_string(), description });
        } else {
            self.more.set(self.more.get() + 1);
        }
        Read::Wrong
    }

    /// Notes that the caller has set this field of the request itself.
    pub(crate) fn give(&self, number: u32) {
        self.given.borrow_mut().push(number);
    }

    /// Whether the caller has set this field of the request itself, be it to its default.
    pub(crate) fn was_given(&self, number: u32) -> bool {
        self.given.borrow().contains(&number)
    }

    /// What was wrong, if anything was.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        let violations = self.violations.take();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Problem::fields(violations, self.more.get()))
        }
    }
}

/// One value and nothing after it.
fn whole<'de, S: DeserializeSeed<'de, Value = Read>>(
    text: &'de str,
    seed: S,
) -> Result<Read, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = seed.deserialize(&mut deserializer).map_err(|error| Malformed::from(&error))?;
    deserializer.end().map_err(|error| Malformed::from(&error))?;
    Ok(read)
}

/// A field with all that it holds.
struct FieldSeed<'a> {
    reader: &'a Reader<'a>,
    field: &'a FieldPlan,
    path: &'a Path<'a>,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        let Self { reader, field, path } = self;
        let wanted = match field.shape {
            Shape::List(element) => Wanted::List(element),
            Shape::Map(key, value) => Wanted::Map(key, value),
            Shape::Single(element) => {
                let read = ElementSeed { reader, element, path }.deserialize(deserializer)?;
                let null = matches!(&read, Read::Value(Value::String(text)) if text == "null");
                return Ok(if null && element == Element::Json { Read::Null } else { read });
            }
        };
        deserializer.deserialize_any(Container { reader, path, wanted })
    }
}

/// One value of a field.
pub(super) struct ElementSeed<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) element: Element,
    pub(super) path: &'a Path<'a>,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        let Self { reader, element, path } = self;
        match element {
            Element::Json => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                Ok(Read::Value(Value::String(raw.get().to_owned())))
            }
            Element::Message(index) => {
                let plan = reader.schema.message(index);
                match plan.form {
                    Form::Plain => {
                        let wanted = Wanted::Message { plan, typed: false };
                        deserializer.deserialize_any(Container { reader, path, wanted })
                    }
                    _ => read_known::read(reader, plan, path, deserializer),
                }
            }
            _ => {
                let scalar = Scalar::deserialize(deserializer)?;
                match convert(reader.schema, element, &scalar) {
                    Ok(value) => Ok(Read::Value(value)),
                    Err(_) if scalar == Scalar::Null => Ok(Read::Null),
                    Err(description) => Ok(reader.wrong(path, description)),
                }
            }
        }
    }
}

/// What an object or array should become.
pub(super) enum Wanted<'a> {
    /// A message; `typed` if it stands in an Any, beside its `@type`.
    Message {
        plan: &'a MessagePlan,
        typed: bool,
    },
    List(Element),
    Map(Element, Element),
}

/// Reads what is wanted, or says that it is something else.
pub(super) struct Container<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) path: &'a Path<'a>,
    pub(super) wanted: Wanted<'a>,
}

impl Container<'_> {
    fn refuse<E>(self, got: &Scalar<'_>) -> Result<Read, E> {
        let expected = match self.wanted {
            Wanted::List(_) => "an array",
            Wanted::Message { .. } | Wanted::Map(..) => "an object",
        };
        Ok(self.reader.wrong(self.path, format!("expected {expected}, got {got}")))
    }
}

impl<'de> Visitor<'de> for Container<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
        self.refuse(&Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Read, E> {
        self.refuse(&Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Read, E> {
        self.refuse(&Scalar::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Read, E> {
        self.refuse(&Scalar::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Read, E> {
        self.refuse(&Scalar::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Read, A::Error> {
        if let Wanted::List(element) = self.wanted {
            return list(self.reader, self.path, element, seq);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.refuse(&Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        match self.wanted {
            Wanted::Message { plan, typed } => Fields::new(&self, plan).read(typed, map),
            Wanted::Map(key, value) => entries(self.reader, self.path, (key, value), map),
            Wanted::List(_) => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                self.refuse(&Scalar::Object)
            }
        }
    }
}

fn list<'de, A: SeqAccess<'de>>(
    reader: &Reader<'_>,
    path: &Path<'_>,
    element: Element,
    mut seq: A,
) -> Result<Read, A::Error> {
    let mut values = Vec::new();
    for index in 0.. {
        let path = Path::Index(path, index);
        let Some(read) = seq.next_element_seed(ElementSeed { reader, element, path: &path })?
        else {
            break;
        };
        match read {
            Read::Value(value) => values.push(value),
            Read::Null => drop(reader.wrong(&path, "an element cannot be null")),
            Read::Wrong => {}
        }
    }
    Ok(Read::Value(Value::List(values)))
}

fn entries<'de, A: MapAccess<'de>>(
    reader: &Reader<'_>,
    path: &Path<'_>,
    (key, value): (Element, Element),
    mut map: A,
) -> Result<Read, A::Error> {
    let mut entries = std::collections::HashMap::new();
    while let Some(name) = map.next_key::<String>()? {
        let path = Path::Key(path, &name);
        let read = map.next_value_seed(ElementSeed { reader, element: value, path: &path })?;
        match (map_key(reader, key, &name), read) {
            (Ok(_), Read::Wrong) => continue,
            (Err(expected), _) => drop(reader.wrong(&path, format!("as a key: {expected}"))),
            (Ok(_), Read::Null) => drop(reader.wrong(&path, "a value cannot be null")),
            (Ok(key), Read::Value(value)) => {
                if entries.insert(key, value).is_some() {
                    reader.wrong(&path, "is given twice");
                }
            }
        }
    }
    Ok(Read::Value(Value::Map(entries)))
}

fn map_key(reader: &Reader<'_>, element: Element, name: &str) -> Result<MapKey, String> {
    let value = super::parse_text(reader.schema, element, name, super::TextSource::Plain)?;
    value.into_map_key().ok_or_else(|| "it cannot be one".to_owned())
}

/// The fields of one message while they are read.
struct Fields<'a> {
    reader: &'a Reader<'a>,
    path: &'a Path<'a>,
    plan: &'a MessagePlan,
    message: DynamicMessage,
    seen: Vec<bool>,
    /// Which arm of which oneof is set.
    arms: Vec<(usize, usize)>,
}

impl<'a> Fields<'a> {
    fn new(container: &Container<'a>, plan: &'a MessagePlan) -> Self {
        Self {
            reader: container.reader,
            path: container.path,
            message: DynamicMessage::new(plan.descriptor.clone()),
            seen: vec![false; plan.fields.len()],
            arms: Vec::new(),
            plan,
        }
    }

    fn read<'de, A: MapAccess<'de>>(mut self, typed: bool, mut map: A) -> Result<Read, A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed { plan: self.plan, typed })? {
            match key {
                Key::Field(index) if self.seen[index] => {
                    let name = self.plan.fields[index].name();
                    self.reader.wrong(&Path::Field(self.path, name), "is given twice");
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Field(index) => self.field(index, &mut map)?,
                Key::Unknown(name) => {
                    let known = self.plan.known_fields();
                    self.reader.wrong(
                        &Path::Field(self.path, &name),
                        format!("is not a field of this request; {known}"),
                    );
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Type => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Read::Value(Value::Message(self.message)))
    }

    fn field<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error> {
        self.seen[index] = true;
        let field = &self.plan.fields[index];
        let path = Path::Field(self.path, field.name());
        let seed = FieldSeed { reader: self.reader, field, path: &path };
        let Read::Value(value) = map.next_value_seed(seed)? else { return Ok(()) };
        if let Some(oneof) = field.oneof {
            if let Some((_, other)) = self.arms.iter().find(|(taken, _)| *taken == oneof) {
                let other = self.plan.fields[*other].name();
                self.reader.wrong(&path, format!("cannot be given together with {other}"));
                return Ok(());
            }
            self.arms.push((oneof, index));
        }
        if self.path.is_root() {
            self.reader.give(field.descriptor.number());
        }
        self.message.try_set_field(&field.descriptor, value).map_err(A::Error::custom)
    }
}

enum Key {
    Field(usize),
    /// `@type` of an Any, which is read already.
    Type,
    Unknown(String),
}

struct KeySeed<'a> {
    plan: &'a MessagePlan,
    typed: bool,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(match self.plan.position(name) {
            Some(index) => Key::Field(index),
            None if self.typed && name == "@type" => Key::Type,
            None => Key::Unknown(name.to_owned()),
        })
    }
}

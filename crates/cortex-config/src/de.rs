//! Reads a configuration type from the merged tree, and knows the path of what goes wrong.

use std::{cell::RefCell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};

use crate::{
    path::KeyPath,
    problem::{Problem, Problems},
    secret,
    suggest::did_you_mean,
    tree::{Branch, Tree},
    yaml,
};

/// What went wrong first, and where.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) message: String,
    pub(crate) path: Option<KeyPath>,
}

impl Error {
    fn at(mut self, path: &KeyPath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), path: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) | Unexpected::Char(_) => "a text",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "something else",
        };
        Self::custom(format_args!("expected {}, found {found}", name_of(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            Unexpected::Unsigned(n) => Self::custom(out_of_range(n, expected)),
            Unexpected::Signed(n) => Self::custom(out_of_range(n, expected)),
            found => Self::custom(format_args!("expected {expected}, found {found}")),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let suggestion = did_you_mean(variant, expected.iter().copied());
        Self::custom(format_args!("'{variant}' is not one of {}{suggestion}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("'{field}' is missing"))
    }
}

fn out_of_range(number: impl fmt::Display, expected: &dyn de::Expected) -> String {
    format!("{number} is out of range; expected {}", name_of(expected))
}

/// What a type of Rust is called where people read it.
fn name_of(expected: &dyn de::Expected) -> String {
    let name = expected.to_string();
    match name.as_str() {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number from 0".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a string" => "a text (put it in quotes)".into(),
        other => other.strip_prefix("struct ").map_or(name.clone(), |_| "a map".into()),
    }
}

/// Reads one value of the tree. Unknown keys are collected and passed over.
pub(crate) struct Reader<'t, 'p> {
    tree: &'t Tree,
    path: KeyPath,
    unknown: &'p RefCell<Problems>,
}

impl<'t, 'p> Reader<'t, 'p> {
    /// A reader of the whole tree, which collects unknown keys in `unknown`.
    pub(crate) fn new(tree: &'t Tree, unknown: &'p RefCell<Problems>) -> Self {
        Self { tree, path: KeyPath::root(), unknown }
    }

    fn below(&self, tree: &'t Tree, path: KeyPath) -> Self {
        Self { tree, path, unknown: self.unknown }
    }

    /// Reads a value that is neither a list nor a map, or what an untyped text stands for.
    fn scalar<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.tree.content {
            Branch::Null => visitor.visit_unit(),
            Branch::Bool(value) => visitor.visit_bool(*value),
            Branch::Number(number) => visit_number(number, visitor),
            Branch::Text(text) => visitor.visit_str(text),
            Branch::Untyped(text) => match yaml::parse(text).map(|node| node.content) {
                Ok(yaml::Content::Bool(value)) => visitor.visit_bool(value),
                Ok(yaml::Content::Number { value, .. }) => visit_number(&value, visitor),
                _ => visitor.visit_str(text),
            },
            Branch::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            Branch::Map(_) => Err(de::Error::invalid_type(Unexpected::Map, &visitor)),
        };
        result.map_err(|error| error.at(&self.path))
    }

    /// What an untyped text stands for where a list or a map is wanted.
    fn structured(&self, text: &str, list: bool) -> Tree {
        let origin = &self.tree.origin;
        let from_json = |value| Tree::from_json(value, origin);
        match yaml::parse(text) {
            Ok(node) if matches!(node.content, yaml::Content::List(_) | yaml::Content::Map(_)) => {
                from_json(node.to_json())
            }
            _ if list => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let untyped = |item: &str| Tree {
                    content: Branch::Untyped(item.to_owned()),
                    origin: origin.clone(),
                };
                Tree { content: Branch::List(items.map(untyped).collect()), origin: origin.clone() }
            }
            _ => Tree { content: Branch::Text(text.to_owned()), origin: origin.clone() },
        }
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.tree.content {
            Branch::Untyped(text) => {
                let tree = self.structured(text, true);
                Reader { tree: &tree, path: self.path, unknown: self.unknown }.list(visitor)
            }
            Branch::List(items) => {
                let path = self.path.clone();
                let items = Items { items: items.iter(), next: 0, reader: self };
                visitor.visit_seq(items).map_err(|error| error.at(&path))
            }
            _ => self.scalar(visitor),
        }
    }

    fn map<'de, V: Visitor<'de>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.tree.content {
            Branch::Untyped(text) => {
                let tree = self.structured(text, false);
                Reader { tree: &tree, path: self.path, unknown: self.unknown }.map(fields, visitor)
            }
            Branch::Map(entries) => {
                let path = self.path.clone();
                let entries =
                    Entries { entries: entries.iter(), fields, value: None, reader: self };
                visitor.visit_map(entries).map_err(|error| error.at(&path))
            }
            _ => self.scalar(visitor),
        }
    }
}

fn visit_number<'de, V: Visitor<'de>>(
    number: &serde_json::Number,
    visitor: V,
) -> Result<V::Value, Error> {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(value), _, _) => visitor.visit_u64(value),
        (_, Some(value), _) => visitor.visit_i64(value),
        (_, _, Some(value)) => visitor.visit_f64(value),
        _ => Err(de::Error::custom("this number cannot be represented")),
    }
}

impl<'de> Deserializer<'de> for Reader<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.tree.content {
            Branch::List(_) => self.list(visitor),
            Branch::Map(_) => self.map(None, visitor),
            _ => self.scalar(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.tree.content {
            Branch::Untyped(text) => {
                visitor.visit_str(text).map_err(|error: Error| error.at(&self.path))
            }
            _ => self.scalar(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.tree.content {
            Branch::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let path = self.path.clone();
        match (&self.tree.content, name) {
            (Branch::Number(_) | Branch::Bool(_), secret::NEWTYPE) => {
                Err(de::Error::custom("expected a text (put the secret in quotes)"))
            }
            _ => visitor.visit_newtype_struct(self),
        }
        .map_err(|error: Error| error.at(&path))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.map(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.map(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let path = self.path.clone();
        match &self.tree.content {
            Branch::Text(text) | Branch::Untyped(text) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            Branch::Map(entries) if entries.len() == 1 => {
                let (key, tree) = &entries[0];
                let value = self.below(tree, self.path.key(key));
                visitor.visit_enum(de::value::MapAccessDeserializer::new(OneEntry {
                    key: Some(key),
                    value,
                }))
            }
            _ => Err(de::Error::custom(format_args!("expected one of {}", variants.join(", ")))),
        }
        .map_err(|error: Error| error.at(&path))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple_struct identifier ignored_any
    }
}

struct Items<'t, 'p> {
    items: std::slice::Iter<'t, Tree>,
    next: usize,
    reader: Reader<'t, 'p>,
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(tree) = self.items.next() else { return Ok(None) };
        let path = self.reader.path.index(self.next);
        self.next += 1;
        seed.deserialize(self.reader.below(tree, path.clone()))
            .map(Some)
            .map_err(|error| error.at(&path))
    }
}

struct Entries<'t, 'p> {
    entries: std::slice::Iter<'t, (String, Tree)>,
    fields: Option<&'static [&'static str]>,
    value: Option<(&'t str, &'t Tree)>,
    reader: Reader<'t, 'p>,
}

impl Entries<'_, '_> {
    fn report_unknown(&self, key: &str, tree: &Tree, fields: &[&str]) {
        let path = self.reader.path.clone();
        let suggestion = did_you_mean(key, fields.iter().copied());
        let message = if suggestion.is_empty() {
            format!("'{key}' is not known; known are {}", fields.join(", "))
        } else {
            format!("'{key}' is not known{suggestion}")
        };
        self.reader.unknown.borrow_mut().push(Problem {
            path,
            message,
            origin: tree.origin.clone(),
        });
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        while let Some((key, tree)) = self.entries.next() {
            if let Some(fields) = self.fields
                && !fields.contains(&key.as_str())
            {
                self.report_unknown(key, tree, fields);
                continue;
            }
            self.value = Some((key, tree));
            return seed.deserialize(key.as_str().into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, tree) = self
            .value
            .take()
            .ok_or_else(|| <Error as de::Error>::custom("a value without a key"))?;
        let path = self.reader.path.key(key);
        seed.deserialize(self.reader.below(tree, path.clone())).map_err(|error| error.at(&path))
    }
}

struct OneEntry<'t, 'p> {
    key: Option<&'t str>,
    value: Reader<'t, 'p>,
}

impl<'de> de::MapAccess<'de> for OneEntry<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.key.take().map(|key| seed.deserialize(key.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.value.below(self.value.tree, self.value.path.clone()))
    }
}

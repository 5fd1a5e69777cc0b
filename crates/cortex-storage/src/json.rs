//! JSON that stays JSON: checked, merged at the top or by RFC 7396, never re-spelled.
//!
//! Values that are not merged keep their text byte for byte, so that 9007199254740993 and 1e400 stay
//! themselves and keys keep their order.

use std::fmt;

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// An object whose values are kept as text, in order. Of a key that comes twice the last value counts.
#[derive(Default)]
struct Object(IndexMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::default();
        while let Some((key, value)) = map.next_entry()? {
            object.0.insert(key, value);
        }
        Ok(object)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("is not JSON: {0}")]
    Syntax(String),
    /// It is JSON, and no object.
    #[error("must be a JSON object")]
    NotObject,
}

/// Checks that `text` is one JSON value.
///
/// # Errors
/// [`JsonError::Syntax`], also beyond 128 levels.
pub fn check_value(text: &str) -> Result<(), JsonError> {
    serde_json::from_str::<&RawValue>(text).map(drop).map_err(syntax)
}

/// Checks that `text` is one JSON object.
///
/// # Errors
/// [`JsonError`].
pub fn check_object(text: &str) -> Result<(), JsonError> {
    check_value(text)?;
    if text.trim_start().starts_with('{') { Ok(()) } else { Err(JsonError::NotObject) }
}

/// Merges the keys of `patch` into `target`, at the top level only; null removes its key.
///
/// # Errors
/// [`JsonError`] when either is not an object.
pub fn merge_shallow(target: &str, patch: &str) -> Result<String, JsonError> {
    let mut object = parse(target)?;
    for (key, value) in parse(patch)?.0 {
        if value.get() == "null" {
            object.0.shift_remove(&key);
        } else {
            object.0.insert(key, value);
        }
    }
    write(&object)
}

/// Applies a JSON merge patch (RFC 7396) to the object `target`.
///
/// # Errors
/// [`JsonError`] when either is not an object.
pub fn merge_patch(target: &str, patch: &str) -> Result<String, JsonError> {
    let mut object = parse(target)?;
    for (key, value) in parse(patch)?.0 {
        if value.get() == "null" {
            object.0.shift_remove(&key);
            continue;
        }
        let merged = if value.get().starts_with('{') {
            let old = object.0.get(&key).map(|raw| raw.get()).filter(|raw| raw.starts_with('{'));
            let text = merge_patch(old.unwrap_or("{}"), value.get())?;
            RawValue::from_string(text).map_err(syntax)?
        } else {
            value
        };
        object.0.insert(key, merged);
    }
    write(&object)
}

fn parse(text: &str) -> Result<Object, JsonError> {
    check_object(text)?;
    serde_json::from_str(text).map_err(syntax)
}

fn write(object: &Object) -> Result<String, JsonError> {
    serde_json::to_string(object).map_err(syntax)
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn syntax(error: serde_json::Error) -> JsonError {
    JsonError::Syntax(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_order_survive_a_patch() {
        let target = r#"{"z":9007199254740993,"a":{"x":1e400,"y":2.0},"k":6}"#;
        let merged = merge_patch(target, r#"{"a":{"y":null,"n":0.10},"b":[1,2]}"#);
        assert_eq!(
            merged.as_deref(),
            Ok(r#"{"z":9007199254740993,"a":{"x":1e400,"n":0.10},"k":6,"b":[1,2]}"#)
        );
    }

    /// The examples of RFC 7396, appendix A, whose target and patch are objects.
    #[test]
    fn the_examples_of_the_rfc() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge_patch(target, patch).as_deref(), Ok(result), "{target} + {patch}");
        }
    }

    #[test]
    fn a_shallow_merge_replaces_whole_values() {
        let merged = merge_shallow(r#"{"a":{"x":1},"b":2}"#, r#"{"a":{"y":2},"b":null}"#);
        assert_eq!(merged.as_deref(), Ok(r#"{"a":{"y":2}}"#));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(matches!(check_object("[1]"), Err(JsonError::NotObject)));
        assert!(matches!(check_object("{"), Err(JsonError::Syntax(_))));
        assert!(matches!(check_object(r#"{"a":1} x"#), Err(JsonError::Syntax(_))));
    }
}

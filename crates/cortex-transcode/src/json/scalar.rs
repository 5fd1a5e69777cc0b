//! One JSON scalar, and the protobuf value that it stands for.

use std::{borrow::Cow, fmt};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::Value;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::schema::{Element, EnumPlan, Schema};

/// What a JSON value is; objects and arrays are skipped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'de> {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Text(Cow<'de, str>),
    Array,
    Object,
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(text) => match text.char_indices().nth(SHOWN) {
                Some((end, _)) => write!(f, "{:?}…", &text[..end]),
                None => write!(f, "{text:?}"),
            },
            Self::Array => f.write_str("an array"),
            Self::Object => f.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Unsigned(value), Scalar::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}

/// The value of `element` that `scalar` stands for, or what would have been right. Messages and
/// verbatim JSON are not scalars.
pub(crate) fn convert(
    schema: &Schema,
    element: Element,
    scalar: &Scalar<'_>,
) -> Result<Value, String> {
    let wrong = |expected: &str| format!("expected {expected}, got {scalar}");
    match element {
        Element::Bool => match scalar {
            Scalar::Bool(value) => Ok(Value::Bool(*value)),
            _ => Err(wrong("true or false")),
        },
        Element::I32 => narrow(scalar).map(Value::I32).ok_or_else(|| wrong("a 32-bit integer")),
        Element::U32 => {
            narrow(scalar).map(Value::U32).ok_or_else(|| wrong("an unsigned 32-bit integer"))
        }
        Element::I64 => narrow(scalar).map(Value::I64).ok_or_else(|| wrong("a 64-bit integer")),
        Element::U64 => {
            narrow(scalar).map(Value::U64).ok_or_else(|| wrong("an unsigned 64-bit integer"))
        }
        Element::F64 => float(scalar).map(Value::F64).ok_or_else(|| wrong("a number")),
        Element::F32 => single(scalar).map(Value::F32).ok_or_else(|| wrong("a 32-bit number")),
        Element::String => match scalar {
            Scalar::Text(text) => Ok(Value::String(text.clone().into_owned())),
            _ => Err(wrong("a string")),
        },
        Element::Bytes => bytes(scalar).ok_or_else(|| wrong("bytes in base64")),
        Element::Enum(index) => enum_value(schema.enumeration(index), scalar),
        Element::Json | Element::Message(_) => Err(wrong("an object")),
    }
}

fn enum_value(plan: &EnumPlan, scalar: &Scalar<'_>) -> Result<Value, String> {
    let number = match scalar {
        Scalar::Null if plan.null => Some(0),
        Scalar::Text(name) => plan.number(name),
        Scalar::Int(number) => i32::try_from(*number).ok().filter(|it| plan.short(*it).is_some()),
        _ => None,
    };
    let expected = || format!("expected one of {}, got {scalar}", plan.choices());
    number.map(Value::EnumNumber).ok_or_else(expected)
}

/// The integer that a number or a text stands for, if it fits.
fn narrow<T: TryFrom<i128>>(scalar: &Scalar<'_>) -> Option<T> {
    let wide = match scalar {
        Scalar::Int(value) => i128::from(*value),
        Scalar::Unsigned(value) => i128::from(*value),
        Scalar::Float(value) => whole(*value)?,
        Scalar::Text(text) => match text.parse::<i128>() {
            Ok(value) if !text.starts_with('+') => value,
            _ => whole(number(text)?)?,
        },
        _ => return None,
    };
    T::try_from(wide).ok()
}

/// `1.0` and `1e3` are integers too, while doubles count exactly.
fn whole(value: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i128)
}

fn float(scalar: &Scalar<'_>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a double holds no more")]
    match scalar {
        Scalar::Int(value) => Some(*value as f64),
        Scalar::Unsigned(value) => Some(*value as f64),
        Scalar::Float(value) => Some(*value),
        Scalar::Text(text) => match text.as_ref() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => number(text),
        },
        _ => None,
    }
}

fn single(scalar: &Scalar<'_>) -> Option<f32> {
    let wide = float(scalar)?;
    #[expect(clippy::cast_possible_truncation, reason = "what is too large is refused below")]
    let narrow = wide as f32;
    (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
}

/// A number as JSON spells it: no `inf`, no `1.`, no `+1`, no spaces.
fn number(text: &str) -> Option<f64> {
    let value = serde_json::from_str::<f64>(text).ok()?;
    (!text.contains(|space: char| space.is_whitespace())).then_some(value)
}

/// Standard or URL-safe, padded or not.
fn bytes(scalar: &Scalar<'_>) -> Option<Value> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    let Scalar::Text(text) = scalar else { return None };
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode(text.as_bytes()).ok().map(|bytes| Value::Bytes(bytes.into()))
}

//! Values of statements, before a database's driver takes them.

use cortex_core::{CallId, ClaimantId, ExecutionId, MessageId, TurnId};

/// A value, or a NULL of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::adapters) enum Value {
    /// A whole number, a point in time, or a truth value.
    Int(Option<i64>),
    /// A number with a fraction.
    Real(Option<f64>),
    /// A text.
    Text(Option<String>),
    /// Bytes.
    Blob(Option<Vec<u8>>),
}

impl Value {
    /// The NULL of this value's kind.
    pub(super) fn null(&self) -> Self {
        match self {
            Self::Int(_) => Self::Int(None),
            Self::Real(_) => Self::Real(None),
            Self::Text(_) => Self::Text(None),
            Self::Blob(_) => Self::Blob(None),
        }
    }
}

/// What can be the value of a statement.
pub(super) trait ToValue: Sized {
    /// The value; the NULL of its kind if it is absent.
    fn to_value(value: Option<Self>) -> Value;
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(value: Option<Self>) -> Value {
        T::to_value(value.flatten())
    }
}

macro_rules! to_value {
    ($($kind:ident: $($type:ty),*;)*) => {
        $($(impl ToValue for $type {
            fn to_value(value: Option<Self>) -> Value {
                Value::$kind(value.map(Into::into))
            }
        })*)*
    };
}

to_value! {
    Int: i64, i32, u32, bool;
    Real: f64;
    Text: String, &str;
    Blob: Vec<u8>, &[u8];
}

/// Ids of which a session has many take half of their text.
macro_rules! id_to_value {
    ($($type:ty),*) => {
        $(impl ToValue for &$type {
            fn to_value(value: Option<Self>) -> Value {
                Value::Blob(value.map(<$type>::to_bytes))
            }
        })*
    };
}

id_to_value!(CallId, ClaimantId, ExecutionId, MessageId, TurnId);

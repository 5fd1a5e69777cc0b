//! Values on their way to PostgreSQL and back.
//!
//! PostgreSQL's TEXT takes every character but U+0000. So that both databases take the same strings,
//! U+0000 and U+0001 are stored as U+0001 and a digit; texts keep their order.

use std::borrow::Cow;

use sqlx::{Arguments, postgres::PgArguments};

use crate::adapters::sql::Value;

/// The values as PostgreSQL's driver takes them.
pub(in crate::adapters) fn arguments(
    values: impl Iterator<Item = Value>,
) -> Result<PgArguments, sqlx::Error> {
    let mut args = PgArguments::default();
    for value in values {
        match value {
            Value::Int(value) => args.add(value),
            Value::Real(value) => args.add(value),
            Value::Text(value) => args.add(value.map(escaped)),
            Value::Blob(value) => args.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(args)
}

fn escaped(text: String) -> String {
    if !text.bytes().any(|byte| byte <= 1) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\0' => escaped.push_str("\u{1}0"),
            '\u{1}' => escaped.push_str("\u{1}1"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text that was stored.
pub(in crate::adapters) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1}') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1}' if chars.next() == Some('0') => plain.push('\0'),
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_is_stored_without_nul_and_comes_back(text in "[\u{0}-\u{3}01a-z\u{e4}]{0,12}") {
            let stored = escaped(text.clone());
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(unescaped(&stored), text);
        }

        #[test]
        fn texts_keep_their_order(a in "[\u{0}-\u{3}01a]{0,6}", b in "[\u{0}-\u{3}01a]{0,6}") {
            prop_assert_eq!(escaped(a.clone()).cmp(&escaped(b.clone())), a.cmp(&b));
        }
    }
}

//! Whether a text is JSON, before anything is made of it.

use serde_json::value::RawValue;

/// Why a text is not JSON that we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("not UTF-8 after {valid} bytes")]
    Encoding { valid: usize },
    #[error("{reason} at line {line}, column {column}")]
    Syntax { reason: String, line: usize, column: usize },
    #[error("nested deeper than {limit} levels at line {line}, column {column}")]
    Depth { limit: usize, line: usize, column: usize },
}

impl From<&serde_json::Error> for Malformed {
    fn from(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
        Self::Syntax { reason, line, column }
    }
}

/// The body as text, if it is UTF-8 and nested no deeper than `limit`. Its syntax is the parser's.
pub(crate) fn check_body(body: &[u8], limit: usize) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Malformed::Encoding { valid: error.valid_up_to() })?;
    match too_deep(body, limit) {
        None => Ok(text),
        Some(offset) => {
            let (line, column) = position(body, offset);
            Err(Malformed::Depth { limit, line, column })
        }
    }
}

/// One JSON value, whitespace around it aside; what it is made of is not looked at.
pub(crate) fn check(text: &str) -> Result<&str, Malformed> {
    serde_json::from_str::<&RawValue>(text).map(RawValue::get).map_err(|error| (&error).into())
}

/// Where objects and arrays become nested deeper than `limit`. Brackets in strings do not count.
fn too_deep(text: &[u8], limit: usize) -> Option<usize> {
    // Counting takes next to nothing, and hardly any text has so many.
    if text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= limit {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return Some(offset);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, offset - begin + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        assert_eq!(check_body(br#"{"a":["[[[[\"[["]}"#, 2), Ok(r#"{"a":["[[[[\"[["]}"#));
        let deep = check_body(b"{\n [[1]]}", 2);
        assert_eq!(deep, Err(Malformed::Depth { limit: 2, line: 2, column: 3 }));
    }

    #[test]
    fn numbers_of_any_size_are_json_and_half_a_value_is_not() {
        let text = r#"{"a":6,"b":9007199254740993,"z":1.0,"a2":1e400}"#;
        assert_eq!(check(text), Ok(text));
        let error = check("{\n  \"a\": }").expect_err("a value is missing");
        assert_eq!(error.to_string(), "expected value at line 2, column 8");
        assert!(check("1 2").is_err());
        assert!(check("").is_err());
    }
}

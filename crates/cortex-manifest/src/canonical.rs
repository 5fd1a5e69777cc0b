//! Digests: BLAKE3 over JSON with sorted keys, written `b3_` and 64 hex digits.

use serde_json::{Map, Value};

/// The digest of a JSON value. The order of keys does not matter, that of lists does.
pub fn digest(value: &Value) -> String {
    of_bytes(sorted(value).to_string().as_bytes())
}

/// The digest of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    format!("b3_{}", blake3::hash(bytes).to_hex())
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let (a, b) =
            (json!({"x": 1, "y": {"a": 1, "b": 2}}), json!({"y": {"b": 2, "a": 1}, "x": 1}));
        assert_eq!(digest(&a), digest(&b));
        assert_ne!(digest(&json!([1, 2])), digest(&json!([2, 1])));
        assert_eq!(digest(&a).len(), 67);
    }
}

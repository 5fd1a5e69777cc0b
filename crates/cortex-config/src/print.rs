//! A configuration as YAML, values with comments that say who gave them.

use serde_json::Value;

use crate::{path::KeyPath, problem::Origin, tree::Tree, yaml};

/// `value` as YAML. With `origins`, a comment behind each value that is not a default.
pub(crate) fn yaml(value: &Value, origins: Option<&Tree>) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                entry(&mut out, key, value, &KeyPath::root().key(key), 0, origins);
            }
        }
        other => out.push_str(&yaml::to_text(other)),
    }
    out
}

fn entry(
    out: &mut String,
    key: &str,
    value: &Value,
    path: &KeyPath,
    depth: usize,
    origins: Option<&Tree>,
) {
    let indent = "  ".repeat(depth);
    let key = scalar(&Value::String(key.to_owned()));
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push_str(&format!("{indent}{key}:\n"));
            for (name, value) in map {
                entry(out, name, value, &path.key(name), depth + 1, origins);
            }
        }
        other => {
            let comment = origins.map(|tree| comment(tree, path)).unwrap_or_default();
            out.push_str(&format!("{indent}{key}: {}{comment}\n", flow(other)));
        }
    }
}

fn comment(tree: &Tree, path: &KeyPath) -> String {
    match &tree.nearest(path.steps()).origin {
        Origin::Default => String::new(),
        origin => format!("  # {origin}"),
    }
}

/// A value on one line. Lists and what is in them are written as JSON, which is YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => value.to_string(),
        other => scalar(other),
    }
}

/// A scalar on one line: plain where YAML reads it back as the same, else as JSON.
fn scalar(value: &Value) -> String {
    let plain = match value {
        Value::String(text) => text.as_str(),
        Value::Null => return "null".to_owned(),
        other => return other.to_string(),
    };
    let safe = |c: char| c.is_alphanumeric() || "_-./:@+[]".contains(c);
    // Other readers of YAML take these for booleans.
    let ambiguous = ["yes", "no", "on", "off", "y", "n"].contains(&plain.to_lowercase().as_str());
    let reads_back = plain.chars().all(safe)
        && !ambiguous
        && !plain.starts_with(['[', ']', '-', ':', '@'])
        && matches!(yaml::parse(&format!("k: {plain}")).map(|node| node.to_json()),
            Ok(Value::Object(map)) if map.get("k") == Some(value));
    if reads_back { plain.to_owned() } else { value.to_string() }
}

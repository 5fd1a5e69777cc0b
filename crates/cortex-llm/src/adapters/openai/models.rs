//! The list of a server's models.

use serde::Deserialize;

use super::protocol;
use crate::{failure::Failure, ports::ModelInfo};

#[derive(Deserialize)]
struct List {
    data: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    /// Groq's name.
    context_window: Option<u64>,
    /// OpenRouter's name.
    context_length: Option<u64>,
    /// vLLM's name.
    max_model_len: Option<u64>,
}

/// Models of one provider that are read.
const MAX_MODELS: usize = 10_000;

/// Reads the answer to `GET /models`.
///
/// # Errors
/// When it is no list.
pub(super) fn parse(body: &[u8]) -> Result<Vec<ModelInfo>, Failure> {
    let list: List = serde_json::from_slice(body)
        .map_err(|error| protocol(format!("the list of models is not readable: {error}")))?;
    let entries = list.data.unwrap_or_default().into_iter().take(MAX_MODELS);
    let model = |entry: Entry| ModelInfo {
        context_tokens: entry
            .context_window
            .or(entry.context_length)
            .or(entry.max_model_len)
            .unwrap_or(0),
        id: entry.id,
    };
    Ok(entries.map(model).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_several_servers_are_read() {
        let body = br#"{"object":"list","data":[{"id":"a","context_window":8192,"x":1},
            {"id":"b","max_model_len":4096},{"id":"c","context_length":2048},{"id":"d"}]}"#;
        let models = parse(body).expect("a list");
        let read: Vec<(&str, u64)> =
            models.iter().map(|m| (m.id.as_str(), m.context_tokens)).collect();
        assert_eq!(read, [("a", 8192), ("b", 4096), ("c", 2048), ("d", 0)]);
        assert_eq!(parse(br#"{"data":null}"#), Ok(Vec::new()), "an empty Ollama");
        assert!(parse(b"<html>").is_err());
    }
}

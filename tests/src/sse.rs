//! Server-sent events, as a client reads them (WHATWG HTML, 9.2.6).

use serde_json::Value;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Its `id:`. 0 when it has none.
    pub id: i64,
    /// Its `event:`.
    pub event: String,
    /// Its `data:`.
    pub data: Value,
}

/// The events of a stream's text. A last one that was cut off before its blank line is left out, as
/// a browser does.
///
/// # Panics
/// When the data of an event is not JSON.
pub fn frames(text: &str) -> Vec<Frame> {
    let whole = match text.rfind("\n\n") {
        Some(end) => &text[..end],
        None => return Vec::new(),
    };
    whole.split("\n\n").filter_map(frame).collect()
}

fn frame(block: &str) -> Option<Frame> {
    let mut frame = Frame { id: 0, event: String::new(), data: Value::Null };
    let mut data = String::new();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => frame.id = id.parse().expect("an id is a sequence"),
            Some(("event", event)) => frame.event = event.to_owned(),
            Some(("data", piece)) => data.push_str(piece),
            _ => {}
        }
    }
    if data.is_empty() {
        return None;
    }
    frame.data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
    Some(frame)
}

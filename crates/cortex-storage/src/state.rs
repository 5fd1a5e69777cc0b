//! The state of a session: one JSON object that its agent and its clients share.

use crate::{
    error::{Result, StorageError},
    json,
    time::Stamp,
};

/// A change of a session's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// The whole new state: a JSON object.
    Replace(String),
    /// A JSON merge patch (RFC 7396).
    Merge(String),
}

/// The state of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// A JSON object.
    pub data: String,
    /// How often it changed.
    pub version: i64,
    /// When it last changed; absent when it never did.
    pub updated_at: Option<Stamp>,
}

impl Default for State {
    fn default() -> Self {
        Self { data: "{}".to_owned(), version: 0, updated_at: None }
    }
}

impl State {
    /// Changes with every change of the state.
    pub fn etag(&self) -> String {
        self.version.to_string()
    }

    /// The state after `change`, if that has at most `limit` bytes.
    ///
    /// # Errors
    /// `Invalid` when the change is no JSON object, `TooLarge`.
    pub(crate) fn apply(&self, change: &StateChange, limit: u64, now: Stamp) -> Result<Self> {
        let data = match change {
            StateChange::Replace(data) => json::check_object(data).map(|()| data.clone()),
            StateChange::Merge(patch) => json::merge_patch(&self.data, patch),
        };
        let data = data.map_err(|error| StorageError::invalid("state", error.to_string()))?;
        let bytes = data.len() as u64;
        if bytes > limit {
            return Err(StorageError::TooLarge { field: "state", bytes, limit });
        }
        Ok(Self { data, version: self.version + 1, updated_at: Some(now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_has_a_new_etag_and_a_limit() -> Result<()> {
        let now = Stamp::from_micros(7);
        let patch = StateChange::Merge(r#"{"a":1}"#.to_owned());
        let state = State::default().apply(&patch, 100, now)?;
        assert_eq!((state.data.as_str(), state.etag().as_str()), (r#"{"a":1}"#, "1"));
        assert!(matches!(
            state.apply(&patch, 3, now),
            Err(StorageError::TooLarge { bytes: 7, .. })
        ));
        Ok(())
    }
}

//! Repeated requests: the same id is the same request, and answers what it answered first.

use serde::{Deserialize, Serialize};

use super::Sequence;
use crate::{error::StorageError, time::Stamp};

/// Which method a request id belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// SubmitCommand.
    Submit,
    /// AppendEvents.
    Append,
    /// AddMessage.
    AddMessage,
    /// CreateSession.
    CreateSession,
    /// RecordMetric.
    RecordMetric,
    /// BatchRecordMetrics.
    BatchRecordMetrics,
    /// CreateArtifact.
    CreateArtifact,
    /// UploadArtifact.
    UploadArtifact,
    /// ForkJournal.
    ForkJournal,
    /// ImportJournal.
    ImportJournal,
}

/// A request id as its caller gave it: 1 to 128 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// Characters at most.
    pub const MAX_CHARS: usize = 128;

    /// Reads a request id; an empty one is none.
    ///
    /// # Errors
    /// [`StorageError::Invalid`] when it is too long.
    pub fn parse(text: String) -> Result<Option<Self>, StorageError> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.chars().count() > Self::MAX_CHARS {
            let problem = format!("must have at most {} characters", Self::MAX_CHARS);
            return Err(StorageError::invalid("request_id", problem));
        }
        Ok(Some(Self(text)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is stored under, inside its session or tenant.
    pub fn key(&self, method: Method) -> RequestKey {
        self.key_within(method, "")
    }

    /// What it is stored under when it is unique within `scope` alone.
    pub fn key_within(&self, method: Method, scope: &str) -> RequestKey {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[method as u8]);
        hasher.update(self.0.as_bytes());
        if !scope.is_empty() {
            hasher.update(&[0]).update(scope.as_bytes());
        }
        RequestKey(first_half(&hasher.finalize()))
    }
}

/// What a request id is stored under: half of a BLAKE3 hash of method and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey(pub [u8; 16]);

/// What makes a repeated append the same append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendKey {
    /// An id that storage remembers as long as the session exists.
    Request(RequestId),
    /// Which append under its grant it is, from 1. Storage remembers the last one.
    Number(i64),
}

/// The last numbered append under a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAppend {
    /// Its number.
    pub number: i64,
    /// What it asked for.
    pub fingerprint: Fingerprint,
    /// The sequence of its first event; 0 without events.
    pub first: Sequence,
    /// The sequence of its last event; 0 without events.
    pub last: Sequence,
    /// When it was committed, in microseconds since 1970.
    pub at: i64,
}

/// What a request asked for, as half of a BLAKE3 hash: two requests with one id must have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// The fingerprint of an encoded request.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&blake3::hash(bytes))
    }

    /// The fingerprint of what was hashed.
    pub fn from_hash(hash: &blake3::Hash) -> Self {
        Self(first_half(hash))
    }
}

fn first_half(hash: &blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

/// What a request answered the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it asked for.
    pub fingerprint: Fingerprint,
    /// The first sequence, or the position of a message.
    pub first: Sequence,
    /// The last sequence.
    pub last: Sequence,
    /// When it was committed.
    pub at: Stamp,
    /// The open turn, or the message's id.
    pub note: Option<String>,
}

impl Known {
    /// Checks that a repeated request asks for the same.
    ///
    /// # Errors
    /// [`StorageError::RequestIdReused`].
    pub(crate) fn check(&self, id: &RequestId, given: Fingerprint) -> Result<(), StorageError> {
        if self.fingerprint == given {
            return Ok(());
        }
        Err(StorageError::RequestIdReused { request_id: id.as_str().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_id_of_two_methods_has_two_keys() -> Result<(), StorageError> {
        let id = RequestId::parse("a".to_owned())?.ok_or(StorageError::Closed)?;
        assert_ne!(id.key(Method::Submit), id.key(Method::Append));
        assert!(RequestId::parse("x".repeat(129)).is_err());
        assert_eq!(RequestId::parse(String::new()), Ok(None));
        Ok(())
    }
}

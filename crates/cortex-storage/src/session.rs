//! Sessions as stored: who talks with which agent.

use cortex_core::{PageSize, SessionId};

use crate::{
    journal::{Fingerprint, RequestId},
    time::Stamp,
};

/// Whether a session takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionStatus {
    /// Takes messages.
    Active,
    /// Takes messages again once it is active.
    Paused,
    /// Takes no messages any more.
    Ended,
}

impl SessionStatus {
    /// The number under which it is stored.
    pub fn number(self) -> i64 {
        match self {
            Self::Active => 1,
            Self::Paused => 2,
            Self::Ended => 3,
        }
    }

    /// The status stored as `number`.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Ended]
            .into_iter()
            .find(|status| status.number() == number)
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// The agent's manifest name.
    pub agent_name: String,
    /// Who talks; may be empty.
    pub user_id: String,
    /// When it was created.
    pub created_at: Stamp,
    /// When it last changed.
    pub updated_at: Stamp,
    /// Whether it takes messages.
    pub status: SessionStatus,
    /// What its creator attached: a JSON object.
    pub metadata: String,
    /// How many messages its history has.
    pub message_count: i64,
    /// The last sequence of its journal.
    pub head: i64,
    /// The digest of the manifest closure that it runs with; may be empty.
    pub manifest_digest: String,
}

/// A session to create.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The agent's manifest name.
    pub agent_name: String,
    /// Who talks; may be empty.
    pub user_id: String,
    /// A JSON object.
    pub metadata: String,
    /// The state that it starts with: a JSON object.
    pub initial_state: Option<String>,
    /// The digest of the manifest closure; may be empty.
    pub manifest_digest: String,
    /// Makes a repeated call the same session.
    pub request_id: Option<RequestId>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
}

#[cfg(test)]
impl NewSession {
    /// A session of nothing but an agent.
    pub(crate) fn plain() -> Self {
        Self {
            agent_name: "assistant".into(),
            user_id: String::new(),
            metadata: "{}".into(),
            initial_state: None,
            manifest_digest: String::new(),
            request_id: None,
            fingerprint: Fingerprint::default(),
        }
    }
}

/// What else than the status changes about a session.
#[derive(Debug, Clone)]
pub struct SessionPatch {
    /// The session.
    pub session_id: SessionId,
    /// Keys to merge into the metadata at its top level: a JSON object.
    pub metadata: Option<String>,
    /// The new digest of the manifest closure.
    pub manifest_digest: Option<String>,
    /// Bytes that the metadata may have afterwards.
    pub max_metadata: u64,
}

/// Which sessions to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct SessionQuery {
    /// Only with this agent.
    pub agent_name: Option<String>,
    /// Only of this user.
    pub user_id: Option<String>,
    /// Only with this status.
    pub status: Option<SessionStatus>,
    /// Sessions at most.
    pub page_size: PageSize,
    /// Only sessions older than the one with this number.
    pub before: Option<i64>,
    /// Sessions to skip.
    pub offset: u32,
}

//! Sessions that were read lately, so that to read one again asks SQLite's thread for nothing.
//!
//! Only for a database that nobody else writes. A commit takes what it may change out before it begins,
//! and nothing that was read while a commit began or ended is kept, nor what one is changing right now:
//! so a session that is here is what is stored, and nobody sees it as it was before something that he
//! has seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cortex_core::SessionId;

use super::{cache::Recent, maps::HashSet};
use crate::{error::Result, journal::SessionNo, session::Session, tenant::Tenant};

/// Sessions that are kept, at most twice.
const SESSIONS: usize = 1024;
/// A session with more metadata is not kept: all of them together are to take a few megabytes.
const MAX_METADATA: usize = 4096;

/// Sessions that were read lately.
#[derive(Debug)]
pub(super) struct Lately(Mutex<Shelf>);

#[derive(Debug)]
struct Shelf {
    numbers: Recent<(Tenant, SessionId), SessionNo>,
    sessions: Recent<SessionNo, Arc<Session>>,
    /// What the commit that is under way may change.
    changing: HashSet<SessionNo>,
    /// Commits that began and that ended.
    moves: u64,
}

impl Default for Lately {
    fn default() -> Self {
        Self(Mutex::new(Shelf {
            numbers: Recent::new(SESSIONS),
            sessions: Recent::new(SESSIONS),
            changing: HashSet::default(),
            moves: 0,
        }))
    }
}

/// Nothing of what a commit may change is kept as long as this lives.
#[derive(Debug)]
pub(super) struct Changing(Arc<Lately>);

impl Drop for Changing {
    fn drop(&mut self) {
        let mut shelf = self.0.lock();
        shelf.changing.clear();
        shelf.moves += 1;
    }
}

impl Lately {
    /// The session, from here or else by `read`, which answers its number too.
    pub(super) async fn session(
        &self,
        tenant: &Tenant,
        id: &SessionId,
        read: impl Future<Output = Result<(SessionNo, Session)>>,
    ) -> Result<Session> {
        let moves = match self.lock().find(tenant, id) {
            Ok(session) => return Ok(Session::clone(&session)),
            Err(moves) => moves,
        };
        let (number, session) = read.await?;
        if session.metadata.len() <= MAX_METADATA {
            self.lock().keep((tenant, id), (number, &session), moves);
        }
        Ok(session)
    }

    /// Takes out what a commit may change, before it begins. There is one commit at a time.
    pub(super) fn change(
        self: &Arc<Self>,
        sessions: impl IntoIterator<Item = SessionNo>,
    ) -> Changing {
        let mut shelf = self.lock();
        for session in sessions {
            shelf.sessions.take(&session);
            shelf.changing.insert(session);
        }
        shelf.moves += 1;
        drop(shelf);
        Changing(Arc::clone(self))
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// The session, or how many commits have moved until now.
    fn find(&mut self, tenant: &Tenant, id: &SessionId) -> std::result::Result<Arc<Session>, u64> {
        let key = (tenant.clone(), id.clone());
        let Some(number) = self.numbers.take(&key) else { return Err(self.moves) };
        self.numbers.insert(key, number);
        let session = self.sessions.take(&number).ok_or(self.moves)?;
        self.sessions.insert(number, Arc::clone(&session));
        Ok(session)
    }

    /// Keeps what was read when so many commits had moved, unless that may be out of date.
    fn keep(
        &mut self,
        (tenant, id): (&Tenant, &SessionId),
        (number, session): (SessionNo, &Session),
        moves: u64,
    ) {
        if self.moves == moves && !self.changing.contains(&number) {
            self.numbers.insert((tenant.clone(), id.clone()), number);
            self.sessions.insert(number, Arc::new(session.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::StorageError, session::SessionStatus, time::Stamp};

    const NUMBER: SessionNo = SessionNo(7);

    fn session(id: &SessionId, head: i64) -> Session {
        Session {
            session_id: id.clone(),
            agent_name: "agent".to_owned(),
            user_id: String::new(),
            created_at: Stamp::default(),
            updated_at: Stamp::default(),
            status: SessionStatus::Active,
            metadata: "{}".to_owned(),
            message_count: 0,
            head,
            manifest_digest: String::new(),
        }
    }

    /// What the reader is answered, when the database has a head of `stored`.
    async fn head(lately: &Lately, id: &SessionId, stored: i64) -> i64 {
        let read = async { Ok((NUMBER, session(id, stored))) };
        lately.session(&Tenant::default(), id, read).await.unwrap().head
    }

    #[tokio::test]
    async fn a_session_is_read_again_once_it_was_written() {
        let (lately, id) = (Arc::new(Lately::default()), SessionId::generate());
        assert_eq!(head(&lately, &id, 1).await, 1);
        assert_eq!(head(&lately, &id, 2).await, 1, "it is remembered");
        drop(lately.change([SessionNo(8)]));
        assert_eq!(head(&lately, &id, 2).await, 1, "another one was written");
        drop(lately.change([NUMBER]));
        assert_eq!(head(&lately, &id, 2).await, 2);
    }

    #[tokio::test]
    async fn what_a_commit_is_changing_is_not_kept() {
        let (lately, id) = (Arc::new(Lately::default()), SessionId::generate());
        let changing = lately.change([NUMBER]);
        assert_eq!(head(&lately, &id, 1).await, 1);
        assert_eq!(head(&lately, &id, 2).await, 2, "nothing is kept during the commit");
        drop(changing);
        assert_eq!(head(&lately, &id, 3).await, 3);
        assert_eq!(head(&lately, &id, 4).await, 3);
    }

    #[tokio::test]
    async fn what_was_read_across_a_commit_is_not_kept() {
        let (lately, id) = (Arc::new(Lately::default()), SessionId::generate());
        let mut changing = None;
        let begins = async {
            changing = Some(lately.change([NUMBER]));
            Ok((NUMBER, session(&id, 1)))
        };
        lately.session(&Tenant::default(), &id, begins).await.unwrap();
        let ends = async {
            changing = None;
            Ok((NUMBER, session(&id, 1)))
        };
        lately.session(&Tenant::default(), &id, ends).await.unwrap();
        assert_eq!(head(&lately, &id, 2).await, 2);
    }

    #[tokio::test]
    async fn a_tenant_does_not_see_what_another_has_read() {
        let (lately, id) = (Arc::new(Lately::default()), SessionId::generate());
        head(&lately, &id, 1).await;
        let missing = async { Err(StorageError::SessionNotFound { session_id: id.to_string() }) };
        assert!(lately.session(&Tenant::new("other"), &id, missing).await.is_err());
    }
}

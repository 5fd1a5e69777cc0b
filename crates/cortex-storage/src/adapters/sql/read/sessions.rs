//! Sessions and their state.

use cortex_core::SessionId;
use futures::FutureExt;

use super::{Reader, TENANT, contents::until_whole};
use crate::{
    adapters::sql::{
        query::Query,
        rows::{self, SESSION},
        stored::{Stored, Wanted},
    },
    error::{Result, StorageError},
    journal::SessionNo,
    ports::Page,
    session::{Session, SessionQuery, SessionStatus},
    state::State,
    tenant::Tenant,
    time::Stamp,
};

const TABLES: &str = "sessions s CROSS JOIN heads h ON h.session = s.session";

impl Reader {
    /// One session.
    pub(in super::super) async fn session(
        &self,
        tenant: &Tenant,
        id: &SessionId,
    ) -> Result<Session> {
        let read = self.read_session(tenant, id);
        match &self.lately {
            Some(lately) => lately.session(tenant, id, read).await,
            None => Ok(read.await?.1),
        }
    }

    async fn read_session(&self, tenant: &Tenant, id: &SessionId) -> Result<(SessionNo, Session)> {
        let row = Query::new(format!(
            "SELECT {SESSION} FROM {TABLES} WHERE s.tenant = {TENANT} AND s.session_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str().to_owned())?
        .first(&self.pool)
        .await?;
        let row = row.ok_or_else(|| not_found(id))?;
        let (number, session) = rows::session(&row)?;
        Ok((SessionNo(number), session))
    }

    /// A page of sessions, newest first.
    pub(in super::super) async fn sessions(
        &self,
        tenant: &Tenant,
        query: SessionQuery,
    ) -> Result<Page<Session>> {
        let size = query.page_size;
        let query = Query::new(format!("SELECT {SESSION} FROM {TABLES} WHERE s.tenant = {TENANT}"))
            .tenant(tenant)?
            .filter(" AND s.agent_name = ?", query.agent_name)?
            .filter(" AND s.user_id = ?", query.user_id)?
            .filter(" AND s.status = ?", query.status.map(SessionStatus::number))?
            .filter(" AND s.session < ?", query.before)?
            .push(" ORDER BY s.session DESC LIMIT ?")
            .bind(i64::from(size.get()) + 1)?
            .push(" OFFSET ?")
            .bind(query.offset)?;
        self.small_page(query, size, |row| {
            let (number, session) = rows::session(row)?;
            Ok((number.to_string(), session.metadata.len(), session))
        })
        .await
    }

    /// The state, and when the session was created.
    pub(in super::super) async fn state(
        &self,
        tenant: &Tenant,
        id: &SessionId,
    ) -> Result<(State, Stamp)> {
        until_whole(|| self.try_state(tenant, id).boxed()).await
    }

    /// Nothing if a content is missing.
    async fn try_state(&self, tenant: &Tenant, id: &SessionId) -> Result<Option<(State, Stamp)>> {
        let row = Query::new(format!(
            "SELECT s.created_at, t.data, t.version, t.updated_at, t.tenant, t.pieces \
             FROM sessions s LEFT JOIN states t ON t.session = s.session \
             WHERE s.tenant = {TENANT} AND s.session_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str().to_owned())?
        .first(&self.pool)
        .await?;
        let row = row.ok_or_else(|| not_found(id))?;
        let created_at = Stamp::from_micros(row.try_get(0)?);
        let Some(data) = row.try_get::<Option<String>>(1)? else {
            return Ok(Some((State::default(), created_at)));
        };
        let updated_at: Option<i64> = row.try_get(3)?;
        let updated_at = updated_at.map(Stamp::from_micros);
        let state = State { data, version: row.try_get(2)?, updated_at };
        let stored = Stored { row: state, cuts: rows::cuts(&row, 4, 5)? };
        let contents = self.contents(Wanted::of([&stored])).await?;
        Ok(stored.whole(&contents).map(|state| (state, created_at)))
    }
}

fn not_found(id: &SessionId) -> StorageError {
    StorageError::SessionNotFound { session_id: id.to_string() }
}

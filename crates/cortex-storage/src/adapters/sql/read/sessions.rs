//! Sessions, their history and their state.

use cortex_core::{MessageId, SessionId};

use super::{Reader, TENANT};
use crate::{
    adapters::sql::{
        query::Query,
        rows::{self, LAST_POSITION, MESSAGE, SESSION, clustered},
    },
    error::{Result, StorageError},
    history::{Message, MessageQuery, Role},
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
        let row = Query::new(format!(
            "SELECT {SESSION} FROM {TABLES} WHERE s.tenant = {TENANT} AND s.session_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str().to_owned())?
        .first(&self.pool)
        .await?;
        let row = row.ok_or_else(|| not_found(id))?;
        Ok(rows::session(&row)?.1)
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

    /// A page of messages, oldest first.
    pub(in super::super) async fn messages(
        &self,
        tenant: &Tenant,
        query: MessageQuery,
    ) -> Result<Page<Message>> {
        let head = self.head(tenant, &query.session_id).await?;
        let (mut after, mut until) = (head.history_floor, LAST_POSITION);
        match query.from {
            Some(from) if query.latest => until = from - 1,
            Some(from) => after = from.max(after),
            None => {}
        }
        let direction = if query.latest { "DESC" } else { "ASC" };
        let sql = Query::new(format!(
            "SELECT {MESSAGE} FROM messages m CROSS JOIN sessions s ON s.session = m.session \
             WHERE m.message > ? AND m.message <= ?"
        ))
        .bind(clustered(head.session, after.clamp(0, LAST_POSITION)))?
        .bind(clustered(head.session, until.clamp(0, LAST_POSITION)))?
        .filter(" AND m.role = ?", query.role.map(Role::number))?
        .push(&format!(" ORDER BY m.message {direction} LIMIT ?"))
        .bind(i64::from(query.page_size.get()) + 1)?
        .push(" OFFSET ?")
        .bind(query.offset)?;
        let page = self.small_page(sql, query.page_size, |row| {
            let message = rows::message(row)?;
            Ok((message.position.to_string(), message.size(), message))
        });
        let mut page = page.await?;
        if query.latest {
            page.items.reverse();
        }
        Ok(page)
    }

    /// One message.
    pub(in super::super) async fn message(
        &self,
        tenant: &Tenant,
        session: &SessionId,
        id: &MessageId,
    ) -> Result<Message> {
        let head = self.head(tenant, session).await?;
        let row = Query::new(format!(
            "SELECT {MESSAGE} FROM messages m CROSS JOIN sessions s ON s.session = m.session \
             WHERE m.session = ? AND m.message_id = ? AND m.message > ?"
        ))
        .bind(head.session.0)?
        .bind(id.as_str().to_owned())?
        .bind(clustered(head.session, head.history_floor))?
        .first(&self.pool)
        .await?;
        let row = row.ok_or_else(|| StorageError::MessageNotFound {
            session_id: session.to_string(),
            message_id: id.to_string(),
        })?;
        rows::message(&row)
    }

    /// The state, and when the session was created.
    pub(in super::super) async fn state(
        &self,
        tenant: &Tenant,
        id: &SessionId,
    ) -> Result<(State, Stamp)> {
        let row = Query::new(format!(
            "SELECT s.created_at, t.data, t.version, t.updated_at \
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
            return Ok((State::default(), created_at));
        };
        let updated_at: Option<i64> = row.try_get(3)?;
        let updated_at = updated_at.map(Stamp::from_micros);
        Ok((State { data, version: row.try_get(2)?, updated_at }, created_at))
    }
}

fn not_found(id: &SessionId) -> StorageError {
    StorageError::SessionNotFound { session_id: id.to_string() }
}

//! Messages, with their texts.

use cortex_core::{MessageId, SessionId};
use futures::FutureExt;

use super::{Reader, contents::until_whole, texts::texts};
use crate::{
    adapters::sql::{
        query::Query,
        rows::{self, LAST_POSITION, MESSAGE, clustered},
        stored::{CutMessage, Stored, Wanted},
    },
    entry_text::EntryText,
    error::{Result, StorageError},
    history::{Message, MessageQuery, Role},
    journal::{SessionHead, SessionNo},
    ports::Page,
    tenant::Tenant,
};

const TABLES: &str = "messages m CROSS JOIN sessions s ON s.session = m.session";

impl Reader {
    /// A page of messages, oldest first, cut when it has enough bytes.
    pub(in super::super) async fn messages(
        &self,
        tenant: &Tenant,
        query: MessageQuery,
    ) -> Result<Page<Message>> {
        let head = self.head(tenant, &query.session_id).await?;
        let mut page = until_whole(|| self.try_messages(&head, &query).boxed()).await?;
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
        let found = until_whole(|| self.try_message(&head, id).boxed()).await?;
        found.into_iter().next().ok_or_else(|| StorageError::MessageNotFound {
            session_id: session.to_string(),
            message_id: id.to_string(),
        })
    }

    async fn try_message(
        &self,
        head: &SessionHead,
        id: &MessageId,
    ) -> Result<Option<Vec<Message>>> {
        let row = Query::new(format!(
            "SELECT {MESSAGE} FROM {TABLES} \
             WHERE m.session = ? AND m.message_id = ? AND m.message > ?"
        ))
        .bind(head.session.0)?
        .bind(id)?
        .bind(clustered(head.session, head.history_floor))?
        .first(&self.pool)
        .await?;
        let found = row.iter().map(rows::message).collect::<Result<_>>()?;
        self.with_texts(head.session, found).await
    }

    /// The messages of a page in the direction of the query. Nothing if a content is missing.
    async fn try_messages(
        &self,
        head: &SessionHead,
        query: &MessageQuery,
    ) -> Result<Option<Page<Message>>> {
        let Page { items, next } = self.stored_messages(head, query).await?;
        let items = self.with_texts(head.session, items).await?;
        Ok(items.map(|items| Page { items, next }))
    }

    async fn stored_messages(
        &self,
        head: &SessionHead,
        query: &MessageQuery,
    ) -> Result<Page<Stored<CutMessage>>> {
        let (mut after, mut until) = (head.history_floor, LAST_POSITION);
        match query.from {
            Some(from) if query.latest => until = from - 1,
            Some(from) => after = from.max(after),
            None => {}
        }
        let direction = if query.latest { "DESC" } else { "ASC" };
        let sql = Query::new(format!(
            "SELECT {MESSAGE} FROM {TABLES} WHERE m.message > ? AND m.message <= ?"
        ))
        .bind(clustered(head.session, after.clamp(0, LAST_POSITION)))?
        .bind(clustered(head.session, until.clamp(0, LAST_POSITION)))?
        .filter(" AND m.role = ?", query.role.map(Role::number))?
        .push(&format!(" ORDER BY m.message {direction} LIMIT ?"))
        .bind(i64::from(query.page_size.get()) + 1)?
        .push(" OFFSET ?")
        .bind(query.offset)?;
        self.small_page(sql, query.page_size, |row| {
            let message = rows::message(row)?;
            Ok((message.row.message.position.to_string(), message.size(), message))
        })
        .await
    }

    /// Puts back what was cut out of messages, and finds the texts that stand in entries. Nothing if a
    /// content or a text is missing.
    async fn with_texts(
        &self,
        session: SessionNo,
        found: Vec<Stored<CutMessage>>,
    ) -> Result<Option<Vec<Message>>> {
        let places: Vec<&EntryText> =
            found.iter().filter_map(|stored| stored.row.place.as_ref()).collect();
        let pieces = self.text_pieces(session, &places).await?;
        let contents = self.contents(Wanted::of(&found).and(Wanted::of(&pieces))).await?;
        let pieces: Option<Vec<_>> =
            pieces.into_iter().map(|stored| stored.whole(&contents)).collect();
        let Some(pieces) = pieces else { return Ok(None) };
        let mut texts = texts(&places, pieces).into_iter();
        let mut messages = Vec::with_capacity(found.len());
        for stored in found {
            let Some(cut) = stored.whole(&contents) else { return Ok(None) };
            let text = cut.place.as_ref().and_then(|_| texts.next());
            let expected = cut.place.as_ref().map(|place| place.bytes);
            // The session may be gone meanwhile, and its entries cleared away.
            if text.as_ref().map(|text| text.len() as u64) != expected {
                return Ok(None);
            }
            messages.push(cut.finish(text)?);
        }
        Ok(Some(messages))
    }
}

//! Heads, entries and what is runnable.

use std::collections::HashMap;

use cortex_core::{HolderId, PageSize, SessionId};
use futures::{FutureExt, TryStreamExt};

use super::{Reader, TENANT, contents::until_whole, log::log_parts};
use crate::{
    adapters::sql::{
        database::Target,
        error::damaged,
        query::Query,
        row::Row,
        rows::{self, ENTRY, ENTRY_TABLES, EXECUTION, HEAD, HEAD_TABLES, LAST_POSITION, clustered},
        stored::Stored,
        writer::standing,
    },
    error::{Result, StorageError},
    journal::{Entry, Sequence, SessionHead, SessionNo},
    ports::{EntryPage, EntryQuery, HeldSession, JournalView, Page, Runnable, Standing},
    tenant::{Scope, Tenant},
    time::Stamp,
};

/// Sessions of one list in a statement.
const LISTED: usize = 1000;

impl Reader {
    /// The head of a session.
    pub(in super::super) async fn head(
        &self,
        tenant: &Tenant,
        id: &SessionId,
    ) -> Result<SessionHead> {
        let row = Query::new(format!(
            "SELECT {HEAD} FROM {HEAD_TABLES} WHERE s.tenant = {TENANT} AND s.session_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str().to_owned())?
        .first(&self.pool)
        .await?;
        let row =
            row.ok_or_else(|| StorageError::SessionNotFound { session_id: id.to_string() })?;
        Ok(rows::head(&row)?.head)
    }

    /// The head and the open executions, on one snapshot.
    pub(in super::super) async fn journal(
        &self,
        tenant: &Tenant,
        id: &SessionId,
    ) -> Result<JournalView> {
        let mut snapshot = self.pool.snapshot().await?;
        let row = Query::new(format!(
            "SELECT {HEAD} FROM {HEAD_TABLES} WHERE s.tenant = {TENANT} AND s.session_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str())?
        .first_on(snapshot.target())
        .await?;
        let row =
            row.ok_or_else(|| StorageError::SessionNotFound { session_id: id.to_string() })?;
        let head = rows::head(&row)?.head;
        let found = Query::new(format!(
            "SELECT {EXECUTION} FROM executions x CROSS JOIN sessions s ON s.session = x.session \
             WHERE x.session = ? AND x.settled = 0 ORDER BY x.execution"
        ))
        .bind(head.session.0)?
        .all_on(snapshot.target())
        .await?;
        snapshot.end().await?;
        let open = found.iter().map(|row| Ok(rows::execution(row)?.1)).collect::<Result<_>>()?;
        Ok(JournalView { head, open })
    }

    /// How far a session's log goes.
    pub(in super::super) async fn standing(&self, session: SessionNo) -> Result<Option<Standing>> {
        let row = Query::new(format!("SELECT {HEAD} FROM {HEAD_TABLES} WHERE h.session = ?"))
            .bind(session.0)?
            .first(&self.pool)
            .await?;
        Ok(row.map(|row| rows::head(&row)).transpose()?.map(|owned| standing(&owned.head)))
    }

    /// How far the logs of sessions go. One that is gone is not there.
    pub(in super::super) async fn standings(
        &self,
        sessions: &[SessionNo],
    ) -> Result<HashMap<SessionNo, Standing>> {
        let mut standings = HashMap::with_capacity(sessions.len());
        for chunk in sessions.chunks(LISTED) {
            let sql = format!("SELECT {HEAD} FROM {HEAD_TABLES} WHERE h.session IN ");
            let query = Query::new(sql).list(chunk.iter().map(|session| session.0))?;
            for row in &query.all(&self.pool).await? {
                let standing = standing(&rows::head(row)?.head);
                standings.insert(standing.session, standing);
            }
        }
        Ok(standings)
    }

    /// Hints that sessions may have become runnable.
    pub(in super::super) async fn hints(&self, sessions: &[SessionNo]) -> Result<Vec<Runnable>> {
        let mut hints = Vec::with_capacity(sessions.len());
        for chunk in sessions.chunks(LISTED) {
            let sql = "SELECT s.session_id, h.epoch, t.name FROM heads h \
                 CROSS JOIN sessions s ON s.session = h.session \
                 CROSS JOIN tenants t ON t.tenant = h.tenant \
                 WHERE h.ready_at IS NOT NULL AND h.session IN ";
            let query = Query::new(sql).list(chunk.iter().map(|session| session.0))?;
            for row in &query.all(&self.pool).await? {
                let tenant = Tenant::new(row.try_get::<String>(2)?);
                let (session_id, epoch) = (row.try_get(0)?, row.try_get(1)?);
                hints.push(Runnable { tenant, session_id, epoch });
            }
        }
        Ok(hints)
    }

    /// A page of entries, cut when it has enough bytes.
    pub(in super::super) async fn entries(
        &self,
        tenant: &Tenant,
        query: EntryQuery,
    ) -> Result<EntryPage> {
        let head = self.head(tenant, &query.session_id).await?;
        let limit = query.page_size.get() as usize;
        let types = query.types;
        let entries = self.read_entries((&head).into(), query.after, limit, &types).await?;
        let read = entries.last().map(|entry| entry.sequence);
        let more = read.is_some_and(|last| last < head.head);
        let full = entries.len() >= limit || self.is_full(&entries);
        Ok(EntryPage { more: more && full, entries, head: head.head })
    }

    /// Entries after `after` up to the head of `standing`, as many as one page of a replay holds.
    pub(in super::super) async fn replay(
        &self,
        standing: Standing,
        after: Sequence,
    ) -> Result<Vec<Entry>> {
        self.read_entries(standing, after, self.replay_entries, &[]).await
    }

    fn is_full(&self, entries: &[Entry]) -> bool {
        entries.iter().map(Entry::size).sum::<usize>() >= self.page_bytes
    }

    async fn read_entries(
        &self,
        standing: Standing,
        after: Sequence,
        limit: usize,
        types: &[String],
    ) -> Result<Vec<Entry>> {
        until_whole(|| self.try_entries(standing, after, limit, types).boxed()).await
    }

    async fn try_entries(
        &self,
        standing: Standing,
        after: Sequence,
        limit: usize,
        types: &[String],
    ) -> Result<Option<Vec<Entry>>> {
        self.join(self.stored_entries(standing, after, limit, types).await?).await
    }

    /// Entries in order, at most `limit`, until they have as many bytes as a page. A log that has rows
    /// of other sessions is read on one snapshot, since those may become its own meanwhile.
    async fn stored_entries(
        &self,
        Standing { session, head, shared, .. }: Standing,
        after: Sequence,
        limit: usize,
        types: &[String],
    ) -> Result<Vec<Stored<Entry>>> {
        let (after, until) = (after.clamp(0, LAST_POSITION), head.clamp(0, LAST_POSITION));
        let mut entries = Entries { found: Vec::new(), bytes: 0, limit, types };
        if after >= shared {
            let mut conn = self.pool.acquire().await?;
            self.read_range(conn.target(), &mut entries, session, (after, until)).await?;
            return Ok(entries.found);
        }
        let mut snapshot = self.pool.snapshot().await?;
        for part in log_parts(snapshot.target(), session).await? {
            let range = (after.max(part.first - 1), until.min(part.last));
            let full = entries.found.len() >= limit || entries.bytes >= self.page_bytes;
            if range.0 < range.1 && !full {
                self.read_range(snapshot.target(), &mut entries, part.owner, range).await?;
            }
        }
        snapshot.end().await?;
        Ok(entries.found)
    }

    /// Adds the entries of one session's own rows.
    async fn read_range(
        &self,
        target: Target<'_>,
        entries: &mut Entries<'_>,
        session: SessionNo,
        (after, until): (Sequence, Sequence),
    ) -> Result<()> {
        let mut query = Query::new(format!(
            "SELECT {ENTRY} FROM {ENTRY_TABLES} WHERE e.entry > ? AND e.entry <= ?"
        ))
        .bind(clustered(session, after))?
        .bind(clustered(session, until))?;
        if !entries.types.is_empty() {
            query = query.push(" AND t.name IN ").list(entries.types.iter().map(String::as_str))?;
        }
        let room = i64::try_from(entries.limit - entries.found.len()).unwrap_or(i64::MAX);
        let query = query.push(" ORDER BY e.entry LIMIT ?").bind(room)?;
        let mut found = query.stream(target)?;
        while entries.bytes < self.page_bytes
            && let Some(row) = found.try_next().await?
        {
            let entry = rows::entry(&row)?;
            entries.bytes += entry.row.size() + entry.cut();
            entries.found.push(entry);
        }
        Ok(())
    }

    /// The sessions that name a holder, of whatever tenant.
    pub(in super::super) async fn held(&self, id: &HolderId) -> Result<Vec<HeldSession>> {
        let found = Query::new(
            "SELECT s.session_id, h.epoch, t.name FROM heads h \
             CROSS JOIN sessions s ON s.session = h.session CROSS JOIN tenants t ON t.tenant = h.tenant \
             WHERE h.holder_id = ? ORDER BY h.session",
        )
        .bind(id.as_str().to_owned())?
        .all(&self.pool)
        .await?;
        found
            .iter()
            .map(|row| {
                let tenant = Tenant::new(row.try_get::<String>(2)?);
                Ok(HeldSession { tenant, session_id: row.try_get(0)?, epoch: row.try_get(1)? })
            })
            .collect()
    }

    /// Sessions that are ready and have no live holder, longest ready first.
    pub(in super::super) async fn runnable(
        &self,
        scope: &Scope,
        size: PageSize,
        from: Option<&str>,
        now: Stamp,
    ) -> Result<Page<Runnable>> {
        let (ready_at, session) = match from {
            Some(from) => parse_place(from)?,
            None => (i64::MIN, i64::MIN),
        };
        let found = Query::new(
            "SELECT h.ready_at, h.session, s.session_id, h.epoch, t.name \
             FROM heads h CROSS JOIN sessions s ON s.session = h.session \
             CROSS JOIN tenants t ON t.tenant = h.tenant \
             LEFT JOIN holders o ON o.holder_id = h.holder_id \
             WHERE h.ready_at <= ? AND (h.ready_at, h.session) > (?, ?) \
             AND (o.holder_id IS NULL OR o.voided = 1 OR o.expires_at <= ?)",
        )
        .bind(now.micros())?
        .bind(ready_at)?
        .bind(session)?
        .bind(now.micros())?
        .filter(" AND t.name = ?", scope.tenant().map(|tenant| tenant.as_str().to_owned()))?
        .push(" ORDER BY h.ready_at, h.session LIMIT ?")
        .bind(i64::from(size.get()) + 1)?
        .all(&self.pool)
        .await?;
        page(found, size, |row| {
            let place = format!("{}.{}", row.try_get::<i64>(0)?, row.try_get::<i64>(1)?);
            let tenant = Tenant::new(row.try_get::<String>(4)?);
            Ok((place, Runnable { tenant, session_id: row.try_get(2)?, epoch: row.try_get(3)? }))
        })
    }
}

/// Entries that were found so far, and what is looked for.
struct Entries<'q> {
    found: Vec<Stored<Entry>>,
    bytes: usize,
    limit: usize,
    /// Only of these types; empty: all.
    types: &'q [String],
}

fn parse_place(text: &str) -> Result<(i64, i64)> {
    let malformed = || StorageError::Page(cortex_core::PageError::Malformed);
    let (ready_at, session) = text.split_once('.').ok_or_else(malformed)?;
    let number = |text: &str| text.parse().map_err(|_| malformed());
    Ok((number(ready_at)?, number(session)?))
}

/// The first `size` of `found`, and where the next page starts if there is more.
pub(in super::super) fn page<T>(
    mut found: Vec<Row>,
    size: PageSize,
    read: impl Fn(&Row) -> Result<(String, T)>,
) -> Result<Page<T>> {
    let size = size.get() as usize;
    let more = found.len() > size;
    found.truncate(size);
    let (mut items, mut next) = (Vec::with_capacity(found.len()), None);
    for row in &found {
        let (place, item) = read(row)?;
        items.push(item);
        next = Some(place);
    }
    if more && next.is_none() {
        return Err(damaged("page"));
    }
    Ok(Page { items, next: next.filter(|_| more) })
}

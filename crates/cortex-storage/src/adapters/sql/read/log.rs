//! Logs of sessions: marks, and the parts of forks.

use cortex_core::SessionId;
use futures::{FutureExt, TryStreamExt};

use super::{Reader, TENANT, contents::until_whole};
use crate::{
    adapters::sql::{
        database::Target,
        error::damaged,
        query::Query,
        rows::{
            self, HEAD, HEAD_COLUMNS, HEAD_TABLES, LAST_POSITION, MARK, PART, clustered, position,
        },
        stored::{CutMark, Stored},
    },
    error::{Result, StorageError},
    journal::{Cut, Entry, Fingerprint, Mark, MarkNo, Part, RequestKey, Sequence, SessionNo},
    ports::{Standing, Whole},
    session::Session,
    state::State,
    tenant::Tenant,
    time::Stamp,
};

impl Reader {
    /// A session with where its log ends, on one snapshot.
    pub(in super::super) async fn whole(&self, tenant: &Tenant, id: &SessionId) -> Result<Whole> {
        until_whole(|| self.try_whole(tenant, id).boxed()).await
    }

    async fn try_whole(&self, tenant: &Tenant, id: &SessionId) -> Result<Option<Whole>> {
        let row = Query::new(format!(
            "SELECT {HEAD}, s.agent_name, s.user_id, s.created_at, s.metadata, s.manifest_digest, \
             t.data, t.version, t.updated_at, t.tenant, t.pieces \
             FROM {HEAD_TABLES} LEFT JOIN states t ON t.session = s.session \
             WHERE s.tenant = {TENANT} AND s.session_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str().to_owned())?
        .first(&self.pool)
        .await?;
        let row =
            row.ok_or_else(|| StorageError::SessionNotFound { session_id: id.to_string() })?;
        let head = rows::head(&row)?.head;
        let column = |number: usize| HEAD_COLUMNS + number;
        let session = Session {
            session_id: id.clone(),
            agent_name: row.try_get(column(0))?,
            user_id: row.try_get(column(1))?,
            created_at: Stamp::from_micros(row.try_get(column(2))?),
            updated_at: head.updated_at,
            status: head.status,
            metadata: row.try_get(column(3))?,
            message_count: head.message_count,
            head: head.head,
            manifest_digest: row.try_get(column(4))?,
        };
        let state = match row.try_get::<Option<String>>(column(5))? {
            Some(data) => {
                let updated_at: Option<i64> = row.try_get(column(7))?;
                let updated_at = updated_at.map(Stamp::from_micros);
                let state = State { data, version: row.try_get(column(6))?, updated_at };
                let cuts = rows::cuts(&row, column(8), column(9))?;
                self.join(vec![Stored { row: state, cuts }]).await?
            }
            None => Some(vec![State::default()]),
        };
        let state = state.and_then(|mut state| state.pop());
        Ok(state.map(|state| Whole { session, head, state }))
    }

    /// What a request created: its fingerprint, the session, and where that was cut.
    pub(in super::super) async fn creation(
        &self,
        tenant: &Tenant,
        key: RequestKey,
    ) -> Result<Option<(Fingerprint, SessionId, Sequence)>> {
        let row = Query::new(format!(
            "SELECT c.fingerprint, s.session_id, c.sequence \
             FROM creations c CROSS JOIN sessions s ON s.session = c.session \
             WHERE c.tenant = {TENANT} AND c.request = ?"
        ))
        .tenant(tenant)?
        .bind(key.0.to_vec())?
        .first(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let fingerprint = Fingerprint(rows::half_hash(&row, 0)?);
        let id = SessionId::parse(row.try_get::<String>(1)?).map_err(|_| damaged("identifier"))?;
        Ok(Some((fingerprint, id, row.try_get(2)?)))
    }

    /// The last quiescent point at or before a sequence.
    pub(in super::super) async fn last_quiescent(
        &self,
        session: SessionNo,
        until: Sequence,
    ) -> Result<Cut> {
        const SQL: &str = "SELECT m.mark, m.sequence, m.last_command FROM marks m \
            WHERE m.mark >= ? AND m.mark <= ? AND m.quiescent <> 0 AND m.sequence <= ? \
            ORDER BY m.mark DESC LIMIT 1";
        let mut snapshot = self.pool.snapshot().await?;
        for part in log_parts(snapshot.target(), session).await?.iter().rev() {
            let found = Query::new(SQL)
                .bind(clustered(part.owner, part.first_mark))?
                .bind(clustered(part.owner, part.last_mark))?
                .bind(until)?
                .first_on(snapshot.target())
                .await?;
            if let Some(row) = found {
                return Ok(Cut {
                    mark: position(row.try_get(0)?),
                    sequence: row.try_get(1)?,
                    last_command: row.try_get(2)?,
                });
            }
        }
        Ok(Cut::default())
    }

    /// Marks after a number up to another one, as many as one page of a replay holds.
    pub(in super::super) async fn marks(
        &self,
        session: SessionNo,
        range: (MarkNo, MarkNo),
    ) -> Result<Vec<Mark>> {
        until_whole(|| self.try_marks(session, range).boxed()).await
    }

    async fn try_marks(
        &self,
        session: SessionNo,
        range: (MarkNo, MarkNo),
    ) -> Result<Option<Vec<Mark>>> {
        let mut snapshot = self.pool.snapshot().await?;
        let parts = log_parts(snapshot.target(), session).await?;
        let most = (self.replay_entries, self.page_bytes);
        let marks = marks_on(snapshot.target(), &parts, range, most).await?;
        drop(snapshot);
        let Some(marks) = self.join(marks).await? else { return Ok(None) };
        marks.into_iter().map(CutMark::finish).collect::<Result<_>>().map(Some)
    }

    /// A fork whose log has more parts than it should, if there is one.
    pub(in super::super) async fn parted(
        &self,
        most: usize,
    ) -> Result<Option<(Tenant, SessionId, Standing)>> {
        let row = Query::new(format!(
            "SELECT {HEAD}, t.name FROM {HEAD_TABLES} \
             CROSS JOIN tenants t ON t.tenant = h.tenant WHERE h.session = \
             (SELECT p.session FROM parts p WHERE p.part > ? ORDER BY p.part, p.session LIMIT 1)"
        ))
        .bind(i64::try_from(most).unwrap_or(i64::MAX))?
        .first(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let head = rows::head(&row)?.head;
        let id = SessionId::parse(head.session_id.clone()).map_err(|_| damaged("identifier"))?;
        let tenant = Tenant::new(row.try_get::<String>(HEAD_COLUMNS)?);
        Ok(Some((tenant, id, (&head).into())))
    }

    /// The next entries and marks that a fork shares and has no rows of its own of.
    pub(in super::super) async fn shared_rest(
        &self,
        standing: Standing,
    ) -> Result<(Vec<Entry>, Vec<Mark>)> {
        let Standing { session, shared, .. } = standing;
        let entries = self.copied(session, ("entries", "entry"), shared).await?;
        let entries = self.replay(Standing { head: shared, ..standing }, entries).await?;
        let mut snapshot = self.pool.snapshot().await?;
        let parts = log_parts(snapshot.target(), session).await?;
        drop(snapshot);
        let last = parts.iter().rev().nth(1).map_or(0, |part| part.last_mark);
        let marks = self.copied(session, ("marks", "mark"), last).await?;
        Ok((entries, self.marks(session, (marks, last)).await?))
    }

    /// The last position up to `last` of which a session has a row of its own.
    async fn copied(
        &self,
        session: SessionNo,
        (table, key): (&str, &str),
        last: i64,
    ) -> Result<i64> {
        let sql = format!("SELECT max({key}) FROM {table} WHERE {key} > ? AND {key} <= ?");
        let row = Query::new(sql)
            .bind(clustered(session, 0))?
            .bind(clustered(session, last))?
            .first(&self.pool)
            .await?;
        let copied: Option<i64> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        Ok(copied.map_or(0, position))
    }
}

/// Marks of a log after a number up to another one: not much more than so many and so many bytes.
pub(in super::super) async fn marks_on(
    mut target: Target<'_>,
    parts: &[Part],
    (after, until): (MarkNo, MarkNo),
    (most, most_bytes): (usize, usize),
) -> Result<Vec<Stored<CutMark>>> {
    let sql = format!(
        "SELECT {MARK} FROM marks m WHERE m.mark >= ? AND m.mark <= ? ORDER BY m.mark LIMIT ?"
    );
    let (mut marks, mut bytes) = (Vec::new(), 0);
    for part in parts {
        let (first, last) = (part.first_mark.max(after + 1), part.last_mark.min(until));
        let room = most.saturating_sub(marks.len());
        if first > last || room == 0 {
            continue;
        }
        let mut found = Query::new(sql.clone())
            .bind(clustered(part.owner, first))?
            .bind(clustered(part.owner, last))?
            .bind(i64::try_from(room).unwrap_or(i64::MAX))?
            .stream(target.again())?;
        while let Some(row) = found.try_next().await? {
            let mark = rows::mark(&row)?;
            bytes += mark.row.delta.len() + mark.cut();
            marks.push(mark);
            if bytes >= most_bytes {
                return Ok(marks);
            }
        }
    }
    Ok(marks)
}

/// What the log of a session consists of: rows of others, and then its own.
pub(in super::super) async fn log_parts(
    target: Target<'_>,
    session: SessionNo,
) -> Result<Vec<Part>> {
    let sql = format!("SELECT {PART} FROM parts p WHERE p.session = ? ORDER BY p.part");
    let found = Query::new(sql).bind(session.0)?.all_on(target).await?;
    let parts = found.iter().map(|row| Ok(rows::part(row)?.1)).collect::<Result<Vec<_>>>()?;
    let own = Part {
        owner: session,
        first: parts.last().map_or(1, |part| part.last + 1),
        last: LAST_POSITION,
        first_mark: parts.last().map_or(1, |part| part.last_mark + 1),
        last_mark: LAST_POSITION,
    };
    Ok(parts.into_iter().chain([own]).collect())
}

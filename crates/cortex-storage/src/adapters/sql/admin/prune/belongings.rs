//! What goes with a session: its rows, and what they refer to.

use std::collections::HashSet;

use super::Pruning;
use crate::{
    adapters::sql::{
        admin::catalogue::{Of, TABLES},
        error::damaged,
        query::Query,
        rows::{self, LAST_POSITION, clustered},
    },
    content::Pieces,
    error::Result,
    journal::SessionNo,
};

/// What is stored once and referred to: a payload, or an artifact's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Referred {
    Payload([u8; 32]),
    Artifact([u8; 32]),
}

impl Referred {
    /// How often it is referred to, and how many bytes it has.
    fn query(self, tenant: i64) -> Result<Query> {
        let (sql, hash) = match self {
            Self::Payload(hash) => {
                ("SELECT refs, length(bytes) FROM contents WHERE tenant = ? AND hash = ?", hash)
            }
            Self::Artifact(hash) => (
                "SELECT b.uses, max(a.size) FROM artifact_bytes b CROSS JOIN artifacts a \
                 ON a.tenant = b.tenant AND a.digest = b.digest \
                 WHERE b.tenant = ? AND b.digest = ? GROUP BY b.uses",
                hash,
            ),
        };
        Query::new(sql).bind(tenant)?.bind(hash.to_vec())
    }
}

/// A content that is referred to less.
#[derive(Debug, Clone, Copy)]
pub(super) struct Released {
    pub(super) bytes: i64,
    /// References that were there before.
    pub(super) refs: i64,
    /// Those of them that go.
    pub(super) released: i64,
}

/// What goes with a session.
pub(super) struct Belongings {
    pub(super) rows: Vec<(&'static str, i64)>,
    /// What its rows refer to, as often as they do.
    pub(super) contents: Vec<Referred>,
}

/// Positions up to which entries and marks of a session stay, since forks begin with them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    entries: i64,
    marks: i64,
}

impl Pruning<'_> {
    /// What stays of the log of a session for forks that stay.
    pub(super) async fn kept(&self, session: SessionNo) -> Result<Kept> {
        let sql = "SELECT session, last, last_mark FROM parts WHERE owner = ?";
        let parts = Query::new(sql).bind(session.0)?.all(&self.store.reader.pool).await?;
        let mut kept = Kept::default();
        for part in &parts {
            if !self.gone.contains(&SessionNo(part.try_get(0)?)) {
                kept.entries = kept.entries.max(part.try_get(1)?);
                kept.marks = kept.marks.max(part.try_get(2)?);
            }
        }
        Ok(kept)
    }

    /// What the rows of a session refer to, as often as they do.
    pub(super) async fn contents_of(
        &self,
        session: SessionNo,
        kept: Kept,
    ) -> Result<Vec<Referred>> {
        let mut contents = Vec::new();
        for table in self.tables.iter().filter(|table| table.column("pieces").is_some()) {
            let of = format!("SELECT pieces FROM {}", table.table.name);
            let Some(query) = of_session(&of, table.table.of, session)? else { continue };
            let query = without_kept(query, table.table.name, session, kept)?;
            let query = query.push(" AND pieces IS NOT NULL");
            for row in query.all(&self.store.reader.pool).await? {
                let pieces = Pieces::decode(row.try_get(0)?).ok_or_else(|| damaged("cut"))?;
                contents.extend(pieces.hashes().map(|hash| Referred::Payload(hash.0)));
            }
        }
        let mut query =
            Query::new("SELECT digest FROM artifacts WHERE digest IS NOT NULL AND session = ?")
                .bind(session.0)?;
        if let Some(before) = self.artifacts_before {
            query = query.push(" AND created_at >= ?").bind(before.micros())?;
        }
        for row in query.all(&self.store.reader.pool).await? {
            contents.push(Referred::Artifact(*rows::digest(&row, 0)?.as_bytes()));
        }
        Ok(contents)
    }

    /// Notes how large contents are and how often they are referred to, as long as they are there.
    pub(super) async fn note(&mut self, tenant: i64, contents: &[Referred]) -> Result<()> {
        let unknown: HashSet<_> =
            contents.iter().filter(|hash| !self.contents.contains_key(*hash)).copied().collect();
        for content in unknown {
            let found = content.query(tenant)?.first(&self.store.reader.pool).await?;
            if let Some(row) = found {
                let (refs, bytes) = (row.try_get(0)?, row.try_get(1)?);
                self.contents.insert(content, Released { bytes, refs, released: 0 });
            }
        }
        Ok(())
    }

    /// How many rows a session has in each collection.
    pub(super) async fn rows_of(
        &self,
        session: SessionNo,
        kept: Kept,
    ) -> Result<Vec<(&'static str, i64)>> {
        let mut counts = Vec::new();
        for table in TABLES {
            let Some(collection) = table.collection else { continue };
            let of = format!("SELECT count(*) FROM {}", table.name);
            let Some(mut query) = of_session(&of, table.of, session)? else { continue };
            query = without_kept(query, table.name, session, kept)?;
            if let Some(before) = self.artifacts_before.filter(|_| collection == "artifacts") {
                query = query.push(" AND created_at >= ?").bind(before.micros())?;
            }
            if let Some((at, metric)) = self.metrics_below.filter(|_| collection == "metrics") {
                query =
                    query.push(" AND (measured_at, metric) >= (?, ?)").bind(at)?.bind(metric)?;
            }
            let rows = query.first(&self.store.reader.pool).await?;
            counts.push((collection, rows.map_or(Ok(0), |row| row.try_get(0))?));
        }
        Ok(counts)
    }
}

/// `select` of the rows of one session; none when rows of the table belong to no session.
fn of_session(select: &str, of: Of, session: SessionNo) -> Result<Option<Query>> {
    let query = match of {
        Of::Nothing => return Ok(None),
        Of::Session => Query::new(format!("{select} WHERE session = ?")).bind(session.0)?,
        Of::Execution => Query::new(format!(
            "{select} WHERE (tenant, execution_id) IN \
             (SELECT tenant, execution_id FROM executions WHERE session = ?)"
        ))
        .bind(session.0)?,
        Of::Clustered(key) => Query::new(format!("{select} WHERE {key} BETWEEN ? AND ?"))
            .bind(clustered(session, 0))?
            .bind(clustered(session, LAST_POSITION))?,
    };
    Ok(Some(query))
}

/// The same query without rows of a log that stay.
fn without_kept(query: Query, table: &str, session: SessionNo, kept: Kept) -> Result<Query> {
    match table {
        "entries" => query.push(" AND entry > ?").bind(clustered(session, kept.entries)),
        "marks" => query.push(" AND mark > ?").bind(clustered(session, kept.marks)),
        _ => Ok(query),
    }
}

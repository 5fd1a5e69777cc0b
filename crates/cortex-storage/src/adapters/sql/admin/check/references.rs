//! References that lead nowhere.

use cortex_core::ExecutionId;

use super::{Checker, called};
use crate::{
    adapters::sql::{
        admin::catalogue::{Of, SqlTable},
        query::Query,
        rows::{LAST_POSITION, clustered},
    },
    admin::{Finding, Unit},
    error::Result,
    journal::{ExecutionState, SessionNo},
};

/// Sessions that are there, or being cleared away, or whose logs forks begin with.
const KNOWN: &str = "(EXISTS (SELECT 1 FROM sessions s WHERE s.session = v.session) \
    OR EXISTS (SELECT 1 FROM purges p WHERE p.session = v.session) \
    OR EXISTS (SELECT 1 FROM parts p WHERE p.owner = v.session))";

impl Checker<'_> {
    pub(super) async fn references(&mut self, tables: &[SqlTable]) -> Result<()> {
        self.enter("references", 0, Unit::Rows).await?;
        self.headless().await?;
        for table in tables {
            match table.table.of {
                // An outcome without its execution is told below.
                Of::Nothing | Of::Execution => {}
                Of::Session => self.by_session(table).await?,
                Of::Clustered(key) => self.clustered(table, key).await?,
            }
            if self.full && table.table.name != "tenants" && table.column("tenant").is_some() {
                self.tenants(table).await?;
            }
            self.advance(1).await?;
        }
        self.outcomes().await?;
        self.caches().await?;
        self.artifacts().await
    }

    async fn headless(&mut self) -> Result<()> {
        let sql = "SELECT s.session_id FROM sessions s LEFT JOIN heads h ON h.session = s.session \
            WHERE h.session IS NULL OR h.tenant <> s.tenant";
        for row in self.all(Query::new(sql)).await? {
            let message = "the session has no head of its own; delete it, or restore a backup";
            self.find(Finding {
                code: "HEAD_MISSING",
                message: message.to_owned(),
                collection: "sessions",
                session_id: row.try_get(0)?,
                subject: "head".to_owned(),
            })
            .await?;
        }
        Ok(())
    }

    async fn by_session(&mut self, table: &SqlTable) -> Result<()> {
        let name = table.table.name;
        let sql = format!(
            "SELECT v.session, count(*) FROM {name} v \
             WHERE v.session IS NOT NULL AND NOT {KNOWN} GROUP BY v.session"
        );
        for row in self.all(Query::new(sql)).await? {
            self.orphaned(table, row.try_get(0)?, row.try_get(1)?).await?;
        }
        Ok(())
    }

    /// Jumps from session to session, since the key begins with it.
    async fn clustered(&mut self, table: &SqlTable, key: &str) -> Result<()> {
        let name = table.table.name;
        let next = format!("SELECT min({key}) FROM {name} WHERE {key} > ?");
        let known =
            format!("SELECT CASE WHEN {KNOWN} THEN 1 ELSE 0 END FROM (SELECT ? AS session) v");
        let rows = format!("SELECT count(*) FROM {name} WHERE {key} BETWEEN ? AND ?");
        let mut after = i64::MIN;
        loop {
            let row = self.first(Query::new(&*next).bind(after)?).await?;
            let found = row.map_or(Ok(None), |row| row.try_get::<Option<i64>>(0))?;
            let Some(found) = found else { return Ok(()) };
            let session = found >> 32;
            let last = clustered(SessionNo(session), LAST_POSITION);
            let row = self.first(Query::new(&*known).bind(session)?).await?;
            if !row.map_or(Ok(false), |row| row.try_get::<bool>(0))? {
                let query =
                    Query::new(&*rows).bind(clustered(SessionNo(session), 0))?.bind(last)?;
                let count = self.first(query).await?;
                let count = count.map_or(Ok(0), |row| row.try_get(0))?;
                self.orphaned(table, session, count).await?;
            }
            after = last;
        }
    }

    async fn orphaned(&mut self, table: &SqlTable, session: i64, rows: i64) -> Result<()> {
        let name = table.table.name;
        self.find(Finding {
            code: "SESSION_MISSING",
            message: format!(
                "{rows} rows of {name} belong to a session that is not there; nothing reads them"
            ),
            collection: called(table),
            session_id: String::new(),
            subject: format!("{name}:{session}"),
        })
        .await
    }

    async fn tenants(&mut self, table: &SqlTable) -> Result<()> {
        let name = table.table.name;
        let sql = format!(
            "SELECT v.tenant, count(*) FROM {name} v LEFT JOIN tenants t ON t.tenant = v.tenant \
             WHERE t.tenant IS NULL GROUP BY v.tenant"
        );
        for row in self.all(Query::new(sql)).await? {
            let (tenant, rows): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            self.find(Finding {
                code: "TENANT_MISSING",
                message: format!("{rows} rows of {name} belong to a tenant that is not there"),
                collection: called(table),
                session_id: String::new(),
                subject: format!("{name}:{tenant}"),
            })
            .await?;
        }
        Ok(())
    }

    /// How many artifacts refer to each bytes.
    async fn artifacts(&mut self) -> Result<()> {
        let artifacts = self.number("SELECT count(*) FROM artifacts").await?;
        self.looked("artifacts", artifacts);
        let sql = "SELECT b.name, b.uses, count(a.artifact_id) FROM artifact_bytes b \
            LEFT JOIN artifacts a ON a.tenant = b.tenant AND a.digest = b.digest \
            GROUP BY b.tenant, b.digest, b.name, b.uses HAVING b.uses <> count(a.artifact_id)";
        for row in self.all(Query::new(sql)).await? {
            let (told, found): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            let message = format!(
                "{found} artifacts refer to these bytes, and {told} are counted; they go too early \
                 or never"
            );
            let subject = row.try_get(0)?;
            self.artifact_finding("COUNT_DIFFERS", message, subject).await?;
        }
        let sql = "SELECT a.artifact_id FROM artifacts a LEFT JOIN artifact_bytes b \
            ON b.tenant = a.tenant AND b.digest = a.digest \
            WHERE a.digest IS NOT NULL AND b.name IS NULL";
        for row in self.all(Query::new(sql)).await? {
            let message = "nothing says where the bytes of the artifact are; upload them again";
            let subject = row.try_get(0)?;
            self.artifact_finding("BYTES_UNKNOWN", message.to_owned(), subject).await?;
        }
        Ok(())
    }

    async fn artifact_finding(
        &mut self,
        code: &'static str,
        message: String,
        subject: String,
    ) -> Result<()> {
        let session_id = String::new();
        self.find(Finding { code, message, collection: "artifacts", session_id, subject }).await
    }

    /// What the entries of each cache come to.
    async fn caches(&mut self) -> Result<()> {
        let entries = self.number("SELECT count(*) FROM cache_entries").await?;
        self.looked("cache_entries", entries);
        let sql = "SELECT t.name, c.entries, e.entries FROM caches c \
            CROSS JOIN tenants t ON t.tenant = c.tenant LEFT JOIN (SELECT tenant, \
            count(*) AS entries, CAST(sum(bytes) AS BIGINT) AS bytes FROM cache_entries \
            GROUP BY tenant) e ON e.tenant = c.tenant \
            WHERE c.entries <> coalesce(e.entries, 0) OR c.bytes <> coalesce(e.bytes, 0)";
        for row in self.all(Query::new(sql)).await? {
            let (told, found): (i64, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
            let found = found.unwrap_or(0);
            self.find(Finding {
                code: "COUNT_DIFFERS",
                message: format!(
                    "the cache has {found} entries and is counted as {told}, or their bytes differ; \
                     its bounds work with the wrong numbers"
                ),
                collection: "cache_entries",
                session_id: String::new(),
                subject: row.try_get(0)?,
            })
            .await?;
        }
        Ok(())
    }

    /// An outcome for everything that is finished, and for nothing else.
    async fn outcomes(&mut self) -> Result<()> {
        let count = self.number("SELECT count(*) FROM outcomes").await?;
        self.looked("executions", count);
        let sql = "SELECT x.execution_id, s.session_id FROM executions x \
            CROSS JOIN sessions s ON s.session = x.session LEFT JOIN outcomes o \
            ON o.tenant = x.tenant AND o.execution_id = x.execution_id \
            WHERE x.state = ? AND o.execution_id IS NULL";
        let missing = Query::new(sql).bind(ExecutionState::Finished.number())?;
        let message = "the execution is finished and its outcome is not there";
        self.outcome_findings(missing, "OUTCOME_MISSING", message).await?;
        let sql = "SELECT o.execution_id, '' FROM outcomes o LEFT JOIN executions x \
            ON x.tenant = o.tenant AND x.execution_id = o.execution_id \
            WHERE x.execution_id IS NULL";
        let message = "there is an outcome of an execution that is not there";
        self.outcome_findings(Query::new(sql), "EXECUTION_MISSING", message).await
    }

    async fn outcome_findings(
        &mut self,
        query: Query,
        code: &'static str,
        message: &str,
    ) -> Result<()> {
        for row in self.all(query).await? {
            self.find(Finding {
                code,
                message: message.to_owned(),
                collection: "executions",
                session_id: row.try_get(1)?,
                subject: row.try_get::<ExecutionId>(0)?.to_string(),
            })
            .await?;
        }
        Ok(())
    }
}

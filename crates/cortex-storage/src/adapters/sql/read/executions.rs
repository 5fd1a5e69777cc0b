//! Ledger rows with their outcomes.

use cortex_core::ExecutionId;

use super::{Reader, TENANT, journal::page};
use crate::{
    adapters::sql::{
        query::Query,
        rows::{self, EXECUTION, OUTCOME},
    },
    error::{Result, StorageError},
    journal::Execution,
    ports::{ExecutionQuery, Page},
    tenant::Tenant,
};

const TABLES: &str = "executions x CROSS JOIN sessions s ON s.session = x.session \
    LEFT JOIN outcomes o ON o.tenant = x.tenant AND o.execution_id = x.execution_id";

impl Reader {
    /// One row.
    pub(in super::super) async fn execution(
        &self,
        tenant: &Tenant,
        id: &ExecutionId,
    ) -> Result<Execution> {
        let row = Query::new(format!(
            "SELECT {EXECUTION}, {OUTCOME} FROM {TABLES} WHERE x.tenant = {TENANT} AND x.execution_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str().to_owned())?
        .first(&self.pool)
        .await?;
        let row =
            row.ok_or_else(|| StorageError::ExecutionNotFound { execution_id: id.to_string() })?;
        rows::finished_execution(&row)
    }

    /// A page of rows, oldest first.
    pub(in super::super) async fn executions(
        &self,
        tenant: &Tenant,
        query: ExecutionQuery,
    ) -> Result<Page<Execution>> {
        let size = query.page_size;
        let found = Query::new(format!(
            "SELECT {EXECUTION}, {OUTCOME} FROM {TABLES} WHERE x.tenant = {TENANT} AND x.execution > ?"
        ))
        .tenant(tenant)?
        .bind(query.after)?
        .filter(" AND s.session_id = ?", query.session_id.map(String::from))?
        .filter(" AND x.claimant_id IS NOT NULL AND x.claimant_instance = ?", query.claimant_instance)?
        .filter(" AND x.state = ?", query.state.map(crate::journal::ExecutionState::number))?
        .push(" ORDER BY x.execution LIMIT ?")
        .bind(i64::from(size.get()) + 1)?
        .all(&self.pool)
        .await?;
        page(found, size, |row| {
            Ok((row.try_get::<i64>(0)?.to_string(), rows::finished_execution(row)?))
        })
    }
}

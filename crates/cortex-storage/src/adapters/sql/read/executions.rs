//! Ledger rows with their outcomes.

use cortex_core::ExecutionId;
use futures::FutureExt;

use super::{Reader, TENANT, contents::until_whole, journal::page};
use crate::{
    adapters::sql::{
        query::Query,
        rows::{self, EXECUTION, OUTCOME},
        stored::Stored,
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
        let found = until_whole(|| self.try_execution(tenant, id).boxed()).await?;
        let missing = || StorageError::ExecutionNotFound { execution_id: id.to_string() };
        found.into_iter().next().ok_or_else(missing)
    }

    async fn try_execution(
        &self,
        tenant: &Tenant,
        id: &ExecutionId,
    ) -> Result<Option<Vec<Execution>>> {
        let row = Query::new(format!(
            "SELECT {EXECUTION}, {OUTCOME} FROM {TABLES} WHERE x.tenant = {TENANT} AND x.execution_id = ?"
        ))
        .tenant(tenant)?
        .bind(id)?
        .first(&self.pool)
        .await?;
        let row = row.iter().map(rows::finished_execution).collect::<Result<_>>()?;
        self.join(row).await
    }

    /// A page of rows, oldest first.
    pub(in super::super) async fn executions(
        &self,
        tenant: &Tenant,
        query: ExecutionQuery,
    ) -> Result<Page<Execution>> {
        until_whole(|| self.try_executions(tenant, &query).boxed()).await
    }

    async fn try_executions(
        &self,
        tenant: &Tenant,
        query: &ExecutionQuery,
    ) -> Result<Option<Page<Execution>>> {
        let Page { items, next } = self.stored_executions(tenant, query).await?;
        let items = self.join(items).await?;
        Ok(items.map(|items| Page { items, next }))
    }

    async fn stored_executions(
        &self,
        tenant: &Tenant,
        query: &ExecutionQuery,
    ) -> Result<Page<Stored<Execution>>> {
        let size = query.page_size;
        let session_id = query.session_id.clone().map(String::from);
        let instance = query.claimant_instance.clone();
        let found = Query::new(format!(
            "SELECT {EXECUTION}, {OUTCOME} FROM {TABLES} WHERE x.tenant = {TENANT} AND x.execution > ?"
        ))
        .tenant(tenant)?
        .bind(query.after)?
        .filter(" AND s.session_id = ?", session_id)?
        .filter(" AND x.claimant_id IS NOT NULL AND x.claimant_instance = ?", instance)?
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

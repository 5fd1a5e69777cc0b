//! Artifacts, and the bytes that they refer to.

use std::{borrow::Cow, collections::HashSet};

use cortex_core::ArtifactId;

use super::{Reader, TENANT, journal::page};
use crate::{
    adapters::sql::{
        cache::TenantNo,
        database::Target,
        ops::{UnusedBytes, artifact_not_found},
        query::Query,
        row::Row,
        rows::{self, ARTIFACT},
    },
    artifact::{Artifact, ArtifactQuery, BlobName, StoreId},
    error::Result,
    ports::Page,
    tenant::Tenant,
};

const TABLES: &str = "artifacts a CROSS JOIN sessions s ON s.session = a.session";

/// Names that one query asks for.
const NAMES: usize = 1024;

impl Reader {
    /// One artifact, and what its bytes are called.
    pub(in super::super) async fn artifact(
        &self,
        tenant: &Tenant,
        id: &ArtifactId,
    ) -> Result<(Artifact, Option<BlobName>)> {
        let row = Query::new(format!(
            "SELECT {ARTIFACT}, b.name FROM {TABLES} LEFT JOIN artifact_bytes b \
             ON b.tenant = a.tenant AND b.digest = a.digest \
             WHERE a.tenant = {TENANT} AND a.artifact_id = ?"
        ))
        .tenant(tenant)?
        .bind(id.as_str().to_owned())?
        .first(&self.pool)
        .await?;
        let row = row.ok_or_else(|| artifact_not_found(id))?;
        let name: Option<Cow<'_, str>> = row.try_get(rows::ARTIFACT_COLUMNS)?;
        let blob = name.map(|name| BlobName::parse(&name)).transpose()?;
        Ok((rows::artifact(&row)?.1.artifact, blob))
    }

    /// A page of artifacts, newest first.
    pub(in super::super) async fn artifacts(
        &self,
        tenant: &Tenant,
        query: ArtifactQuery,
    ) -> Result<Page<Artifact>> {
        let session = self.head(tenant, &query.session_id).await?.session;
        let size = query.page_size;
        let found = Query::new(format!("SELECT {ARTIFACT} FROM {TABLES} WHERE a.session = ?"))
            .bind(session.0)?
            .filter(" AND a.type = ?", query.kind)?
            .filter(" AND a.artifact < ?", query.before)?
            .push(" ORDER BY a.artifact DESC LIMIT ?")
            .bind(i64::from(size.get()) + 1)?
            .push(" OFFSET ?")
            .bind(query.offset)?
            .all(&self.pool)
            .await?;
        page(found, size, |row| {
            Ok((row.try_get::<i64>(0)?.to_string(), rows::artifact(row)?.1.artifact))
        })
    }

    /// Bytes that no artifact refers to.
    pub(in super::super) async fn unused_bytes(&self, most: usize) -> Result<Vec<UnusedBytes>> {
        let sql = "SELECT tenant, digest, name FROM artifact_bytes WHERE uses = 0 LIMIT ?";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let found = Query::new(sql).bind(most)?.all(&self.pool).await?;
        let read = |row: &Row| {
            Ok(UnusedBytes {
                tenant: TenantNo(row.try_get(0)?),
                digest: rows::digest(row, 1)?,
                blob: BlobName::parse(&row.try_get::<Cow<'_, str>>(2)?)?,
            })
        };
        found.iter().map(read).collect()
    }

    /// Which names are those of bytes that artifacts may refer to.
    pub(in super::super) async fn known_bytes(
        &self,
        names: &[BlobName],
    ) -> Result<HashSet<BlobName>> {
        let mut known = HashSet::new();
        for names in names.chunks(NAMES) {
            let found = Query::new("SELECT name FROM artifact_bytes WHERE name IN ")
                .list(names.iter().map(|name| name.as_str().to_owned()))?
                .all(&self.pool)
                .await?;
            for row in &found {
                known.insert(BlobName::parse(&row.try_get::<Cow<'_, str>>(0)?)?);
            }
        }
        Ok(known)
    }

    /// Whether no process does a work of administration, and the installation lives here.
    pub(in super::super) async fn may_sweep(&self) -> Result<bool> {
        let mut conn = self.pool.acquire().await?;
        let sql = match conn.target() {
            Target::Sqlite(_) => "SELECT NOT EXISTS (SELECT 1 FROM moves)",
            Target::Postgres(_) => {
                "SELECT CASE WHEN EXISTS (SELECT 1 FROM moves) THEN 0 \
                 WHEN pg_try_advisory_xact_lock_shared(7021952005) THEN 1 ELSE 0 END"
            }
        };
        let row = Query::new(sql).first_on(conn.target()).await?;
        Ok(row.map_or(Ok(false), |row| row.try_get(0))?)
    }

    /// Which database this is, if it knows.
    pub(in super::super) async fn store_id(&self) -> Result<Option<StoreId>> {
        let row = Query::new("SELECT store_id FROM stores").first(&self.pool).await?;
        row.map(|row| StoreId::parse(&row.try_get::<Cow<'_, str>>(0)?)).transpose()
    }
}

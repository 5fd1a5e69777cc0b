//! What is stored once: whether it is what its hash says, and referred to as often as is counted.

use std::collections::HashMap;

use futures::TryStreamExt;

use super::{Checker, called};
use crate::{
    adapters::sql::{admin::catalogue::SqlTable, query::Query, row::Row},
    admin::{Finding, Unit},
    content::{ContentHash, Pieces},
    error::{Result, StorageError},
};

/// Contents of one step. Each may have some mebibytes.
const STEP: i64 = 16;

/// How often each content of each tenant is referred to.
type References = HashMap<(i64, ContentHash), i64>;

impl Checker<'_> {
    /// References of all rows are counted in memory: about 100 bytes for each content.
    pub(super) async fn contents(&mut self, tables: &[SqlTable]) -> Result<()> {
        let total = self.number("SELECT count(*) FROM contents").await?;
        self.enter("contents", total, Unit::Rows).await?;
        let mut references = References::new();
        if self.full {
            for table in tables.iter().filter(|table| table.column("pieces").is_some()) {
                self.count_references(table, &mut references).await?;
            }
        }
        let mut after = (i64::MIN, Vec::new());
        loop {
            let sql = "SELECT tenant, hash, refs, bytes FROM contents WHERE (tenant, hash) > (?, ?) \
                ORDER BY tenant, hash LIMIT ?";
            let query = Query::new(sql).bind(after.0)?.bind(after.1)?.bind(STEP)?;
            let rows = self.all(query).await?;
            let Some(last) = rows.last() else { break };
            after = (last.try_get(0)?, last.try_get(1)?);
            for row in &rows {
                self.content(row, &mut references).await?;
            }
            self.looked("contents", rows.len() as i64);
            self.advance(rows.len() as i64).await?;
            if !self.full {
                return Ok(());
            }
        }
        for ((_, hash), count) in references {
            let message = format!(
                "{count} values refer to a content that is not there, and cannot be read; restore \
                 them from a backup"
            );
            self.find(finding("CONTENT_MISSING", &hash, message)).await?;
        }
        Ok(())
    }

    async fn count_references(
        &mut self,
        table: &SqlTable,
        references: &mut References,
    ) -> Result<()> {
        let name = table.table.name;
        let sql = format!("SELECT tenant, pieces FROM {name} WHERE pieces IS NOT NULL");
        let mut rows = Query::new(sql).stream(self.conn.target())?;
        let mut unreadable = 0;
        while let Some(row) = rows.try_next().await? {
            let tenant = row.try_get(0)?;
            match Pieces::decode(row.try_get(1)?) {
                Some(pieces) => {
                    for hash in pieces.hashes() {
                        *references.entry((tenant, hash)).or_default() += 1;
                    }
                }
                None => unreadable += 1,
            }
        }
        drop(rows);
        if unreadable == 0 {
            return Ok(());
        }
        self.find(Finding {
            code: "PIECES_UNREADABLE",
            message: format!("{unreadable} rows of {name} do not say what was cut out of them"),
            collection: called(table),
            session_id: String::new(),
            subject: name.to_owned(),
        })
        .await
    }

    async fn content(&mut self, row: &Row, references: &mut References) -> Result<()> {
        let hash: [u8; 32] = row.try_get::<&[u8]>(1)?.try_into().map_err(|_| {
            StorageError::Corrupt { detail: "the hash of a content has not 32 bytes".to_owned() }
        })?;
        let hash = ContentHash(hash);
        if ContentHash::of(row.try_get(3)?) != hash {
            let message = "the content is not what its hash says; restore it from a backup";
            self.find(finding("CONTENT_ALTERED", &hash, message.to_owned())).await?;
        }
        let (told, found) =
            (row.try_get::<i64>(2)?, references.remove(&(row.try_get(0)?, hash)).unwrap_or(0));
        if self.full && told != found {
            let message = format!(
                "{found} values refer to the content, and {told} are counted; it goes too early or \
                 never"
            );
            self.find(finding("CONTENT_REFS_DIFFER", &hash, message)).await?;
        }
        Ok(())
    }
}

fn finding(code: &'static str, hash: &ContentHash, message: String) -> Finding {
    let subject = blake3::Hash::from_bytes(hash.0).to_hex();
    Finding {
        code,
        message,
        collection: "contents",
        session_id: String::new(),
        subject: format!("b3_{subject}"),
    }
}

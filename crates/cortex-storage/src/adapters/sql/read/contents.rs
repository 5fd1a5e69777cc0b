//! What was cut out of rows, read for many of them at once.

use futures::future::BoxFuture;

use super::Reader;
use crate::{
    adapters::sql::{
        database::Target,
        error::damaged,
        rows::{self, CONTENTS},
        script::Script,
        stored::{Cut, Stored, Wanted},
    },
    content::Contents,
    error::Result,
};

/// How often rows are read until what was cut out of them is there. Between two reads a row may change or
/// go, and then its contents go too; that hardly happens twice.
const TRIES: usize = 5;

impl Reader {
    /// The contents that are there, of those that are wanted.
    pub(super) async fn contents(&self, wanted: Wanted) -> Result<Contents> {
        if wanted.tenant.is_none() {
            return Ok(Contents::new());
        }
        let mut conn = self.pool.acquire().await?;
        contents_on(conn.target(), wanted).await
    }

    /// Puts back what was cut out of rows. Nothing if a content is missing.
    pub(super) async fn join<T: Cut>(&self, stored: Vec<Stored<T>>) -> Result<Option<Vec<T>>> {
        let contents = self.contents(Wanted::of(&stored)).await?;
        Ok(stored.into_iter().map(|stored| stored.whole(&contents)).collect())
    }
}

/// The contents that are there, of those that are wanted.
pub(in super::super) async fn contents_on(target: Target<'_>, wanted: Wanted) -> Result<Contents> {
    let Some(tenant) = wanted.tenant else { return Ok(Contents::new()) };
    let hashes: Vec<_> = wanted.hashes.into_iter().collect();
    let mut script = Script::default();
    script.values(("SELECT c.hash, c.bytes FROM ", 2, CONTENTS), &hashes, |script, hash| {
        script.bind(tenant.0).bind(hash.0.to_vec());
    });
    script.fetch_on(target).await?.iter().map(rows::content).collect()
}

/// Reads until every content and every text is there.
pub(super) async fn until_whole<'r, T>(
    read: impl Fn() -> BoxFuture<'r, Result<Option<T>>>,
) -> Result<T> {
    for _ in 0..TRIES {
        if let Some(whole) = read().await? {
            return Ok(whole);
        }
    }
    Err(damaged("content"))
}

//! What a batch keeps once per tenant, and how much more or less it is referred to.
//!
//! References are counted in the transaction that writes or deletes the rows that refer. A content is
//! added or counted up by one statement, so that nothing has to be known of it, and the contents of a
//! batch are written in the order of their keys, so that two writers of one database do not wait for
//! each other in a circle.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{cache::TenantNo, script::Script};
use crate::content::{ContentHash, Cutter, Pieces};

const CONTENTS: &str = "contents (tenant, hash, refs, bytes)";
const COUNT: &str = "ON CONFLICT (tenant, hash) DO UPDATE SET refs = contents.refs + excluded.refs";

/// How a batch changes what is stored once.
#[derive(Debug)]
pub(super) struct ContentChanges {
    least: usize,
    changes: BTreeMap<(TenantNo, ContentHash), Change>,
}

#[derive(Debug, Default)]
struct Change {
    refs: i64,
    /// Known when something is written that it was cut out of.
    bytes: Option<Bytes>,
}

impl ContentChanges {
    /// No changes. Pieces of `least` bytes and more will be cut out.
    pub(super) fn new(least: usize) -> Self {
        Self { least, changes: BTreeMap::new() }
    }

    /// Cuts the values of one row.
    pub(super) fn cutter(&self) -> Cutter {
        Cutter::new(self.least)
    }

    /// Counts what was cut out of a row that is written, and answers which pieces that are.
    pub(super) fn keep(&mut self, tenant: TenantNo, cutter: Cutter) -> Pieces {
        let (pieces, contents) = cutter.finish();
        for (hash, bytes) in contents {
            let change = self.changes.entry((tenant, hash)).or_default();
            change.refs += 1;
            change.bytes = Some(bytes);
        }
        pieces
    }

    /// Counts down what a row that is gone referred to.
    pub(super) fn release(&mut self, tenant: TenantNo, pieces: &Pieces) {
        for hash in pieces.hashes() {
            self.changes.entry((tenant, hash)).or_default().refs -= 1;
        }
    }

    /// Adds the changes to `script`. What is referred to as often as before is as it was: it is there, or
    /// it came and went within the batch.
    pub(super) fn write(self, script: &mut Script) {
        let changed = self.changes.into_iter().filter(|(_, change)| change.refs != 0);
        let rows: Vec<_> = changed.collect();
        script.insert((CONTENTS, 4, COUNT), &rows, |script, ((tenant, hash), change)| {
            script
                .bind(tenant.0)
                .bind(hash.0.to_vec())
                .bind(change.refs)
                .bind(change.bytes.as_deref().unwrap_or_default().to_vec());
        });
        let fewer: Vec<_> = rows.iter().filter(|(_, change)| change.refs < 0).collect();
        let before = "DELETE FROM contents WHERE refs <= 0 AND (tenant, hash) IN \
            (SELECT column1, column2 FROM ";
        let after = " v WHERE column1 IS NOT NULL)";
        script.values((before, 2, after), &fewer, |script, ((tenant, hash), _)| {
            script.bind(tenant.0).bind(hash.0.to_vec());
        });
    }
}

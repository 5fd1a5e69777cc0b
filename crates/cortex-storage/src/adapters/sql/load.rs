//! Reading what a batch needs, inside its transaction, in as few trips as there are kinds of things.

mod cached;

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use super::{
    cache::{Cache, OwnedHead, TenantNo},
    housekeeping::PurgeRow,
    maps::HashSet,
    needs::{Needs, SessionNeeds},
    row::Row,
    rows::{self, ARTIFACT, CONTENTS, EXECUTION, HEAD, KNOWN, PART},
    script::{Script, Transaction},
    stored::join_text,
    work::{Creation, Description, Read, RecordFact, Work},
};
use crate::{
    content::{Contents, Pieces},
    error::Result,
    journal::{Fingerprint, RequestKey, SessionNo},
    record::RecordKey,
    state::State,
    time::Stamp,
};

/// Reads what `needs` names. What the cache has is taken out of it; [`Work::remember`] puts it back. In a
/// database that others write too, everything is locked first, and the time is its own
/// unless `time` is given.
pub(super) async fn load(
    tx: &mut Transaction<'_>,
    cache: Cache,
    needs: Needs,
    time: Option<Stamp>,
) -> Result<Work> {
    let mut loader = Loader { tx, cache, read: Read::default() };
    let mut now = time.unwrap_or_default();
    if loader.cache.is_shared() {
        let moment = loader.lock(&needs).await?;
        let before = loader.read.heads.values().map(|owned| owned.head.updated_at).max();
        now = time.unwrap_or(moment).max(before.unwrap_or_default());
    }
    let mut by_number = loader.executions(&needs).await?;
    by_number.extend(loader.artifacts(&needs).await?);
    loader.heads(&needs, by_number).await?;
    loader.names(&needs).await?;
    loader.session_facts(&needs).await?;
    loader.creations(&needs).await?;
    loader.staged(&needs).await?;
    loader.records(&needs).await?;
    loader.metric_requests(&needs).await?;
    loader.cache(&needs).await?;
    loader.clear(&needs).await?;
    let Loader { cache, read, .. } = loader;
    Ok(Work::new(cache, read, now))
}

pub(super) struct Loader<'t, 'c> {
    pub(super) tx: &'t mut Transaction<'c>,
    pub(super) cache: Cache,
    pub(super) read: Read,
}

impl Loader<'_, '_> {
    /// Runs `SELECT … FROM (VALUES rows) v CROSS JOIN …` unless there are no rows.
    pub(super) async fn select<R>(
        &mut self,
        columns: &str,
        (width, tables): (usize, &str),
        keys: &[R],
        bind: impl Fn(&mut Script, &R),
    ) -> Result<Vec<Row>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut script = self.tx.script();
        script.values((&format!("SELECT {columns} FROM "), width, tables), keys, bind);
        Ok(self.tx.fetch(script).await?)
    }

    /// Answers the sessions of the rows.
    async fn executions(&mut self, needs: &Needs) -> Result<HashSet<SessionNo>> {
        const TABLES: &str = " v CROSS JOIN executions x ON x.tenant = v.column1 \
            AND x.execution_id = v.column2 CROSS JOIN sessions s ON s.session = x.session";
        let keys: Vec<_> = needs.executions.iter().collect();
        let found = self
            .select(EXECUTION, (2, TABLES), &keys, |script, (tenant, id)| {
                script.bind(tenant.0).bind(id);
            })
            .await?;
        let mut sessions = HashSet::default();
        for row in &found {
            let (tenant, execution) = rows::execution(row)?;
            sessions.insert(execution.session);
            let key = (tenant, execution.execution_id.clone());
            self.read.executions.insert(key, execution);
        }
        Ok(sessions)
    }

    /// Answers the sessions of the artifacts.
    async fn artifacts(&mut self, needs: &Needs) -> Result<HashSet<SessionNo>> {
        const TABLES: &str = " v CROSS JOIN artifacts a ON a.tenant = v.column1 \
            AND a.artifact_id = v.column2 CROSS JOIN sessions s ON s.session = a.session";
        let keys: Vec<_> = needs.artifacts.iter().collect();
        let found = self
            .select(ARTIFACT, (2, TABLES), &keys, |script, (tenant, id)| {
                script.bind(tenant.0).bind(id.as_str().to_owned());
            })
            .await?;
        let mut sessions = HashSet::default();
        for row in &found {
            let (tenant, fact) = rows::artifact(row)?;
            sessions.insert(fact.session);
            self.read.artifacts.insert((tenant, fact.artifact.artifact_id.clone()), fact);
        }
        Ok(sessions)
    }

    async fn heads(&mut self, needs: &Needs, by_number: HashSet<SessionNo>) -> Result<()> {
        const BY_ID: &str = " v CROSS JOIN sessions s ON s.tenant = v.column1 \
            AND s.session_id = v.column2 CROSS JOIN heads h ON h.session = s.session";
        if self.cache.is_shared() {
            return self.are_locked(by_number.iter());
        }
        let mut unknown = Vec::new();
        for key in needs.sessions.keys() {
            let Some(session) = self.cache.ids.take(key) else {
                unknown.push(key.clone());
                continue;
            };
            match self.cache.heads.take(&session) {
                Some(head) => self.keep(head),
                None => unknown.push(key.clone()),
            }
        }
        let found = self
            .select(HEAD, (2, BY_ID), &unknown, |script, (tenant, id)| {
                script.bind(tenant.0).bind(id.clone());
            })
            .await?;
        self.keep_all(&found)?;
        self.heads_by_number(by_number).await?;
        self.held(needs).await
    }

    async fn heads_by_number(&mut self, sessions: HashSet<SessionNo>) -> Result<()> {
        const TABLES: &str = " v CROSS JOIN heads h ON h.session = v.column1 \
            CROSS JOIN sessions s ON s.session = h.session";
        let mut unknown = Vec::new();
        for session in sessions {
            if self.read.heads.contains_key(&session) {
                continue;
            }
            match self.cache.heads.take(&session) {
                Some(head) => self.keep(head),
                None => unknown.push(session),
            }
        }
        let found = self
            .select(HEAD, (1, TABLES), &unknown, |script, session| {
                script.bind(session.0);
            })
            .await?;
        self.keep_all(&found)
    }

    /// The sessions that retiring holders hold.
    async fn held(&mut self, needs: &Needs) -> Result<()> {
        const TABLES: &str = " v CROSS JOIN heads h ON h.holder_id = v.column1";
        let keys: Vec<_> = needs.held.iter().collect();
        let found = self
            .select("h.session", (1, TABLES), &keys, |script, holder| {
                script.bind(holder.as_str().to_owned());
            })
            .await?;
        let mut sessions = HashSet::default();
        for row in &found {
            sessions.insert(SessionNo(row.try_get(0)?));
        }
        Box::pin(self.heads_by_number(sessions)).await
    }

    fn keep_all(&mut self, found: &[Row]) -> Result<()> {
        for row in found {
            let head = rows::head(row)?;
            self.keep(head);
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, owned: OwnedHead) {
        let key = (owned.tenant, owned.head.session_id.clone());
        self.read.ids.insert(key, owned.head.session);
        self.read.heads.insert(owned.head.session, owned);
    }

    async fn names(&mut self, needs: &Needs) -> Result<()> {
        let mut unknown = Vec::new();
        for name in &needs.names {
            match self.cache.names.take(name) {
                Some(number) => drop(self.read.names.insert(name.clone(), number)),
                None => unknown.push(name.clone()),
            }
        }
        let tables = " v CROSS JOIN names n ON n.name = v.column1";
        let found = self
            .select("n.name, n.name_no", (1, tables), &unknown, |script, name| {
                script.bind(name.to_string());
            })
            .await?;
        for row in &found {
            let (name, number): (Cow<'_, str>, i64) = (row.try_get(0)?, row.try_get(1)?);
            self.read.names.insert(name.into(), number);
        }
        Ok(())
    }

    async fn session_facts(&mut self, needs: &Needs) -> Result<()> {
        let sessions: Vec<(SessionNo, &SessionNeeds)> = needs
            .sessions
            .iter()
            .filter_map(|(key, needs)| Some((*self.read.ids.get(key)?, needs)))
            .collect();
        self.requests(&sessions).await?;
        self.calls(&sessions).await?;
        self.messages(&sessions).await?;
        self.states(&sessions).await?;
        self.parts(&sessions).await?;
        self.descriptions(&sessions).await
    }

    async fn requests(&mut self, sessions: &[(SessionNo, &SessionNeeds)]) -> Result<()> {
        let tables = " v CROSS JOIN requests r ON r.session = v.column1 AND r.request = v.column2";
        let keys: Vec<_> = flatten(sessions, |needs| &needs.requests);
        let found = self
            .select(KNOWN, (2, tables), &keys, |script, (session, key)| {
                script.bind(session.0).bind(key.0.to_vec());
            })
            .await?;
        for row in &found {
            let (session, key, known) = rows::known(row)?;
            self.read.known.insert((session, RequestKey(key)), known);
        }
        Ok(())
    }

    async fn calls(&mut self, sessions: &[(SessionNo, &SessionNeeds)]) -> Result<()> {
        let tables = " v WHERE EXISTS (SELECT 1 FROM executions x \
            WHERE x.session = v.column1 AND x.call_id = v.column2)";
        let keys: Vec<_> = flatten(sessions, |needs| &needs.calls);
        let found = self
            .select("v.column1, v.column2", (2, tables), &keys, |script, (session, call)| {
                script.bind(session.0).bind(*call);
            })
            .await?;
        for row in &found {
            self.read.calls.insert((SessionNo(row.try_get(0)?), row.try_get(1)?));
        }
        Ok(())
    }

    async fn messages(&mut self, sessions: &[(SessionNo, &SessionNeeds)]) -> Result<()> {
        let tables =
            " v CROSS JOIN messages m ON m.session = v.column1 AND m.message_id = v.column2";
        let keys: Vec<_> = flatten(sessions, |needs| &needs.messages);
        let columns = "m.session, m.message_id, m.message, m.pieces";
        let found = self
            .select(columns, (2, tables), &keys, |script, (session, message)| {
                script.bind(session.0).bind(*message);
            })
            .await?;
        for row in &found {
            let key = (SessionNo(row.try_get(0)?), row.try_get(1)?);
            if let Some(pieces) = rows::pieces(row, 3)? {
                self.read.message_pieces.insert(key.clone(), pieces);
            }
            self.read.messages.insert(key, rows::position(row.try_get(2)?));
        }
        Ok(())
    }

    async fn states(&mut self, sessions: &[(SessionNo, &SessionNeeds)]) -> Result<()> {
        let tables = " v CROSS JOIN states t ON t.session = v.column1";
        let keys: Vec<_> = chosen(sessions, |needs| needs.state);
        let columns = "t.session, t.data, t.version, t.updated_at, t.tenant, t.pieces";
        let found = self
            .select(columns, (1, tables), &keys, |script, session| {
                script.bind(session.0);
            })
            .await?;
        for row in &found {
            let session = SessionNo(row.try_get(0)?);
            let updated_at: Option<i64> = row.try_get(3)?;
            let updated_at = updated_at.map(Stamp::from_micros);
            let mut data: String = row.try_get(1)?;
            if let Some(pieces) = rows::pieces(row, 5)? {
                let tenant = TenantNo(row.try_get(4)?);
                let contents = self.contents(tenant, &pieces).await?;
                join_text(&mut data, 0, &pieces, &contents)
                    .ok_or_else(|| super::error::damaged("state"))?;
                self.read.state_pieces.insert(session, (tenant, pieces));
            }
            self.read.states.insert(session, State { data, version: row.try_get(2)?, updated_at });
        }
        Ok(())
    }

    async fn contents(&mut self, tenant: TenantNo, pieces: &Pieces) -> Result<Contents> {
        let hashes: Vec<_> = pieces.hashes().collect();
        let found = self
            .select("c.hash, c.bytes", (2, CONTENTS), &hashes, |script, hash| {
                script.bind(tenant.0).bind(hash.0.to_vec());
            })
            .await?;
        found.iter().map(rows::content).collect()
    }

    /// Clears away what refers to contents, some rows of each table.
    async fn clear(&mut self, needs: &Needs) -> Result<()> {
        if needs.purges.is_empty() {
            return Ok(());
        }
        if self.cache.is_shared() {
            self.lock_purges(&needs.purges).await?;
        }
        let mut script = self.tx.script();
        for purge in &needs.purges {
            purge.clear(&mut script);
        }
        for row in self.tx.fetch(script).await? {
            if let Some(pieces) = rows::pieces(&row, 1)? {
                self.read.cleared.push((TenantNo(row.try_get(0)?), pieces));
            }
        }
        Ok(())
    }

    /// Others may clear away the same: what is freed by a row is counted once.
    async fn lock_purges(&mut self, purges: &[PurgeRow]) -> Result<()> {
        const TABLES: &str =
            " v CROSS JOIN purges p ON p.purge = v.column1 ORDER BY p.purge FOR UPDATE OF p";
        self.select("p.purge", (1, TABLES), purges, |script, purge| {
            script.bind(purge.purge);
        })
        .await
        .map(drop)
    }

    async fn parts(&mut self, sessions: &[(SessionNo, &SessionNeeds)]) -> Result<()> {
        let tables = " v CROSS JOIN parts p ON p.session = v.column1 ORDER BY p.session, p.part";
        let keys: Vec<_> = chosen(sessions, |needs| needs.parts);
        let found = self
            .select(PART, (1, tables), &keys, |script, session| {
                script.bind(session.0);
            })
            .await?;
        for row in &found {
            let (session, part) = rows::part(row)?;
            self.read.parts.entry(session).or_default().push(part);
        }
        Ok(())
    }

    async fn staged(&mut self, needs: &Needs) -> Result<()> {
        const STAGED: &str =
            " v CROSS JOIN purges p ON p.session = v.column1 WHERE p.staged IS NOT NULL";
        const LOCKED: &str = " v CROSS JOIN purges p ON p.session = v.column1 \
            WHERE p.staged IS NOT NULL FOR UPDATE OF p";
        let tables = if self.cache.is_shared() { LOCKED } else { STAGED };
        let keys: Vec<_> = needs.staged.iter().collect();
        let found = self
            .select("p.session, p.staged", (1, tables), &keys, |script, session| {
                script.bind(session.0);
            })
            .await?;
        for row in &found {
            let until = Stamp::from_micros(row.try_get(1)?);
            self.read.staged.insert(SessionNo(row.try_get(0)?), until);
        }
        Ok(())
    }

    async fn descriptions(&mut self, sessions: &[(SessionNo, &SessionNeeds)]) -> Result<()> {
        let tables = " v CROSS JOIN sessions s ON s.session = v.column1";
        let keys: Vec<_> = chosen(sessions, |needs| needs.description);
        let columns = "s.session, s.metadata, s.manifest_digest";
        let found = self
            .select(columns, (1, tables), &keys, |script, session| {
                script.bind(session.0);
            })
            .await?;
        for row in &found {
            let description =
                Description { metadata: row.try_get(1)?, manifest_digest: row.try_get(2)? };
            self.read.descriptions.insert(SessionNo(row.try_get(0)?), description);
        }
        Ok(())
    }

    /// Also the heads of the sessions that were created, for the answer.
    async fn creations(&mut self, needs: &Needs) -> Result<()> {
        let tables = " v CROSS JOIN creations c ON c.tenant = v.column1 AND c.request = v.column2";
        let keys: Vec<_> = needs.creations.iter().collect();
        let columns = "c.tenant, c.request, c.fingerprint, c.session, c.sequence";
        let found = self
            .select(columns, (2, tables), &keys, |script, (tenant, key)| {
                script.bind(tenant.0).bind(key.0.to_vec());
            })
            .await?;
        let mut sessions = HashSet::default();
        for row in &found {
            let creation = Creation {
                tenant: TenantNo(row.try_get(0)?),
                key: RequestKey(rows::half_hash(row, 1)?),
                fingerprint: Fingerprint(rows::half_hash(row, 2)?),
                session: SessionNo(row.try_get(3)?),
                sequence: row.try_get(4)?,
            };
            self.read.creations.insert((creation.tenant, creation.key), creation);
            sessions.insert(creation.session);
        }
        if self.cache.is_shared() {
            return self.are_locked(sessions.iter());
        }
        self.heads_by_number(sessions).await
    }

    async fn records(&mut self, needs: &Needs) -> Result<()> {
        let tables = " v CROSS JOIN records r ON r.tenant = v.column1 AND r.key = v.column2";
        let keys: Vec<_> = needs.records.iter().collect();
        let columns = "r.tenant, r.key, r.revision, r.created_at, r.expires_at";
        let found = self
            .select(columns, (2, tables), &keys, |script, (tenant, key)| {
                script.bind(tenant.0).bind(key.as_str().to_owned());
            })
            .await?;
        for row in &found {
            let key = RecordKey::parse(&row.try_get::<Cow<str>>(1)?)
                .map_err(|_| super::error::damaged("key"))?;
            let expires_at: Option<i64> = row.try_get(4)?;
            let fact = RecordFact {
                revision: row.try_get(2)?,
                created_at: Stamp::from_micros(row.try_get(3)?),
                expires_at: expires_at.map(Stamp::from_micros),
            };
            self.read.records.insert((TenantNo(row.try_get(0)?), key), fact);
        }
        Ok(())
    }
}

fn flatten<'n, T>(
    sessions: &[(SessionNo, &'n SessionNeeds)],
    what: impl Fn(&'n SessionNeeds) -> &'n Vec<T>,
) -> Vec<(SessionNo, &'n T)> {
    sessions.iter().flat_map(|(no, needs)| what(needs).iter().map(|item| (*no, item))).collect()
}

fn chosen(
    sessions: &[(SessionNo, &SessionNeeds)],
    wanted: impl Fn(&SessionNeeds) -> bool,
) -> Vec<SessionNo> {
    sessions.iter().filter(|(_, needs)| wanted(needs)).map(|(no, _)| *no).collect()
}

/// Gives numbers to names that come up for the first time in a database that others write too.
pub(super) async fn number_names(tx: &mut Transaction<'_>, work: &mut Work) -> Result<()> {
    let new: BTreeSet<Arc<str>> = work.unknown_names().cloned().collect();
    if new.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = new.into_iter().collect();
    let mut script = tx.script();
    let conflict = "ORDER BY column1 ON CONFLICT (name) DO NOTHING";
    script.insert(("names (name)", 1, conflict), &names, |script, name| {
        script.bind(&**name);
    });
    let before = "SELECT n.name, n.name_no FROM ";
    script.values(
        (before, 1, " v CROSS JOIN names n ON n.name = v.column1"),
        &names,
        |script, name| {
            script.bind(&**name);
        },
    );
    for row in &tx.fetch(script).await? {
        let (name, number): (Cow<'_, str>, i64) = (row.try_get(0)?, row.try_get(1)?);
        work.read.names.insert(name.into(), number);
    }
    Ok(())
}

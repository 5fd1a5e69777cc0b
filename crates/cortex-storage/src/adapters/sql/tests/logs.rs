//! What becomes of rows: those that forks share, those that imports stage, and old requests.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cortex_core::SessionId;
use cortex_transcode::JsonCodec;
use futures::TryStreamExt;

use super::{Fixture, append};
use crate::{
    error::{Result, StorageError},
    journal::{
        Command, CommandKind, Direct, DirectEffect, Fingerprint, ForkRequest, Payload, Sequence,
    },
    ports::{JournalStore, SessionStore, TransferStore},
    state::StateChange,
    transfer::{ImportLimits, Importer, export, fork},
};

on_both! {
    shared_rows_stay_until_nobody_refers_to_them,
    a_number_is_not_used_again_while_a_fork_refers_to_it,
    a_log_of_too_many_parts_becomes_its_own,
    what_an_import_stages_is_seen_by_nobody_and_goes_away_when_it_is_given_up,
    a_log_that_has_rows_of_others_goes_on_while_they_are_copied,
    old_requests_are_forgotten_and_young_ones_are_known,
}

const LIMITS: ImportLimits = ImportLimits {
    content: 1 << 30,
    line: 1 << 20,
    message: 1 << 20,
    state: 1 << 20,
    metadata: 1 << 20,
};

impl Fixture {
    async fn patch(&self, session: &SessionId, n: i64) {
        let type_url = "type.googleapis.com/test.Patch".into();
        let payload = Payload { type_url, value: Bytes::from(vec![7; 64]) };
        let direct = Direct {
            session_id: session.clone(),
            command: Command { kind: CommandKind::State, name: "patch".into(), payload },
            effect: DirectEffect::State(StateChange::Merge(format!("{{\"n\":{n}}}")), None),
            request_id: None,
            fingerprint: Fingerprint::default(),
            max_pending: 1024,
            max_state: 1 << 20,
        };
        self.store.direct(&self.tenant, direct).await.expect("patched");
    }

    async fn fork(&self, session: &SessionId, sequence: Sequence) -> SessionId {
        let request = ForkRequest {
            session_id: session.clone(),
            sequence: Some(sequence),
            metadata: None,
            request_id: None,
            fingerprint: Fingerprint::default(),
        };
        let forked = fork(&*self.store, &self.tenant, request).await.expect("forked");
        assert_eq!(forked.sequence, sequence);
        forked.session.session_id
    }

    /// Lets the writer forget everything: it reads anew after a transaction that failed.
    async fn forget(&self) {
        let failed = self.raw("INSERT INTO nowhere VALUES (1);").await;
        assert!(failed.is_err());
    }

    /// That there are so many entries and marks.
    async fn has_rows(&self, entries: i64, marks: i64) {
        assert_eq!((self.count("entries").await, self.count("marks").await), (entries, marks));
    }

    async fn state(&self, session: &SessionId) -> String {
        self.store.state(&self.tenant, session).await.expect("a state").0.data
    }

    async fn delete(&self, session: &SessionId) {
        self.store.delete_session(&self.tenant, session).await.expect("deleted");
    }

    async fn lines(&self, session: &SessionId) -> Vec<String> {
        let whole = self.store.whole(&self.tenant, session).await.expect("it is there");
        let store: Arc<dyn TransferStore> = self.store.clone();
        export(store, whole, codec()).try_collect().await.expect("exported")
    }

    fn importer(&self) -> Importer {
        Importer::new(self.store.clone(), self.tenant.clone(), codec(), LIMITS)
    }
}

fn codec() -> Arc<JsonCodec> {
    Arc::new(JsonCodec::new(cortex_proto::descriptor_pool()))
}

async fn shared_rows_stay_until_nobody_refers_to_them(f: Fixture) {
    let parent = f.session().await;
    for n in 1..=10 {
        f.patch(&parent, n).await;
    }
    let child = f.fork(&parent, 6).await;
    let grandchild = f.fork(&child, 4).await;
    f.patch(&child, 100).await;
    f.patch(&grandchild, 200).await;
    f.has_rows(12, 12).await;
    f.delete(&parent).await;
    f.kept().await;
    f.has_rows(8, 8).await;
    f.delete(&child).await;
    f.kept().await;
    f.has_rows(5, 5).await;
    assert_eq!(f.sequences(&grandchild).await, [1, 2, 3, 4, 5]);
    assert_eq!(f.state(&f.fork(&grandchild, 3).await).await, r#"{"n":3}"#);
    f.delete(&grandchild).await;
    f.kept().await;
    f.has_rows(3, 3).await;
}

async fn a_number_is_not_used_again_while_a_fork_refers_to_it(f: Fixture) {
    let child = f.session().await;
    let parent = f.session().await;
    f.patch(&parent, 1).await;
    let sql = "SELECT max(session) FROM sessions";
    let number = f.number(sql).await;
    let child_of_parent = f.fork(&parent, 1).await;
    f.delete(&parent).await;
    f.delete(&child).await;
    f.kept().await;
    f.forget().await;
    let next = f.session().await;
    assert!(f.number(sql).await > number + 1);
    assert_eq!(f.sequences(&next).await, [] as [i64; 0]);
    assert_eq!(f.sequences(&child_of_parent).await, [1]);
}

async fn a_log_of_too_many_parts_becomes_its_own(f: Fixture) {
    let mut sessions = vec![f.session().await];
    f.patch(&sessions[0], 1).await;
    for n in 2..=10 {
        let next = f.fork(&sessions[sessions.len() - 1], n - 1).await;
        f.patch(&next, n).await;
        sessions.push(next);
    }
    // The last one has nine parts, one more than are allowed.
    f.until("SELECT count(*) FROM parts p WHERE p.part > 8").await;
    let last = sessions.pop().expect("there are some");
    assert_eq!(f.sequences(&last).await, (1..=10).collect::<Vec<_>>());
    let own = "SELECT count(*) FROM parts p WHERE p.session = (SELECT max(session) FROM sessions)";
    assert_eq!(f.number(own).await, 0);
    let lines = f.lines(&last).await;
    for session in sessions {
        f.delete(&session).await;
    }
    f.kept().await;
    f.has_rows(10, 10).await;
    assert_eq!(f.lines(&last).await, lines, "the same entries and marks");
    assert_eq!(f.state(&f.fork(&last, 7).await).await, r#"{"n":7}"#);
    f.patch(&last, 11).await;
    assert_eq!(f.sequences(&last).await, (1..=11).collect::<Vec<_>>());
}

async fn what_an_import_stages_is_seen_by_nobody_and_goes_away_when_it_is_given_up(f: Fixture) {
    try_what_an_import_stages_is_seen_by_nobody_and_goes_away_when_it_is_given_up(&f)
        .await
        .expect("imported");
}

async fn try_what_an_import_stages_is_seen_by_nobody_and_goes_away_when_it_is_given_up(
    f: &Fixture,
) -> Result<()> {
    let session = f.session().await;
    for n in 0..1500 {
        f.patch(&session, n).await;
    }
    let lines = f.lines(&session).await;
    let (first, rest) = lines.split_at(1400);
    let mut importer = f.importer();
    importer.take(&Bytes::from(first.join("\n") + "\n")).await?;
    assert_eq!(f.count("entries").await, 1500 + 1024, "a batch is staged");
    assert_eq!(f.count("sessions").await, 1);
    // Nothing comes for too long: it is cleared away, and what still comes is refused.
    f.clock.advance(Duration::from_secs(601));
    f.kept().await;
    f.has_rows(1500, 1500).await;
    importer.take(&Bytes::from(rest.join("\n"))).await?;
    assert_eq!(importer.finish(None).await, Err(StorageError::ImportExpired));
    try_import_whole(f, &lines).await
}

async fn try_import_whole(f: &Fixture, lines: &[String]) -> Result<()> {
    let mut importer = f.importer();
    importer.take(&Bytes::from(lines.join("\n"))).await?;
    f.clock.advance(Duration::from_secs(599));
    let imported = importer.finish(None).await?.session_id;
    f.clock.advance(Duration::from_secs(3600));
    f.kept().await;
    assert_eq!(f.lines(&imported).await[1..], lines[1..]);
    // Half of it, given up by who imports.
    let mut importer = f.importer();
    importer.take(&Bytes::from(lines[..1400].join("\n"))).await?;
    importer.abandon().await?;
    f.kept().await;
    assert_eq!((f.count("entries").await, f.count("sessions").await), (3000, 2));
    Ok(())
}

async fn a_log_that_has_rows_of_others_goes_on_while_they_are_copied(f: Fixture) {
    let parent = f.session().await;
    for n in 1..=3 {
        f.patch(&parent, n).await;
    }
    let child = f.fork(&parent, 2).await;
    let whole = f.store.whole(&f.tenant, &child).await.expect("it is there");
    let (entries, marks) = f.store.reader.shared_rest(whole.standing()).await.expect("read");
    assert_eq!((entries.len(), marks.len()), (2, 2));
    f.store.own(&f.tenant, &child, (entries, marks)).await.expect("copied");
    assert_eq!(f.sequences(&child).await, [1, 2]);
    assert_eq!(f.sequences(&f.fork(&child, 1).await).await, [1]);
    let rest = f.store.reader.shared_rest(whole.standing()).await.expect("read");
    assert!(rest.0.is_empty() && rest.1.is_empty());
    f.store.own(&f.tenant, &child, rest).await.expect("let go");
    f.delete(&parent).await;
    f.kept().await;
    // A reader whose standing is older still finds everything.
    let replayed = f.store.replay(whole.standing(), 0).await.expect("replayed");
    assert_eq!(replayed.len(), 2);
}

async fn old_requests_are_forgotten_and_young_ones_are_known(f: Fixture) {
    let held = f.held().await;
    for n in 0..3000 {
        f.append(&held, &format!("old-{n}")).await.expect("appended");
    }
    f.clock.advance(Duration::from_secs(24 * 3600 + 1));
    f.append(&held, "young").await.expect("appended");
    f.until("SELECT count(*) - 1 FROM requests").await;
    assert_eq!(f.append(&held, "young").await.map(|a| a.first), Ok(3001));
    let renewed = append(&held, "old-7");
    assert_eq!(f.store.append(&f.tenant, renewed).await.map(|a| a.first), Ok(3002), "a new one");
}

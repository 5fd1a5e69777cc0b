//! What is stored once, and how often it is referred to.

use sqlx::Row as _;
use std::collections::BTreeMap;

use cortex_core::{CallId, ClaimantId, ExecutionId, MessageId, TurnId};
use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::{
    content::{ContentHash, Pieces},
    entry_text::Text,
    history::ToolCall,
    journal::{
        Claim, CommandKind, ExecutionKind, Finish, Intent, MessageUpdate, ObjectText, Outcome,
        OutcomeKind, StateDelta,
    },
    ports::TransferStore,
    state::StateChange,
};

/// A text that is large enough to be stored once.
fn large(number: u8) -> String {
    format!("{{\"{number:04}\":\"{}\"}}", "x".repeat(5_000))
}

/// A payload of the fields 1, a short text, and 2, the text.
fn event(text: &str) -> Event {
    let mut value = Vec::new();
    prost::encoding::string::encode(1, &"short".to_owned(), &mut value);
    prost::encoding::string::encode(2, &text.to_owned(), &mut value);
    let payload = Payload { value: value.into(), ..payload() };
    Event { name: "tool_result".into(), payload }
}

fn message(id: &MessageId, text: &str, arguments: &str) -> NewMessage {
    let call = ToolCall {
        call_id: CallId::generate(),
        name: "write".into(),
        arguments: arguments.to_owned(),
        provider_data: String::new(),
    };
    NewMessage {
        message_id: id.clone(),
        role: Role::Assistant,
        content: Text::Given(text.to_owned()),
        metadata: String::new(),
        tool_calls: vec![call],
        call_id: None,
        turn_id: None,
    }
}

/// How often each content is referred to: what is counted, and what the rows say.
async fn references(f: &Fixture) -> (BTreeMap<ContentHash, i64>, BTreeMap<ContentHash, i64>) {
    let conn = &mut f.other().await;
    let sql = "SELECT hash, refs, bytes FROM contents";
    let mut counted = BTreeMap::new();
    for row in sqlx::query(sql).fetch_all(&mut *conn).await.expect("contents") {
        let hash = ContentHash(row.get::<&[u8], _>(0).try_into().expect("a hash"));
        assert_eq!(ContentHash::of(row.get(2)), hash);
        counted.insert(hash, row.get(1));
    }
    let mut said = BTreeMap::new();
    let sql = "SELECT pieces FROM entries UNION ALL SELECT pieces FROM messages \
        UNION ALL SELECT pieces FROM outcomes UNION ALL SELECT pieces FROM states \
        UNION ALL SELECT pieces FROM marks";
    for row in sqlx::query(sql).fetch_all(conn).await.expect("pieces") {
        let Some(pieces) = row.get::<Option<&[u8]>, _>(0) else { continue };
        for hash in Pieces::decode(pieces).expect("pieces").hashes() {
            *said.entry(hash).or_default() += 1;
        }
    }
    (counted, said)
}

async fn housekeeping_is_done(f: &Fixture) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while f.count("purges").await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("housekeeping ends");
}

#[tokio::test]
async fn a_content_is_stored_once_in_a_commit_and_after_it() {
    let f = Fixture::open().await;
    let (first, second) = (f.held().await, f.held().await);
    let (same, other) = (large(1), large(2));
    let with = |held: &(SessionId, HolderId), request: &str, text: &str| {
        let mut op = append(held, request);
        op.events = vec![event(text), event(text)];
        op.effects.messages = vec![message(&MessageId::generate(), text, "{}")];
        f.store.append(&f.tenant, op)
    };
    let appends = [with(&first, "a", &same), with(&second, "a", &same), with(&first, "b", &other)];
    for appended in join_all(appends).await {
        appended.expect("appended");
    }
    with(&second, "b", &same).await.expect("appended");
    let (counted, said) = references(&f).await;
    assert_eq!(counted, said);
    assert_eq!(counted.values().copied().collect::<Vec<_>>().iter().sum::<i64>(), 16);
    assert_eq!(counted.get(&ContentHash::of(same.as_bytes())), Some(&12));
    let page = f
        .store
        .replay((&f.store.journal(&f.tenant, &first.0).await.expect("a head").head).into(), 0);
    let read: Vec<_> = page.await.expect("entries").into_iter().map(|e| e.payload).collect();
    let written: Vec<_> =
        [&same, &same, &other, &other].into_iter().map(|text| event(text).payload).collect();
    assert_eq!(read, written);
}

/// A payload of a turn's id and more texts.
fn in_turn(turn: &str, texts: &[&str]) -> Event {
    let mut value = Vec::new();
    prost::encoding::string::encode(3, &turn.to_owned(), &mut value);
    for text in texts {
        prost::encoding::string::encode(9, &(*text).to_owned(), &mut value);
    }
    Event { name: "content_delta".into(), payload: Payload { value: value.into(), ..payload() } }
}

#[tokio::test]
async fn events_of_a_turn_store_its_id_once_and_are_read_as_they_were_written() {
    let f = Fixture::open().await;
    let held = f.held().await;
    let (one, other) =
        ("turn_00000000000000000000000000000001", "turn_00000000000000000000000000000002");
    let (large, medium) = (large(1), "m".repeat(200));
    // Without any large field the payload is one piece, and nothing is left of its beginning.
    let many = vec![medium.as_str(); 40];
    let events = [
        in_turn(one, &["a"]),
        in_turn(one, &["b", "c"]),
        in_turn(one, &[&large]),
        in_turn(one, &many),
        in_turn(one, &["d"]),
        in_turn("", &["outside"]),
        in_turn(one, &["e"]),
        in_turn(other, &many),
        in_turn(other, &["f"]),
        in_turn(other, &["g"]),
    ];
    let written: Vec<Payload> = events.iter().map(|event| event.payload.clone()).collect();
    for (number, event) in events.into_iter().enumerate() {
        let op = Append { events: vec![event], ..append(&held, &number.to_string()) };
        f.store.append(&f.tenant, op).await.expect("appended");
    }
    let head = f.store.journal(&f.tenant, &held.0).await.expect("a head").head;
    let read = f.store.replay((&head).into(), 0).await.expect("entries");
    assert_eq!(read.into_iter().map(|entry| entry.payload).collect::<Vec<_>>(), written);
    let sql =
        "SELECT entry & 4294967295, start FROM entries WHERE start IS NOT NULL ORDER BY entry";
    let rows = sqlx::query(sql).fetch_all(&mut f.other().await).await.expect("rows");
    let starts: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(starts, [(2, 1), (3, 1), (5, 1), (7, 1), (10, 9)]);
}

#[tokio::test]
async fn a_log_and_what_it_comes_to_are_read_with_everything_large() {
    let f = Fixture::open().await;
    let held = f.held().await;
    let (text, new_text, data) = (large(1), large(2), large(3));
    let id = MessageId::generate();
    let joins = Effects {
        messages: vec![message(&MessageId::generate(), "short", "{}"), message(&id, &text, "{}")],
        state: Some(StateChange::Replace(data.clone())),
        ..Effects::default()
    };
    let update = MessageUpdate { message_id: id, content: Text::Given(new_text.clone()) };
    let changes = Effects { message_updates: vec![update], ..Effects::default() };
    for (number, effects) in [joins, changes].into_iter().enumerate() {
        let op = Append { effects, ..append(&held, &number.to_string()) };
        f.store.append(&f.tenant, op).await.expect("appended");
    }
    let whole = f.store.whole(&f.tenant, &held.0).await.expect("it is there");
    assert_eq!(whole.state.data, data);
    let marks = f.store.marks(whole.head.session, 0, whole.head.marks).await.expect("marks");
    let deltas: Vec<_> = marks.into_iter().map(|mark| mark.delta).collect();
    let joined = deltas.iter().flat_map(|delta| &delta.messages).map(|added| &added.content);
    let changed = deltas.iter().flat_map(|delta| &delta.updates).map(|update| &update.content);
    assert_eq!(joined.chain(changed).collect::<Vec<_>>(), ["short", &*text, &*new_text]);
    let replaced = StateDelta::Replace(ObjectText(data));
    assert!(deltas.iter().any(|delta| delta.state.as_ref() == Some(&replaced)));
    let (counted, said) = references(&f).await;
    assert_eq!(counted, said);
}

#[tokio::test]
async fn a_transaction_that_fails_counts_nothing() {
    let f = Fixture::open().await;
    let held = f.held().await;
    let mut op = append(&held, "a");
    op.events = vec![event(&large(1))];
    let (appended, bad) =
        futures::join!(f.store.append(&f.tenant, op), f.raw("INSERT INTO nowhere VALUES (1);"),);
    assert!(bad.is_err());
    appended.expect("done again alone");
    let (counted, said) = references(&f).await;
    assert_eq!(counted, said);
    assert_eq!(counted.into_values().collect::<Vec<_>>(), [1]);
}

/// Something that changes what is referred to.
#[derive(Debug, Clone)]
enum Change {
    Append(Vec<u8>),
    AddMessage(u8, u8),
    UpdateMessage(usize, u8),
    DeleteMessage(usize),
    State(u8),
    Outcome(u8),
    ClearHistory,
    DeleteSession,
}

fn change() -> impl Strategy<Value = Change> {
    let text = 0..6_u8;
    prop_oneof![
        4 => proptest::collection::vec(text.clone(), 1..4).prop_map(Change::Append),
        4 => (text.clone(), text.clone()).prop_map(|(a, b)| Change::AddMessage(a, b)),
        3 => (any::<usize>(), text.clone()).prop_map(|(at, a)| Change::UpdateMessage(at, a)),
        2 => any::<usize>().prop_map(Change::DeleteMessage),
        2 => text.clone().prop_map(Change::State),
        2 => text.prop_map(Change::Outcome),
        1 => Just(Change::ClearHistory),
        1 => Just(Change::DeleteSession),
    ]
}

/// Texts 0 and 1 are small.
fn text(number: u8) -> String {
    if number < 2 { format!("{{\"{number}\":1}}") } else { large(number) }
}

/// A session that changes happen to.
struct Target {
    held: (SessionId, HolderId),
    turn_id: TurnId,
    messages: Vec<MessageId>,
    requests: usize,
}

impl Target {
    async fn new(f: &Fixture) -> Self {
        let (held, turn_id) = (f.held().await, TurnId::generate());
        let mut target = Self { held, turn_id, messages: Vec::new(), requests: 0 };
        let opened_turn = Some(target.turn_id.clone());
        target.append(f, Vec::new(), Effects { opened_turn, ..Effects::default() }).await;
        target
    }

    async fn append(&mut self, f: &Fixture, events: Vec<Event>, effects: Effects) {
        self.requests += 1;
        let op = Append { events, effects, ..append(&self.held, &self.requests.to_string()) };
        f.store.append(&f.tenant, op).await.expect("appended");
    }

    async fn apply(&mut self, f: &Fixture, change: Change) {
        let mut effects = Effects::default();
        let mut events = vec![event("small")];
        match change {
            Change::Append(texts) => events.extend(texts.into_iter().map(|n| event(&text(n)))),
            Change::AddMessage(content, arguments) => {
                let id = MessageId::generate();
                effects.messages = vec![message(&id, &text(content), &text(arguments))];
                self.messages.push(id);
            }
            Change::UpdateMessage(at, content) if !self.messages.is_empty() => {
                let message_id = self.messages[at % self.messages.len()].clone();
                let content = Text::Given(text(content));
                effects.message_updates = vec![MessageUpdate { message_id, content }];
            }
            Change::DeleteMessage(at) if !self.messages.is_empty() => {
                let id = self.messages.remove(at % self.messages.len());
                effects.deleted_messages = vec![id];
            }
            Change::State(number) => {
                effects.state = Some(StateChange::Replace(text(number)));
            }
            Change::Outcome(number) => return self.finish_a_call(f, number).await,
            Change::ClearHistory => return self.clear_history(f).await,
            Change::DeleteSession => {
                f.store.delete_session(&f.tenant, &self.held.0).await.expect("deleted");
                *self = Self::new(f).await;
                return;
            }
            Change::UpdateMessage(..) | Change::DeleteMessage(_) => {}
        }
        self.append(f, events, effects).await;
    }

    async fn finish_a_call(&mut self, f: &Fixture, number: u8) {
        let execution_id = ExecutionId::generate();
        let intent = Intent {
            execution_id: execution_id.clone(),
            call_id: CallId::generate(),
            turn_id: self.turn_id.clone(),
            kind: ExecutionKind::Tool,
            name: "tool".into(),
            replaces: None,
        };
        let effects = Effects { intents: vec![intent], ..Effects::default() };
        self.append(f, Vec::new(), effects).await;
        let claimant_id = ClaimantId::generate();
        let claim = Claim {
            execution_id: execution_id.clone(),
            claimant_id: claimant_id.clone(),
            claimant_instance: "containers".into(),
            epoch: 1,
        };
        f.store.claim(&f.tenant, claim).await.expect("claimed");
        let details = event(&format!("{}\n", text(number))).payload;
        let outcome = Outcome {
            kind: OutcomeKind::Succeeded,
            result: text(number),
            error: String::new(),
            details: Some(details),
        };
        let finish = Finish { execution_id, claimant_id, outcome: outcome.clone() };
        let row = f.store.finish(&f.tenant, finish).await.expect("finished");
        assert_eq!(row.outcome, Some(outcome));
    }

    async fn clear_history(&mut self, f: &Fixture) {
        let closed_turn = Some(self.turn_id.clone());
        let settlements = f.store.journal(&f.tenant, &self.held.0).await.expect("a head").open;
        let settlements = settlements
            .into_iter()
            .map(|row| crate::journal::Settlement {
                execution_id: row.execution_id,
                kind: crate::journal::SettlementKind::Outcome,
            })
            .collect();
        self.append(f, Vec::new(), Effects { closed_turn, settlements, ..Effects::default() })
            .await;
        let mut command = submit(&self.held.0).command;
        command.kind = CommandKind::History;
        let direct = Direct {
            session_id: self.held.0.clone(),
            command,
            effect: DirectEffect::ClearHistory,
            request_id: None,
            fingerprint: Fingerprint::default(),
            max_pending: 1024,
            max_state: 1 << 20,
        };
        f.store.direct(&f.tenant, direct).await.expect("cleared");
        self.messages.clear();
        self.turn_id = TurnId::generate();
        let opened_turn = Some(self.turn_id.clone());
        self.append(f, Vec::new(), Effects { opened_turn, ..Effects::default() }).await;
    }
}

async fn counts_are_right(changes: Vec<(bool, Change)>) -> Result<(), TestCaseError> {
    let f = Fixture::open().await;
    let mut targets = [Target::new(&f).await, Target::new(&f).await];
    for (which, change) in changes {
        targets[usize::from(which)].apply(&f, change).await;
    }
    housekeeping_is_done(&f).await;
    let (counted, said) = references(&f).await;
    prop_assert_eq!(counted, said);
    for target in &targets {
        f.store.delete_session(&f.tenant, &target.held.0).await.expect("deleted");
    }
    housekeeping_is_done(&f).await;
    prop_assert_eq!(f.count("contents").await, 0);
    f.store.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn references_are_counted_as_rows_refer(
        changes in proptest::collection::vec((any::<bool>(), change()), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(counts_are_right(changes))?;
    }
}

const ARTIFACTS_OF_ALL_BUT_THE_FIRST: &str = "INSERT INTO artifacts (tenant, artifact_id, session, \
    name, type, path, size, metadata, content_type, digest, created_at, updated_at) \
    SELECT s.tenant, 'artifact_' || s.session || '_' || n, s.session, 'a', 'report', '', 1, '{}', \
    'text/plain', decode('01', 'hex'), 0, 0 FROM sessions s, generate_series(1, 200) n \
    WHERE s.session > (SELECT min(session) FROM sessions);";
const THEIR_BYTES: &str = "INSERT INTO artifact_bytes (tenant, digest, name, uses) \
    SELECT tenant, digest, 'bytes', count(*) FROM artifacts GROUP BY tenant, digest \
    ON CONFLICT (tenant, digest) DO UPDATE SET uses = excluded.uses;";

#[tokio::test]
async fn what_two_replicas_clear_away_at_once_is_let_go_of_once() -> Result<()> {
    let f = Fixture::postgres().await;
    let other = f.replica().await;
    let text = large(1);
    let with = async |count: usize| {
        let held = f.held().await;
        for number in 0..count {
            let mut op = append(&held, &number.to_string());
            op.effects.messages = vec![message(&MessageId::generate(), &text, "{}")];
            f.store.append(&f.tenant, op).await?;
        }
        Ok::<_, StorageError>(held.0)
    };
    let references = async || f.number("SELECT coalesce(max(refs), 0) FROM contents").await;
    with(1).await?;
    let kept = references().await;
    for _ in 0..5 {
        // The last ones have nothing but artifacts, so that no row of a log makes one wait for the other.
        let gone = [with(10).await?, f.session().await, f.session().await, f.session().await];
        assert!(references().await > kept);
        f.raw(ARTIFACTS_OF_ALL_BUT_THE_FIRST).await?;
        f.raw(THEIR_BYTES).await?;
        for session in &gone {
            f.store.delete_session(&f.tenant, session).await?;
        }
        tokio::try_join!(f.store.clear_away(), other.clear_away())?;
        assert_eq!(references().await, kept);
        let uses = f.number("SELECT coalesce(min(uses), 0) FROM artifact_bytes").await;
        assert_eq!((uses, f.count("artifacts").await), (0, 0));
    }
    other.close().await;
    Ok(())
}

//! One case: every step on both sides, and what must hold after each.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use cortex_config::SecretString;
use cortex_core::{CallId, ClaimantId, Clock, ExecutionId, HolderId, ManualClock, TurnId};
use cortex_proto::cortex::storage::v1::{
    journal_service_client::JournalServiceClient, session_service_client::SessionServiceClient, *,
};
use cortex_rpc::Transport;
use cortex_storage::{Storage, StorageConfig};
use cortex_testkit::{Postgres, PostgresDatabase};
use proptest::prelude::{TestCaseError, prop_assert_eq};
use prost_types::Any;
use tempfile::TempDir;
use tonic::{Response, Status, Streaming};

use crate::{
    model::{self, Model, State},
    step::{Effect, MOST_SESSIONS, SESSIONS, Settle, Step},
};

pub type Checked<T = ()> = Result<T, TestCaseError>;

/// The real storage, the model, and how the model's numbers are called in reality.
pub struct Run {
    pub(crate) model: Model,
    dir: TempDir,
    config: StorageConfig,
    _database: Option<PostgresDatabase<'static>>,
    /// Storages on one database.
    replicas: usize,
    turn: AtomicUsize,
    clock: Arc<ManualClock>,
    pub(crate) storages: Vec<Storage>,
    pub(crate) sessions: Vec<String>,
    pub(crate) holders: Vec<String>,
    instances: [String; 2],
    claimants: [String; 2],
    rows: Vec<String>,
    calls: Vec<String>,
    pub(crate) turns: HashMap<(usize, usize), String>,
    last_append: Vec<Option<(AppendEventsRequest, i64)>>,
    last_submit: Vec<Option<(SubmitCommandRequest, i64)>>,
    pub(crate) watchers: Vec<Option<Streaming<WatchEntriesResponse>>>,
    /// What each watcher has seen: sequence, and the epoch of its event.
    pub(crate) seen: Vec<Vec<(i64, i64)>>,
    /// What each fork shared when it was made.
    pub(crate) shared: Vec<Vec<JournalEntry>>,
    requests: u64,
}

/// What a call answered, as far as the model knows: a value, or a reason.
fn outcome<T, U>(
    answer: Result<Response<T>, Status>,
    value: impl FnOnce(T) -> U,
) -> Result<U, String> {
    match answer {
        Ok(response) => Ok(value(response.into_inner())),
        Err(status) => Err(cortex_rpc::reason(&status).unwrap_or_else(|| status.to_string())),
    }
}

fn owned<T>(answer: Result<T, model::Refusal>) -> Result<T, String> {
    answer.map_err(str::to_owned)
}

fn any(value: &str) -> Option<Any> {
    Some(Any { type_url: "test/text".into(), value: value.as_bytes().to_vec() })
}

impl Run {
    /// On SQLite, or on PostgreSQL with so many replicas.
    pub fn new(replicas: Option<usize>) -> Self {
        let mut config = StorageConfig::default();
        let database = replicas.map(|_| Postgres::shared().database());
        config.postgres.url = database.as_ref().map(|made| SecretString::new(made.url()));
        Self {
            config,
            _database: database,
            replicas: replicas.unwrap_or(1),
            turn: AtomicUsize::new(0),
            model: Model::new(SESSIONS),
            dir: tempfile::tempdir().expect("a temporary directory"),
            clock: Arc::new(ManualClock::new(
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
            )),
            storages: Vec::new(),
            sessions: Vec::new(),
            holders: Vec::new(),
            instances: ["node-1".into(), "node-2".into()],
            claimants: [ClaimantId::generate().to_string(), ClaimantId::generate().to_string()],
            rows: Vec::new(),
            calls: Vec::new(),
            turns: HashMap::new(),
            last_append: vec![None; SESSIONS],
            last_submit: vec![None; SESSIONS],
            watchers: (0..SESSIONS).map(|_| None).collect(),
            seen: vec![Vec::new(); SESSIONS],
            shared: vec![Vec::new(); SESSIONS],
            requests: 0,
        }
    }

    pub async fn run(mut self, steps: &[Step]) -> Checked {
        self.open().await;
        for _ in 0..SESSIONS {
            let request = CreateSessionRequest { agent_name: "a".into(), ..Default::default() };
            let mut sessions = SessionServiceClient::new(self.transport());
            let created = sessions.create_session(request).await.expect("a session").into_inner();
            self.sessions.push(created.session.expect("the session").id);
        }
        self.register(0).await?;
        self.register(1).await?;
        for session in 0..SESSIONS {
            self.watch(session).await;
        }
        for step in steps {
            self.step(*step).await?;
            self.compare().await?;
        }
        self.check_logs().await
    }

    /// The way to the next replica.
    fn transport(&self) -> Transport {
        let call = self.turn.fetch_add(1, Ordering::Relaxed);
        self.storages[call % self.storages.len()].transport()
    }

    pub(crate) fn journal(&self) -> JournalServiceClient<Transport> {
        JournalServiceClient::new(self.transport())
    }

    async fn open(&mut self) {
        for storage in self.storages.drain(..) {
            storage.close().await;
        }
        for _ in 0..self.replicas {
            let config = self.config.clone();
            let opened = Storage::open_at(config, self.dir.path(), self.clock.clone()).await;
            self.storages.push(opened.expect("storage opens"));
        }
    }

    fn request_id(&mut self) -> String {
        self.requests += 1;
        format!("request-{}", self.requests)
    }

    /// One of the sessions that are there.
    fn session(&self, chosen: usize) -> usize {
        let alive = self.model.alive();
        alive[chosen % alive.len()]
    }

    async fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::Submit { session, message, repeat } => {
                self.submit(self.session(session), message, repeat).await
            }
            Step::Register { instance } => self.register(instance).await,
            Step::Renew { holder } => self.renew(holder % self.holders.len()).await,
            Step::Retire { holder } => self.retire(holder % self.holders.len()).await,
            Step::Acquire { session, holder, stale } => {
                self.acquire(self.session(session), holder % self.holders.len(), stale).await
            }
            Step::Append { session, holder, stale, effect } => {
                let session = self.session(session);
                if holder > 0 {
                    self.prepare(session, effect).await?;
                }
                let holder = self.likely_holder(session, holder);
                self.append(session, holder, stale, effect).await
            }
            Step::Repeat { session } => self.repeat(self.session(session)).await,
            Step::Release { session, holder, stale, wait } => {
                let session = self.session(session);
                let holder = self.likely_holder(session, holder);
                self.release(session, holder, stale, wait).await
            }
            Step::Claim { row, claimant, stale } => self.claim(row, claimant, stale).await,
            Step::Finish { row, claimant, lost } => self.finish(row, claimant, lost).await,
            Step::Execute { row, lost } => {
                self.claim(row, 0, false).await?;
                self.finish(row, 0, lost).await
            }
            Step::Pass { millis } => {
                self.clock.advance(Duration::from_millis(millis));
                self.model.now += millis;
                Ok(())
            }
            Step::Fork { session, at } => self.fork(self.session(session), at).await,
            Step::Delete { session } => self.delete(self.session(session)).await,
            Step::Rewatch { session } => {
                let session = self.session(session);
                self.drain(session).await?;
                self.watch(session).await;
                Ok(())
            }
            Step::Reopen => self.reopen().await,
        }
    }

    /// Mostly somebody holds the session, and a turn is open for an intent.
    async fn prepare(&mut self, session: usize, effect: Effect) -> Checked {
        let valid = self.model.holders.iter().rposition(|holder| !holder.voided);
        if let (None, Some(holder)) = (self.model.sessions[session].holder, valid) {
            self.acquire(session, holder, false).await?;
        }
        let s = &self.model.sessions[session];
        if let (Effect::Intend, None, Some(holder)) = (effect, s.turn, s.holder) {
            self.submit(session, true, false).await?;
            self.append(session, holder, false, Effect::Open).await?;
        }
        Ok(())
    }

    /// Mostly the session's holder, so that most steps do something.
    fn likely_holder(&self, session: usize, chosen: usize) -> usize {
        match self.model.sessions[session].holder {
            Some(holder) if chosen > 0 => holder,
            _ => chosen % self.holders.len(),
        }
    }

    async fn submit(&mut self, session: usize, message: bool, repeat: bool) -> Checked {
        if let (true, Some((request, sequence))) = (repeat, self.last_submit[session].clone()) {
            let answer = self.journal().submit_command(request).await;
            prop_assert_eq!(outcome(answer, |a| (a.sequence, a.duplicate)), Ok((sequence, true)));
            return Ok(());
        }
        let kind = if message { CommandKind::Message } else { CommandKind::Cancel };
        let request = SubmitCommandRequest {
            session_id: self.sessions[session].clone(),
            kind: kind.into(),
            r#type: "command".into(),
            payload: any("command"),
            request_id: self.request_id(),
            ..Default::default()
        };
        let answer = self.journal().submit_command(request.clone()).await;
        let answer = outcome(answer, |a| (a.sequence, a.duplicate));
        if message && self.model.is_full(session) {
            prop_assert_eq!(answer, Err("QUEUE_FULL".to_owned()));
            return Ok(());
        }
        let sequence = self.model.submit(session, message);
        prop_assert_eq!(answer, Ok((sequence, false)));
        self.last_submit[session] = Some((request, sequence));
        Ok(())
    }

    async fn register(&mut self, instance: usize) -> Checked {
        let holder = HolderId::generate().to_string();
        let request = RegisterHolderRequest {
            holder_id: holder.clone(),
            instance: self.instances[instance].clone(),
            lease_duration: None,
        };
        let former = self.model.holders.iter().rposition(|h| h.instance == instance && !h.voided);
        let former = former.map(|holder| self.holders[holder].clone()).unwrap_or_default();
        self.model.register(instance);
        self.holders.push(holder);
        let answer = self.journal().register_holder(request).await;
        prop_assert_eq!(outcome(answer, |a| a.voided_holder_id), Ok(former));
        Ok(())
    }

    async fn renew(&mut self, holder: usize) -> Checked {
        let request = RenewHolderRequest { holder_id: self.holders[holder].clone() };
        let answer = self.journal().renew_holder(request).await;
        let held = |a: RenewHolderResponse| {
            a.sessions.into_iter().map(|held| (held.session_id, held.epoch)).collect::<Vec<_>>()
        };
        let expected = owned(self.model.renew(holder)).map(|()| {
            let sessions = self.model.sessions.iter().zip(&self.sessions);
            let held = sessions.filter(|(s, _)| s.holder == Some(holder));
            held.map(|(s, id)| (id.clone(), s.epoch)).collect::<Vec<_>>()
        });
        prop_assert_eq!(outcome(answer, held), expected);
        Ok(())
    }

    async fn retire(&mut self, holder: usize) -> Checked {
        let held = self.model.sessions.iter().filter(|s| s.holder == Some(holder)).count();
        self.model.retire(holder);
        let request = RetireHolderRequest { holder_id: self.holders[holder].clone() };
        let answer = self.journal().retire_holder(request).await;
        prop_assert_eq!(outcome(answer, |a| a.released_sessions), Ok(held as i32));
        Ok(())
    }

    async fn acquire(&mut self, session: usize, holder: usize, stale: bool) -> Checked {
        let seen_epoch = self.model.sessions[session].epoch + i64::from(stale);
        let request = AcquireSessionRequest {
            session_id: self.sessions[session].clone(),
            holder_id: self.holders[holder].clone(),
            seen_epoch,
        };
        let answer = self.journal().acquire_session(request).await;
        let head = self.model.sessions[session].head;
        let expected = owned(self.model.acquire(session, holder, seen_epoch));
        prop_assert_eq!(
            outcome(answer, |a| (a.epoch, a.head_sequence)),
            expected.map(|epoch| (epoch, head))
        );
        Ok(())
    }

    async fn append(
        &mut self,
        session: usize,
        holder: usize,
        stale: bool,
        effect: Effect,
    ) -> Checked {
        let Some(effect) = self.choose_rows(effect) else { return Ok(()) };
        let s = &self.model.sessions[session];
        let nth = |n: usize| s.pending.get(n).map_or(s.head + 1, |(sequence, _)| *sequence);
        let consumed = match effect {
            Effect::Consume { skip: true } => nth(1),
            Effect::Consume { skip: false } | Effect::Open | Effect::Queue => nth(0),
            _ => 0,
        };
        let dequeued = match effect {
            Effect::Start => s.queue.first().copied().unwrap_or(s.head + 1),
            _ => 0,
        };
        let epoch = s.epoch - i64::from(stale && s.epoch > 0);
        let op = model::Append { session, holder, epoch, effect, consumed, dequeued };
        let request = self.request(&op);
        let answer = self.journal().append_events(request.clone()).await;
        let (rows, turns) = (self.model.rows.len(), self.model.sessions[session].turns);
        let expected = owned(self.model.append(op));
        prop_assert_eq!(outcome(answer, |a| a.last_sequence), expected.clone(), "{:?}", op);
        if let Ok(sequence) = expected {
            self.note(session, &request, rows, turns);
            self.last_append[session] = Some((request, sequence));
        }
        Ok(())
    }

    /// Rows by number among those there are; nothing to do when there are none.
    fn choose_rows(&self, effect: Effect) -> Option<Effect> {
        let choose = |row: usize| self.choose_row(row);
        Some(match effect {
            Effect::Settle { row, kind } => Effect::Settle { row: choose(row)?, kind },
            Effect::Close { settle: Some((row, kind)) } => {
                Effect::Close { settle: choose(row).map(|row| (row, kind)) }
            }
            other => other,
        })
    }

    /// Mostly a row whose call is open, so that most steps do something; the first row also when its session is gone.
    fn choose_row(&self, chosen: usize) -> Option<usize> {
        let there = |row: &usize| !self.model.sessions[self.model.rows[*row].session].gone;
        let rows: Vec<_> = (0..self.rows.len()).filter(there).collect();
        let open: Vec<_> =
            rows.iter().copied().filter(|row| !self.model.rows[*row].settled).collect();
        match open.as_slice() {
            [] => (!rows.is_empty()).then(|| rows[chosen % rows.len()]),
            _ if chosen == 0 => Some(0),
            open => Some(open[chosen % open.len()]),
        }
    }

    fn request(&mut self, op: &model::Append) -> AppendEventsRequest {
        let s = &self.model.sessions[op.session];
        let fresh = || TurnId::generate().to_string();
        let open = s.turn.and_then(|turn| self.turns.get(&(op.session, turn))).cloned();
        let open = open.unwrap_or_else(fresh);
        let mut effects = JournalEffects {
            consumed_sequence: op.consumed,
            dequeued_sequences: Some(op.dequeued).filter(|s| *s > 0).into_iter().collect(),
            ..Default::default()
        };
        let mut settlement = None;
        match op.effect {
            Effect::Queue => effects.queued_sequences = vec![op.consumed],
            Effect::Open | Effect::Start => effects.opened_turn_id = fresh(),
            Effect::Intend => {
                effects.intents = vec![intent(&open, CallId::generate().as_str(), "")];
            }
            Effect::Close { settle } => {
                effects.closed_turn_id = open.clone();
                settlement = settle;
            }
            Effect::Settle { row, kind } => settlement = Some((row, kind)),
            Effect::Nothing | Effect::Consume { .. } => {}
        }
        if let Some((row, kind)) = settlement {
            effects.settlements = vec![settle(&self.rows[row], kind)];
            if kind == Settle::Replaced && effects.closed_turn_id.is_empty() {
                let call = &self.calls[row];
                effects.intents = vec![intent(&open, call, &self.rows[row])];
            }
        }
        AppendEventsRequest {
            session_id: self.sessions[op.session].clone(),
            holder_id: self.holders[op.holder].clone(),
            epoch: op.epoch,
            request_id: self.request_id(),
            events: vec![NewEvent { r#type: "event".into(), payload: any("event") }],
            effects: Some(effects),
            ..Default::default()
        }
    }

    /// Gives names to what the append made.
    fn note(&mut self, session: usize, request: &AppendEventsRequest, rows: usize, turns: usize) {
        let effects = request.effects.as_ref().expect("effects");
        if self.model.rows.len() > rows {
            self.rows.push(effects.intents[0].execution_id.clone());
            self.calls.push(effects.intents[0].call_id.clone());
        }
        let now = self.model.sessions[session].turns;
        if now > turns {
            self.turns.insert((session, now), effects.opened_turn_id.clone());
        }
    }

    async fn repeat(&mut self, session: usize) -> Checked {
        let Some((request, sequence)) = self.last_append[session].clone() else { return Ok(()) };
        let holder = self.holders.iter().position(|h| *h == request.holder_id).expect("known");
        let held = self.model.is_held(session, holder, request.epoch);
        let expected = if held { Ok(sequence) } else { Err("STALE_EPOCH".to_owned()) };
        let answer = self.journal().append_events(request).await;
        prop_assert_eq!(outcome(answer, |a| a.last_sequence), expected);
        Ok(())
    }

    async fn release(
        &mut self,
        session: usize,
        holder: usize,
        stale: bool,
        wait: Option<bool>,
    ) -> Checked {
        let s = &self.model.sessions[session];
        let (epoch, last_command) = (s.epoch - i64::from(stale), s.last_command);
        let epoch = epoch.max(0);
        let wake_at = wait.map(|timed| timed.then_some(self.model.now + 2_000));
        let stamp = prost_types::Timestamp::from(self.clock.now() + Duration::from_secs(2));
        let request = ReleaseSessionRequest {
            session_id: self.sessions[session].clone(),
            holder_id: self.holders[holder].clone(),
            epoch,
            last_command_sequence: last_command,
            wait: wait.map(|timed| SessionWait { wake_at: timed.then_some(stamp) }),
        };
        let answer = self.journal().release_session(request).await;
        let expected = owned(self.model.release(session, holder, epoch, wake_at));
        prop_assert_eq!(outcome(answer, |a| a.held), expected);
        Ok(())
    }

    async fn claim(&mut self, row: usize, claimant: usize, stale: bool) -> Checked {
        let Some(row) = self.choose_row(row) else { return Ok(()) };
        let current = self.model.sessions[self.model.rows[row].session].epoch;
        let epoch = (current - i64::from(stale)).max(0);
        let request = ClaimExecutionRequest {
            execution_id: self.rows[row].clone(),
            claimant_id: self.claimants[claimant].clone(),
            claimant_instance: "containers".into(),
            epoch,
        };
        let answer = self.journal().claim_execution(request).await;
        let expected = owned(self.model.claim(row, claimant, epoch));
        prop_assert_eq!(outcome(answer, |_| ()), expected);
        Ok(())
    }

    async fn finish(&mut self, row: usize, claimant: usize, lost: bool) -> Checked {
        let Some(row) = self.choose_row(row) else { return Ok(()) };
        let kind = if lost { OutcomeKind::Lost } else { OutcomeKind::Succeeded };
        let request = FinishExecutionRequest {
            execution_id: self.rows[row].clone(),
            claimant_id: self.claimants[claimant].clone(),
            outcome: Some(ExecutionOutcome { kind: kind.into(), ..Default::default() }),
        };
        let answer = self.journal().finish_execution(request).await;
        let expected = owned(self.model.finish(row, claimant, lost));
        let first = self.model.rows[row].state == State::Finished { lost: true };
        let told = outcome(answer, |a| {
            let outcome = a.execution.and_then(|row| row.outcome);
            outcome.is_some_and(|outcome| outcome.kind() == OutcomeKind::Lost)
        });
        prop_assert_eq!(told, expected.map(|()| first));
        Ok(())
    }

    async fn fork(&mut self, session: usize, at: i64) -> Checked {
        if self.model.sessions.len() >= MOST_SESSIONS {
            return Ok(());
        }
        let head = self.model.sessions[session].head;
        // One more than the head is beyond it.
        let sequence = if head == 0 { 0 } else { at % (head + 2) };
        let request = ForkJournalRequest {
            session_id: self.sessions[session].clone(),
            sequence,
            request_id: self.request_id(),
            ..Default::default()
        };
        let answer = self.journal().fork_journal(request.clone()).await;
        let expected = owned(self.model.fork(session, sequence));
        let told = outcome(answer, |a| (a.session.map(|session| session.id), a.sequence));
        let Ok(cut) = expected else {
            prop_assert_eq!(told.map(|(_, cut)| cut), expected);
            return Ok(());
        };
        prop_assert_eq!(told.as_ref().map(|(_, cut)| *cut), Ok(cut));
        let again = outcome(self.journal().fork_journal(request).await, |a| {
            (a.session.map(|session| session.id), a.sequence)
        });
        prop_assert_eq!(&again, &told, "a repeated fork is the same fork");
        let shared = self.log(session).await.into_iter().take(cut as usize).collect();
        let child = self.model.sessions.len() - 1;
        self.sessions.push(told.ok().and_then(|(id, _)| id).expect("the session is told"));
        self.shared.push(shared);
        self.last_append.push(None);
        self.last_submit.push(None);
        self.watchers.push(None);
        self.seen.push(Vec::new());
        self.watch(child).await;
        Ok(())
    }

    async fn delete(&mut self, session: usize) -> Checked {
        if self.model.alive().len() < 2 {
            return Ok(());
        }
        self.drain(session).await?;
        let request = DeleteSessionRequest { session_id: self.sessions[session].clone() };
        let mut sessions = SessionServiceClient::new(self.transport());
        sessions.delete_session(request).await.expect("deleted");
        self.model.delete(session);
        self.check_end(session).await
    }

    async fn reopen(&mut self) -> Checked {
        for session in self.model.alive() {
            self.drain(session).await?;
            self.watchers[session] = None;
        }
        self.open().await;
        for session in self.model.alive() {
            self.watch(session).await;
        }
        Ok(())
    }
}

fn intent(turn: &str, call: &str, replaces: &str) -> ExecutionIntent {
    ExecutionIntent {
        execution_id: ExecutionId::generate().to_string(),
        call_id: call.into(),
        turn_id: turn.into(),
        kind: "tool".into(),
        name: "calculator".into(),
        replaces_execution_id: replaces.into(),
    }
}

fn settle(row: &str, kind: Settle) -> ExecutionSettlement {
    let kind = match kind {
        Settle::NotRun => SettlementKind::NotRun,
        Settle::Outcome => SettlementKind::Outcome,
        Settle::Unknown => SettlementKind::Unknown,
        Settle::Replaced => SettlementKind::Replaced,
    };
    ExecutionSettlement { execution_id: row.into(), kind: kind.into() }
}

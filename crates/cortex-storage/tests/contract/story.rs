//! The life of a session, told step by step: everything that may change its history and its state.

use cortex_core::{MessageId, TurnId};
use cortex_proto::cortex::agent::v1::{ContentDelta, SessionEvent, session_event::Event};
use proptest::{
    arbitrary::any as anything,
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
};
use prost::Message;

use crate::support::*;

/// What happens next. Numbers choose among the messages that there are by then.
#[derive(Debug, Clone)]
pub enum Step {
    /// A message by the history service; refused while a turn runs.
    Add(String),
    /// Every message goes, by the history service; refused while a turn runs.
    Clear,
    /// The state is patched or replaced, by the state service.
    State { key: u8, value: i64, replace: bool },
    /// A message of a user, and the turn that answers it.
    Open(String),
    /// Some text of the model.
    Delta(u8),
    /// A call with its result.
    Call,
    /// A message joins, by an append.
    Say(String),
    /// A message joins whose text stands in events before it.
    Stream(Vec<String>),
    /// A message is replaced, by an append.
    Update(usize, String),
    /// A message leaves, by an append.
    Delete(usize),
    /// The state changes, by an append.
    Patch { key: u8, value: i64 },
    /// Effects without events.
    Silent(String),
    /// The turn ends.
    Close,
    /// A command waits.
    Steer,
}

pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let text = || "[a-z\\n\"\u{e9}]{0,12}";
    let step = prop_oneof![
        3 => text().prop_map(Step::Add),
        1 => Just(Step::Clear),
        3 => (0..4_u8, anything::<i64>(), anything::<bool>()).prop_map(|(key, value, replace)| Step::State { key, value, replace }),
        6 => text().prop_map(Step::Open),
        4 => anything::<u8>().prop_map(Step::Delta),
        2 => Just(Step::Call),
        4 => text().prop_map(Step::Say),
        3 => vec("[a-z\u{e9}]{1,6}", 1..4).prop_map(Step::Stream),
        3 => (0..8_usize, text()).prop_map(|(which, text)| Step::Update(which, text)),
        3 => (0..8_usize).prop_map(Step::Delete),
        3 => (0..4_u8, anything::<i64>()).prop_map(|(key, value)| Step::Patch { key, value }),
        1 => text().prop_map(Step::Silent),
        6 => Just(Step::Close),
        1 => Just(Step::Steer),
    ];
    vec(step, 1..most)
}

/// What anybody can see of a session at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub head: i64,
    pub entries: Vec<JournalEntry>,
    pub messages: Vec<HistoryMessage>,
    pub state: (String, String),
    pub count: i64,
}

/// Everything that a session shows, without its own id.
pub async fn see(f: &Fixture, session: &str) -> Seen {
    let request =
        ListMessagesRequest { session_id: session.into(), page_size: 1000, ..Default::default() };
    let page = f.history().list_messages(request).await.expect("a page").into_inner();
    let mut messages = page.messages;
    for message in &mut messages {
        assert_eq!(message.session_id, session);
        message.session_id.clear();
    }
    let request = GetStateRequest { session_id: session.into() };
    let state = f.state().get_state(request).await.expect("a state").into_inner().state;
    let state = state.expect("the state");
    let request = GetSessionRequest { session_id: session.into() };
    let told = f.sessions().get_session(request).await.expect("found").into_inner().session;
    let told = told.expect("the session");
    Seen {
        head: told.head_sequence,
        entries: f.entries(session).await,
        messages,
        state: (state.data, state.etag),
        count: told.message_count,
    }
}

/// A session under a story.
pub struct Story<'f> {
    pub fixture: &'f Fixture,
    pub session: String,
    held: Held<'f>,
    turn: Option<String>,
    messages: Vec<String>,
    /// What was seen at each quiescent point: the last of each head.
    pub rests: Vec<Seen>,
}

impl<'f> Story<'f> {
    pub async fn of(fixture: &'f Fixture, session: String) -> Self {
        let holder = fixture.holder().await;
        let seen = fixture.get_journal(&session).await.epoch;
        let epoch = fixture.acquire(&session, &holder, seen).await.expect("a grant");
        let held = Held { fixture, session: session.clone(), holder, epoch };
        let seen = see(fixture, &session).await;
        let messages = seen.messages.iter().map(|message| message.id.clone()).collect();
        Self { fixture, session, held, turn: None, messages, rests: vec![seen] }
    }

    pub async fn tell(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step).await;
            self.note().await;
        }
    }

    /// Ends what is open, so that the story ends quiescent.
    pub async fn end(&mut self) {
        self.step(&Step::Close).await;
        self.note().await;
    }

    async fn note(&mut self) {
        let journal = self.fixture.get_journal(&self.session).await;
        let rests = journal.open_turn_id.is_empty()
            && journal.queued_sequences.is_empty()
            && journal.consumed_sequence == journal.last_command_sequence;
        if !rests {
            return;
        }
        let seen = see(self.fixture, &self.session).await;
        self.rests.retain(|rest| rest.head < seen.head);
        self.rests.push(seen);
    }

    /// Consumes every command that waits.
    async fn consume(&mut self) {
        let journal = self.fixture.get_journal(&self.session).await;
        if journal.consumed_sequence < journal.last_command_sequence {
            let consumed_sequence = journal.last_command_sequence;
            let effects = JournalEffects { consumed_sequence, ..Default::default() };
            self.held.append(&[], effects).await.expect("consumed");
        }
    }

    async fn append(&self, events: &[&str], effects: JournalEffects) {
        self.held.append(events, effects).await.expect("appended");
    }

    fn chosen(&self, which: usize) -> Option<String> {
        (!self.messages.is_empty()).then(|| self.messages[which % self.messages.len()].clone())
    }

    async fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Add(content) if self.turn.is_none() => {
                let request = AddMessageRequest {
                    session_id: self.session.clone(),
                    role: MessageRole::User.into(),
                    content,
                    metadata: "{\n \"n\": 9007199254740993}".into(),
                    ..Default::default()
                };
                let added = self.fixture.history().add_message(request).await.expect("added");
                self.messages.push(added.into_inner().message.expect("the message").id);
                self.consume().await;
            }
            Step::Clear if self.turn.is_none() => {
                let request = ClearHistoryRequest { session_id: self.session.clone() };
                self.fixture.history().clear_history(request).await.expect("cleared");
                self.messages.clear();
                self.consume().await;
            }
            Step::Add(_) | Step::Clear => {}
            Step::State { key, value, replace } => {
                let data = format!("{{\"k{key}\":{value},\"big\":1e400}}");
                let (session_id, etag) = (self.session.clone(), String::new());
                if replace {
                    let request = ReplaceStateRequest { session_id, data, etag };
                    self.fixture.state().replace_state(request).await.expect("replaced");
                } else {
                    let request = PatchStateRequest { session_id, data, etag };
                    self.fixture.state().patch_state(request).await.expect("patched");
                }
                self.consume().await;
            }
            Step::Open(content) if self.turn.is_none() => self.open(content).await,
            Step::Open(_) => {}
            Step::Delta(count) => {
                let events = vec!["content_delta"; usize::from(count % 4) + 1];
                self.append(&events, JournalEffects::default()).await;
            }
            Step::Call => self.call().await,
            Step::Say(content) => {
                let message = new_message(MessageRole::Assistant, &content);
                self.messages.push(message.message_id.clone());
                let effects = JournalEffects { messages: vec![message], ..Default::default() };
                self.append(&["message_added"], effects).await;
            }
            Step::Stream(texts) => self.stream(&texts).await,
            Step::Update(which, content) => {
                let Some(message_id) = self.chosen(which) else { return };
                let update = HistoryMessageUpdate { message_id, content, entry_text: None };
                let effects =
                    JournalEffects { message_updates: vec![update], ..Default::default() };
                self.append(&["message_added"], effects).await;
            }
            Step::Delete(which) => {
                let Some(message_id) = self.chosen(which) else { return };
                self.messages.retain(|message| *message != message_id);
                let effects =
                    JournalEffects { deleted_message_ids: vec![message_id], ..Default::default() };
                self.append(&["history_truncated"], effects).await;
            }
            Step::Patch { key, value } => {
                let change = state_change::Change::MergePatch(format!("{{\"k{key}\":{value}}}"));
                let state_change = Some(StateChange { change: Some(change) });
                self.append(
                    &["state_updated"],
                    JournalEffects { state_change, ..Default::default() },
                )
                .await;
            }
            Step::Silent(content) => {
                let message = NewHistoryMessage {
                    message_id: MessageId::generate().to_string(),
                    ..new_message(MessageRole::System, &content)
                };
                self.messages.push(message.message_id.clone());
                let effects = JournalEffects { messages: vec![message], ..Default::default() };
                self.append(&[], effects).await;
            }
            Step::Close => {
                self.consume().await;
                let Some(closed_turn_id) = self.turn.take() else { return };
                let effects = JournalEffects { closed_turn_id, ..Default::default() };
                self.append(&["turn_completed"], effects).await;
            }
            Step::Steer => {
                self.fixture.submit(&self.session, CommandKind::Steer).await.expect("accepted");
            }
        }
    }

    async fn open(&mut self, content: String) {
        let message = self.fixture.message(&self.session).await;
        let turn = TurnId::generate().to_string();
        let said = new_message(MessageRole::User, &content);
        self.messages.push(said.message_id.clone());
        let effects = JournalEffects {
            consumed_sequence: message,
            opened_turn_id: turn.clone(),
            messages: vec![said],
            ..Default::default()
        };
        self.append(&["message_added", "turn_started"], effects).await;
        self.turn = Some(turn);
    }

    async fn stream(&mut self, texts: &[String]) {
        let events = texts.iter().map(|text| {
            let delta = ContentDelta { text: text.clone(), attempt: 1 };
            let event =
                SessionEvent { event: Some(Event::ContentDelta(delta)), ..Default::default() };
            let payload = any("cortex.agent.v1.SessionEvent", &event.encode_to_vec());
            NewEvent { r#type: "streamed".into(), payload: Some(payload) }
        });
        let request = AppendEventsRequest {
            events: events.collect(),
            ..self.held.request(&[], JournalEffects::default())
        };
        let answer = self.held.send(request).await.expect("appended");
        self.note().await;
        let entry_text = EntryText {
            first_sequence: answer.first_sequence,
            last_sequence: answer.last_sequence,
            r#type: "streamed".into(),
            path: vec![16, 1],
            size_bytes: texts.concat().len() as i64,
        };
        let message = NewHistoryMessage {
            entry_text: Some(entry_text),
            ..new_message(MessageRole::Assistant, "")
        };
        self.messages.push(message.message_id.clone());
        let effects = JournalEffects { messages: vec![message], ..Default::default() };
        self.append(&["message_added"], effects).await;
    }

    async fn call(&mut self) {
        let Some(turn) = self.turn.clone() else { return };
        let (execution, _) = self.held.intend(&turn).await;
        let effects = settle(&execution, SettlementKind::NotRun);
        self.append(&["tool_result"], effects).await;
    }
}

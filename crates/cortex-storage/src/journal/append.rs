//! Append: events of the holder with their effects, all or nothing.

use std::collections::HashMap;

use cortex_core::{ExecutionId, HolderId, MessageId, SessionId};

use super::{
    AppendKey, Change, CommandKind, Decision, Effects, Entry, EntryKind, Event, Execution,
    ExecutionState, Facts, Fingerprint, Intent, Known, LastAppend, MessageChange, Method,
    NewContent, OpenTurn, OutcomeKind, Sequence, SessionHead, Settlement, SettlementKind,
    text::{MESSAGE_TEXT, UPDATE_TEXT, content},
};
use crate::{
    error::{Result, StorageError},
    history::{Message, NewMessage},
    time::Stamp,
};

/// The event that opens a turn.
const TURN_STARTED: &str = "turn_started";

/// Events to append, with their effects.
#[derive(Debug, Clone)]
pub struct Append {
    /// The session.
    pub session_id: SessionId,
    /// Who appends.
    pub holder_id: HolderId,
    /// Under which grant.
    pub epoch: i64,
    /// Makes a repeated call the same append.
    pub key: AppendKey,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
    /// The events, in order.
    pub events: Vec<Event>,
    /// What else changes.
    pub effects: Effects,
    /// Bytes that the state may have afterwards.
    pub max_state: u64,
}

/// What Append answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The sequence of the first event; 0 without events.
    pub first: Sequence,
    /// The sequence of the last event; 0 without events.
    pub last: Sequence,
    /// When it was committed.
    pub at: Stamp,
}

/// Decides an Append. Checks in this order: (a) the epoch is current and the session held by the
/// caller; (b) a known request answers what it answered first; (c) the preconditions of every
/// settlement; (d) the cursor moves forward only; then the turn, the queue, the history, the state.
///
/// # Errors
/// `StaleEpoch`, `RequestIdReused`, `AppendOutOfOrder`, `LedgerPrecondition`, `CursorBackwards`, `NotPending`,
/// `TurnNotOpen`, `CallsOpen`, `TurnOpen`, `MessageExists`, `MessageNotFound`, `TooLarge`, `Invalid`.
pub fn append(
    head: &SessionHead,
    op: &Append,
    facts: &impl Facts,
    now: Stamp,
) -> Result<Decision<Appended>> {
    if !head.is_held_by(&op.holder_id, op.epoch) {
        let session_id = head.session_id.clone();
        return Err(StorageError::StaleEpoch { session_id, epoch: op.epoch, current: head.epoch });
    }
    if let Some(answer) = answered(head, op, facts)? {
        return Ok(Decision::unchanged(answer));
    }
    let mut appending =
        Appending { change: Change::from(head), rows: HashMap::new(), op, facts, now };
    let answer = appending.run()?;
    let mut change = appending.into_change();
    remember(&mut change, op, answer);
    Ok(Decision::changed(change.finish(now), answer))
}

/// (b): what the same append answered before. A numbered one that is neither the last nor the next comes
/// too late, or skips one whose fate its holder does not know.
fn answered(head: &SessionHead, op: &Append, facts: &impl Facts) -> Result<Option<Appended>> {
    let number = match &op.key {
        AppendKey::Request(id) => {
            let Some(known) = facts.known(&id.key(Method::Append)) else { return Ok(None) };
            known.check(id, op.fingerprint)?;
            return Ok(Some(Appended { first: known.first, last: known.last, at: known.at }));
        }
        AppendKey::Number(number) => *number,
    };
    let last = head.last_append.as_ref();
    let last_number = last.map_or(0, |last| last.number);
    if number == last_number + 1 {
        return Ok(None);
    }
    match last.filter(|last| last.number == number) {
        Some(last) if last.fingerprint == op.fingerprint => {
            let at = Stamp::from_micros(last.at);
            Ok(Some(Appended { first: last.first, last: last.last, at }))
        }
        Some(_) => {
            Err(StorageError::RequestIdReused { request_id: format!("append_number {number}") })
        }
        None => {
            let session_id = head.session_id.clone();
            Err(StorageError::AppendOutOfOrder { session_id, number, last: last_number })
        }
    }
}

/// Remembers what the append answers when it is repeated.
fn remember(change: &mut Change, op: &Append, answer: Appended) {
    let (fingerprint, Appended { first, last, at }) = (op.fingerprint, answer);
    match &op.key {
        AppendKey::Request(id) => {
            let known = Known { fingerprint, first, last, at, note: None };
            change.remember(Some(id), Some(id.key(Method::Append)), known);
        }
        AppendKey::Number(number) => {
            let last_append =
                LastAppend { number: *number, fingerprint, first, last, at: at.micros() };
            change.head.last_append = Some(last_append);
        }
    }
}

struct Appending<'a, F> {
    change: Change,
    rows: HashMap<ExecutionId, Execution>,
    op: &'a Append,
    facts: &'a F,
    now: Stamp,
}

impl<F: Facts> Appending<'_, F> {
    fn run(&mut self) -> Result<Appended> {
        let effects: &Effects = &self.op.effects;
        for settlement in &effects.settlements {
            self.settle(settlement)?;
        }
        self.consume(effects)?;
        self.dequeue(&effects.dequeued)?;
        let answer = self.push_events();
        self.move_turn(effects, answer)?;
        for intent in &effects.intents {
            self.intend(intent)?;
        }
        self.check_replacements(effects)?;
        self.change_history(effects)?;
        if let Some(state) = &effects.state {
            let before = self.facts.state();
            let after = before.apply(state, self.op.max_state, self.now)?;
            self.change.change_state(state, after);
        }
        if let Some(status) = effects.status {
            self.change.head.status = status;
        }
        Ok(answer)
    }

    fn into_change(self) -> Change {
        let mut change = self.change;
        let mut rows: Vec<_> = self.rows.into_values().collect();
        rows.sort_by(|a, b| a.execution_id.cmp(&b.execution_id));
        change.executions = rows;
        change
    }

    fn row(&self, id: &ExecutionId) -> Result<&Execution> {
        let row = self.rows.get(id).or_else(|| self.facts.execution(id));
        row.filter(|row| row.session == self.change.head.session).ok_or_else(|| {
            StorageError::LedgerPrecondition {
                execution_id: id.to_string(),
                state: "unknown",
                wanted: "a settlement needs a row of this session",
            }
        })
    }

    /// (c): each right has its precondition on the row.
    fn settle(&mut self, settlement: &Settlement) -> Result<()> {
        use ExecutionState::{Claimed, Closed, Finished, Intended};
        let row = self.row(&settlement.execution_id)?;
        if row.settled {
            return Err(row.refuse("a call gets one result"));
        }
        let state = match (settlement.kind, row.state) {
            (SettlementKind::NotRun, Intended) => Closed,
            (SettlementKind::NotRun, _) => return Err(row.refuse("not_run needs an intended row")),
            (SettlementKind::Outcome, Finished) => Finished,
            (SettlementKind::Outcome, _) => {
                return Err(row.refuse("an outcome needs a finished row"));
            }
            (SettlementKind::Unknown, Claimed) if self.op.effects.closed_turn.is_some() => Claimed,
            (SettlementKind::Unknown, _) => {
                return Err(
                    row.refuse("unknown needs a claimed row and an append that closes the turn")
                );
            }
            (SettlementKind::Replaced, Finished) if row.outcome_kind == Some(OutcomeKind::Lost) => {
                Finished
            }
            (SettlementKind::Replaced, _) => {
                return Err(row.refuse("a replacement needs a lost outcome"));
            }
        };
        let row =
            Execution { state, settled: true, outcome: None, updated_at: self.now, ..row.clone() };
        self.change.head.open_calls -= 1;
        self.rows.insert(settlement.execution_id.clone(), row);
        Ok(())
    }

    /// (d): the cursor moves forward only, to a command; queued messages are among those it passes.
    fn consume(&mut self, effects: &Effects) -> Result<()> {
        let head = &mut self.change.head;
        let Some(requested) = effects.consumed else {
            return not_pending(
                head,
                effects.queued.first().copied(),
                "a message that this append consumes",
            );
        };
        if requested <= head.consumed {
            let (session_id, consumed) = (head.session_id.clone(), head.consumed);
            return Err(StorageError::CursorBackwards { session_id, consumed, requested });
        }
        let Some(last) = head.pending.iter().position(|command| command.sequence == requested)
        else {
            return not_pending(head, Some(requested), "a command that is not consumed");
        };
        let passed: Vec<_> = head.pending.drain(..=last).collect();
        head.consumed = requested;
        for sequence in &effects.queued {
            let message = passed.iter().any(|command| {
                command.sequence == *sequence && command.kind == CommandKind::Message
            });
            if !message || head.queue.contains(sequence) {
                return not_pending(head, Some(*sequence), "a message that this append consumes");
            }
            head.queue.push(*sequence);
        }
        Ok(())
    }

    fn dequeue(&mut self, sequences: &[Sequence]) -> Result<()> {
        let head = &mut self.change.head;
        for sequence in sequences {
            let Some(place) = head.queue.iter().position(|queued| queued == sequence) else {
                return not_pending(head, Some(*sequence), "a queued message");
            };
            head.queue.remove(place);
        }
        Ok(())
    }

    fn push_events(&mut self) -> Appended {
        let head = &mut self.change.head;
        let (first, now, epoch) = (head.head + 1, self.now, self.op.epoch);
        for Event { name, payload } in &self.op.events {
            head.head += 1;
            self.change.entries.push(Entry {
                sequence: head.head,
                kind: EntryKind::Event,
                name: name.clone(),
                payload: payload.clone(),
                created_at: now,
                epoch,
            });
        }
        if self.op.events.is_empty() {
            return Appended { first: 0, last: 0, at: now };
        }
        Appended { first, last: head.head, at: now }
    }

    /// Closes the open turn, then opens the next one. A turn closes when its calls have results.
    fn move_turn(&mut self, effects: &Effects, appended: Appended) -> Result<()> {
        let head = &mut self.change.head;
        if let Some(closed) = &effects.closed_turn {
            if head.turn.as_ref().map(|turn| &turn.turn_id) != Some(closed) {
                return Err(turn_not_open(head, closed.as_str()));
            }
            let replaced = effects.settlements.iter().any(|s| s.kind == SettlementKind::Replaced);
            if head.open_calls > 0 || replaced {
                let open = head.open_calls.max(1);
                return Err(StorageError::CallsOpen { turn_id: closed.to_string(), open });
            }
            head.turn = None;
        }
        if let Some(opened) = &effects.opened_turn {
            if let Some(turn) = &head.turn {
                let (session_id, turn_id) =
                    (head.session_id.clone(), Some(turn.turn_id.to_string()));
                return Err(StorageError::TurnOpen { session_id, turn_id });
            }
            let event = self.change.entries.iter().rfind(|entry| &*entry.name == TURN_STARTED);
            let first = if appended.first > 0 { appended.first } else { head.head };
            let sequence = event.map_or(first, |entry| entry.sequence);
            head.turn = Some(OpenTurn { turn_id: opened.clone(), sequence, wait: None });
        }
        Ok(())
    }

    /// The intent creates the row. A call has one execution at a time: a second one needs the
    /// replacement of the first.
    fn intend(&mut self, intent: &Intent) -> Result<()> {
        let head = &mut self.change.head;
        if head.turn.as_ref().map(|turn| &turn.turn_id) != Some(&intent.turn_id) {
            return Err(turn_not_open(head, intent.turn_id.as_str()));
        }
        let known = self
            .rows
            .get(&intent.execution_id)
            .or_else(|| self.facts.execution(&intent.execution_id));
        if let Some(row) = known {
            return Err(row.refuse("an intent needs a new execution id"));
        }
        let tried = self.rows.values().any(|row| row.call_id == intent.call_id)
            || self.facts.has_call(&intent.call_id);
        if tried && intent.replaces.is_none() {
            let execution_id = intent.execution_id.to_string();
            let wanted = "a call is tried again only by replacing its lost execution";
            return Err(StorageError::LedgerPrecondition { execution_id, state: "new", wanted });
        }
        head.open_calls += 1;
        self.rows.insert(intent.execution_id.clone(), new_row(head, intent, self.now));
        Ok(())
    }

    /// A replacement and the intent that names it come together, and are of one call.
    fn check_replacements(&self, effects: &Effects) -> Result<()> {
        let replaced = effects.settlements.iter().filter(|s| s.kind == SettlementKind::Replaced);
        for settlement in replaced {
            let row = self.row(&settlement.execution_id)?;
            let successors = effects.intents.iter().filter(|intent| {
                intent.replaces.as_ref() == Some(&row.execution_id) && intent.call_id == row.call_id
            });
            if successors.count() != 1 {
                return Err(
                    row.refuse("a replacement needs one intent of the same call that names it")
                );
            }
        }
        for replaces in effects.intents.iter().filter_map(|intent| intent.replaces.as_ref()) {
            let settled = effects.settlements.iter().any(|settlement| {
                settlement.kind == SettlementKind::Replaced && settlement.execution_id == *replaces
            });
            if !settled {
                return Err(self
                    .row(replaces)?
                    .refuse("an intent replaces what the same append settles"));
            }
        }
        Ok(())
    }

    fn change_history(&mut self, effects: &Effects) -> Result<()> {
        for new in &effects.messages {
            if self.has_message(&new.message_id) {
                let session_id = self.change.head.session_id.clone();
                let message_id = new.message_id.to_string();
                return Err(StorageError::MessageExists { session_id, message_id });
            }
            let content = content(&self.change, MESSAGE_TEXT, &new.content)?;
            add_message(&mut self.change, new, content, self.now);
        }
        for update in &effects.message_updates {
            self.need_message(&update.message_id)?;
            let content = content(&self.change, UPDATE_TEXT, &update.content)?;
            let change = MessageChange::Content(update.message_id.clone(), content);
            self.change.messages.push(change);
        }
        for deleted in &effects.deleted_messages {
            self.need_message(deleted)?;
            self.change.head.message_count -= 1;
            self.change.messages.push(MessageChange::Delete(deleted.clone()));
        }
        Ok(())
    }

    fn need_message(&self, id: &MessageId) -> Result<()> {
        if self.has_message(id) {
            return Ok(());
        }
        let session_id = self.change.head.session_id.clone();
        Err(StorageError::MessageNotFound { session_id, message_id: id.to_string() })
    }

    fn has_message(&self, id: &MessageId) -> bool {
        for change in self.change.messages.iter().rev() {
            match change {
                MessageChange::Insert(message, _) if message.message_id == *id => return true,
                MessageChange::Delete(deleted) if deleted == id => return false,
                _ => {}
            }
        }
        self.facts.message(id).is_some()
    }
}

/// Puts `new` at the end of the history, and gives it its place.
pub(super) fn add_message(
    change: &mut Change,
    new: &NewMessage,
    content: NewContent,
    now: Stamp,
) -> Message {
    let head = &mut change.head;
    head.last_position += 1;
    head.message_count += 1;
    let (text, place) = match content {
        NewContent::Text(text) => (text, None),
        NewContent::InEntries(place) => (String::new(), Some(place)),
    };
    let message = new.at(head.last_position, &head.session_id, text, now);
    change.messages.push(MessageChange::Insert(message.clone(), place));
    message
}

fn new_row(head: &SessionHead, intent: &Intent, now: Stamp) -> Execution {
    Execution {
        execution_id: intent.execution_id.clone(),
        session: head.session,
        session_id: head.session_id.clone(),
        turn_id: intent.turn_id.clone(),
        call_id: intent.call_id.clone(),
        kind: intent.kind,
        name: intent.name.clone(),
        state: ExecutionState::Intended,
        claimant_id: None,
        claimant_instance: String::new(),
        outcome_kind: None,
        outcome: None,
        settled: false,
        created_at: now,
        updated_at: now,
    }
}

fn turn_not_open(head: &SessionHead, turn_id: &str) -> StorageError {
    let session_id = head.session_id.clone();
    StorageError::TurnNotOpen { session_id, turn_id: turn_id.to_owned() }
}

fn not_pending(head: &SessionHead, sequence: Option<Sequence>, wanted: &'static str) -> Result<()> {
    let Some(sequence) = sequence else { return Ok(()) };
    let session_id = head.session_id.clone();
    Err(StorageError::NotPending { session_id, sequence, wanted })
}

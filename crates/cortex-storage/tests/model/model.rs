//! The model: what storage promises to be, in memory and without anything clever.

use crate::step::{Effect, Settle};

/// How long a lease lasts.
const LEASE: u64 = 3_000;

/// A refusal: the reason that the caller is told.
pub type Refusal = &'static str;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    Intended,
    Claimed(usize),
    Finished { lost: bool },
    Closed,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub session: usize,
    /// Which call it is a try of.
    pub call: usize,
    pub state: State,
    pub claimed_by: Option<usize>,
    pub settled: bool,
}

#[derive(Debug, Clone)]
pub struct Holder {
    pub instance: usize,
    pub expires: u64,
    pub voided: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Session {
    pub head: i64,
    pub last_command: i64,
    pub consumed: i64,
    /// Commands after `consumed`, and whether each is a message.
    pub pending: Vec<(i64, bool)>,
    pub epoch: i64,
    pub holder: Option<usize>,
    /// The open turn's number.
    pub turn: Option<usize>,
    /// Set while the open turn waits, with the time when it wakes.
    pub wait: Option<Option<u64>>,
    pub queue: Vec<i64>,
    pub turns: usize,
    /// Heads at which it was quiescent, with the last command of then.
    pub rests: Vec<(i64, i64)>,
    /// The last sequence that it shares with the session that it was forked from.
    pub cut: i64,
    pub gone: bool,
}

impl Session {
    fn is_quiescent(&self) -> bool {
        self.turn.is_none() && self.pending.is_empty() && self.queue.is_empty()
    }

    fn rest(&mut self) {
        if self.is_quiescent() && self.rests.last().is_none_or(|(head, _)| *head < self.head) {
            self.rests.push((self.head, self.last_command));
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub now: u64,
    pub sessions: Vec<Session>,
    pub holders: Vec<Holder>,
    pub rows: Vec<Row>,
    pub calls: usize,
}

/// An append as the model sees it, with everything that was chosen for it.
#[derive(Debug, Clone, Copy)]
pub struct Append {
    pub session: usize,
    pub holder: usize,
    pub epoch: i64,
    pub effect: Effect,
    /// The command that is consumed; 0: none.
    pub consumed: i64,
    /// The queued message that leaves the queue; 0: none.
    pub dequeued: i64,
}

impl Model {
    pub fn new(sessions: usize) -> Self {
        let mut session = Session::default();
        session.rest();
        Self { sessions: vec![session; sessions], ..Self::default() }
    }

    /// Sessions that are there.
    pub fn alive(&self) -> Vec<usize> {
        (0..self.sessions.len()).filter(|session| !self.sessions[*session].gone).collect()
    }

    /// A new session that shares the log up to the last rest at or before `sequence`: where that is.
    pub fn fork(&mut self, session: usize, sequence: i64) -> Result<i64, Refusal> {
        let s = &self.sessions[session];
        if sequence > s.head {
            return Err("BEYOND_HEAD");
        }
        let until = if sequence == 0 { s.head } else { sequence };
        let rests: Vec<_> = s.rests.iter().copied().filter(|(head, _)| *head <= until).collect();
        let (cut, last_command) = *rests.last().expect("the beginning");
        self.sessions.push(Session {
            head: cut,
            last_command,
            consumed: last_command,
            rests,
            cut,
            ..Session::default()
        });
        Ok(cut)
    }

    pub fn delete(&mut self, session: usize) {
        self.sessions[session] = Session { gone: true, ..Session::default() };
    }

    fn is_live(&self, holder: usize) -> bool {
        !self.holders[holder].voided && self.holders[holder].expires > self.now
    }

    pub fn is_runnable(&self, session: usize) -> bool {
        let s = &self.sessions[session];
        let running = s.turn.is_some() && s.wait.is_none();
        let due = s.wait.flatten().is_some_and(|at| at <= self.now);
        let work = !s.pending.is_empty() || !s.queue.is_empty() || running || due;
        work && !s.holder.is_some_and(|holder| self.is_live(holder))
    }

    pub fn open_calls(&self, session: usize) -> usize {
        self.rows.iter().filter(|row| row.session == session && !row.settled).count()
    }

    pub fn submit(&mut self, session: usize, message: bool) -> i64 {
        let s = &mut self.sessions[session];
        s.head += 1;
        s.last_command = s.head;
        s.pending.push((s.head, message));
        s.head
    }

    /// Whether a message would find the queue full.
    pub fn is_full(&self, session: usize) -> bool {
        let s = &self.sessions[session];
        s.pending.iter().filter(|(_, message)| *message).count() + s.queue.len() >= 16
    }

    pub fn register(&mut self, instance: usize) {
        for holder in self.holders.iter_mut().filter(|holder| holder.instance == instance) {
            holder.voided = true;
        }
        self.holders.push(Holder { instance, expires: self.now + LEASE, voided: false });
    }

    pub fn renew(&mut self, holder: usize) -> Result<(), Refusal> {
        if self.holders[holder].voided {
            return Err("LEASE_VOID");
        }
        self.holders[holder].expires = self.now + LEASE;
        Ok(())
    }

    pub fn retire(&mut self, holder: usize) {
        self.holders[holder].voided = true;
        for session in self.sessions.iter_mut().filter(|s| s.holder == Some(holder)) {
            session.holder = None;
        }
    }

    pub fn acquire(&mut self, session: usize, holder: usize, seen: i64) -> Result<i64, Refusal> {
        let s = &self.sessions[session];
        if self.holders[holder].voided {
            return Err("LEASE_VOID");
        }
        if s.epoch != seen {
            return Err("EPOCH_MISMATCH");
        }
        if s.holder.is_some_and(|other| other != holder && self.is_live(other)) {
            return Err("SESSION_HELD");
        }
        let s = &mut self.sessions[session];
        (s.epoch, s.holder, s.wait) = (s.epoch + 1, Some(holder), None);
        Ok(s.epoch)
    }

    pub fn is_held(&self, session: usize, holder: usize, epoch: i64) -> bool {
        let s = &self.sessions[session];
        s.epoch == epoch && s.holder == Some(holder)
    }

    /// The sequence of the one event.
    pub fn append(&mut self, op: Append) -> Result<i64, Refusal> {
        if !self.is_held(op.session, op.holder, op.epoch) {
            return Err("STALE_EPOCH");
        }
        let mut next = self.clone();
        let sequence = next.apply(op)?;
        *self = next;
        self.sessions[op.session].rest();
        Ok(sequence)
    }

    fn apply(&mut self, op: Append) -> Result<i64, Refusal> {
        let closes = matches!(op.effect, Effect::Close { .. });
        let settlement = match op.effect {
            Effect::Settle { row, kind } => Some((row, kind)),
            Effect::Close { settle } => settle,
            _ => None,
        };
        if let Some((row, kind)) = settlement {
            self.settle(op.session, row, kind, closes)?;
        }
        let s = &mut self.sessions[op.session];
        if op.consumed > 0 {
            if op.consumed <= s.consumed {
                return Err("CURSOR_BACKWARDS");
            }
            let place = s.pending.iter().position(|(sequence, _)| *sequence == op.consumed);
            let passed: Vec<_> = s.pending.drain(..=place.ok_or("NOT_PENDING")?).collect();
            s.consumed = op.consumed;
            if matches!(op.effect, Effect::Queue) {
                if !passed.contains(&(op.consumed, true)) {
                    return Err("NOT_PENDING");
                }
                s.queue.push(op.consumed);
            }
        } else if matches!(op.effect, Effect::Queue) {
            return Err("INVALID_FIELD");
        }
        if op.dequeued > 0 {
            let place = s.queue.iter().position(|sequence| *sequence == op.dequeued);
            s.queue.remove(place.ok_or("NOT_PENDING")?);
        }
        s.head += 1;
        let sequence = s.head;
        self.move_turn(op, settlement)?;
        Ok(sequence)
    }

    fn move_turn(
        &mut self,
        op: Append,
        settlement: Option<(usize, Settle)>,
    ) -> Result<(), Refusal> {
        let open = self.open_calls(op.session);
        let s = &mut self.sessions[op.session];
        match op.effect {
            Effect::Close { .. } if s.turn.is_none() => return Err("TURN_NOT_OPEN"),
            Effect::Close { .. } => {
                if open > 0 || settlement.is_some_and(|(_, kind)| kind == Settle::Replaced) {
                    return Err("CALLS_OPEN");
                }
                s.turn = None;
            }
            Effect::Open | Effect::Start => {
                if s.turn.is_some() {
                    return Err("TURN_OPEN");
                }
                s.turns += 1;
                s.turn = Some(s.turns);
            }
            Effect::Intend => {
                s.turn.ok_or("TURN_NOT_OPEN")?;
                self.calls += 1;
                self.push_row(op.session, self.calls);
            }
            Effect::Settle { row, kind: Settle::Replaced } => {
                // The successor comes in the same append.
                s.turn.ok_or("TURN_NOT_OPEN")?;
                self.push_row(op.session, self.rows[row].call);
            }
            _ => {}
        }
        Ok(())
    }

    fn push_row(&mut self, session: usize, call: usize) {
        let state = State::Intended;
        self.rows.push(Row { session, call, state, claimed_by: None, settled: false });
    }

    fn settle(
        &mut self,
        session: usize,
        row: usize,
        kind: Settle,
        closes: bool,
    ) -> Result<(), Refusal> {
        let row = &mut self.rows[row];
        if row.session != session || row.settled {
            return Err("LEDGER_PRECONDITION");
        }
        row.state = match (kind, row.state) {
            (Settle::NotRun, State::Intended) => State::Closed,
            (Settle::Outcome, State::Finished { .. }) => row.state,
            (Settle::Unknown, State::Claimed(_)) if closes => row.state,
            (Settle::Replaced, State::Finished { lost: true }) => row.state,
            _ => return Err("LEDGER_PRECONDITION"),
        };
        row.settled = true;
        Ok(())
    }

    pub fn release(
        &mut self,
        session: usize,
        holder: usize,
        epoch: i64,
        wait: Option<Option<u64>>,
    ) -> Result<bool, Refusal> {
        if !self.is_held(session, holder, epoch) {
            return Ok(false);
        }
        let s = &mut self.sessions[session];
        if s.consumed != s.last_command {
            return Err("COMMANDS_PENDING");
        }
        match (wait, s.turn) {
            (None, Some(_)) => return Err("TURN_OPEN"),
            (None, None) if !s.queue.is_empty() => return Err("COMMANDS_PENDING"),
            (Some(_), None) => return Err("TURN_NOT_OPEN"),
            _ => {}
        }
        (s.holder, s.wait) = (None, wait);
        Ok(true)
    }

    /// A row goes with its session.
    fn find(&self, row: usize) -> Result<(), Refusal> {
        let gone = self.sessions[self.rows[row].session].gone;
        if gone { Err("EXECUTION_NOT_FOUND") } else { Ok(()) }
    }

    pub fn claim(&mut self, row: usize, claimant: usize, epoch: i64) -> Result<(), Refusal> {
        self.find(row)?;
        let s = &self.sessions[self.rows[row].session];
        let row = &mut self.rows[row];
        if row.state == State::Claimed(claimant) {
            return Ok(());
        }
        if s.holder.is_none() || s.epoch != epoch {
            return Err("STALE_EPOCH");
        }
        if row.state != State::Intended {
            return Err("EXECUTION_NOT_INTENDED");
        }
        (row.state, row.claimed_by) = (State::Claimed(claimant), Some(claimant));
        Ok(())
    }

    pub fn finish(&mut self, row: usize, claimant: usize, lost: bool) -> Result<(), Refusal> {
        self.find(row)?;
        let row = &mut self.rows[row];
        match row.state {
            State::Finished { .. } => Ok(()),
            State::Claimed(by) if by == claimant || lost => {
                row.state = State::Finished { lost };
                Ok(())
            }
            _ => Err("LEDGER_PRECONDITION"),
        }
    }
}

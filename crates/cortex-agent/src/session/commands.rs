//! Commands of a session, consumed strictly in order, each with the events that are its effect.

use std::time::Duration;

use cortex_proto::cortex::{
    agent::v1::{
        CancelCommand, HistoryTruncated, LifecycleAction, LifecycleCommand, SessionCommand,
        StateCommand, StateUpdated, TruncateCommand, cancel_command::Target,
        session_command::Command, session_event::Event, state_command,
    },
    storage::v1::{JournalEffects, SessionStatus, StateChange, state_change},
};

use super::{abort::Abort, feed::Pending, grant::GrantError, runner::Runner};
use crate::turn::{self, UserMessage};

/// The user's message that a command carries, if it carries one.
pub(crate) fn user_message(sequence: i64, command: SessionCommand) -> Option<UserMessage> {
    let (message_id, content, metadata, timeout) = match command.command? {
        Command::Message(m) => (m.message_id, m.content, m.metadata, m.turn_timeout),
        Command::Steer(s) => (s.message_id, s.content, s.metadata, None),
        _ => return None,
    };
    let turn_timeout = timeout.and_then(|timeout| Duration::try_from(timeout).ok());
    Some(UserMessage { message_id, content, metadata, command_sequence: sequence, turn_timeout })
}

impl Runner {
    /// Consumes one command: appends its effect and moves the cursor past it.
    pub(super) async fn consume(&mut self, pending: Pending) -> Result<(), GrantError> {
        let sequence = pending.sequence;
        let Some(command) = pending.command else {
            return self.consume_silently(sequence).await;
        };
        match command.command.clone() {
            Some(Command::Message(_)) => self.consume_message(sequence, command).await,
            Some(Command::Steer(_)) => self.consume_steer(sequence, command).await,
            Some(Command::Cancel(cancel)) => self.consume_cancel(sequence, cancel).await,
            Some(Command::Lifecycle(lifecycle)) => {
                self.consume_lifecycle(sequence, lifecycle).await
            }
            Some(Command::State(state)) => self.consume_state(sequence, state).await,
            Some(Command::Truncate(truncate)) => self.consume_truncate(sequence, truncate).await,
            Some(Command::Approval(_)) | None => self.consume_silently(sequence).await,
        }
    }

    async fn consume_silently(&mut self, sequence: i64) -> Result<(), GrantError> {
        self.append(Vec::new(), consumed(sequence)).await
    }

    async fn consume_message(
        &mut self,
        sequence: i64,
        command: SessionCommand,
    ) -> Result<(), GrantError> {
        let Some(message) = user_message(sequence, command) else {
            return self.consume_silently(sequence).await;
        };
        if self.view.status == SessionStatus::Ended {
            let withdrawn = turn::message_withdrawn(&message, "the session has ended");
            return self.append(vec![turn::outside(withdrawn)], consumed(sequence)).await;
        }
        if self.view.turn.is_none() && self.view.queue.is_empty() {
            return self.start_turn(message, consumed(sequence)).await;
        }
        let queued = turn::message_queued(&message, self.view.queue.len() + 1);
        let effects = JournalEffects { queued_sequences: vec![sequence], ..consumed(sequence) };
        self.append(vec![turn::outside(queued)], effects).await?;
        self.view.queue.push_back(message);
        Ok(())
    }

    async fn consume_steer(
        &mut self,
        sequence: i64,
        command: SessionCommand,
    ) -> Result<(), GrantError> {
        let open_turn = self.view.turn.as_ref().map(|turn| turn.turn_id.clone());
        match (open_turn, user_message(sequence, command.clone())) {
            (Some(turn_id), Some(message)) => {
                let steered = turn::in_turn(&turn_id, turn::message_steered(&message));
                self.append(vec![steered], consumed(sequence)).await
            }
            _ => self.consume_message(sequence, command).await,
        }
    }

    async fn consume_cancel(
        &mut self,
        sequence: i64,
        cancel: CancelCommand,
    ) -> Result<(), GrantError> {
        let hits_turn = |turn: &turn::TurnView| match &cancel.target {
            Some(Target::TurnId(id)) => *id == turn.turn_id,
            Some(Target::MessageSequence(message)) => *message == turn.command_sequence,
            None => false,
        };
        if self.view.turn.as_ref().is_some_and(hits_turn) {
            return self.abort_turn(Abort::cancel(&cancel.reason), consumed(sequence)).await;
        }
        let Some(Target::MessageSequence(target)) = cancel.target else {
            return self.consume_silently(sequence).await;
        };
        let waiting = self.view.queue.iter().position(|message| message.command_sequence == target);
        let Some(message) = waiting.and_then(|index| self.view.queue.remove(index)) else {
            return self.consume_silently(sequence).await;
        };
        let withdrawn = turn::message_withdrawn(&message, &cancel.reason);
        let effects = JournalEffects { dequeued_sequences: vec![target], ..consumed(sequence) };
        self.append(vec![turn::outside(withdrawn)], effects).await
    }

    async fn consume_lifecycle(
        &mut self,
        sequence: i64,
        lifecycle: LifecycleCommand,
    ) -> Result<(), GrantError> {
        let (status, name) = match lifecycle.action() {
            LifecycleAction::End => (SessionStatus::Ended, "ended"),
            LifecycleAction::Pause => (SessionStatus::Paused, "paused"),
            LifecycleAction::Resume => (SessionStatus::Active, "active"),
            LifecycleAction::Unspecified => return self.consume_silently(sequence).await,
        };
        if self.view.status == status || self.view.status == SessionStatus::Ended {
            return self.consume_silently(sequence).await;
        }
        if status == SessionStatus::Ended && self.view.turn.is_some() {
            let reason = format!("the session ends: {}", lifecycle.reason);
            self.abort_turn(
                Abort::cancel(reason.trim_end_matches([':', ' '])),
                JournalEffects::default(),
            )
            .await?;
        }
        let mut events = Vec::new();
        let mut effects = JournalEffects { status: status.into(), ..consumed(sequence) };
        if status == SessionStatus::Ended {
            for message in self.view.queue.drain(..) {
                effects.dequeued_sequences.push(message.command_sequence);
                events.push(turn::outside(turn::message_withdrawn(
                    &message,
                    "the session has ended",
                )));
            }
        }
        events.push(turn::outside(turn::status_changed(name, &lifecycle.reason)));
        self.append(events, effects).await?;
        self.view.status = status;
        Ok(())
    }

    async fn consume_state(
        &mut self,
        sequence: i64,
        command: StateCommand,
    ) -> Result<(), GrantError> {
        use state_command::Change;
        let (change, patch, replaced) = match command.change {
            Some(Change::Replacement(data)) => {
                (state_change::Change::Replacement(data.clone()), data, true)
            }
            Some(Change::MergePatch(patch)) => {
                (state_change::Change::MergePatch(patch.clone()), patch, false)
            }
            None => return self.consume_silently(sequence).await,
        };
        let updated = Event::StateUpdated(StateUpdated { patch, replaced });
        let effects = JournalEffects {
            state_change: Some(StateChange { change: Some(change) }),
            ..consumed(sequence)
        };
        self.append(vec![turn::outside(updated)], effects).await
    }

    /// Removes messages from the history, unless a turn is open: then without effect.
    async fn consume_truncate(
        &mut self,
        sequence: i64,
        command: TruncateCommand,
    ) -> Result<(), GrantError> {
        if self.view.turn.is_some() {
            return self.consume_silently(sequence).await;
        }
        let deleted = if command.message_ids.is_empty() {
            self.load_history().await?;
            self.history.iter().map(|message| message.id.clone()).collect()
        } else {
            command.message_ids.clone()
        };
        let truncated =
            Event::HistoryTruncated(HistoryTruncated { message_ids: command.message_ids });
        let effects = JournalEffects { deleted_message_ids: deleted, ..consumed(sequence) };
        self.append(vec![turn::outside(truncated)], effects).await
    }
}

/// The effect of moving the cursor past a command, and nothing else.
pub(super) fn consumed(sequence: i64) -> JournalEffects {
    JournalEffects { consumed_sequence: sequence, ..Default::default() }
}

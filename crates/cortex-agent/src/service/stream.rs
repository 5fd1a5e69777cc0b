//! Streams of events: projections of a session's journal.

use cortex_proto::cortex::{
    agent::v1::{SessionEvent, session_event::Event},
    storage::v1::{WatchEntriesRequest, WatchEntriesResponse},
};
use cortex_rpc::{CallContext, outgoing};
use futures::{Stream, StreamExt, stream};
use tonic::{Status, Streaming};

use crate::{clients::Clients, session::decode_event, turn};

/// A session's events after a sequence, as storage commits them.
pub(crate) async fn events(
    clients: &Clients,
    cx: &CallContext,
    session_id: &str,
    after_sequence: i64,
) -> Result<impl Stream<Item = Result<Seen, Status>> + Send + use<>, Status> {
    let request =
        WatchEntriesRequest { session_id: session_id.to_owned(), after_sequence, kind: 0 };
    let entries = clients.journal.clone().watch_entries(outgoing(cx, request)).await?.into_inner();
    Ok(flatten(entries))
}

/// What a watcher of the journal sees.
#[derive(Debug)]
pub(crate) enum Seen {
    /// An event.
    Event(Box<SessionEvent>),
    /// Everything up to this sequence was seen.
    UpTo(i64),
}

fn flatten(
    entries: Streaming<WatchEntriesResponse>,
) -> impl Stream<Item = Result<Seen, Status>> + Send {
    entries.flat_map(|batch| match batch {
        Ok(batch) => {
            let mut seen: Vec<_> = batch
                .entries
                .iter()
                .filter_map(decode_event)
                .map(|event| Ok(Seen::Event(Box::new(event))))
                .collect();
            seen.push(Ok(Seen::UpTo(batch.last_sequence)));
            stream::iter(seen)
        }
        Err(status) => stream::iter(vec![Err(status)]),
    })
}

/// Which events concern one message: from its own first event to the end of its turn.
#[derive(Debug)]
pub(crate) struct MessageFilter {
    command_sequence: i64,
    turn_id: String,
    over: bool,
}

impl MessageFilter {
    /// The filter for the message that came with the command of this sequence.
    pub(crate) fn new(command_sequence: i64) -> Self {
        Self { command_sequence, turn_id: String::new(), over: false }
    }

    /// Whether nothing that concerns the message can follow.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the event concerns the message.
    pub(crate) fn admits(&mut self, event: &SessionEvent) -> bool {
        let Some(kind) = &event.event else { return false };
        let own = names_command(kind) == Some(self.command_sequence);
        match kind {
            Event::MessageWithdrawn(_) if own => self.over = true,
            Event::MessageAdded(_) | Event::MessageSteered(_) | Event::TurnStarted(_) if own => {
                self.turn_id.clone_from(&event.turn_id);
            }
            Event::SessionStatusChanged(changed) if changed.status == "ended" => {
                self.over = true;
                return true;
            }
            _ => {}
        }
        let in_turn = !self.turn_id.is_empty() && event.turn_id == self.turn_id;
        if in_turn && turn::ends_turn(kind) {
            self.over = true;
        }
        own || in_turn
    }
}

fn names_command(event: &Event) -> Option<i64> {
    match event {
        Event::MessageAdded(e) if e.command_sequence > 0 => Some(e.command_sequence),
        Event::MessageQueued(e) => Some(e.command_sequence),
        Event::MessageSteered(e) => Some(e.command_sequence),
        Event::MessageWithdrawn(e) => Some(e.command_sequence),
        Event::TurnStarted(e) => Some(e.command_sequence),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cortex_proto::cortex::agent::v1::CompletionReason;

    use super::*;
    use crate::turn::UserMessage;

    fn message(sequence: i64) -> UserMessage {
        UserMessage {
            message_id: format!("msg_{sequence}"),
            content: String::new(),
            metadata: String::new(),
            command_sequence: sequence,
            turn_timeout: None,
        }
    }

    #[test]
    fn a_queued_message_does_not_see_the_turn_before_its_own() {
        let mut filter = MessageFilter::new(7);
        let done = || turn::turn_completed("m", CompletionReason::Stop, 1);
        let log = [
            (turn::outside(turn::message_queued(&message(7), 1)), true),
            (turn::in_turn("turn_a", turn::content_delta(1, "x".into())), false),
            (turn::in_turn("turn_a", done()), false),
            (turn::in_turn("turn_b", turn::user_message(&message(7))), true),
            (turn::in_turn("turn_b", turn::content_delta(1, "y".into())), true),
            (turn::in_turn("turn_b", done()), true),
        ];
        for (i, (event, admitted)) in log.iter().enumerate() {
            assert!(!filter.is_over());
            assert_eq!(filter.admits(event), *admitted, "event {i}");
        }
        assert!(filter.is_over());
        assert_eq!(filter.turn_id, "turn_b");
    }

    #[test]
    fn a_withdrawn_message_ends_its_stream() {
        let mut filter = MessageFilter::new(7);
        assert!(filter.admits(&turn::outside(turn::message_withdrawn(&message(7), "cancelled"))));
        assert!(filter.is_over());
    }
}

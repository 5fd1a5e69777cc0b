//! What the journal says of one session: folded up to the grant, then followed.

use std::collections::{HashSet, VecDeque};

use cortex_proto::cortex::{
    agent::v1::{SessionCommand, SessionEvent, session_event::Event},
    storage::v1::{
        GetJournalRequest, Journal, JournalEntry, JournalEntryKind, ListEntriesRequest,
        SessionStatus, WatchEntriesRequest, WatchEntriesResponse,
    },
};
use cortex_rpc::{CallContext, outgoing};
use prost::Message;
use tonic::{Status, Streaming};

use super::{commands::user_message, grant::COMMAND_TYPE};
use crate::{
    clients::Clients,
    turn::{TurnView, UserMessage},
};

/// Entries that are read at a time: the most that storage gives.
const PAGE_SIZE: i32 = 1000;

/// A command that is not consumed yet.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) sequence: i64,
    /// `None`: not a command of ours; it is consumed without effect.
    pub(crate) command: Option<SessionCommand>,
}

/// What is known of a held session's protocol.
#[derive(Debug)]
pub(crate) struct SessionView {
    pub(crate) status: SessionStatus,
    pub(crate) consumed: i64,
    /// The last command seen.
    pub(crate) last_command: i64,
    /// Commands that are not consumed, in order.
    pub(crate) pending: VecDeque<Pending>,
    /// Messages that wait for the open turn to end, in order.
    pub(crate) queue: VecDeque<UserMessage>,
    pub(crate) turn: Option<TurnView>,
}

/// The commands of a held session. Its events are the holder's own.
pub(crate) struct Feed {
    entries: Streaming<WatchEntriesResponse>,
}

impl Feed {
    /// Reads everything up to `head` that a new holder must know, and follows the commands from there.
    ///
    /// # Errors
    /// The status of storage.
    pub(crate) async fn open(
        clients: &Clients,
        cx: &CallContext,
        session_id: &str,
        head: i64,
    ) -> Result<(Self, SessionView), Status> {
        let journal = read_journal(clients, cx, session_id).await?;
        let mut fold = Fold::new(&journal);
        let mut seen = start(&journal);
        while seen < head {
            let page = read_entries(clients, cx, session_id, seen).await?;
            seen = page.last().map_or(head, |entry| entry.sequence);
            fold.take(page);
        }
        let request = WatchEntriesRequest {
            session_id: session_id.to_owned(),
            after_sequence: seen,
            kind: JournalEntryKind::Command.into(),
        };
        let entries =
            clients.journal.clone().watch_entries(outgoing(cx, request)).await?.into_inner();
        Ok((Self { entries }, fold.view))
    }

    /// The next commands. Cancel-safe.
    ///
    /// # Errors
    /// The status of storage; `Aborted` when the stream ended.
    pub(crate) async fn next(&mut self) -> Result<WatchEntriesResponse, Status> {
        self.entries.message().await?.ok_or_else(|| Status::aborted("the journal's watch ended"))
    }
}

impl SessionView {
    /// Takes in commands that were committed after the grant.
    pub(crate) fn follow(&mut self, entries: Vec<JournalEntry>) {
        for entry in entries {
            if entry.sequence > self.last_command {
                self.last_command = entry.sequence;
                self.pending.push_back(pending(&entry));
            }
        }
    }
}

async fn read_journal(
    clients: &Clients,
    cx: &CallContext,
    session_id: &str,
) -> Result<Journal, Status> {
    let request = GetJournalRequest { session_id: session_id.to_owned() };
    let answer = clients.journal.clone().get_journal(outgoing(cx, request)).await?;
    answer.into_inner().journal.ok_or_else(|| Status::internal("a journal without a body"))
}

/// A page of what comes after a sequence.
async fn read_entries(
    clients: &Clients,
    cx: &CallContext,
    session_id: &str,
    after_sequence: i64,
) -> Result<Vec<JournalEntry>, Status> {
    let request = ListEntriesRequest {
        session_id: session_id.to_owned(),
        after_sequence,
        page_size: PAGE_SIZE,
        ..Default::default()
    };
    let answer = clients.journal.clone().list_entries(outgoing(cx, request)).await?;
    Ok(answer.into_inner().entries)
}

/// Everything before this sequence is settled.
fn start(journal: &Journal) -> i64 {
    let turn = (!journal.open_turn_id.is_empty()).then_some(journal.open_turn_sequence - 1);
    let queue = journal.queued_sequences.first().map(|sequence| sequence - 1);
    [Some(journal.consumed_sequence.min(journal.head_sequence)), turn, queue]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(0)
        .max(0)
}

/// Folds entries into a view.
struct Fold {
    view: SessionView,
    open_turn: String,
    queued: HashSet<i64>,
}

impl Fold {
    fn new(journal: &Journal) -> Self {
        Self {
            view: SessionView {
                status: journal.status(),
                consumed: journal.consumed_sequence,
                last_command: journal.consumed_sequence,
                pending: VecDeque::new(),
                queue: VecDeque::new(),
                turn: None,
            },
            open_turn: journal.open_turn_id.clone(),
            queued: journal.queued_sequences.iter().copied().collect(),
        }
    }

    fn take(&mut self, entries: Vec<JournalEntry>) {
        for entry in entries {
            match entry.kind() {
                JournalEntryKind::Command => self.command(&entry),
                JournalEntryKind::Event => self.event(&entry),
                JournalEntryKind::Unspecified => {}
            }
        }
    }

    fn command(&mut self, entry: &JournalEntry) {
        if entry.sequence > self.view.consumed {
            self.view.last_command = entry.sequence;
            self.view.pending.push_back(pending(entry));
        } else if self.queued.contains(&entry.sequence) {
            self.view.queue.extend(
                pending(entry).command.and_then(|command| user_message(entry.sequence, command)),
            );
        }
    }

    fn event(&mut self, entry: &JournalEntry) {
        let Some(event) = decode_event(entry) else { return };
        if event.turn_id != self.open_turn || self.open_turn.is_empty() {
            return;
        }
        match (&mut self.view.turn, &event.event) {
            (Some(turn), _) => turn.apply(&event),
            (turn, Some(Event::TurnStarted(started))) => {
                *turn = Some(TurnView::open(&event.turn_id, started));
            }
            (None, _) => {}
        }
    }
}

fn pending(entry: &JournalEntry) -> Pending {
    let command = entry
        .payload
        .as_ref()
        .filter(|payload| payload.type_url == COMMAND_TYPE)
        .and_then(|payload| SessionCommand::decode(payload.value.as_slice()).ok());
    Pending { sequence: entry.sequence, command }
}

/// The event in an entry, with the entry's sequence and time. `None`: it is not one of ours.
pub(crate) fn decode_event(entry: &JournalEntry) -> Option<SessionEvent> {
    if entry.kind() != JournalEntryKind::Event {
        return None;
    }
    let payload = entry.payload.as_ref()?;
    let mut event = SessionEvent::decode(payload.value.as_slice()).ok()?;
    event.sequence = entry.sequence;
    event.created_at = entry.created_at;
    Some(event)
}

//! What must hold after each step, and at the end.

use std::time::Duration;

use cortex_proto::cortex::storage::v1::*;
use proptest::prelude::{TestCaseError, prop_assert, prop_assert_eq};
use tokio_stream::StreamExt;

use crate::run::{Checked, Run};

impl Run {
    /// What is stored is what the model has.
    pub async fn compare(&self) -> Checked {
        for number in self.model.alive() {
            let s = &self.model.sessions[number];
            let request = GetJournalRequest { session_id: self.sessions[number].clone() };
            let answer = self.journal().get_journal(request).await.expect("the session is there");
            let journal = answer.into_inner().journal.expect("the journal");
            prop_assert_eq!(
                (journal.head_sequence, journal.last_command_sequence, journal.consumed_sequence),
                (s.head, s.last_command, s.consumed)
            );
            let holder = s.holder.map(|holder| self.holders[holder].clone()).unwrap_or_default();
            prop_assert_eq!((journal.epoch, journal.holder_id), (s.epoch, holder));
            let turn = s.turn.map(|turn| self.turns[&(number, turn)].clone()).unwrap_or_default();
            prop_assert_eq!(
                (journal.open_turn_id, journal.wait.is_some()),
                (turn, s.wait.is_some())
            );
            prop_assert_eq!(&journal.queued_sequences, &s.queue);
            prop_assert_eq!(journal.open_executions.len(), self.model.open_calls(number));
        }
        self.compare_runnable().await
    }

    async fn compare_runnable(&self) -> Checked {
        let request = ListRunnableSessionsRequest::default();
        let answer = self.journal().list_runnable_sessions(request).await.expect("a list");
        let mut found: Vec<_> =
            answer.into_inner().sessions.into_iter().map(|s| s.session_id).collect();
        found.sort();
        let alive = self.model.alive().into_iter();
        let runnable = alive.filter(|session| self.model.is_runnable(*session));
        let mut expected: Vec<_> = runnable.map(|session| self.sessions[session].clone()).collect();
        expected.sort();
        prop_assert_eq!(found, expected, "no work may be without a session that somebody finds");
        Ok(())
    }

    pub async fn watch(&mut self, session: usize) {
        let after_sequence = self.seen[session].last().map_or(0, |(sequence, _)| *sequence);
        let request = WatchEntriesRequest {
            session_id: self.sessions[session].clone(),
            after_sequence,
            kind: 0,
        };
        let stream = self.journal().watch_entries(request).await.expect("a watch").into_inner();
        self.watchers[session] = Some(stream);
    }

    /// Reads what the watcher has not seen yet.
    pub async fn drain(&mut self, session: usize) -> Checked {
        let head = self.model.sessions[session].head;
        let Some(stream) = &mut self.watchers[session] else { return Ok(()) };
        let seen = &mut self.seen[session];
        while seen.last().map_or(0, |(sequence, _)| *sequence) < head {
            let waited = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
            let answer = waited.expect("in time").expect("goes on").expect("no error");
            seen.extend(answer.entries.iter().map(|entry| (entry.sequence, entry.epoch)));
        }
        Ok(())
    }

    /// The watcher of a session that is gone is told so.
    pub async fn check_end(&mut self, session: usize) -> Checked {
        let Some(mut stream) = self.watchers[session].take() else { return Ok(()) };
        // The first answer of a watch comes at once, and may not have been read.
        for _ in 0..2 {
            let waited = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
            match waited.expect("in time").expect("no end without a reason") {
                Ok(answer) => prop_assert!(answer.entries.is_empty()),
                Err(status) => {
                    let reason = cortex_rpc::reason(&status).unwrap_or_default();
                    prop_assert_eq!(reason, "SESSION_NOT_FOUND");
                    return Ok(());
                }
            }
        }
        Err(TestCaseError::fail("the watch of a deleted session goes on"))
    }

    /// The log of a session.
    pub async fn log(&self, session: usize) -> Vec<JournalEntry> {
        let request = ListEntriesRequest {
            session_id: self.sessions[session].clone(),
            page_size: 1000,
            ..Default::default()
        };
        self.journal().list_entries(request).await.expect("a page").into_inner().entries
    }

    /// Each watcher saw the log, which has no gap, begins with what a fork shared, and whose epochs never
    /// go back.
    pub async fn check_logs(mut self) -> Checked {
        for session in self.model.alive() {
            self.drain(session).await?;
            let entries = self.log(session).await;
            let cut = self.model.sessions[session].cut as usize;
            prop_assert_eq!(&entries[..cut], &self.shared[session]);
            let log: Vec<_> = entries.iter().map(|e| (e.sequence, e.epoch)).collect();
            prop_assert_eq!(&self.seen[session], &log);
            let sequences: Vec<_> = log.iter().map(|(sequence, _)| *sequence).collect();
            prop_assert_eq!(sequences, (1..=self.model.sessions[session].head).collect::<Vec<_>>());
            let own = log[cut..].iter();
            let epochs: Vec<_> = own.map(|(_, epoch)| *epoch).filter(|e| *e > 0).collect();
            prop_assert!(epochs.is_sorted(), "no event of a fenced holder");
        }
        Ok(())
    }
}

//! Journals without gaps, and heads that say what the journals say.

use futures::TryStreamExt;

use super::Checker;
use crate::{
    adapters::sql::{
        query::Query,
        row::Row,
        rows::{self, HEAD, HEAD_TABLES, LAST_POSITION, clustered, position},
        starts::MOST,
    },
    admin::{Finding, Unit},
    error::{Result, StorageError},
    journal::{SessionHead, SessionNo},
    wire,
};

/// Heads of one step.
const STEP: i64 = 256;
/// Entries at the end of each journal that are looked at, unless all of them are.
const SAMPLE: i64 = 256;

/// Entries that stand in one log.
struct Run {
    session: SessionNo,
    first: i64,
    last: i64,
}

/// What was found of them.
#[derive(Default)]
struct Found {
    entries: i64,
    /// The last command.
    command: i64,
    /// The first one without a type.
    nameless: Option<i64>,
}

impl Checker<'_> {
    pub(super) async fn journals(&mut self) -> Result<()> {
        let sessions = self.number("SELECT count(*) FROM heads").await?;
        self.enter("journals", sessions, Unit::Sessions).await?;
        let mut after = 0;
        loop {
            let sql = format!(
                "SELECT {HEAD} FROM {HEAD_TABLES} WHERE h.session > ? ORDER BY h.session LIMIT ?"
            );
            let found = self.all(Query::new(sql).bind(after)?.bind(STEP)?).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = last.try_get(0)?;
            for row in &found {
                self.journal(row).await?;
            }
            self.looked("sessions", found.len() as i64);
            self.advance(found.len() as i64).await?;
        }
    }

    async fn journal(&mut self, row: &Row) -> Result<()> {
        let head = match rows::head(row) {
            Ok(owned) => owned.head,
            Err(StorageError::Corrupt { detail }) => {
                let session_id = row.try_get(2)?;
                return self.find(finding("HEAD_UNREADABLE", session_id, "head", &detail)).await;
            }
            Err(error) => return Err(error),
        };
        self.entries(&head).await?;
        self.pending(&head).await?;
        self.cursor(&head).await?;
        self.messages(&head).await?;
        self.calls(&head).await?;
        if self.full { self.replay(&head).await } else { Ok(()) }
    }

    /// The cursor, and the messages that wait, are commands of the log.
    async fn cursor(&mut self, head: &SessionHead) -> Result<()> {
        if head.consumed > head.head {
            let (consumed, head_is) = (head.consumed, head.head);
            let problem =
                format!("commands up to {consumed} are consumed, and the head says {head_is}");
            self.head_differs(head, "consumed", &problem).await?;
        }
        if let Some(at) = head.queue.iter().find(|at| !(1..=head.consumed).contains(*at)) {
            let problem =
                format!("message {at} waits, and commands up to {} are consumed", head.consumed);
            self.head_differs(head, "queue", &problem).await?;
        }
        Ok(())
    }

    async fn entries(&mut self, head: &SessionHead) -> Result<()> {
        let first = if self.full { 1 } else { (head.head - SAMPLE + 1).max(1) };
        let (mut missing, mut gap, mut command) = (0, None, 0);
        for run in self.runs(head, first).await? {
            let found = self.run(&run).await?;
            self.looked("journal_entries", found.entries);
            let lacks = run.last - run.first + 1 - found.entries;
            if lacks != 0 && gap.is_none() {
                gap = Some(self.first_gap(&run).await?);
            }
            missing += lacks;
            command = found.command.max(command);
            if let Some(at) = self.startless(&run).await? {
                let problem = format!(
                    "the entry at {at} begins like one that is not there, or not before it; restore the \
                     session from a backup"
                );
                let session = head.session_id.clone();
                self.find(finding("START_MISSING", session, &at.to_string(), &problem)).await?;
            }
            if let Some(at) = found.nameless {
                let problem =
                    "the type of an entry is not there; restore the session from a backup";
                let subject = at.to_string();
                self.find(finding("NAME_MISSING", head.session_id.clone(), &subject, problem))
                    .await?;
            }
        }
        if let Some(at) = gap {
            let problem = format!(
                "{missing} entries are missing, the first at sequence {at}; \
                 nothing that follows can be trusted, restore the session from a backup"
            );
            self.find(finding("SEQUENCE_GAP", head.session_id.clone(), &at.to_string(), &problem))
                .await?;
        }
        let told = if head.last_command < first { 0 } else { head.last_command };
        if missing == 0 && command != told {
            let problem = format!("the last command is {command}, and the head says {told}");
            self.head_differs(head, "last_command", &problem).await?;
        }
        self.beyond(head).await
    }

    /// Where the entries from `first` on are: those of a fork begin in the logs of other sessions.
    async fn runs(&mut self, head: &SessionHead, first: i64) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        let mut next = first;
        if first <= head.shared {
            let sql = "SELECT owner, first, last FROM parts WHERE session = ? ORDER BY part";
            let parts = self.all(Query::new(sql).bind(head.session.0)?).await?;
            for part in &parts {
                let last = part.try_get::<i64>(2)?.min(head.shared);
                if last >= next {
                    let session = SessionNo(part.try_get(0)?);
                    runs.push(Run { session, first: next, last });
                    next = last + 1;
                }
            }
        }
        // What no part says stands nowhere: it is looked for in the session's own log.
        if next <= head.head {
            runs.push(Run { session: head.session, first: next, last: head.head });
        }
        Ok(runs)
    }

    async fn run(&mut self, run: &Run) -> Result<Found> {
        let query = Query::new(
            "SELECT count(*), max(CASE WHEN e.kind <> 0 THEN e.entry END), \
             min(CASE WHEN t.name_no IS NULL OR p.name_no IS NULL THEN e.entry END) \
             FROM entries e LEFT JOIN names t ON t.name_no = e.type \
             LEFT JOIN names p ON p.name_no = e.payload_type WHERE e.entry BETWEEN ? AND ?",
        )
        .bind(clustered(run.session, run.first))?
        .bind(clustered(run.session, run.last))?;
        let Some(row) = self.first(query).await? else { return Ok(Found::default()) };
        Ok(Found {
            entries: row.try_get(0)?,
            command: row.try_get::<Option<i64>>(1)?.map_or(0, position),
            nameless: row.try_get::<Option<i64>>(2)?.map(position),
        })
    }

    /// The first entry whose beginning is left out, and cannot be found where it says.
    async fn startless(&mut self, run: &Run) -> Result<Option<i64>> {
        let query = Query::new(format!(
            "SELECT e.entry, e.start, s.start, substr(s.payload, 1, {MOST}) FROM entries e \
             LEFT JOIN entries s ON s.entry = (((e.entry >> 32) << 32) | e.start) \
             WHERE e.entry BETWEEN ? AND ? AND e.start IS NOT NULL ORDER BY e.entry"
        ))
        .bind(clustered(run.session, run.first))?
        .bind(clustered(run.session, run.last))?;
        let mut entries = query.stream(self.conn.target())?;
        while let Some(row) = entries.try_next().await? {
            let at = position(row.try_get(0)?);
            let is_before = row.try_get::<i64>(1)? < at;
            let is_whole = row.try_get::<Option<i64>>(2)?.is_none();
            let payload: Option<&[u8]> = row.try_get(3)?;
            let has_field = payload.is_some_and(|payload| wire::first_field(payload).is_some());
            if !(is_before && is_whole && has_field) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The first sequence that has no entry.
    async fn first_gap(&mut self, run: &Run) -> Result<i64> {
        let query =
            Query::new("SELECT entry FROM entries WHERE entry BETWEEN ? AND ? ORDER BY entry")
                .bind(clustered(run.session, run.first))?
                .bind(clustered(run.session, run.last))?;
        let mut entries = query.stream(self.conn.target())?;
        let mut expected = run.first;
        while let Some(row) = entries.try_next().await? {
            if position(row.try_get(0)?) != expected {
                break;
            }
            expected += 1;
        }
        Ok(expected)
    }

    async fn beyond(&mut self, head: &SessionHead) -> Result<()> {
        let query = Query::new("SELECT max(entry) FROM entries WHERE entry > ? AND entry <= ?")
            .bind(clustered(head.session, head.head))?
            .bind(clustered(head.session, LAST_POSITION))?;
        let row = self.first(query).await?;
        let last = row.map_or(Ok(None), |row| row.try_get::<Option<i64>>(0))?;
        let Some(last) = last.map(position) else { return Ok(()) };
        let problem = format!("there is an entry at {last}, and the head says {}", head.head);
        self.head_differs(head, "head", &problem).await
    }

    /// The commands behind the cursor, as the head lists them.
    async fn pending(&mut self, head: &SessionHead) -> Result<()> {
        let query = Query::new(
            "SELECT entry, kind FROM entries WHERE entry > ? AND entry <= ? AND kind <> 0 \
             ORDER BY entry",
        )
        .bind(clustered(head.session, head.consumed.clamp(0, LAST_POSITION)))?
        .bind(clustered(head.session, head.head))?;
        let mut found = Vec::new();
        for row in self.all(query).await? {
            found.push((position(row.try_get(0)?), row.try_get::<i64>(1)?));
        }
        let listed: Vec<_> = head.pending.iter().map(|c| (c.sequence, c.kind.number())).collect();
        if found == listed {
            return Ok(());
        }
        let problem = format!(
            "{} commands wait behind sequence {}, and the head lists {}",
            found.len(),
            head.consumed,
            listed.len()
        );
        self.head_differs(head, "pending", &problem).await
    }

    async fn messages(&mut self, head: &SessionHead) -> Result<()> {
        let query = Query::new(
            "SELECT count(*), max(message) FROM messages WHERE message > ? AND message <= ?",
        )
        .bind(clustered(head.session, head.history_floor.clamp(0, LAST_POSITION)))?
        .bind(clustered(head.session, LAST_POSITION))?;
        let Some(row) = self.first(query).await? else { return Ok(()) };
        let count: i64 = row.try_get(0)?;
        let last = row.try_get::<Option<i64>>(1)?.map_or(0, position);
        self.looked("messages", count);
        if count != head.message_count {
            let told = head.message_count;
            let problem = format!("the history has {count} messages, and the head says {told}");
            self.head_differs(head, "message_count", &problem).await?;
        }
        // Without this bound the journal says what the last position is.
        if !self.full && last > head.last_position {
            let told = head.last_position;
            let problem = format!("the last message is at {last}, and the head says {told}");
            self.head_differs(head, "last_position", &problem).await?;
        }
        Ok(())
    }

    async fn calls(&mut self, head: &SessionHead) -> Result<()> {
        let query = Query::new("SELECT count(*) FROM executions WHERE session = ? AND settled = 0")
            .bind(head.session.0)?;
        let row = self.first(query).await?;
        let open: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        self.looked("executions", open);
        if open == head.open_calls {
            return Ok(());
        }
        let problem = format!("{open} calls have no result, and the head says {}", head.open_calls);
        self.head_differs(head, "open_calls", &problem).await
    }

    pub(super) async fn head_differs(
        &mut self,
        head: &SessionHead,
        what: &str,
        problem: &str,
    ) -> Result<()> {
        let problem = format!("{problem}; export what is left of the session, or delete it");
        self.find(finding("HEAD_DIFFERS", head.session_id.clone(), what, &problem)).await
    }
}

pub(super) fn finding(
    code: &'static str,
    session_id: String,
    subject: &str,
    problem: &str,
) -> Finding {
    let collection = match code {
        "SEQUENCE_GAP" | "NAME_MISSING" | "START_MISSING" => "journal_entries",
        "HISTORY_DIFFERS" => "messages",
        "STATE_DIFFERS" => "states",
        _ => "sessions",
    };
    let message = problem.to_owned();
    Finding { code, message, collection, session_id, subject: subject.to_owned() }
}

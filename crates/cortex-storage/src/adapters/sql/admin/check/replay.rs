//! Marks without gaps, and a history and a state that are what the marks make of them.

use super::{Checker, journals::finding};
use crate::{
    adapters::sql::{
        query::Query,
        read::{contents_on, log_parts, marks_on},
        rows::{self, LAST_POSITION, MESSAGE, clustered},
        stored::{Cut, Cuts, Stored, Wanted, join_text},
    },
    entry_text::EntryText,
    error::{Result, StorageError},
    history::Message,
    journal::{Fold, FoldError, Mark, MarkNo, Projection, Sequence, SessionHead},
    state::State,
};

/// Marks and messages of one step.
const STEP: usize = 256;
/// Bytes of the marks of one step, nearly.
const STEP_BYTES: usize = 4 << 20;

/// Marks of one session, folded so far.
struct Replay {
    fold: Fold,
    seen: MarkNo,
    sequence: Sequence,
}

/// Why marks say nothing of what is stored.
struct Broken {
    code: &'static str,
    /// The mark.
    mark: MarkNo,
    problem: String,
}

impl Replay {
    fn take(&mut self, mark: &Mark, head: &SessionHead) -> Result<(), Broken> {
        let next = self.seen + 1;
        if mark.number != next {
            let problem = format!("mark {next} is missing");
            return Err(Broken { code: "MARK_MISSING", mark: next, problem });
        }
        self.seen = next;
        if !(self.sequence..=head.head).contains(&mark.sequence) {
            let problem = format!("mark {next} is of sequence {}", mark.sequence);
            return Err(Broken { code: "MARK_WRONG", mark: next, problem });
        }
        self.sequence = mark.sequence;
        let wrong = |error: FoldError| Broken {
            code: "MARK_WRONG",
            mark: next,
            problem: format!("mark {next} does not fit to those before it: {error}"),
        };
        self.fold.apply(mark).map_err(wrong)
    }
}

impl Checker<'_> {
    /// Folds the marks of a session, and compares what they make with what is stored. Holds the history
    /// of the session in memory, twice at most.
    pub(super) async fn replay(&mut self, head: &SessionHead) -> Result<()> {
        let projection = match self.project(head).await? {
            Ok(Some(projection)) => projection,
            // A content is missing, which is told where contents are looked at.
            Ok(None) => return Ok(()),
            Err(Broken { code, mark, problem }) => {
                let problem = format!("{problem}; the session cannot be forked or exported");
                let session = head.session_id.clone();
                return self.find(finding(code, session, &mark.to_string(), &problem)).await;
            }
        };
        self.history(head, &projection).await?;
        self.state(head, &projection.state).await
    }

    async fn project(&mut self, head: &SessionHead) -> Result<Result<Option<Projection>, Broken>> {
        let parts = log_parts(self.conn.target(), head.session).await?;
        let fold = Fold::new(head.session_id.clone());
        let mut replay = Replay { fold, seen: 0, sequence: 0 };
        while replay.seen < head.marks {
            let next = replay.seen + 1;
            let range = (replay.seen, head.marks);
            let read = marks_on(self.conn.target(), &parts, range, (STEP, STEP_BYTES)).await;
            let stored = match read {
                Err(StorageError::Corrupt { detail }) => {
                    let problem = format!("mark {next} or one behind it cannot be read: {detail}");
                    return Ok(Err(Broken { code: "MARK_WRONG", mark: next, problem }));
                }
                read => read?,
            };
            if stored.is_empty() {
                let problem = format!("mark {next} is missing");
                return Ok(Err(Broken { code: "MARK_MISSING", mark: next, problem }));
            }
            for mark in stored {
                let Some(mark) = self.whole(mark).await? else { return Ok(Ok(None)) };
                let mark = match mark.finish() {
                    Err(StorageError::Corrupt { detail: problem }) => {
                        return Ok(Err(Broken { code: "MARK_WRONG", mark: next, problem }));
                    }
                    mark => mark?,
                };
                if let Err(broken) = replay.take(&mark, head) {
                    return Ok(Err(broken));
                }
            }
        }
        let last = replay.seen;
        let wrong = |error: FoldError| Broken {
            code: "MARK_WRONG",
            mark: last,
            problem: error.to_string(),
        };
        Ok(replay.fold.finish().map(Some).map_err(wrong))
    }

    /// A row with what was cut out of it; none if a content is missing.
    async fn whole<T: Cut>(&mut self, stored: Stored<T>) -> Result<Option<T>> {
        let contents = contents_on(self.conn.target(), Wanted::of([&stored])).await?;
        Ok(stored.whole(&contents))
    }

    async fn history(&mut self, head: &SessionHead, projection: &Projection) -> Result<()> {
        let mut expected = projection.messages.iter();
        let mut after = head.history_floor.clamp(0, LAST_POSITION);
        loop {
            let found = self.stored_messages(head, after).await?;
            let Some(found) = found else { return Ok(()) };
            if found.is_empty() {
                break;
            }
            for (message, place) in found {
                after = message.position;
                let expected = expected.next();
                if expected.is_some_and(|(m, p)| *m == message && *p == place) {
                    continue;
                }
                let at = expected.map_or(after, |(expected, _)| expected.position.min(after));
                return self.history_differs(head, at).await;
            }
        }
        match expected.next() {
            Some((missing, _)) => self.history_differs(head, missing.position).await,
            None => self.bounds(head, projection).await,
        }
    }

    /// The next messages; none if one cannot be read, which is told.
    async fn stored_messages(
        &mut self,
        head: &SessionHead,
        after: i64,
    ) -> Result<Option<Vec<(Message, Option<EntryText>)>>> {
        let query = Query::new(format!(
            "SELECT {MESSAGE} FROM messages m CROSS JOIN sessions s ON s.session = m.session \
             WHERE m.message > ? AND m.message <= ? ORDER BY m.message LIMIT ?"
        ))
        .bind(clustered(head.session, after))?
        .bind(clustered(head.session, LAST_POSITION))?
        .bind(STEP as i64)?;
        let mut messages = Vec::new();
        for row in self.all(query).await? {
            let position = rows::position(row.try_get(0)?);
            let read = rows::message(&row);
            let Ok(stored) = read else { return self.unreadable(head, position).await };
            let Some(cut) = self.whole(stored).await? else { return Ok(None) };
            let place = cut.place.clone();
            let Ok(message) = cut.finish(None) else {
                return self.unreadable(head, position).await;
            };
            messages.push((message, place));
        }
        Ok(Some(messages))
    }

    async fn unreadable<T>(&mut self, head: &SessionHead, position: i64) -> Result<Option<T>> {
        self.history_differs(head, position).await?;
        Ok(None)
    }

    async fn history_differs(&mut self, head: &SessionHead, position: i64) -> Result<()> {
        let problem = format!(
            "the message at {position} is not what the journal makes of it; fork the session, whose \
             history is made from the journal, or restore it from a backup"
        );
        let session = head.session_id.clone();
        self.find(finding("HISTORY_DIFFERS", session, &position.to_string(), &problem)).await
    }

    async fn bounds(&mut self, head: &SessionHead, projection: &Projection) -> Result<()> {
        for (what, told, found) in [
            ("last_position", head.last_position, projection.last_position),
            ("history_floor", head.history_floor, projection.floor),
        ] {
            if told != found {
                let problem = format!("{what} is {found} by the journal, and the head says {told}");
                self.head_differs(head, what, &problem).await?;
            }
        }
        Ok(())
    }

    async fn state(&mut self, head: &SessionHead, expected: &State) -> Result<()> {
        const SQL: &str =
            "SELECT data, version, updated_at, tenant, pieces FROM states WHERE session = ?";
        let row = self.first(Query::new(SQL).bind(head.session.0)?).await?;
        let stored = match row {
            Some(row) => {
                let updated_at: Option<i64> = row.try_get(2)?;
                let updated_at = updated_at.map(crate::time::Stamp::from_micros);
                let mut data: String = row.try_get(0)?;
                if let Some(Cuts { tenant, pieces }) = rows::cuts(&row, 3, 4)? {
                    let hashes = pieces.hashes().collect();
                    let wanted = Wanted { tenant: Some(tenant), hashes };
                    let contents = contents_on(self.conn.target(), wanted).await?;
                    if join_text(&mut data, 0, &pieces, &contents).is_none() {
                        return Ok(());
                    }
                }
                State { data, version: row.try_get(1)?, updated_at }
            }
            None => State::default(),
        };
        if stored == *expected {
            return Ok(());
        }
        let problem = format!(
            "the state of version {} is not what the journal makes of it, which has version {}; set it \
             anew, or restore the session from a backup",
            stored.version, expected.version
        );
        self.find(finding("STATE_DIFFERS", head.session_id.clone(), "state", &problem)).await
    }
}

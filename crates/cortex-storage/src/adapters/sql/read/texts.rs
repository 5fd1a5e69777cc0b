//! Texts that messages have in entries.

use cortex_core::SessionId;
use futures::FutureExt;

use super::{Reader, contents::until_whole, log::log_parts};
use crate::{
    adapters::sql::{
        row::Row,
        rows::{self, LAST_POSITION, clustered},
        script::Script,
        stored::{Cut, Stored},
    },
    content::{Contents, Pieces},
    entry_text::{EntryText, Text},
    error::{Result, StorageError},
    journal::{Append, Part, Sequence, SessionNo},
    tenant::Tenant,
};

/// The tables of [`piece`], joined to rows of number, first key, last key, type, and whether that is one
/// entry.
const TABLES: &str = " v CROSS JOIN names n ON n.name = v.column4 \
    CROSS JOIN entries e ON e.entry >= v.column2 AND e.entry <= v.column3 \
    AND e.type = n.name_no AND (e.kind = 0 OR v.column5 = 1) \
    LEFT JOIN entries s ON s.entry = (((e.entry >> 32) << 32) | e.start)";

/// The payload of one of the entries that a text stands in.
#[derive(Debug)]
pub(super) struct TextPiece {
    /// Which of the texts that were asked for.
    text: usize,
    sequence: Sequence,
    payload: Vec<u8>,
}

impl Cut for TextPiece {
    fn join(&mut self, pieces: &Pieces, contents: &Contents) -> Option<()> {
        let rest = std::mem::take(&mut self.payload);
        self.payload = pieces.join(0, rest, contents)?;
        Some(())
    }
}

fn piece(row: &Row) -> Result<Stored<TextPiece>> {
    let text = usize::try_from(row.try_get::<i64>(0)?).unwrap_or(usize::MAX);
    let sequence = rows::position(row.try_get(1)?);
    let piece = TextPiece { text, sequence, payload: rows::payload(row, 2, 5)? };
    Ok(Stored { row: piece, cuts: rows::cuts(row, 3, 4)? })
}

/// The keys of the entries that texts stand in, in each part of a log: number of the text, keys, place.
fn ranges<'p>(places: &[&'p EntryText], parts: &[Part]) -> Vec<(i64, (i64, i64), &'p EntryText)> {
    let mut ranges = Vec::with_capacity(places.len());
    for (number, place) in (0_i64..).zip(places) {
        for part in parts {
            let (first, last) = (place.first.max(part.first), place.last.min(part.last));
            if first <= last {
                let keys = (clustered(part.owner, first), clustered(part.owner, last));
                ranges.push((number, keys, *place));
            }
        }
    }
    ranges
}

/// The texts of `places`, from their pieces.
pub(super) fn texts(places: &[&EntryText], mut pieces: Vec<TextPiece>) -> Vec<String> {
    pieces.sort_by_key(|piece| (piece.text, piece.sequence));
    let mut texts = vec![String::new(); places.len()];
    for piece in &pieces {
        if let (Some(place), Some(text)) = (places.get(piece.text), texts.get_mut(piece.text)) {
            text.push_str(place.piece(&piece.payload));
        }
    }
    texts
}

impl Reader {
    /// The entries of a session that texts stand in.
    pub(super) async fn text_pieces(
        &self,
        session: SessionNo,
        places: &[&EntryText],
    ) -> Result<Vec<Stored<TextPiece>>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut snapshot = self.pool.snapshot().await?;
        let parts = log_parts(snapshot.target(), session).await?;
        let ranges = ranges(places, &parts);
        let mut script = Script::default();
        let columns = "SELECT v.column1, e.entry, e.payload, e.tenant, e.pieces, \
            substr(s.payload, 1, 64) FROM ";
        script.values((columns, 5, TABLES), &ranges, |script, (number, (first, last), place)| {
            script.bind(*number).bind(*first).bind(*last);
            script.bind(place.name.to_string()).bind(i64::from(place.is_of_one()));
        });
        let found =
            if ranges.is_empty() { Vec::new() } else { script.fetch_on(snapshot.target()).await? };
        snapshot.end().await?;
        found.iter().map(piece).collect()
    }

    async fn try_text_pieces(
        &self,
        session: SessionNo,
        places: &[&EntryText],
    ) -> Result<Option<Vec<TextPiece>>> {
        self.join(self.text_pieces(session, places).await?).await
    }

    /// How many bytes of each text stand in the log.
    pub(in super::super) async fn text_sizes(
        &self,
        session: SessionNo,
        places: &[EntryText],
    ) -> Result<Vec<u64>> {
        let places: Vec<&EntryText> = places.iter().collect();
        let pieces = until_whole(|| self.try_text_pieces(session, &places).boxed()).await?;
        let mut sizes = vec![0; places.len()];
        for piece in &pieces {
            if let (Some(place), Some(size)) = (places.get(piece.text), sizes.get_mut(piece.text)) {
                *size += place.piece(&piece.payload).len() as u64;
            }
        }
        Ok(sizes)
    }

    /// Finds how much of each text that an append refers to stands in the log before it.
    pub(in super::super) async fn look_up_texts(
        &self,
        tenant: &Tenant,
        op: &mut Append,
    ) -> Result<()> {
        let session_id = op.session_id.clone();
        let committed = op.effects.texts_mut().filter_map(|text| match text {
            Text::InEntries { place, found } if place.first > 0 => {
                let last = if place.last == 0 { LAST_POSITION } else { place.last };
                Some((EntryText { last, ..place.clone() }, found))
            }
            _ => None,
        });
        let (places, founds): (Vec<EntryText>, Vec<&mut u64>) = committed.unzip();
        if places.is_empty() {
            return Ok(());
        }
        let Some(session) = self.session_no(tenant, &session_id).await? else { return Ok(()) };
        let sizes = self.text_sizes(session, &places).await?;
        for (found, size) in founds.into_iter().zip(sizes) {
            *found = size;
        }
        Ok(())
    }

    /// The number of a session; nothing when there is none.
    async fn session_no(&self, tenant: &Tenant, id: &SessionId) -> Result<Option<SessionNo>> {
        match self.head(tenant, id).await {
            Ok(head) => Ok(Some(head.session)),
            Err(StorageError::SessionNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

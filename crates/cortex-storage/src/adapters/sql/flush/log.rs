//! Marks, and the parts of forks.

use crate::adapters::sql::{
    contents::ContentChanges, encoded::encode_delta, rows::clustered, script::Script, work::Writes,
};

const MARKS: &str = "marks (mark, tenant, sequence, last_command, quiescent, created_at, delta, \
    pieces)";
const PARTS: &str = "parts (session, part, owner, first, last, first_mark, last_mark)";

impl Writes {
    pub(super) fn write_marks(&self, script: &mut Script, contents: &mut ContentChanges) {
        let mut rows = Vec::with_capacity(self.marks.len());
        for (tenant, session, mark) in &self.marks {
            let mut cutter = contents.cutter();
            let delta = cutter.bytes(0, &encode_delta(&mark.delta).into()).into_owned();
            let pieces = contents.keep(*tenant, cutter);
            rows.push((*tenant, *session, mark, delta, pieces));
        }
        script.insert((MARKS, 8, ""), &rows, |script, (tenant, session, mark, delta, pieces)| {
            script
                .bind(clustered(*session, mark.number))
                .bind(tenant.0)
                .bind(mark.sequence)
                .bind(mark.last_command)
                .bind(i64::from(mark.quiescent))
                .bind(mark.at.micros())
                .bind(delta.clone())
                .bind(pieces.encode());
        });
    }

    pub(super) fn write_parts(&self, script: &mut Script) {
        let mut rows = Vec::new();
        for (session, parts) in &self.parts {
            rows.extend((1_i64..).zip(parts).map(|(number, part)| (*session, number, *part)));
        }
        script.insert((PARTS, 7, ""), &rows, |script, (session, number, part)| {
            script
                .bind(session.0)
                .bind(*number)
                .bind(part.owner.0)
                .bind(part.first)
                .bind(part.last)
                .bind(part.first_mark)
                .bind(part.last_mark);
        });
        for session in &self.released {
            // Rows of sessions that are gone, and that may be of use to nobody from now on.
            script.push(
                "INSERT INTO purges (session) SELECT DISTINCT p.owner FROM parts p \
                 WHERE p.session = ? \
                 AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.session = p.owner);",
            );
            script.bind(session.0);
            script.push("DELETE FROM parts WHERE session = ?;").bind(session.0);
        }
    }
}

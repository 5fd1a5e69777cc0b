//! Holders and the ledger.

use bytes::Bytes;

use crate::adapters::sql::{
    contents::ContentChanges, script::Script, stored::outcome_column, work::Work,
};

const EXECUTIONS: &str = "executions (tenant, execution_id, session, turn_id, call_id, kind, name, \
    state, claimant_id, claimant_instance, outcome_kind, settled, created_at, updated_at)";
const EXECUTIONS_CONFLICT: &str = "ON CONFLICT (tenant, execution_id) DO UPDATE SET \
    state = excluded.state, claimant_id = excluded.claimant_id, \
    claimant_instance = excluded.claimant_instance, outcome_kind = excluded.outcome_kind, \
    settled = excluded.settled, updated_at = excluded.updated_at";
const OUTCOMES: &str =
    "outcomes (tenant, execution_id, result, error, details_type, details, pieces)";

impl Work {
    pub(super) fn write_holders(&self, script: &mut Script) {
        let holders: Vec<_> =
            self.writes.holders.iter().filter_map(|id| self.cache.holders.0.get(id)).collect();
        let table = "holders (tenant, holder_id, instance, duration, expires_at, voided, voids)";
        let conflict = "ON CONFLICT (holder_id) DO UPDATE SET \
            expires_at = excluded.expires_at, voided = excluded.voided, voids = excluded.voids";
        script.insert((table, 7, conflict), &holders, |script, owned| {
            let holder = &owned.holder;
            script
                .bind(owned.tenant.0)
                .bind(holder.holder_id.as_str().to_owned())
                .bind(holder.instance.clone())
                .bind(i64::try_from(holder.duration.as_micros()).unwrap_or(i64::MAX))
                .bind(holder.expires_at.micros())
                .bind(holder.voided)
                .bind(holder.voids.as_ref().map(|id| id.as_str().to_owned()));
        });
    }

    pub(super) fn write_executions(&self, script: &mut Script, contents: &mut ContentChanges) {
        let rows: Vec<_> = self
            .writes
            .executions
            .iter()
            .filter_map(|key| Some((key.0, self.read.executions.get(key)?)))
            .collect();
        script.insert((EXECUTIONS, 14, EXECUTIONS_CONFLICT), &rows, |script, (tenant, row)| {
            script
                .bind(tenant.0)
                .bind(&row.execution_id)
                .bind(row.session.0)
                .bind(&row.turn_id)
                .bind(&row.call_id)
                .bind(row.kind.number())
                .bind(row.name.clone())
                .bind(row.state.number())
                .bind(row.claimant_id.as_ref())
                .bind(row.claimant_instance.clone())
                .bind(row.outcome_kind.map(crate::journal::OutcomeKind::number))
                .bind(row.settled)
                .bind(row.created_at.micros())
                .bind(row.updated_at.micros());
        });
        self.write_outcomes(script, contents);
    }

    fn write_outcomes(&self, script: &mut Script, contents: &mut ContentChanges) {
        let nothing = Bytes::new();
        let mut rows = Vec::with_capacity(self.writes.outcomes.len());
        for (tenant, id, outcome) in &self.writes.outcomes {
            let details = outcome.details.as_ref();
            let mut cutter = contents.cutter();
            let result = cutter.text(outcome_column::RESULT, &outcome.result);
            let error = cutter.text(outcome_column::ERROR, &outcome.error);
            let value = details.map_or(&nothing, |details| &details.value);
            let value = cutter.bytes(outcome_column::DETAILS, value);
            let pieces = contents.keep(*tenant, cutter);
            let details = details.map(|details| (details, value));
            rows.push((*tenant, id, (result, error), details, pieces));
        }
        script.insert((OUTCOMES, 7, ""), &rows, |script, row| {
            let (tenant, id, (result, error), details, pieces) = row;
            script
                .bind(tenant.0)
                .bind(*id)
                .bind(result.to_string())
                .bind(error.to_string())
                .bind(details.as_ref().map(|(details, _)| details.type_url.to_string()))
                .bind(details.as_ref().map(|(_, value)| value.to_vec()))
                .bind(pieces.encode());
        });
    }
}

//! Recording metrics.

use std::sync::Arc;

use super::{super::needs::Needs, super::work::Work, Operation};
use crate::{
    adapters::sql::{
        cache::{Cache, TenantNo},
        work::MetricRows,
    },
    error::{Result, StorageError},
    journal::SessionNo,
    metric::{NewMetric, RecordMetrics, Recorded},
    tenant::Tenant,
    time::Stamp,
};

/// Records numbers, all or none.
pub(in super::super) struct RecordNumbers {
    pub(in super::super) tenant: Tenant,
    pub(in super::super) record: RecordMetrics,
}

impl Operation for RecordNumbers {
    type Answer = Recorded;

    fn needs(&self, cache: &Cache, needs: &mut Needs) {
        let Some(tenant) = cache.tenant(&self.tenant) else { return };
        if let Some((_, key)) = &self.record.request {
            needs.metric_requests.insert((tenant, *key));
        }
        for session in self.record.metrics.iter().filter_map(|metric| metric.session_id.as_ref()) {
            needs.session(cache, &self.tenant, session);
        }
    }

    fn decide(&self, work: &mut Work) -> Result<Recorded> {
        if let Some(before) = self.recorded_before(work)? {
            return Ok(before);
        }
        let session = |metric: &NewMetric| match &metric.session_id {
            Some(id) => work.session(&self.tenant, id).map(|(_, session)| Some(session)),
            None => Ok(None),
        };
        let sessions: Vec<Option<SessionNo>> =
            self.record.metrics.iter().map(session).collect::<Result<_>>()?;
        let (now, count) = (work.now, self.record.metrics.len());
        let recorded = match &self.record.request {
            Some((_, key)) => Recorded::of_request(&self.tenant, *key, now, count)?,
            None => Recorded::new(now, count),
        };
        let tenant = work.ensure_tenant(&self.tenant);
        if let Some((_, key)) = &self.record.request {
            let (key, known) = ((tenant, *key), (self.record.fingerprint, now));
            work.read.metric_requests.insert(key, known);
            work.writes.metric_requests.push((key, known));
        }
        let metrics = Arc::clone(&self.record.metrics);
        work.writes.metrics.push(MetricRows {
            tenant,
            sessions,
            metrics,
            recorded: recorded.clone(),
        });
        Ok(recorded)
    }

    fn size(&self) -> usize {
        self.record.metrics.iter().map(NewMetric::size).sum()
    }
}

impl RecordNumbers {
    /// What the same request answered before.
    fn recorded_before(&self, work: &Work) -> Result<Option<Recorded>> {
        let Some((id, key)) = &self.record.request else { return Ok(None) };
        let tenant = work.cache.tenant(&self.tenant);
        let known = tenant.and_then(|tenant| work.read.metric_requests.get(&(tenant, *key)));
        let Some((fingerprint, at)) = known else { return Ok(None) };
        if *fingerprint != self.record.fingerprint {
            return Err(StorageError::RequestIdReused { request_id: id.as_str().to_owned() });
        }
        let count = self.record.metrics.len();
        Recorded::of_request(&self.tenant, *key, *at, count).map(Some)
    }
}

/// Forgets requests that recorded metrics before a time.
pub(in super::super) struct ForgetMetricRequests {
    pub(in super::super) before: Stamp,
}

impl Operation for ForgetMetricRequests {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work) -> Result<()> {
        work.writes.forget_metric_requests = Some(self.before);
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

/// A metric by its time and key.
pub(in super::super) type MetricPlace = (i64, i64);

/// Deletes a tenant's metrics below one of them, some at a time.
pub(in super::super) struct PruneMetrics {
    pub(in super::super) tenant: TenantNo,
    pub(in super::super) below: MetricPlace,
    /// As many as that at most: the oldest.
    pub(in super::super) rows: i64,
}

impl Operation for PruneMetrics {
    type Answer = ();

    fn needs(&self, _: &Cache, _: &mut Needs) {}

    fn decide(&self, work: &mut Work) -> Result<()> {
        work.writes.pruned_metrics.push((self.tenant, self.below, self.rows));
        Ok(())
    }

    fn size(&self) -> usize {
        0
    }
}

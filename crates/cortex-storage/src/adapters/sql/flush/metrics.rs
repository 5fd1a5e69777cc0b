//! Metrics, and the requests that recorded them.

use crate::{
    adapters::sql::{
        script::Script,
        work::{MetricRows, Writes},
    },
    metric::Metric,
};

const METRICS: &str = "metrics (tenant, metric_id, session, entity_type, entity_name, metric_name, \
    value, measured_at, labels)";

impl Writes {
    pub(super) fn write_metrics(&self, script: &mut Script) {
        let rows: Vec<_> = self.metrics.iter().flat_map(MetricRows::iter).collect();
        script.insert((METRICS, 9, ""), &rows, |script, (tenant, session, metric): &_| {
            let metric: &Metric = metric;
            script
                .bind(tenant.0)
                .bind(metric.metric_id.as_str())
                .bind(session.map(|session| session.0))
                .bind(metric.entity_type.as_str())
                .bind(metric.entity_name.as_str())
                .bind(metric.metric_name.as_str())
                .bind(metric.value)
                .bind(metric.timestamp.micros())
                .bind(metric.labels.encode());
        });
        let table = "metric_requests (tenant, request, fingerprint, at)";
        let requests = &self.metric_requests;
        script.insert((table, 4, ""), requests, |script, ((tenant, key), (fingerprint, at))| {
            script
                .bind(tenant.0)
                .bind(key.0.to_vec())
                .bind(fingerprint.0.to_vec())
                .bind(at.micros());
        });
        for (tenant, (at, metric), rows) in &self.pruned_metrics {
            script.push(
                "DELETE FROM metrics WHERE metric IN (SELECT metric FROM metrics WHERE tenant = ? \
                 AND (measured_at, metric) < (?, ?) ORDER BY measured_at, metric LIMIT ?);",
            );
            script.bind(tenant.0).bind(*at).bind(*metric).bind(*rows);
        }
        if let Some(before) = self.forget_metric_requests {
            script.push("DELETE FROM metric_requests WHERE at < ?;").bind(before.micros());
        }
    }
}

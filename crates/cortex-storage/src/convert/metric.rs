//! Metrics.

use std::collections::HashMap;

use cortex_core::PageError;

use super::{
    PageRequest,
    field::{bounded_name, fingerprint, optional_id, timestamp},
    proto,
};
use crate::{
    config::Limits,
    error::{Result, StorageError},
    journal::{Fingerprint, Method, RequestId},
    metric::{
        Aggregation, GroupKey, Labels, MAX_BATCH, Metric, MetricFilter, MetricPlace, MetricQuery,
        NewMetric, Point, RecordMetrics, Recorded, Series,
    },
    time::Stamp,
};

/// Characters of the kind of a thing.
const MAX_ENTITY_TYPE: usize = 64;
/// Characters of the name of a thing.
const MAX_ENTITY_NAME: usize = 256;
/// Characters of what was measured.
const MAX_METRIC_NAME: usize = 128;
/// The shortest step of an aggregation, in microseconds.
const MIN_STEP: i64 = 1_000_000;

/// One number to record.
pub(crate) fn record_metric(request: proto::RecordMetricRequest) -> Result<RecordMetrics> {
    let fingerprint = {
        // The order in which a map is encoded is no part of what was asked for.
        let labels = Labels::parse("labels", request.labels.clone())?;
        let bare = proto::RecordMetricRequest { labels: HashMap::new(), ..request.clone() };
        with_labels(fingerprint(&bare), [&labels])
    };
    let request_id = RequestId::parse(request.request_id)?;
    let metric = proto::NewMetric {
        entity_type: request.entity_type,
        entity_name: request.entity_name,
        session_id: request.session_id,
        metric_name: request.metric_name,
        value: request.value,
        labels: request.labels,
        timestamp: request.timestamp,
    };
    Ok(RecordMetrics {
        metrics: [new_metric("", metric)?].into(),
        request: request_id.map(|id| keyed(id, Method::RecordMetric)),
        fingerprint,
    })
}

/// Many numbers to record.
pub(crate) fn batch(request: proto::BatchRecordMetricsRequest) -> Result<RecordMetrics> {
    let count = request.metrics.len();
    if count == 0 || count > MAX_BATCH {
        let problem = format!("must be 1 to {MAX_BATCH} numbers, and are {count}");
        return Err(StorageError::invalid("metrics", problem));
    }
    let request_id = RequestId::parse(request.request_id)?;
    let mut bare = proto::BatchRecordMetricsRequest::default();
    let mut metrics = Vec::with_capacity(count);
    for (index, metric) in request.metrics.into_iter().enumerate() {
        if request_id.is_some() {
            bare.metrics.push(proto::NewMetric { labels: HashMap::new(), ..metric.clone() });
        }
        metrics.push(new_metric(&format!("metrics[{index}]."), metric)?);
    }
    let labels = metrics.iter().map(|metric| &metric.labels);
    let fingerprint = request_id.as_ref().map(|_| with_labels(fingerprint(&bare), labels));
    Ok(RecordMetrics {
        metrics: metrics.into(),
        request: request_id.map(|id| keyed(id, Method::BatchRecordMetrics)),
        fingerprint: fingerprint.unwrap_or_default(),
    })
}

fn keyed(id: RequestId, method: Method) -> (RequestId, crate::journal::RequestKey) {
    let key = id.key(method);
    (id, key)
}

fn with_labels<'l>(bare: Fingerprint, labels: impl IntoIterator<Item = &'l Labels>) -> Fingerprint {
    let mut bytes = bare.0.to_vec();
    for labels in labels {
        let text = labels.encode();
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    Fingerprint::of(&bytes)
}

/// A number whose fields stand below `path`.
fn new_metric(path: &str, metric: proto::NewMetric) -> Result<NewMetric> {
    let field = |name: &str| format!("{path}{name}");
    if !metric.value.is_finite() {
        let problem = format!("must be a finite number, and is {}", metric.value);
        return Err(StorageError::invalid(field("value"), problem));
    }
    Ok(NewMetric {
        entity_type: required(&field("entity_type"), metric.entity_type, MAX_ENTITY_TYPE)?,
        entity_name: required(&field("entity_name"), metric.entity_name, MAX_ENTITY_NAME)?,
        session_id: optional_id(&field("session_id"), &metric.session_id)?,
        metric_name: required(&field("metric_name"), metric.metric_name, MAX_METRIC_NAME)?,
        value: metric.value,
        labels: Labels::parse(&field("labels"), metric.labels)?,
        timestamp: metric
            .timestamp
            .map(|time| timestamp(&field("timestamp"), &time))
            .transpose()?,
    })
}

fn required(field: &str, text: String, max: usize) -> Result<String> {
    bounded_name(field, text, max)?
        .ok_or_else(|| StorageError::invalid(field, format!("is missing; 1 to {max} characters")))
}

/// What a filter is made from.
struct Filter<'r> {
    entity_type: &'r str,
    entity_name: &'r str,
    session_id: &'r str,
    metric_name: &'r str,
    start_time: Option<&'r prost_types::Timestamp>,
    end_time: Option<&'r prost_types::Timestamp>,
    labels: &'r [String],
}

impl Filter<'_> {
    fn parse(self) -> Result<MetricFilter> {
        let name = |field: &str, text: &str, max| bounded_name(field, text.to_owned(), max);
        let start = self.start_time.map(|time| timestamp("start_time", time)).transpose()?;
        let end = self.end_time.map(|time| timestamp("end_time", time)).transpose()?;
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            return Err(StorageError::invalid("end_time", "must not be before start_time"));
        }
        Ok(MetricFilter {
            entity_type: name("entity_type", self.entity_type, MAX_ENTITY_TYPE)?,
            entity_name: name("entity_name", self.entity_name, MAX_ENTITY_NAME)?,
            session_id: optional_id("session_id", self.session_id)?,
            metric_name: name("metric_name", self.metric_name, MAX_METRIC_NAME)?,
            start,
            end,
            labels: Labels::parse_filter(self.labels)?,
        })
    }
}

/// Which numbers to list.
pub(crate) fn metric_query(
    request: &proto::ListMetricsRequest,
) -> Result<(MetricQuery, PageRequest)> {
    let filter = Filter {
        entity_type: &request.entity_type,
        entity_name: &request.entity_name,
        session_id: &request.session_id,
        metric_name: &request.metric_name,
        start_time: request.start_time.as_ref(),
        end_time: request.end_time.as_ref(),
        labels: &request.labels,
    }
    .parse()?;
    let sizes = (request.page_size, request.limit, request.offset);
    let page = PageRequest::parse_with_offset(sizes, &request.page_token, &filter)?;
    let malformed = || StorageError::Page(PageError::Malformed);
    let before = page.from.as_deref().map(|from| MetricPlace::parse(from).ok_or_else(malformed));
    let before = before.transpose()?;
    let query = MetricQuery { filter, page_size: page.size, before, offset: page.offset };
    Ok((query, page))
}

/// What to work out.
pub(crate) fn aggregation(
    request: &proto::AggregateMetricsRequest,
    limits: &Limits,
) -> Result<Aggregation> {
    if request.metric_name.is_empty() {
        return Err(StorageError::invalid("metric_name", "is missing; say which measure"));
    }
    let filter = Filter {
        entity_type: &request.entity_type,
        entity_name: &request.entity_name,
        session_id: &request.session_id,
        metric_name: &request.metric_name,
        start_time: request.start_time.as_ref(),
        end_time: request.end_time.as_ref(),
        labels: &request.labels,
    }
    .parse()?;
    Ok(Aggregation {
        filter,
        step: request.step.as_ref().map(step).transpose()?,
        group_by: group_by(&request.group_by)?,
        max_numbers: limits.aggregated_numbers,
    })
}

/// A step in microseconds.
fn step(duration: &prost_types::Duration) -> Result<i64> {
    let bad = || StorageError::invalid("step", "must be at least 1 s, in whole microseconds");
    let nanos = duration.nanos;
    if !(0..1_000_000_000).contains(&nanos) || nanos % 1000 != 0 {
        return Err(bad());
    }
    let seconds = duration.seconds.checked_mul(1_000_000).ok_or_else(bad)?;
    let step = seconds.checked_add(i64::from(nanos / 1000)).ok_or_else(bad)?;
    if step < MIN_STEP { Err(bad()) } else { Ok(step) }
}

fn group_by(texts: &[String]) -> Result<Vec<GroupKey>> {
    if texts.len() > GroupKey::MAX {
        let problem = format!("must be at most {} keys, and are {}", GroupKey::MAX, texts.len());
        return Err(StorageError::invalid("group_by", problem));
    }
    let mut keys = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let field = format!("group_by[{index}]");
        let key = GroupKey::parse(&field, text)?;
        if keys.contains(&key) {
            return Err(StorageError::invalid(field, format!("names '{text}' twice")));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The one number of a request, as it was recorded.
pub(crate) fn recorded_to_proto(
    metrics: &[NewMetric],
    recorded: Recorded,
) -> Option<proto::Metric> {
    let id = recorded.ids.into_iter().next()?;
    Some(metric_to_proto(metrics.first()?.recorded(id, recorded.at)))
}

/// A number as the contract has it.
pub(crate) fn metric_to_proto(metric: Metric) -> proto::Metric {
    proto::Metric {
        id: metric.metric_id.into(),
        entity_type: metric.entity_type,
        entity_name: metric.entity_name,
        session_id: metric.session_id.unwrap_or_default(),
        metric_name: metric.metric_name,
        value: metric.value,
        timestamp: Some(metric.timestamp.into()),
        labels: metric.labels.into_iter().collect(),
    }
}

/// A series as the contract has it.
pub(crate) fn series_to_proto(group_by: &[GroupKey], series: Series) -> proto::MetricSeries {
    proto::MetricSeries {
        group: group_by.iter().map(GroupKey::name).zip(series.group).collect(),
        points: series.points.into_iter().map(point_to_proto).collect(),
    }
}

fn point_to_proto(point: Point) -> proto::MetricPoint {
    let begin: Stamp = point.timestamp;
    proto::MetricPoint {
        timestamp: Some(begin.into()),
        count: point.count,
        sum: point.sum,
        avg: point.avg,
        min: point.min,
        max: point.max,
        p50: point.p50,
        p95: point.p95,
        p99: point.p99,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(labels: &[(&str, &str)]) -> proto::RecordMetricRequest {
        proto::RecordMetricRequest {
            entity_type: "tool".into(),
            entity_name: "calculator".into(),
            metric_name: "latency_ms".into(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            request_id: "one".into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_order_of_labels_is_no_part_of_a_request() -> Result<()> {
        let pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
        let first = record_metric(request(&pairs))?.fingerprint;
        for _ in 0..20 {
            // Each map of the standard library has an order of its own.
            assert_eq!(record_metric(request(&pairs))?.fingerprint, first);
        }
        assert_ne!(record_metric(request(&pairs[..3]))?.fingerprint, first);
        Ok(())
    }

    #[test]
    fn a_step_is_a_second_or_more() {
        let duration = |seconds, nanos| step(&prost_types::Duration { seconds, nanos });
        assert_eq!(duration(1, 0), Ok(1_000_000));
        assert_eq!(duration(1, 500_000_000), Ok(1_500_000));
        for (seconds, nanos) in [(0, 999_999_000), (0, 0), (-5, 0), (1, 1), (i64::MAX, 0), (1, -1)]
        {
            assert!(duration(seconds, nanos).is_err(), "{seconds} s {nanos} ns");
        }
    }
}

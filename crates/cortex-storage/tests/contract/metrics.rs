//! MetricService.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};

use crate::support::*;

contract! {
    a_number_is_recorded_and_listed,
    numbers_are_listed_newest_first_with_filters,
    pages_go_back_in_time,
    a_batch_is_recorded_as_a_whole_or_not_at_all,
    ten_thousand_numbers_fit_a_batch,
    a_repeated_request_records_nothing_more,
    numbers_are_aggregated_by_step_and_group,
    an_aggregation_is_bounded,
    deleting_a_session_deletes_its_numbers,
    what_is_wrong_with_a_number_is_named,
}

fn number(name: &str, value: f64) -> RecordMetricRequest {
    RecordMetricRequest {
        entity_type: "tool".into(),
        entity_name: "calculator".into(),
        metric_name: name.into(),
        value,
        ..Default::default()
    }
}

fn one_of(name: &str, value: f64) -> NewMetric {
    NewMetric {
        entity_type: "tool".into(),
        entity_name: "calculator".into(),
        metric_name: name.into(),
        value,
        ..Default::default()
    }
}

fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

async fn record(f: &Fixture, request: RecordMetricRequest) -> Result<Metric, Status> {
    let answer = f.metrics().record_metric(request).await?.into_inner();
    Ok(answer.metric.expect("the number"))
}

async fn list(f: &Fixture, request: ListMetricsRequest) -> Result<(Vec<Metric>, String), Status> {
    let page = f.metrics().list_metrics(request).await?.into_inner();
    Ok((page.metrics, page.next_page_token))
}

async fn values(f: &Fixture, request: ListMetricsRequest) -> Vec<f64> {
    let (metrics, _) = list(f, request).await.expect("a page");
    metrics.into_iter().map(|metric| metric.value).collect()
}

async fn batch(
    f: &Fixture,
    metrics: Vec<NewMetric>,
    request_id: &str,
) -> Result<BatchRecordMetricsResponse, Status> {
    let request = BatchRecordMetricsRequest { metrics, request_id: request_id.into() };
    Ok(f.metrics().batch_record_metrics(request).await?.into_inner())
}

async fn a_number_is_recorded_and_listed(f: &Fixture) {
    let session_id = f.session().await;
    let request = RecordMetricRequest {
        session_id: session_id.clone(),
        labels: labels(&[("lane", "warm"), ("größe", "a=b \u{1F600}")]),
        ..number("latency_ms", 12.5)
    };
    let first = record(f, request).await.expect("recorded");
    assert!(first.id.starts_with("metric_"), "{}", first.id);
    assert_eq!((first.entity_type.as_str(), first.entity_name.as_str()), ("tool", "calculator"));
    assert_eq!((&first.session_id, first.metric_name.as_str()), (&session_id, "latency_ms"));
    assert_eq!((first.value, first.labels.len()), (12.5, 2));
    assert!(first.timestamp.is_some(), "measured now, since nobody said when");
    f.advance(Duration::from_secs(1));
    let second = record(f, number("latency_ms", -1e-300)).await.expect("recorded");
    let (listed, token) = list(f, ListMetricsRequest::default()).await.expect("a page");
    assert_eq!((listed, token.as_str()), (vec![second, first], ""));
}

async fn numbers_are_listed_newest_first_with_filters(f: &Fixture) {
    let session_id = f.session().await;
    let mut metrics = Vec::new();
    for n in 0..6 {
        metrics.push(NewMetric {
            entity_type: if n % 2 == 0 { "tool" } else { "agent" }.into(),
            entity_name: if n < 3 { "first" } else { "second" }.into(),
            session_id: if n == 4 { session_id.clone() } else { String::new() },
            labels: labels(&[("lane", if n < 2 { "warm" } else { "cold" }), ("n", &n.to_string())]),
            timestamp: at(1000 + n),
            ..one_of(if n == 5 { "tokens" } else { "latency_ms" }, n as f64)
        });
    }
    batch(f, metrics, "").await.expect("recorded");
    let all = ListMetricsRequest::default;
    assert_eq!(values(f, all()).await, [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    let filtered: [(ListMetricsRequest, &[f64]); 9] = [
        (ListMetricsRequest { entity_type: "agent".into(), ..all() }, &[5.0, 3.0, 1.0]),
        (ListMetricsRequest { entity_name: "first".into(), ..all() }, &[2.0, 1.0, 0.0]),
        (ListMetricsRequest { session_id, ..all() }, &[4.0]),
        (ListMetricsRequest { metric_name: "tokens".into(), ..all() }, &[5.0]),
        (ListMetricsRequest { start_time: at(1004), ..all() }, &[5.0, 4.0]),
        (ListMetricsRequest { end_time: at(1002), ..all() }, &[1.0, 0.0]),
        (ListMetricsRequest { start_time: at(1002), end_time: at(1002), ..all() }, &[]),
        (ListMetricsRequest { labels: vec!["lane=warm".into()], ..all() }, &[1.0, 0.0]),
        (ListMetricsRequest { labels: vec!["lane=warm".into(), "n=1".into()], ..all() }, &[1.0]),
    ];
    for (request, expected) in filtered {
        assert_eq!(values(f, request.clone()).await, expected, "{request:?}");
    }
    let near = ListMetricsRequest { labels: vec!["lane=war".into()], ..all() };
    assert!(values(f, near).await.is_empty(), "a label is compared as a whole");
}

async fn pages_go_back_in_time(f: &Fixture) {
    // Some at the same time, so that a place is more than its time.
    let metrics =
        (0..7).map(|n| NewMetric { timestamp: at(n / 3), ..one_of("n", n as f64) }).collect();
    batch(f, metrics, "").await.expect("recorded");
    let request = ListMetricsRequest { page_size: 3, ..Default::default() };
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let next = ListMetricsRequest { page_token, ..request.clone() };
        let (metrics, token) = list(f, next).await.expect("a page");
        assert!(metrics.len() <= 3);
        seen.extend(metrics.into_iter().map(|metric| metric.value));
        if token.is_empty() {
            break;
        }
        page_token = token;
    }
    assert_eq!(seen, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    let window = ListMetricsRequest { limit: 2, offset: 4, ..Default::default() };
    assert_eq!(values(f, window.clone()).await, [2.0, 1.0]);
    let (_, page_token) = list(f, request.clone()).await.expect("a page");
    for bad in [
        ListMetricsRequest { page_token: page_token.clone(), metric_name: "n".into(), ..request },
        ListMetricsRequest { page_token: "nonsense!".into(), ..Default::default() },
        ListMetricsRequest { page_token, ..window.clone() },
        ListMetricsRequest { page_size: 1, ..window.clone() },
        ListMetricsRequest { offset: -1, ..window.clone() },
        ListMetricsRequest { limit: -1, ..window },
    ] {
        refused(list(f, bad).await, Code::InvalidArgument, "INVALID_FIELD");
    }
}

async fn a_batch_is_recorded_as_a_whole_or_not_at_all(f: &Fixture) {
    let session_id = f.session().await;
    let good = |value| NewMetric { session_id: session_id.clone(), ..one_of("n", value) };
    let gone = NewMetric { session_id: "session_0000000000000000".into(), ..good(3.0) };
    let answer = batch(f, vec![good(1.0), good(2.0), gone], "").await;
    refused(answer, Code::NotFound, "SESSION_NOT_FOUND");
    let infinite = batch(f, vec![good(1.0), good(f64::INFINITY)], "").await;
    let status = refused(infinite, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(cortex_rpc::fault(&status).violations[0].field, "metrics[1].value");
    assert!(values(f, ListMetricsRequest::default()).await.is_empty());
    let answer = batch(f, vec![good(1.0), good(2.0)], "").await.expect("recorded");
    assert_eq!((answer.recorded, answer.metric_ids.len()), (2, 2));
    let (listed, _) = list(f, ListMetricsRequest::default()).await.expect("a page");
    let ids: Vec<_> = listed.into_iter().rev().map(|metric| metric.id).collect();
    assert_eq!(ids, answer.metric_ids, "in the order of the request");
}

async fn ten_thousand_numbers_fit_a_batch(f: &Fixture) {
    let metrics: Vec<_> = (0..10_000).map(|n| one_of("n", f64::from(n))).collect();
    let answer = batch(f, metrics.clone(), "").await.expect("recorded");
    assert_eq!(answer.recorded, 10_000);
    let request = AggregateMetricsRequest { metric_name: "n".into(), ..Default::default() };
    let series = aggregate(f, request).await.expect("worked out");
    let point = &series[0].points[0];
    assert_eq!((point.count, point.sum), (10_000, 49_995_000.0));
    assert_eq!((point.p50, point.p95, point.p99), (4999.0, 9499.0, 9899.0));
    let more = metrics.iter().chain(&metrics[..1]).cloned().collect();
    for bad in [more, Vec::new()] {
        let status = refused(batch(f, bad, "").await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(cortex_rpc::fault(&status).violations[0].field, "metrics");
    }
}

async fn a_repeated_request_records_nothing_more(f: &Fixture) {
    let one = RecordMetricRequest { request_id: "one".into(), ..number("n", 1.0) };
    let first = record(f, one.clone()).await.expect("recorded");
    f.advance(Duration::from_secs(3));
    assert_eq!(record(f, one.clone()).await.expect("the same"), first);
    let other = RecordMetricRequest { value: 2.0, ..one };
    refused(record(f, other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let metrics = vec![one_of("m", 1.0), one_of("m", 2.0)];
    let whole = batch(f, metrics.clone(), "one").await.expect("another method's id");
    assert_eq!(batch(f, metrics.clone(), "one").await.expect("the same"), whole);
    refused(batch(f, metrics[..1].to_vec(), "one").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let both = futures::future::join(batch(f, metrics.clone(), "two"), batch(f, metrics, "two"));
    let (left, right) = both.await;
    assert_eq!(left.expect("recorded"), right.expect("the same"));
    assert_eq!(values(f, ListMetricsRequest::default()).await.len(), 5);
}

async fn aggregate(
    f: &Fixture,
    request: AggregateMetricsRequest,
) -> Result<Vec<MetricSeries>, Status> {
    Ok(f.metrics().aggregate_metrics(request).await?.into_inner().series)
}

fn step(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn numbers_are_aggregated_by_step_and_group(f: &Fixture) {
    let session_id = f.session().await;
    let mut metrics = Vec::new();
    for n in 0..20 {
        metrics.push(NewMetric {
            entity_name: if n % 2 == 0 { "even" } else { "odd" }.into(),
            session_id: if n < 4 { session_id.clone() } else { String::new() },
            labels: if n < 10 { labels(&[("half", "first")]) } else { HashMap::new() },
            timestamp: at(1_200 + n * 10),
            ..one_of("latency_ms", n as f64)
        });
    }
    metrics.push(NewMetric { timestamp: at(1_200), ..one_of("other", 1e9) });
    batch(f, metrics, "").await.expect("recorded");
    let all = AggregateMetricsRequest { metric_name: "latency_ms".into(), ..Default::default() };
    let whole = aggregate(f, all.clone()).await.expect("worked out");
    let point = whole[0].points[0];
    assert_eq!((whole.len(), whole[0].points.len(), point.count), (1, 1, 20));
    assert!(whole[0].group.is_empty());
    assert_eq!((point.timestamp, point.sum, point.avg), (at(1_200), 190.0, 9.5));
    assert_eq!((point.min, point.max), (0.0, 19.0));
    assert_eq!((point.p50, point.p95, point.p99), (9.0, 18.0, 19.0));
    let by_minute = AggregateMetricsRequest {
        step: step(60),
        group_by: vec!["entity_name".into()],
        start_time: at(1_215),
        ..all.clone()
    };
    let series = aggregate(f, by_minute).await.expect("worked out");
    let points = |series: &MetricSeries| -> Vec<(i64, i64)> {
        let steps = series.points.iter();
        steps.map(|p| (p.timestamp.unwrap_or_default().seconds, p.count)).collect()
    };
    let told: Vec<_> =
        series.iter().map(|s| (s.group["entity_name"].as_str(), points(s))).collect();
    let steps = |first| vec![(1_200, first), (1_260, 3), (1_320, 3), (1_380, 1)];
    assert_eq!(told, [("even", steps(2)), ("odd", steps(2))]);
    let by_label = AggregateMetricsRequest {
        group_by: vec!["labels.half".into(), "session_id".into()],
        ..all.clone()
    };
    let series = aggregate(f, by_label).await.expect("worked out");
    let told: Vec<_> = series
        .iter()
        .map(|s| {
            (s.group["labels.half"].as_str(), s.group["session_id"].as_str(), s.points[0].count)
        })
        .collect();
    let expected = [("", "", 10), ("first", "", 6), ("first", session_id.as_str(), 4)];
    assert_eq!(told, expected, "without the label is a group, too");
    let none = AggregateMetricsRequest { entity_name: "nobody".into(), ..all };
    assert!(aggregate(f, none).await.expect("nothing").is_empty());
}

async fn an_aggregation_is_bounded(f: &Fixture) {
    let metrics = (0..10_000).map(|n| NewMetric { timestamp: at(n), ..one_of("n", 1.0) }).collect();
    batch(f, metrics, "").await.expect("recorded");
    let request =
        AggregateMetricsRequest { metric_name: "n".into(), step: step(1), ..Default::default() };
    let series = aggregate(f, request.clone()).await.expect("as many points as may be");
    assert_eq!(series[0].points.len(), 10_000);
    let more = NewMetric { timestamp: at(10_000), ..one_of("n", 1.0) };
    batch(f, vec![more], "").await.expect("recorded");
    let answer = aggregate(f, request.clone()).await;
    refused(answer, Code::FailedPrecondition, "TOO_MANY_POINTS");
    let longer = AggregateMetricsRequest { step: step(10), ..request.clone() };
    assert_eq!(aggregate(f, longer).await.expect("fewer points")[0].points.len(), 1_001);
    // The suite's storage reads at most 20,000 numbers at a time.
    let many = (0..10_000).map(|n| one_of("n", f64::from(n))).collect();
    batch(f, many, "").await.expect("recorded");
    let whole = AggregateMetricsRequest { step: None, ..request };
    refused(aggregate(f, whole).await, Code::FailedPrecondition, "TOO_MANY_NUMBERS");
}

async fn deleting_a_session_deletes_its_numbers(f: &Fixture) {
    let (gone, kept) = (f.session().await, f.session().await);
    for session_id in [gone.clone(), kept.clone(), String::new()] {
        let request = RecordMetricRequest { session_id, ..number("n", 1.0) };
        record(f, request).await.expect("recorded");
    }
    let request = DeleteSessionRequest { session_id: gone.clone() };
    f.sessions().delete_session(request).await.expect("deleted");
    let (left, _) = list(f, ListMetricsRequest::default()).await.expect("a page");
    let sessions: Vec<_> = left.into_iter().map(|metric| metric.session_id).collect();
    assert_eq!(sessions, [String::new(), kept]);
    let all = AggregateMetricsRequest { metric_name: "n".into(), ..Default::default() };
    assert_eq!(aggregate(f, all.clone()).await.expect("worked out")[0].points[0].count, 2);
    let of = ListMetricsRequest { session_id: gone.clone(), ..Default::default() };
    refused(list(f, of).await, Code::NotFound, "SESSION_NOT_FOUND");
    let of = AggregateMetricsRequest { session_id: gone.clone(), ..all };
    refused(aggregate(f, of).await, Code::NotFound, "SESSION_NOT_FOUND");
    let again = RecordMetricRequest { session_id: gone, ..number("n", 1.0) };
    refused(record(f, again).await, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn what_is_wrong_with_a_number_is_named(f: &Fixture) {
    let good = || number("n", 1.0);
    let long = |count| "x".repeat(count);
    let late = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    for (request, field) in [
        (RecordMetricRequest { entity_type: String::new(), ..good() }, "entity_type"),
        (RecordMetricRequest { entity_type: long(65), ..good() }, "entity_type"),
        (RecordMetricRequest { entity_name: long(257), ..good() }, "entity_name"),
        (RecordMetricRequest { metric_name: long(129), ..good() }, "metric_name"),
        (RecordMetricRequest { session_id: "nonsense".into(), ..good() }, "session_id"),
        (RecordMetricRequest { labels: labels(&[("", "x")]), ..good() }, "labels"),
        (RecordMetricRequest { labels: labels(&[("a=b", "x")]), ..good() }, "labels"),
        (RecordMetricRequest { labels: labels(&[("a", &long(257))]), ..good() }, "labels"),
        (RecordMetricRequest { timestamp: late, ..good() }, "timestamp"),
        (RecordMetricRequest { request_id: long(129), ..good() }, "request_id"),
        (number("n", f64::NAN), "value"),
        (number("n", f64::NEG_INFINITY), "value"),
    ] {
        let status = refused(record(f, request).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(cortex_rpc::fault(&status).violations[0].field, field);
    }
    let many = (0..33).map(|n| (n.to_string(), String::new())).collect();
    let answer = record(f, RecordMetricRequest { labels: many, ..good() }).await;
    let status = refused(answer, Code::InvalidArgument, "TOO_MANY_LABELS");
    assert_eq!(cortex_rpc::fault(&status).violations[0].field, "labels");
    let query = |metric_name: &str| AggregateMetricsRequest {
        metric_name: metric_name.into(),
        ..Default::default()
    };
    for (request, field) in [
        (query(""), "metric_name"),
        (AggregateMetricsRequest { step: step(0), ..query("n") }, "step"),
        (AggregateMetricsRequest { group_by: vec!["color".into()], ..query("n") }, "group_by[0]"),
        (AggregateMetricsRequest { group_by: vec!["labels.".into()], ..query("n") }, "group_by[0]"),
        (AggregateMetricsRequest { start_time: at(2), end_time: at(1), ..query("n") }, "end_time"),
        (AggregateMetricsRequest { labels: vec!["lane".into()], ..query("n") }, "labels[0]"),
    ] {
        let status = refused(aggregate(f, request).await, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(cortex_rpc::fault(&status).violations[0].field, field);
    }
    let longest = RecordMetricRequest {
        entity_type: "ä".repeat(64),
        entity_name: "ä".repeat(256),
        metric_name: "ä".repeat(128),
        labels: (0..32).map(|n| (format!("{n:02}{}", "ä".repeat(62)), "ä".repeat(256))).collect(),
        ..good()
    };
    record(f, longest).await.expect("bounds count characters, and the last one is within");
}

//! `/storage/metrics`.

use serde_json::json;

use crate::port::{Port, each, encoded, keys};

const KEYS: [&str; 8] = [
    "id",
    "entity_type",
    "entity_name",
    "session_id",
    "metric_name",
    "value",
    "timestamp",
    "labels",
];

fn number(name: &str, value: &str, second: u32) -> String {
    format!(
        r#"{{"entity_type":"tool","entity_name":"{name}","metric_name":"latency_ms","value":{value},
            "labels":{{"lane":"{}"}},"timestamp":"2026-01-01T00:00:{second:02}Z"}}"#,
        if second.is_multiple_of(2) { "warm" } else { "cold" }
    )
}

#[tokio::test]
async fn a_metric_has_the_predecessors_shape() {
    let port = Port::open().await;
    let session = port.session().await;
    let body = format!(
        r#"{{"entity_type":"agent","entity_name":"sage","session_id":"{session}","metric_name":"tokens","value":42,"labels":{{"model":"m"}}}}"#
    );
    let metric = port.post("/storage/metrics", &body).await.ok();
    assert_eq!(keys(&metric), KEYS);
    assert!(metric["id"].as_str().is_some_and(|id| id.starts_with("metric_")));
    assert_eq!((&metric["value"], &metric["labels"]), (&json!(42.0), &json!({"model": "m"})));
    assert_eq!(metric["session_id"], json!(session));
    assert_eq!(port.get("/storage/metrics").await.ok(), json!([metric]));
}

#[tokio::test]
async fn metrics_are_a_bare_list_newest_first_with_filters() {
    let port = Port::open().await;
    let metrics: Vec<_> =
        (0..6).map(|n| number(if n < 3 { "a" } else { "b" }, &format!("{n}.5"), n)).collect();
    let body = format!(r#"{{"metrics":[{}]}}"#, metrics.join(","));
    let batch = port.post("/storage/metrics:batch", &body).await.ok();
    assert_eq!(
        (&batch["recorded"], batch["metric_ids"].as_array().map(Vec::len)),
        (&json!(6), Some(6))
    );
    let seconds = async |query: String| {
        let list = port.get(&format!("/storage/metrics?{query}")).await.list();
        let seconds = each(&list, "timestamp").into_iter().map(|at| at[17..19].to_owned());
        seconds.collect::<Vec<_>>().join(" ")
    };
    for (query, expected) in [
        ("", "05 04 03 02 01 00"),
        ("entity_name=a", "02 01 00"),
        ("entity_type=tool&metric_name=latency_ms&limit=2", "05 04"),
        ("limit=2&offset=3", "02 01"),
        ("labels=lane%3Dwarm", "04 02 00"),
        ("start_time=2026-01-01T00:00:02Z&end_time=2026-01-01T00:00:04Z", "03 02"),
        // The predecessor compared times as texts.
        ("start_time=2026-01-01T02:00:04%2B02:00", "05 04"),
        ("entity_type=agent", ""),
    ] {
        assert_eq!(seconds(query.to_owned()).await, expected, "{query}");
    }
    let first = port.get("/storage/metrics?page_size=4").await;
    let token = first.next_page_token();
    assert_eq!(seconds(format!("page_size=4&page_token={token}")).await, "01 00");
    let other = port.get(&format!("/storage/metrics?entity_name=a&page_token={token}")).await;
    other.refused(400, "INVALID_FIELD");
    assert_eq!(other.fields(), ["page_token"]);
}

#[tokio::test]
async fn metrics_are_aggregated() {
    let port = Port::open().await;
    for n in 0..6 {
        port.post("/storage/metrics", &number("a", &n.to_string(), n * 5)).await.ok();
    }
    let path = "/storage/metrics:aggregate?metric_name=latency_ms&step=10s&group_by=labels.lane";
    let told = port.get(path).await.ok();
    let series = told["series"].as_array().expect("series");
    assert_eq!(series[0]["group"], json!({"labels.lane": "cold"}));
    assert_eq!(
        series[1]["points"][0],
        json!({"timestamp": "2026-01-01T00:00:00Z", "count": 1, "sum": 0.0, "avg": 0.0, "min": 0.0,
               "max": 0.0, "p50": 0.0, "p95": 0.0, "p99": 0.0})
    );
    assert_eq!(series[1]["points"].as_array().map(Vec::len), Some(3));
}

/// Where the predecessor answered 500, or took what is no number.
#[tokio::test]
async fn what_is_wrong_with_a_metric_is_4xx() {
    let port = Port::open().await;
    for value in [r#""NaN""#, r#""Infinity""#, r#""-Infinity""#, r#""x""#, "null"] {
        let answer = port.post("/storage/metrics", &number("a", value, 0)).await;
        if value == "null" {
            // An unset number is zero, as in every contract of this kind.
            assert_eq!(answer.ok()["value"], json!(0.0));
            continue;
        }
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.fields(), ["value"], "{value}");
    }
    port.post("/storage/metrics", &number("a", "1e999", 0)).await.refused(400, "MALFORMED_JSON");
    for (query, field) in [
        ("start_time=yesterday", "start_time"),
        ("limit=-1", "limit"),
        ("offset=-1", "offset"),
        ("session_id=nonsense", "session_id"),
        ("labels=lane", "labels[0]"),
    ] {
        let answer = port.get(&format!("/storage/metrics?{query}")).await;
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.fields(), [field], "{query}");
    }
    let labels: Vec<_> = (0..10_000).map(|n| format!(r#""k{n}":"v""#)).collect();
    let body = format!(
        r#"{{"entity_type":"t","entity_name":"n","metric_name":"m","value":1,"labels":{{{}}}}}"#,
        labels.join(",")
    );
    let answer = port.post("/storage/metrics", &body).await;
    answer.refused(400, "TOO_MANY_LABELS");
    assert_eq!(answer.fields(), ["labels"]);
    let long = encoded(&"x".repeat(129));
    let answer = port.get(&format!("/storage/metrics?metric_name={long}")).await;
    answer.refused(400, "INVALID_FIELD");
    assert_eq!(answer.fields(), ["metric_name"]);
}

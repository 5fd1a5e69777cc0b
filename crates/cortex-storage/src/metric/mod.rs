//! Metrics: numbers that agents, tools and services record over time, and what they come to.

mod aggregate;
mod labels;

use std::sync::Arc;

use cortex_core::{MetricId, PageSize, SessionId};

pub use aggregate::{Aggregation, Aggregator, GroupKey, Point, Sample, Series};
pub use labels::Labels;

use crate::{
    error::{Result, StorageError},
    journal::{Fingerprint, RequestId, RequestKey},
    tenant::Tenant,
    time::Stamp,
};

/// Numbers of one batch at most.
pub const MAX_BATCH: usize = 10_000;

/// A number to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMetric {
    /// What kind of thing it is about.
    pub entity_type: String,
    /// The name of that thing.
    pub entity_name: String,
    /// The session that it belongs to.
    pub session_id: Option<SessionId>,
    /// What was measured.
    pub metric_name: String,
    /// The number, finite.
    pub value: f64,
    /// What else is said about it.
    pub labels: Labels,
    /// When it was measured; absent: when it is recorded.
    pub timestamp: Option<Stamp>,
}

/// Numbers to record, all or none.
#[derive(Debug, Clone)]
pub struct RecordMetrics {
    /// The numbers, 1 to [`MAX_BATCH`].
    pub metrics: Arc<[NewMetric]>,
    /// Makes a repeated call the same numbers, with what it is stored under.
    pub request: Option<(RequestId, RequestKey)>,
    /// What the request asked for.
    pub fingerprint: Fingerprint,
}

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When.
    pub at: Stamp,
    /// The ids of the numbers, in order.
    pub ids: Vec<MetricId>,
}

impl Recorded {
    /// New ids for `count` numbers of a request that has no id of its own.
    pub fn new(at: Stamp, count: usize) -> Self {
        Self { at, ids: (0..count).map(|_| MetricId::generate()).collect() }
    }

    /// The ids of a request that may be repeated: the time, so that they are ordered like others, and a
    /// hash of who asked for what when. A repeated request answers the same ids without reading them.
    ///
    /// # Errors
    /// [`StorageError::Internal`] if `at` lies before 1970.
    pub fn of_request(tenant: &Tenant, key: RequestKey, at: Stamp, count: usize) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key.0);
        hasher.update(&at.micros().to_be_bytes());
        hasher.update(tenant.as_str().as_bytes());
        let ids = (0..count as u64)
            .map(|index| {
                let mut hasher = hasher.clone();
                hasher.update(&index.to_be_bytes());
                let hash = hasher.finalize().to_hex();
                let millis = at.micros().div_euclid(1000);
                let text = format!("{}{millis:012x}{}", MetricId::PREFIX, &hash[..20]);
                MetricId::parse(text).map_err(|error| StorageError::internal(error.to_string()))
            })
            .collect::<Result<_>>()?;
        Ok(Self { at, ids })
    }
}

/// A number that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its id.
    pub metric_id: MetricId,
    /// What kind of thing it is about.
    pub entity_type: String,
    /// The name of that thing.
    pub entity_name: String,
    /// The session that it belongs to.
    pub session_id: Option<String>,
    /// What was measured.
    pub metric_name: String,
    /// The number, finite.
    pub value: f64,
    /// When it was measured.
    pub timestamp: Stamp,
    /// What else is said about it.
    pub labels: Labels,
}

impl NewMetric {
    /// The number as it was recorded at `at` under `metric_id`.
    pub fn recorded(&self, metric_id: MetricId, at: Stamp) -> Metric {
        Metric {
            metric_id,
            entity_type: self.entity_type.clone(),
            entity_name: self.entity_name.clone(),
            session_id: self.session_id.as_ref().map(ToString::to_string),
            metric_name: self.metric_name.clone(),
            value: self.value,
            timestamp: self.timestamp.unwrap_or(at),
            labels: self.labels.clone(),
        }
    }

    /// Bytes that it takes, nearly.
    pub fn size(&self) -> usize {
        let texts = [&self.entity_type, &self.entity_name, &self.metric_name];
        texts.iter().map(|text| text.len()).sum::<usize>() + self.labels.size() + 64
    }
}

impl Metric {
    /// Bytes that it takes, nearly.
    pub fn size(&self) -> usize {
        let texts = [&self.entity_type, &self.entity_name, &self.metric_name];
        texts.iter().map(|text| text.len()).sum::<usize>() + self.labels.size() + 128
    }
}

/// Which numbers a query is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricFilter {
    /// Only about this kind of thing.
    pub entity_type: Option<String>,
    /// Only about things of this name.
    pub entity_name: Option<String>,
    /// Only of this session, which must exist.
    pub session_id: Option<SessionId>,
    /// Only this measure.
    pub metric_name: Option<String>,
    /// Measured at this time or later.
    pub start: Option<Stamp>,
    /// Measured before this time.
    pub end: Option<Stamp>,
    /// Only with all of these labels.
    pub labels: Labels,
}

/// Where a number stands among those of a list: by time, then by when it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricPlace {
    /// When it was measured.
    pub timestamp: Stamp,
    /// Its number in the database.
    pub number: i64,
}

impl MetricPlace {
    /// Reads a place as [`MetricPlace::to_string`] wrote it.
    pub fn parse(text: &str) -> Option<Self> {
        let (timestamp, number) = text.split_once('.')?;
        let timestamp = Stamp::from_micros(timestamp.parse().ok()?);
        Some(Self { timestamp, number: number.parse().ok()? })
    }
}

impl std::fmt::Display for MetricPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.timestamp.micros(), self.number)
    }
}

/// Which numbers to list, newest first.
#[derive(Debug, Clone)]
pub struct MetricQuery {
    /// Which ones.
    pub filter: MetricFilter,
    /// Numbers at most.
    pub page_size: PageSize,
    /// Only what stands before this place.
    pub before: Option<MetricPlace>,
    /// Numbers to skip.
    pub offset: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_request_are_the_same_again_and_no_others() -> Result<()> {
        let at = Stamp::from_micros(1_700_000_000_123_456);
        let (tenant, key) = (Tenant::default(), RequestKey([7; 16]));
        let first = Recorded::of_request(&tenant, key, at, 3)?;
        assert_eq!(Recorded::of_request(&tenant, key, at, 3)?, first);
        for other in [
            Recorded::of_request(&Tenant::new("acme"), key, at, 3)?,
            Recorded::of_request(&tenant, RequestKey([8; 16]), at, 3)?,
            Recorded::of_request(&tenant, key, at.after(std::time::Duration::from_micros(1)), 3)?,
        ] {
            assert!(other.ids.iter().all(|id| !first.ids.contains(id)));
        }
        assert!(first.ids[0] != first.ids[1] && first.ids[0].as_str().len() == 39);
        Ok(())
    }

    #[test]
    fn a_place_survives_a_page_token() {
        for (micros, number) in [(0, 1), (-5, 7), (1_700_000_000_123_456, i64::MAX)] {
            let place = MetricPlace { timestamp: Stamp::from_micros(micros), number };
            assert_eq!(MetricPlace::parse(&place.to_string()), Some(place));
        }
        for bad in ["", "1", "1.", ".1", "a.b", "1.2.3"] {
            assert_eq!(MetricPlace::parse(bad), None, "{bad}");
        }
    }
}

//! What numbers come to: by group and step, in one pass over numbers that come in the order of time.
//!
//! Percentiles are exact, by nearest rank, so the numbers of a step are kept until it is over: at most
//! as many as one aggregation may read. Nothing is sampled.

use std::collections::BTreeMap;

use super::{Labels, MetricFilter};
use crate::{
    error::{Result, StorageError},
    time::Stamp,
};

/// Points of one answer at most.
pub const MAX_POINTS: usize = 10_000;
/// Bytes of the values of all groups of one answer at most.
const MAX_GROUP_BYTES: usize = 4 * 1024 * 1024;

/// By what numbers are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupKey {
    /// What kind of thing they are about.
    EntityType,
    /// The name of that thing.
    EntityName,
    /// The session that they belong to.
    SessionId,
    /// The value of a label; empty where there is none.
    Label(String),
}

impl GroupKey {
    /// What stands before a label's key.
    const LABEL: &'static str = "labels.";
    /// Keys of one query at most.
    pub const MAX: usize = 16;

    /// Reads a key in `field`.
    ///
    /// # Errors
    /// [`StorageError::Invalid`].
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        match text {
            "entity_type" => Ok(Self::EntityType),
            "entity_name" => Ok(Self::EntityName),
            "session_id" => Ok(Self::SessionId),
            other => match other.strip_prefix(Self::LABEL) {
                Some(key) => {
                    super::labels::check_key(field, key)?;
                    Ok(Self::Label(key.to_owned()))
                }
                None => {
                    let problem = "must be entity_type, entity_name, session_id or labels.key";
                    Err(StorageError::invalid(field, problem))
                }
            },
        }
    }

    /// Its name in requests and answers.
    pub fn name(&self) -> String {
        match self {
            Self::EntityType => "entity_type".to_owned(),
            Self::EntityName => "entity_name".to_owned(),
            Self::SessionId => "session_id".to_owned(),
            Self::Label(key) => format!("{}{key}", Self::LABEL),
        }
    }
}

/// What to work out.
#[derive(Debug, Clone)]
pub struct Aggregation {
    /// Of which numbers.
    pub filter: MetricFilter,
    /// The length of a step in microseconds; absent: the whole range is one step.
    pub step: Option<i64>,
    /// A series for each value of these.
    pub group_by: Vec<GroupKey>,
    /// Numbers that may be read.
    pub max_numbers: usize,
}

/// A number on its way into an aggregation.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When it was measured.
    pub timestamp: Stamp,
    /// The number.
    pub value: f64,
    /// What kind of thing it is about.
    pub entity_type: String,
    /// The name of that thing.
    pub entity_name: String,
    /// The session that it belongs to; empty: none.
    pub session_id: String,
    /// What else is said about it.
    pub labels: Labels,
}

impl Sample {
    fn group(&self, key: &GroupKey) -> String {
        match key {
            GroupKey::EntityType => self.entity_type.clone(),
            GroupKey::EntityName => self.entity_name.clone(),
            GroupKey::SessionId => self.session_id.clone(),
            GroupKey::Label(key) => self.labels.get(key).unwrap_or_default().to_owned(),
        }
    }
}

/// What the numbers of one group come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the group has in common, in the order of [`Aggregation::group_by`].
    pub group: Vec<String>,
    /// Steps that hold numbers, oldest first.
    pub points: Vec<Point>,
}

/// What the numbers of one step come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When the step begins.
    pub timestamp: Stamp,
    /// How many numbers it holds.
    pub count: i64,
    /// Their sum.
    pub sum: f64,
    /// Their average.
    pub avg: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Half of them are not greater.
    pub p50: f64,
    /// 95 % of them are not greater.
    pub p95: f64,
    /// 99 % of them are not greater.
    pub p99: f64,
}

impl Point {
    /// What `values`, of which there is at least one, come to.
    fn of(timestamp: Stamp, mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len();
        let rank = |percent: usize| values[(count * percent).div_ceil(100).max(1) - 1];
        Self {
            timestamp,
            count: i64::try_from(count).unwrap_or(i64::MAX),
            sum: sum(&values),
            avg: average(&values),
            min: values[0],
            max: values[count - 1],
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
        }
    }
}

/// The sum with Neumaier's compensation, so that the order of the numbers does not matter. Infinite
/// when it is beyond what a double holds.
fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    if sum.is_finite() { sum + lost } else { sum }
}

/// The average, which is finite even if the sum is not.
fn average(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let average = sum(values) / count;
    if average.is_finite() {
        return average;
    }
    let parts: Vec<f64> = values.iter().map(|value| value / count).collect();
    sum(&parts)
}

/// A series in the making.
#[derive(Default)]
struct Growing {
    points: Vec<Point>,
    /// When the open step begins, and its numbers.
    open: Option<(Stamp, Vec<f64>)>,
}

impl Growing {
    fn close(&mut self) {
        if let Some((begin, values)) = self.open.take() {
            self.points.push(Point::of(begin, values));
        }
    }
}

/// Works out an aggregation from numbers that come in the order of time.
pub struct Aggregator {
    step: Option<i64>,
    begin: Option<Stamp>,
    group_by: Vec<GroupKey>,
    series: BTreeMap<Vec<String>, Growing>,
    numbers: usize,
    max_numbers: usize,
    points: usize,
    group_bytes: usize,
}

impl Aggregator {
    /// Without any number yet.
    pub fn new(aggregation: &Aggregation) -> Self {
        Self {
            step: aggregation.step,
            begin: aggregation.filter.start,
            group_by: aggregation.group_by.clone(),
            series: BTreeMap::new(),
            numbers: 0,
            max_numbers: aggregation.max_numbers,
            points: 0,
            group_bytes: 0,
        }
    }

    /// Takes the next number, which is not older than the one before.
    ///
    /// # Errors
    /// [`StorageError::TooManyNumbers`], [`StorageError::TooManyPoints`].
    pub fn push(&mut self, sample: &Sample) -> Result<()> {
        self.numbers += 1;
        if self.numbers > self.max_numbers {
            return Err(StorageError::TooManyNumbers { limit: self.max_numbers });
        }
        let begin = self.step_of(sample.timestamp);
        let group: Vec<String> = self.group_by.iter().map(|key| sample.group(key)).collect();
        if !self.series.contains_key(&group) {
            self.group_bytes += group.iter().map(String::len).sum::<usize>();
            if self.group_bytes > MAX_GROUP_BYTES {
                let what = "bytes of the groups' values";
                return Err(StorageError::TooManyPoints { what, limit: MAX_GROUP_BYTES });
            }
        }
        let series = self.series.entry(group).or_default();
        match &mut series.open {
            Some((open, values)) if *open == begin => values.push(sample.value),
            _ => {
                self.points += 1;
                if self.points > MAX_POINTS {
                    return Err(StorageError::TooManyPoints { what: "points", limit: MAX_POINTS });
                }
                series.close();
                series.open = Some((begin, vec![sample.value]));
            }
        }
        Ok(())
    }

    /// When the step of a time begins. One that is the whole range begins with it, or else with the
    /// oldest number.
    fn step_of(&mut self, time: Stamp) -> Stamp {
        match self.step {
            Some(step) => Stamp::from_micros(time.micros().div_euclid(step) * step),
            None => *self.begin.get_or_insert(time),
        }
    }

    /// The series, by the values of their groups.
    pub fn finish(self) -> Vec<Series> {
        let finish = |(group, mut growing): (Vec<String>, Growing)| {
            growing.close();
            Series { group, points: growing.points }
        };
        self.series.into_iter().map(finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aggregation(step: Option<i64>, group_by: &[&str]) -> Aggregation {
        let keys = group_by.iter().map(|text| GroupKey::parse("group_by", text).expect("a key"));
        Aggregation {
            filter: MetricFilter::default(),
            step,
            group_by: keys.collect(),
            max_numbers: 1_000,
        }
    }

    fn sample(micros: i64, value: f64) -> Sample {
        Sample {
            timestamp: Stamp::from_micros(micros),
            value,
            entity_type: "tool".into(),
            entity_name: "calculator".into(),
            session_id: String::new(),
            labels: Labels::default(),
        }
    }

    fn run(aggregation: &Aggregation, samples: &[Sample]) -> Result<Vec<Series>> {
        let mut aggregator = Aggregator::new(aggregation);
        samples.iter().try_for_each(|sample| aggregator.push(sample))?;
        Ok(aggregator.finish())
    }

    #[test]
    fn percentiles_are_by_nearest_rank() -> Result<()> {
        let samples: Vec<_> = (1..=100).rev().map(|n| sample(0, f64::from(n))).collect();
        let series = run(&aggregation(None, &[]), &samples)?;
        let point = &series[0].points[0];
        assert_eq!((point.count, point.sum, point.avg), (100, 5050.0, 50.5));
        assert_eq!((point.min, point.max), (1.0, 100.0));
        assert_eq!((point.p50, point.p95, point.p99), (50.0, 95.0, 99.0));
        let one = run(&aggregation(None, &[]), &[sample(0, 7.5)])?;
        let point = &one[0].points[0];
        assert_eq!((point.p50, point.p95, point.p99), (7.5, 7.5, 7.5));
        let three: Vec<_> = [3.0, 1.0, 2.0].map(|value| sample(0, value)).into();
        let point = &run(&aggregation(None, &[]), &three)?[0].points[0];
        assert_eq!((point.p50, point.p95, point.p99), (2.0, 3.0, 3.0));
        Ok(())
    }

    #[test]
    fn steps_begin_at_whole_multiples_and_empty_ones_are_left_out() -> Result<()> {
        let samples: Vec<_> =
            [-1, 0, 999, 1000, 5500].map(|micros| sample(micros, 1.0)).into_iter().collect();
        let series = run(&aggregation(Some(1000), &[]), &samples)?;
        let points: Vec<_> =
            series[0].points.iter().map(|p| (p.timestamp.micros(), p.count)).collect();
        assert_eq!(points, [(-1000, 1), (0, 2), (1000, 1), (5000, 1)]);
        Ok(())
    }

    #[test]
    fn the_whole_range_begins_with_the_range_or_its_oldest_number() -> Result<()> {
        let samples = [sample(5, 1.0), sample(9, 2.0)];
        let mut whole = aggregation(None, &[]);
        assert_eq!(run(&whole, &samples)?[0].points[0].timestamp.micros(), 5);
        whole.filter.start = Some(Stamp::from_micros(2));
        assert_eq!(run(&whole, &samples)?[0].points[0].timestamp.micros(), 2);
        Ok(())
    }

    #[test]
    fn a_group_without_the_label_is_the_empty_one() -> Result<()> {
        let labelled = |value: &str, number| Sample {
            labels: Labels::parse("labels", [("lane".to_owned(), value.to_owned())])
                .unwrap_or_default(),
            ..sample(0, number)
        };
        let samples = [labelled("warm", 1.0), sample(0, 2.0), labelled("cold", 3.0)];
        let series = run(&aggregation(None, &["labels.lane", "entity_name"]), &samples)?;
        let groups: Vec<_> = series.iter().map(|series| series.group[0].as_str()).collect();
        assert_eq!(groups, ["", "cold", "warm"]);
        Ok(())
    }

    #[test]
    fn too_much_is_refused_and_not_sampled() {
        let many: Vec<_> = (0..1001).map(|n| sample(n, 1.0)).collect();
        let error = run(&aggregation(None, &[]), &many);
        assert_eq!(error, Err(StorageError::TooManyNumbers { limit: 1000 }));
        let points: Vec<_> = (0..=MAX_POINTS as i64).map(|n| sample(n * 10, 1.0)).collect();
        let wide = Aggregation { max_numbers: usize::MAX, ..aggregation(Some(10), &[]) };
        let error = run(&wide, &points);
        assert_eq!(error, Err(StorageError::TooManyPoints { what: "points", limit: MAX_POINTS }));
        assert!(run(&wide, &points[1..]).is_ok());
    }

    #[test]
    fn an_average_is_finite_where_the_sum_is_not() -> Result<()> {
        let samples = [sample(0, f64::MAX), sample(0, f64::MAX)];
        let point = &run(&aggregation(None, &[]), &samples)?[0].points[0];
        assert_eq!((point.sum, point.avg), (f64::INFINITY, f64::MAX));
        Ok(())
    }

    proptest! {
        /// The definition: the smallest number such that at least so many are not greater.
        #[test]
        fn a_percentile_is_what_its_definition_says(
            values in proptest::collection::vec(-1e6..1e6_f64, 1..200)
        ) {
            let point = Point::of(Stamp::default(), values.clone());
            for (percent, found) in [(50, point.p50), (95, point.p95), (99, point.p99)] {
                let below = |limit: f64| values.iter().filter(|value| **value <= limit).count();
                prop_assert!(below(found) * 100 >= values.len() * percent);
                for smaller in values.iter().filter(|value| **value < found) {
                    prop_assert!(below(*smaller) * 100 < values.len() * percent);
                }
            }
            prop_assert!(point.min <= point.avg + 1e-6 && point.avg <= point.max + 1e-6);
        }

        #[test]
        fn any_key_is_read_or_refused(text in ".{0,80}") {
            if let Ok(key) = GroupKey::parse("group_by", &text) {
                prop_assert_eq!(key.name(), text);
            }
        }
    }
}

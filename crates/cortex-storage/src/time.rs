//! Points in time as storage keeps them: microseconds since 1970, so that they sort and compare.

use std::time::{Duration, SystemTime};

use cortex_core::Clock;

/// A point in time: microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(i64);

impl Stamp {
    /// The time that `clock` shows.
    pub fn now(clock: &dyn Clock) -> Self {
        clock.now().into()
    }

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This point and `duration`; the end of time if that is later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// The point `duration` before this one.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl From<SystemTime> for Stamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => Self(-i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX)),
        }
    }
}

impl From<Stamp> for prost_types::Timestamp {
    fn from(stamp: Stamp) -> Self {
        let nanos = stamp.0.rem_euclid(1_000_000) * 1_000;
        Self {
            seconds: stamp.0.div_euclid(1_000_000),
            nanos: i32::try_from(nanos).unwrap_or_default(),
        }
    }
}

impl From<&prost_types::Timestamp> for Stamp {
    fn from(time: &prost_types::Timestamp) -> Self {
        let micros = time.seconds.saturating_mul(1_000_000);
        Self(micros.saturating_add(i64::from(time.nanos) / 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_wire() {
        for micros in [0, 1, 999_999, 1_700_000_000_123_456, -1, -1_000_001] {
            let stamp = Stamp::from_micros(micros);
            assert_eq!(Stamp::from(&prost_types::Timestamp::from(stamp)), stamp);
        }
    }
}

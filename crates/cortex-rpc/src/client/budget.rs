//! The retry budget of gRPC proposal A6: repetitions stop while too much fails, so that a service in
//! trouble is not given several times its load.

use std::sync::atomic::{AtomicI64, Ordering};

/// Tokens are counted in thousandths.
const SCALE: f32 = 1000.0;

/// A failure takes one token, a success gives some back. Repetitions are allowed while more than
/// half of the tokens are there.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: AtomicI64,
    most: i64,
    refill: i64,
}

impl Budget {
    #[expect(clippy::cast_possible_truncation, reason = "saturating, and such a budget is absurd")]
    pub(crate) fn new(most: f32, refill: f32) -> Self {
        let most = (most * SCALE) as i64;
        Self { tokens: AtomicI64::new(most), most, refill: (refill * SCALE) as i64 }
    }

    /// Notes a success.
    pub(crate) fn succeeded(&self) {
        if self.tokens.load(Ordering::Relaxed) < self.most {
            self.add(self.refill);
        }
    }

    /// Notes a failure and says whether it may be repeated.
    pub(crate) fn may_retry(&self) -> bool {
        self.add(-(SCALE as i64)) > self.most / 2
    }

    /// Adds within the bounds, and gives the new value.
    fn add(&self, amount: i64) -> i64 {
        let bounded = |tokens: i64| (tokens + amount).clamp(0, self.most);
        let before = self
            .tokens
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(bounded(now)));
        bounded(before.unwrap_or_else(|now| now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_tokens_are_for_repetitions_and_successes_bring_them_back() {
        let budget = Budget::new(4.0, 0.5);
        assert!(budget.may_retry());
        assert!(!budget.may_retry(), "two of four are left: not more than half");
        assert!(!budget.may_retry());
        for _ in 0..4 {
            budget.succeeded();
        }
        assert!(!budget.may_retry(), "three, less this failure");
        for _ in 0..100 {
            budget.succeeded();
        }
        assert!(budget.may_retry(), "full again, and no fuller than at the start");
        assert!(!budget.may_retry());
    }
}

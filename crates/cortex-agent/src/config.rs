//! Settings of the agent service, each with its default.

use cortex_config::{ByteSize, Duration, KeyPath, Problems, Validate};
use serde::{Deserialize, Serialize};

/// Settings of the agent service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// What this process is an incarnation of: the next process with the same instance voids the
    /// lease of this one. Empty: the data directory's id, or the host's name.
    pub instance: String,
    /// How long a holder's lease lasts after each renewal: 1s to 60s.
    pub lease: Duration,
    /// Time between two looks at the list of runnable sessions: 50ms to 60s. Hints of storage
    /// shorten it.
    pub poll: Duration,
    /// Sessions that one process works on at the same time: at least 1.
    pub max_active_sessions: usize,
    /// How long a turn may take when its message does not say: 1s to 24h.
    pub turn_timeout: Duration,
    /// Messages of history that the model sees at most: 2 to 1,000.
    pub context_messages: usize,
    /// How long pieces of text are gathered before they are journaled while storage is quick: 0s to
    /// 1s. The first piece after a pause is journaled at once.
    pub delta_interval: Duration,
    /// How long they are gathered at most while storage is slow: `delta_interval` to 10s. In between it
    /// is four times as long as the last append took, so that more sessions than storage has room for
    /// make fewer and larger entries, and not a queue.
    pub max_delta_interval: Duration,
    /// Messages that wait in one session at most: 1 to 1,000.
    pub max_queued_messages: u32,
    /// Calls of one turn that run at the same time: 1 to 64.
    pub max_parallel_calls: usize,
    /// Times that a failed model call is repeated before its turn fails: 0 to 10.
    pub model_retries: u32,
    /// The longest message.
    pub max_message: ByteSize,
    /// The largest metadata of a session or a message.
    pub max_metadata: ByteSize,
    /// The largest state of a session.
    pub max_state: ByteSize,
    /// How long open turns may go on when the process is asked to stop: 0s to 10m.
    pub drain: Duration,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            instance: String::new(),
            lease: Duration::from_secs(3),
            poll: Duration::from_millis(500),
            max_active_sessions: 10_000,
            turn_timeout: Duration::from_secs(30 * 60),
            context_messages: 200,
            delta_interval: Duration::from_millis(15),
            max_delta_interval: Duration::from_millis(250),
            max_queued_messages: 16,
            max_parallel_calls: 8,
            model_retries: 2,
            max_message: ByteSize::mib(4),
            max_metadata: ByteSize::kib(64),
            max_state: ByteSize::mib(1),
            drain: Duration::from_secs(30),
        }
    }
}

impl AgentConfig {
    /// How long pieces of text are gathered when the last append took so long.
    pub(crate) fn gathers_for(&self, append_took: std::time::Duration) -> std::time::Duration {
        let longest = self.max_delta_interval.get();
        (append_took * APPENDS_PER_INTERVAL).min(longest).max(self.delta_interval.get())
    }
}

/// Appends of a session that would fit into the time that pieces are gathered for: one in five waits
/// for storage at most.
const APPENDS_PER_INTERVAL: u32 = 4;

impl Validate for AgentConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        let mut check = |key: &str, holds: bool, rule: &str| {
            if !holds {
                problems.add(path.key(key), rule);
            }
        };
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        let minute = Duration::from_secs(60);
        check("lease", (second..=minute).contains(&self.lease), "must be 1s to 60s");
        let shortest = Duration::from_millis(50);
        check("poll", (shortest..=minute).contains(&self.poll), "must be 50ms to 60s");
        check("max_active_sessions", self.max_active_sessions > 0, "must be at least 1");
        check("turn_timeout", (second..=day).contains(&self.turn_timeout), "must be 1s to 24h");
        check("context_messages", (2..=1000).contains(&self.context_messages), "must be 2 to 1000");
        check("delta_interval", self.delta_interval <= second, "must be at most 1s");
        let bounds = self.delta_interval..=Duration::from_secs(10);
        check(
            "max_delta_interval",
            bounds.contains(&self.max_delta_interval),
            "must be delta_interval to 10s",
        );
        check(
            "max_queued_messages",
            (1..=1000).contains(&self.max_queued_messages),
            "must be 1 to 1000",
        );
        check("max_parallel_calls", (1..=64).contains(&self.max_parallel_calls), "must be 1 to 64");
        check("model_retries", self.model_retries <= 10, "must be at most 10");
        check("drain", self.drain <= Duration::from_secs(600), "must be at most 10m");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_gathered_for_longer_when_storage_is_slow_within_bounds() {
        let config = AgentConfig::default();
        let gathers = |millis| config.gathers_for(std::time::Duration::from_millis(millis));
        assert_eq!(gathers(0).as_millis(), 15);
        assert_eq!(gathers(3).as_millis(), 15);
        assert_eq!(gathers(20).as_millis(), 80);
        assert_eq!(gathers(5000).as_millis(), 250);
    }

    #[test]
    fn the_longest_interval_is_not_below_the_usual_one() {
        let config = AgentConfig {
            delta_interval: Duration::from_millis(300),
            max_delta_interval: Duration::from_millis(200),
            ..AgentConfig::default()
        };
        let mut problems = Problems::default();
        config.validate(&mut problems, &KeyPath::root());
        assert!(format!("{problems:?}").contains("max_delta_interval"), "{problems:?}");
    }
}

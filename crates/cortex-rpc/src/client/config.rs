//! Every limit of a client, with its default and its unit.

use cortex_config::{ByteSize, Duration, KeyPath, Problems, Validate};
use serde::{Deserialize, Serialize};

/// Limits and waiting times of calls to one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientConfig {
    /// How long making a connection may take. Default 2 s.
    pub connect_timeout: Duration,
    /// How long one attempt of a call that may be repeated may take; 0 s for as long as the call's
    /// deadline. Default 0 s.
    pub attempt_timeout: Duration,
    /// How long names stay resolved before they are looked up again. Default 30 s.
    pub resolve_interval: Duration,
    /// HTTP/2: bytes that a service may send ahead of their being read, per stream. Default 256 KiB.
    pub stream_window: ByteSize,
    /// HTTP/2: the same for a whole connection. Default 2 MiB.
    pub connection_window: ByteSize,
    /// All headers of a response together. Default 64 KiB.
    pub max_header_bytes: ByteSize,
    /// HTTP/2: a ping is sent when a connection was silent for so long. Default 20 s.
    pub keepalive_interval: Duration,
    /// HTTP/2: a connection whose ping is not answered in this time is closed, and its calls end with
    /// UNAVAILABLE. Default 5 s.
    pub keepalive_timeout: Duration,
    /// When failed calls are repeated.
    pub retry: RetryConfig,
    /// When an endpoint is left alone.
    pub breaker: BreakerConfig,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            attempt_timeout: Duration::default(),
            resolve_interval: Duration::from_secs(30),
            stream_window: ByteSize::kib(256),
            connection_window: ByteSize::mib(2),
            max_header_bytes: ByteSize::kib(64),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(5),
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

/// When failed calls are repeated. Only unary calls, and only when that can do no harm: the method is
/// idempotent, or the call was never sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryConfig {
    /// Attempts in all; 1 repeats nothing. Default 4.
    pub max_attempts: u32,
    /// The pause before the first repetition is between half and all of this, at random, and doubles.
    /// Default 50 ms.
    pub backoff: Duration,
    /// Longest pause. A service that asks for a longer one gets its call back as failed. Default 2 s.
    pub max_backoff: Duration,
    /// Repetitions are suspended when failures have used up half of so many tokens
    /// (gRPC proposal A6). Default 20.
    pub budget: f32,
    /// Tokens that a success gives back. Default 0.1.
    pub budget_refill: f32,
    /// The request of a call that may be repeated is kept in memory up to this size; a larger one is
    /// refused. Default 8 MiB.
    pub max_request: ByteSize,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            budget: 20.0,
            budget_refill: 0.1,
            max_request: ByteSize::mib(8),
        }
    }
}

/// When an endpoint is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerConfig {
    /// Failures in a row that open the circuit. Default 5.
    pub failures: u32,
    /// How long it stays open before one call may try. Doubles with every failed try. Default 500 ms.
    pub open: Duration,
    /// Longest time that it stays open. Default 10 s.
    pub max_open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_millis(500), max_open: Duration::from_secs(10) }
    }
}

impl Validate for ClientConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        let mut positive = |path: KeyPath, is: bool| {
            if !is {
                problems.add(path, "must not be 0");
            }
        };
        positive(path.key("connect_timeout"), !self.connect_timeout.get().is_zero());
        positive(path.key("resolve_interval"), !self.resolve_interval.get().is_zero());
        positive(path.key("retry").key("max_attempts"), self.retry.max_attempts > 0);
        positive(path.key("retry").key("budget"), self.retry.budget > 0.0);
        positive(path.key("breaker").key("failures"), self.breaker.failures > 0);
        positive(path.key("breaker").key("open"), !self.breaker.open.get().is_zero());
    }
}

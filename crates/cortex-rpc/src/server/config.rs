//! Every limit of a server, with its default and its unit.

use cortex_config::{ByteSize, Duration, KeyPath, Problems, Validate};
use serde::{Deserialize, Serialize};

/// Limits and waiting times of one listener and of the calls it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// Open connections. More wait in the listener's backlog. Default 10,000.
    pub max_connections: usize,
    /// Open unary calls. More are refused with RESOURCE_EXHAUSTED. Default 4,096.
    pub max_unary_calls: usize,
    /// Open streams, counted apart from unary calls. More are refused with RESOURCE_EXHAUSTED.
    /// Default 8,192.
    pub max_streams: usize,
    /// Services that a call may have come through. Default 8.
    pub max_hops: u32,
    /// How long a client may take to send the head of a request, and how long an idle HTTP/1.1
    /// connection is kept. Default 10 s.
    pub header_timeout: Duration,
    /// All headers of a request together. Default 64 KiB.
    pub max_header_bytes: ByteSize,
    /// The body of a plain HTTP request to the service's own routes. Default 8 MiB.
    pub max_http_body: ByteSize,
    /// HTTP/2: bytes that a client may send ahead of their being read, per stream. Default 256 KiB.
    pub stream_window: ByteSize,
    /// HTTP/2: the same for a whole connection. Default 2 MiB.
    pub connection_window: ByteSize,
    /// HTTP/2: bytes of a response that are buffered for a stream whose reader stalls. Default 64 KiB.
    pub stream_send_buffer: ByteSize,
    /// HTTP/2: open streams per connection. Default 1,024.
    pub max_streams_per_connection: u32,
    /// HTTP/2: a ping is sent when a connection was silent for so long. Default 30 s.
    pub keepalive_interval: Duration,
    /// HTTP/2: a connection whose ping is not answered in this time is closed. Default 10 s.
    pub keepalive_timeout: Duration,
    /// Host names beside loopback ones by which browsers and HTTP clients may address the service;
    /// `*` for any. Default none.
    pub allowed_hosts: Vec<String>,
    /// Web origins, such as `https://cortex.example.com`, whose pages may call the service. The
    /// service's own origin always may. Default none.
    pub allowed_origins: Vec<String>,
    /// Waiting times of an orderly stop.
    pub drain: DrainConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_unary_calls: 4096,
            max_streams: 8192,
            max_hops: 8,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: ByteSize::kib(64),
            max_http_body: ByteSize::mib(8),
            stream_window: ByteSize::kib(256),
            connection_window: ByteSize::mib(2),
            stream_send_buffer: ByteSize::kib(64),
            max_streams_per_connection: 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            drain: DrainConfig::default(),
        }
    }
}

/// Waiting times of an orderly stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainConfig {
    /// Between saying NOT_SERVING and no longer accepting: the time that load balancers need to
    /// notice. Default 0 s; in a cluster, longer than the readiness probe's period.
    pub notice: Duration,
    /// How long work in progress may take from then on. Default 30 s.
    pub deadline: Duration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { notice: Duration::default(), deadline: Duration::from_secs(30) }
    }
}

/// Smallest header limit: hyper refuses a smaller buffer.
const LEAST_HEADER_BYTES: u64 = 8192;
/// Largest window of HTTP/2 (RFC 9113, section 6.9.1).
const LARGEST_WINDOW: u64 = (1 << 31) - 1;

impl Validate for ServerConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        let mut at_least_one = |key: &str, value: usize| {
            if value == 0 {
                problems.add(path.key(key), "must not be 0");
            }
        };
        at_least_one("max_connections", self.max_connections);
        at_least_one("max_unary_calls", self.max_unary_calls);
        at_least_one("max_streams", self.max_streams);
        at_least_one("max_streams_per_connection", self.max_streams_per_connection as usize);
        at_least_one("header_timeout", self.header_timeout.get().as_millis() as usize);
        if self.max_header_bytes.get() < LEAST_HEADER_BYTES {
            problems.add(path.key("max_header_bytes"), "must be at least 8KiB");
        }
        for (key, size) in
            [("stream_window", self.stream_window), ("connection_window", self.connection_window)]
        {
            if !(65_535..=LARGEST_WINDOW).contains(&size.get()) {
                problems.add(path.key(key), "must be between 65535 bytes and 2GiB less one byte");
            }
        }
    }
}

/// `size` as HTTP/2 wants it.
pub(crate) fn window(size: ByteSize) -> u32 {
    u32::try_from(size.get().min(LARGEST_WINDOW)).unwrap_or(u32::MAX >> 1)
}

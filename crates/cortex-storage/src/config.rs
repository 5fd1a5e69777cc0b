//! What an operator can set, with its defaults, units and bounds.

mod artifacts;

pub use artifacts::{ArtifactConfig, Location, S3Config};

use std::path::PathBuf;

use cortex_config::{ByteSize, Duration, KeyPath, Problems, SecretString, Validate};
use serde::{Deserialize, Serialize};

/// Configuration of storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageConfig {
    /// The database file. Absent: `cortex.db` in the data directory.
    pub path: Option<PathBuf>,
    /// PostgreSQL in place of a file.
    pub postgres: PostgresConfig,
    /// Connections for reads: 1 to 64.
    pub readers: u32,
    /// How long a connection waits for another's lock.
    pub busy_timeout: Duration,
    /// How often expired records and cache entries, and deleted sessions, are cleared away, and times
    /// of use of the cache are written.
    pub housekeeping_interval: Duration,
    /// How long deletions of records are remembered for watchers that come back.
    pub tombstone_retention: Duration,
    /// How long storage remembers requests that recorded metrics, so that a repeated one is the same.
    pub metric_request_retention: Duration,
    /// Bounds of each tenant's cache.
    pub cache: CacheBounds,
    /// A piece of a payload, of a message, of an outcome or of a state that has as many bytes is stored
    /// once per tenant, wherever else it stands: 256B to 1GiB.
    pub content: ByteSize,
    /// How long a request id is remembered at least: 1 h to 30 d. It must be longer than anybody repeats a
    /// request; after that the same id is a new request.
    pub request_retention: Duration,
    /// How long an import may bring nothing before it is given up: 10 s to 1 h.
    pub import_lease: Duration,
    /// How long a backup, a check, a migration or a pruning waits for whoever reads what it tells, before it
    /// is given up: 1s to 10m.
    pub reader_patience: Duration,
    /// Bounds of requests.
    pub limits: Limits,
    /// Bounds of what waits in memory.
    pub buffers: Buffers,
    /// The bytes of artifacts.
    pub artifacts: ArtifactConfig,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            path: None,
            postgres: PostgresConfig::default(),
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            housekeeping_interval: Duration::from_secs(1),
            tombstone_retention: Duration::from_secs(24 * 3600),
            metric_request_retention: Duration::from_secs(24 * 3600),
            cache: CacheBounds::default(),
            content: ByteSize::kib(4),
            request_retention: Duration::from_secs(24 * 3600),
            import_lease: Duration::from_secs(600),
            reader_patience: Duration::from_secs(60),
            limits: Limits::default(),
            buffers: Buffers::default(),
            artifacts: ArtifactConfig::default(),
        }
    }
}

/// Bounds of each tenant's cache. What was not used for the longest time goes when one is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheBounds {
    /// Entries: 16 to 10,000,000.
    pub entries: u64,
    /// Bytes of keys and values, with 128 for each entry: at least 2 MiB.
    pub bytes: ByteSize,
    /// Entries whose times of use may wait in memory, for all tenants: 1 to 1,000,000. One more writes
    /// them; else housekeeping does.
    pub waiting_uses: usize,
}

impl Default for CacheBounds {
    fn default() -> Self {
        Self { entries: 100_000, bytes: ByteSize::mib(256), waiting_uses: 10_000 }
    }
}

/// PostgreSQL in place of a file: any number of replicas may store in one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PostgresConfig {
    /// Where it is: `postgres://user:password@host:port/database?sslmode=…`. Wins over `storage.path`.
    /// Absent or empty: storage is a file.
    pub url: Option<SecretString>,
    /// Connections that write, each with commits of its own: 1 to 16.
    pub writers: u32,
    /// How often those who watch look for what other replicas have committed, since a notice of it may
    /// be lost: 10 ms to 60 s.
    pub poll_interval: Duration,
    /// How long a write is tried again when the server cannot be reached or ends its transaction in
    /// favour of another: at most 60 s.
    pub retry_for: Duration,
}

impl PostgresConfig {
    /// Where it is, if storage is PostgreSQL.
    pub fn url(&self) -> Option<&str> {
        self.url.as_ref().map(SecretString::expose).filter(|url| !url.is_empty())
    }
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: None,
            writers: 4,
            poll_interval: Duration::from_secs(1),
            retry_for: Duration::from_secs(5),
        }
    }
}

/// Bounds of requests. A request beyond one is refused with a precise error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The content of a message, and the payload of a command or event.
    pub message: ByteSize,
    /// The state of a session.
    pub state: ByteSize,
    /// The metadata of a session or message.
    pub metadata: ByteSize,
    /// The recorded result of an execution.
    pub outcome: ByteSize,
    /// The value of a record.
    pub record: ByteSize,
    /// The value of a cache entry: at most 1 MiB.
    pub cache_value: ByteSize,
    /// A whole request or response. gRPC clients of storage must accept as much.
    pub request: ByteSize,
    /// Events of one append: 1 to 1,024.
    pub events_per_append: usize,
    /// Other effects of one append: messages, intents and settlements together.
    pub effects_per_append: usize,
    /// Messages that may wait in a session when the caller does not say.
    pub queued_messages: usize,
    /// Commands of a session that may wait to be consumed.
    pub pending_commands: usize,
    /// Numbers that one aggregation of metrics reads: 1 to 10,000,000. They are in memory, 8 bytes
    /// each, while it works.
    pub aggregated_numbers: usize,
    /// An imported session, as its lines have it.
    pub import: ByteSize,
    /// One line of an imported session.
    pub import_line: ByteSize,
    /// Sessions whose entries one log may share before they are copied into it: 1 to 1,024. Also while they
    /// are being copied a fork can be read and forked.
    pub log_parts: usize,
    /// The shortest lease of a holder.
    pub min_lease: Duration,
    /// The longest lease of a holder.
    pub max_lease: Duration,
    /// The lease of a holder that does not say.
    pub default_lease: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: ByteSize::mib(4),
            state: ByteSize::mib(1),
            metadata: ByteSize::kib(64),
            outcome: ByteSize::mib(1),
            record: ByteSize::mib(4),
            cache_value: ByteSize::mib(1),
            request: ByteSize::mib(16),
            events_per_append: 1024,
            effects_per_append: 4096,
            queued_messages: 16,
            pending_commands: 1024,
            aggregated_numbers: 1_000_000,
            import: ByteSize::mib(1024),
            import_line: ByteSize::mib(64),
            log_parts: 8,
            min_lease: Duration::from_secs(1),
            max_lease: Duration::from_secs(60),
            default_lease: Duration::from_secs(3),
        }
    }
}

/// Bounds of what waits in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Buffers {
    /// Writes that wait for the writer. One more waits at its caller.
    pub write_queue: usize,
    /// Bytes of writes that wait for their commit, nearly. One more write waits at its caller.
    pub waiting: ByteSize,
    /// Writes that one commit takes at most.
    pub batch_writes: usize,
    /// Bytes of writes that one commit takes, nearly.
    pub batch: ByteSize,
    /// Sessions whose heads the writer remembers, at most twice.
    pub cached_heads: usize,
    /// Commits that a watcher may fall behind before it reads the log instead.
    pub watch_commits: usize,
    /// A larger commit is not pushed to watchers; they read it from the log.
    pub watch_commit: ByteSize,
    /// Entries of one page of a replay.
    pub replay_entries: usize,
    /// Bytes of one page of a replay, nearly.
    pub replay: ByteSize,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            write_queue: 1024,
            waiting: ByteSize::mib(64),
            batch_writes: 512,
            batch: ByteSize::mib(8),
            cached_heads: 10_000,
            watch_commits: 64,
            watch_commit: ByteSize::kib(256),
            replay_entries: 512,
            replay: ByteSize::mib(1),
        }
    }
}

impl Validate for StorageConfig {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if !(1..=64).contains(&self.readers) {
            problems.add(path.key("readers"), "must be 1 to 64");
        }
        if !(256..=1 << 30).contains(&self.content.get()) {
            problems.add(path.key("content"), "must be 256B to 1GiB");
        }
        let postgres = path.key("postgres");
        let url = self.postgres.url().unwrap_or("postgres://");
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            problems.add(postgres.key("url"), "must start with postgres://");
        }
        if !(1..=16).contains(&self.postgres.writers) {
            problems.add(postgres.key("writers"), "must be 1 to 16");
        }
        if !(10..=60_000).contains(&self.postgres.poll_interval.get().as_millis()) {
            problems.add(postgres.key("poll_interval"), "must be 10ms to 60s");
        }
        if self.postgres.retry_for.get().as_secs() > 60 {
            problems.add(postgres.key("retry_for"), "must be at most 60s");
        }
        let hour = std::time::Duration::from_secs(3600);
        if !(hour..=30 * 24 * hour).contains(&self.request_retention.get()) {
            problems.add(path.key("request_retention"), "must be 1h to 30d");
        }
        if !(hour / 360..=hour).contains(&self.import_lease.get()) {
            problems.add(path.key("import_lease"), "must be 10s to 1h");
        }
        if !(hour / 3600..=hour / 6).contains(&self.reader_patience.get()) {
            problems.add(path.key("reader_patience"), "must be 1s to 10m");
        }
        let limits = path.key("limits");
        if !(1..=1024).contains(&self.limits.log_parts) {
            problems.add(limits.key("log_parts"), "must be 1 to 1024");
        }
        if !(1..=1024).contains(&self.limits.events_per_append) {
            problems.add(limits.key("events_per_append"), "must be 1 to 1024");
        }
        if self.limits.request.get() < self.limits.message.get() {
            problems.add(limits.key("request"), "must be at least limits.message");
        }
        if self.limits.cache_value.get() > ByteSize::mib(1).get() {
            problems.add(limits.key("cache_value"), "must be at most 1 MiB");
        }
        if !(1..=10_000_000).contains(&self.limits.aggregated_numbers) {
            problems.add(limits.key("aggregated_numbers"), "must be 1 to 10000000");
        }
        self.cache.validate(problems, &path.key("cache"));
        if self.limits.min_lease.get() > self.limits.max_lease.get() {
            problems.add(limits.key("min_lease"), "must be at most limits.max_lease");
        }
        self.artifacts.validate(problems, &path.key("artifacts"));
        let buffers = path.key("buffers");
        for (key, value) in [
            ("write_queue", self.buffers.write_queue),
            ("batch_writes", self.buffers.batch_writes),
            ("cached_heads", self.buffers.cached_heads),
            ("watch_commits", self.buffers.watch_commits),
            ("replay_entries", self.buffers.replay_entries),
        ] {
            if !(1..=1_000_000).contains(&value) {
                problems.add(buffers.key(key), "must be 1 to 1000000");
            }
        }
    }
}

impl Validate for CacheBounds {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if !(16..=10_000_000).contains(&self.entries) {
            problems.add(path.key("entries"), "must be 16 to 10000000");
        }
        if self.bytes.get() < ByteSize::mib(2).get() {
            problems.add(path.key("bytes"), "must be at least 2 MiB");
        }
        if !(1..=1_000_000).contains(&self.waiting_uses) {
            problems.add(path.key("waiting_uses"), "must be 1 to 1000000");
        }
    }
}

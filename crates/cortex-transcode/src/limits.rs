//! What a request may cost, and how long a stream may be silent.

use std::time::Duration;

/// Bounds of one HTTP exchange. [`Limits::default`] is what Cortex-Prime runs with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request body that is read as a whole, in bytes. More is 413. Uploads to a
    /// client-streaming method are not read as a whole and have no such bound. Default: 8 MiB.
    pub body: usize,
    /// How long reading a request body may take. Longer is 408. Default: 30 s.
    pub body_time: Duration,
    /// The largest response message, in bytes. More is an error of the call. Default: 8 MiB.
    pub message: usize,
    /// How deep objects and arrays of a request may be nested. Deeper is 400. At most 120, which is
    /// where the parser ends. Default: 100.
    pub depth: usize,
    /// The longest query, in bytes. Longer is 414. Default: 16 KiB.
    pub query: usize,
    /// The most segments of a path. More is 414. Default: 64.
    pub segments: usize,
    /// How many wrong fields one answer lists. Default: 16.
    pub violations: usize,
    /// How long a stream that has opened may be without its first message before the answer begins
    /// all the same; until then an error is still an HTTP status. Default: 1 s.
    pub first_message: Duration,
    /// How long an event stream may be silent before a comment keeps it open. Default: 15 s.
    pub heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 8 << 20,
            body_time: Duration::from_secs(30),
            message: 8 << 20,
            depth: 100,
            query: 16 << 10,
            segments: 64,
            violations: 16,
            first_message: Duration::from_secs(1),
            heartbeat: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// The parser counts to 128 and is entered a few levels in.
    pub(crate) const DEEPEST: usize = 120;

    /// The nesting that is really allowed.
    pub(crate) fn nesting(&self) -> usize {
        self.depth.min(Self::DEEPEST)
    }
}

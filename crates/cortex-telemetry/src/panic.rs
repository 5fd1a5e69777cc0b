//! Panics in the log, with their place, instead of loose text on standard error.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
};

/// Sends every panic of the process to `tracing` as an error.
pub(crate) fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("a value that is no text");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => Some(backtrace.to_string()),
            _ => None,
        };
        let thread = std::thread::current();
        tracing::error!(
            thread = thread.name().unwrap_or("unnamed"),
            location,
            backtrace,
            "panic: {message}"
        );
    }));
}

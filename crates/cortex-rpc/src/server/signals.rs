//! SIGTERM and SIGINT: the first asks for an orderly stop, the second ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell gives for a process that a signal ended: 128 and the signal's number.
const EXIT_CODE_BASE: i32 = 128;

/// Completes with the first SIGTERM or SIGINT. A second one then exits the process at once.
///
/// Listens from the call on, not from the first poll. Must be called within a tokio runtime, once per
/// process: share its completion.
pub fn shutdown_on_signal() -> impl Future<Output = ()> + Send + 'static {
    let first = Signals::listen();
    async move {
        let Some(mut signals) = first else {
            // Nothing can be listened for: never stop by signal rather than stop at once.
            return std::future::pending().await;
        };
        let number = signals.next().await;
        tracing::info!(signal = number, "stopping; a second signal exits at once");
        // Lives as long as the process, which it is there to end.
        tokio::spawn(async move {
            let number = signals.next().await;
            tracing::warn!(signal = number, "second signal: exiting at once");
            std::process::exit(EXIT_CODE_BASE + number);
        });
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Option<Self> {
        let of = |kind| {
            signal(kind).inspect_err(|error| tracing::error!(%error, "cannot listen for signals"))
        };
        let terminate = of(SignalKind::terminate()).ok()?;
        let interrupt = of(SignalKind::interrupt()).ok()?;
        Some(Self { terminate, interrupt })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}

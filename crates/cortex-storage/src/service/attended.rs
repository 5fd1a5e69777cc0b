//! Streams that hold something which nobody may hold for ever.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use cortex_rpc::to_status;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::Answers;
use crate::error::StorageError;

/// `stream`, as long as its reader comes for the next answer within `patience`. Then what the stream
/// holds is given up, although the reader is still there; when it comes, it is told
/// (`ReaderTooSlow`).
pub(super) fn attended<T: Send + 'static>(stream: Answers<T>, patience: Duration) -> Answers<T> {
    let shared = Shared { stream: Some(stream), away: Some(Instant::now()), told: false };
    let shared = Arc::new(Mutex::new(shared));
    let watch = AbortOnDropHandle::new(tokio::spawn(watch(Arc::clone(&shared), patience)));
    Attended { shared, patience, _watch: watch }.boxed()
}

struct Attended<T> {
    shared: Arc<Mutex<Shared<T>>>,
    patience: Duration,
    _watch: AbortOnDropHandle<()>,
}

struct Shared<T> {
    /// Absent: it has ended, or was given up.
    stream: Option<Answers<T>>,
    /// Since when the reader has something to come for.
    away: Option<Instant>,
    /// Whether the reader knows of the end.
    told: bool,
}

async fn watch<T>(shared: Arc<Mutex<Shared<T>>>, patience: Duration) {
    loop {
        let away = shared.lock().unwrap_or_else(PoisonError::into_inner).away;
        let left = away.map_or(patience, |since| patience.saturating_sub(since.elapsed()));
        if left.is_zero() {
            break;
        }
        sleep(left).await;
    }
    let given_up = shared.lock().unwrap_or_else(PoisonError::into_inner).stream.take();
    if given_up.is_some() {
        tracing::warn!(?patience, "work of administration is given up: nobody takes its answers");
    }
}

impl<T> Drop for Attended<T> {
    fn drop(&mut self) {
        // At once, not when the task that watches is gone.
        let stream = self.shared.lock().unwrap_or_else(PoisonError::into_inner).stream.take();
        drop(stream);
    }
}

impl<T> Stream for Attended<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.away = None;
        let Some(stream) = &mut shared.stream else {
            let too_slow =
                || Err(to_status(StorageError::ReaderTooSlow { patience: self.patience }));
            return Poll::Ready((!std::mem::replace(&mut shared.told, true)).then(too_slow));
        };
        let polled = stream.poll_next_unpin(cx);
        match &polled {
            Poll::Ready(Some(_)) => shared.away = Some(Instant::now()),
            Poll::Ready(None) => (shared.stream, shared.told) = (None, true),
            Poll::Pending => {}
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::sync::oneshot;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A stream of two answers, and what hears of its end.
    fn two() -> (Answers<u8>, oneshot::Receiver<()>) {
        let (held, gone) = oneshot::channel();
        let two = stream::iter([Ok(1), Ok(2)]).chain(stream::pending());
        let two = two.map(move |item| {
            let _held = &held;
            item
        });
        (two.boxed(), gone)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stays_away_loses_the_stream_and_is_told() {
        let (stream, gone) = two();
        let mut stream = attended(stream, PATIENCE);
        assert!(matches!(stream.next().await, Some(Ok(1))));
        let begin = Instant::now();
        assert!(gone.await.is_err(), "it is dropped");
        assert!(begin.elapsed() >= PATIENCE && begin.elapsed() < 2 * PATIENCE);
        let told = stream.next().await.expect("an answer").expect_err("the end");
        assert_eq!(cortex_rpc::fault(&told).reason, "READER_TOO_SLOW");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_comes_loses_it_too() {
        let (stream, gone) = two();
        let _stream = attended(stream, PATIENCE);
        assert!(gone.await.is_err(), "it is dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_waits_is_waited_for() {
        let (stream, mut gone) = two();
        let mut stream = attended(stream, PATIENCE);
        for expected in [1, 2] {
            sleep(PATIENCE / 2).await;
            assert!(matches!(stream.next().await, Some(Ok(item)) if item == expected));
        }
        let third = tokio::time::timeout(10 * PATIENCE, stream.next()).await;
        assert!(third.is_err(), "nothing comes");
        assert!(gone.try_recv() == Err(oneshot::error::TryRecvError::Empty), "it is still there");
        drop(stream);
        assert!(gone.await.is_err(), "it goes with its reader, at once");
    }
}

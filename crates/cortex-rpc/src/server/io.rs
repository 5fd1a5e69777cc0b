//! A connection that has to say something in time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// The HTTP/2 preface is so long (RFC 9113, section 3.4), and no HTTP/1.1 request is shorter.
const FIRST_BYTES: usize = 24;

/// A socket that fails with `TimedOut` when its first bytes do not come in time.
///
/// hyper's header time-out starts when it knows the protocol, for which it waits without a limit.
pub(crate) struct PromptStart {
    stream: TcpStream,
    waiting: Option<Waiting>,
}

struct Waiting {
    missing: usize,
    timer: Pin<Box<Sleep>>,
}

impl PromptStart {
    pub(crate) fn new(stream: TcpStream, timeout: Duration) -> Self {
        let waiting = Waiting { missing: FIRST_BYTES, timer: Box::pin(sleep(timeout)) };
        Self { stream, waiting: Some(waiting) }
    }
}

impl AsyncRead for PromptStart {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(waiting) = &mut this.waiting else { return read };
        match read {
            Poll::Ready(Ok(())) => {
                waiting.missing = waiting.missing.saturating_sub(buffer.filled().len() - before);
                if waiting.missing == 0 {
                    this.waiting = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(failed) => Poll::Ready(failed),
            Poll::Pending => {
                waiting.timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for PromptStart {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! Reads a response in bounded time and yields its events.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{
    decode::Decoder,
    http_client::{collect, deepest},
    protocol, timeout,
};
use crate::{
    completion::Event,
    failure::{Class, Failure},
    sse::{Frame, SseDecoder},
};

/// How long the rest of a response (its usage, `[DONE]`, its end) is waited for after the model has
/// said why it stopped.
const TRAILER: Duration = Duration::from_secs(2);
/// How long the end of a response is waited for after `[DONE]`, so that its connection can be used
/// again.
const CLOSING: Duration = Duration::from_millis(20);

/// By when a response must have come how far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) first_token: Instant,
    pub(super) total: Instant,
    /// Between two reads, after the first token.
    pub(super) idle: Duration,
}

/// Reads a stream of server-sent events.
pub(super) struct Reader {
    body: Incoming,
    sse: SseDecoder,
    frames: VecDeque<Frame>,
    decoder: Decoder,
    events: VecDeque<Event>,
    deadlines: Deadlines,
    finished: Option<Instant>,
    over: bool,
}

enum Read {
    Data(Bytes),
    End,
    Broken(String),
}

impl Reader {
    pub(super) fn new(
        body: Incoming,
        decoder: Decoder,
        deadlines: Deadlines,
        frame_bytes: usize,
    ) -> Self {
        Self {
            body,
            sse: SseDecoder::new(frame_bytes),
            frames: VecDeque::new(),
            decoder,
            events: VecDeque::new(),
            deadlines,
            finished: None,
            over: false,
        }
    }

    pub(super) fn into_events(self) -> BoxStream<'static, Result<Event, Failure>> {
        stream::unfold(Box::new(self), |mut reader| async move {
            reader.next().await.map(|event| (event, reader))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Event, Failure>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            if let Err(failure) = self.advance().await {
                self.over = true;
                return Some(Err(failure));
            }
        }
    }

    async fn advance(&mut self) -> Result<(), Failure> {
        if let Some(frame) = self.frames.pop_front() {
            return self.frame(&frame).await;
        }
        match self.read().await? {
            Read::Data(data) => {
                let fed = self.sse.feed(data, &mut self.frames);
                fed.map_err(|error| protocol(error.to_string()))
            }
            Read::End => self.last_frames(),
            Read::Broken(_) if self.decoder.is_finished() => self.end(),
            Read::Broken(why) => Err(Failure::new(Class::Cut, why)),
        }
    }

    async fn frame(&mut self, frame: &Frame) -> Result<(), Failure> {
        if &*frame.data == b"[DONE]" {
            // Read to the end, so that the connection goes back to the pool.
            let _ = tokio::time::timeout(CLOSING, self.body.frame()).await;
            return self.end();
        }
        self.chunk(frame)
    }

    fn chunk(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.decoder.chunk(&frame.data, &mut self.events)?;
        if self.decoder.is_finished() && self.finished.is_none() {
            self.finished = Some(Instant::now());
        }
        Ok(())
    }

    /// The body has ended: what it still holds, and the end.
    fn last_frames(&mut self) -> Result<(), Failure> {
        let finished = self.sse.finish(&mut self.frames);
        finished.map_err(|error| protocol(error.to_string()))?;
        while let Some(frame) = self.frames.pop_front() {
            if &*frame.data != b"[DONE]" {
                self.chunk(&frame)?;
            }
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.over = true;
        self.decoder.end(&mut self.events)
    }

    async fn read(&mut self) -> Result<Read, Failure> {
        let Deadlines { first_token, total, idle } = self.deadlines;
        let (deadline, what) = match self.finished {
            Some(at) => (at + TRAILER, ""),
            None if self.decoder.has_content() => (Instant::now() + idle, "the next token"),
            None => (first_token, "the first token"),
        };
        loop {
            return match timeout_at(deadline.min(total), self.body.frame()).await {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Read::Data(data)),
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => {
                    Ok(Read::Broken(format!("the response broke off: {}", deepest(&error))))
                }
                Ok(None) => Ok(Read::End),
                // The answer is whole; only the end of the response is missing.
                Err(_) if self.finished.is_some() => Ok(Read::End),
                Err(_) if total <= deadline => {
                    Err(Failure::new(Class::Timeout, "the completion took too long"))
                }
                Err(_) => Err(Failure::new(Class::Timeout, format!("{what} did not come in time"))),
            };
        }
    }
}

/// Reads an answer that is not streamed: some servers do not know how to.
pub(super) fn whole(
    body: Incoming,
    decoder: Decoder,
    deadlines: Deadlines,
    limit: usize,
) -> impl Stream<Item = Result<Event, Failure>> + Send {
    let read = async move {
        let wait = deadlines.total.saturating_duration_since(Instant::now());
        let body = timeout_at(deadlines.total, collect(body, limit))
            .await
            .map_err(|_| timeout("the answer did not come", wait))??;
        let (mut decoder, mut events) = (decoder.strict(), VecDeque::new());
        decoder.chunk(&body, &mut events)?;
        decoder.end(&mut events)?;
        Ok(stream::iter(events.into_iter().map(Ok)))
    };
    stream::once(read).flat_map(|read| match read {
        Ok(events) => events.left_stream(),
        Err(failure) => stream::iter([Err(failure)]).right_stream(),
    })
}

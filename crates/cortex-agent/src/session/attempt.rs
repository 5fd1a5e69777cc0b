//! One model call: its stream, and the pieces that wait to be journaled.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use cortex_core::CallId;
use cortex_proto::cortex::{
    agent::v1::session_event::Event,
    llm::v1::{CompleteRequest, CompleteResponse, Usage, complete_response},
};
use cortex_rpc::{CallContext, outgoing};
use futures::{FutureExt, future::BoxFuture};
use tonic::{Status, Streaming};

use crate::{clients::Clients, turn};

/// What the stream of a model call says.
pub(crate) type ModelEvent = complete_response::Event;

enum Stream {
    Connecting(BoxFuture<'static, Result<Streaming<CompleteResponse>, Status>>),
    Open(Box<Streaming<CompleteResponse>>),
}

/// A model call under way. Dropping it closes the provider's socket.
pub(crate) struct Attempt {
    stream: Stream,
    /// The number that its entries carry.
    pub(crate) number: u32,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) usage: Option<Usage>,
    buffer: Vec<Event>,
    last_flush: Option<Instant>,
    call_ids: HashMap<i32, String>,
}

impl Attempt {
    /// Begins a model call.
    pub(crate) fn begin(
        clients: &Clients,
        cx: &CallContext,
        number: u32,
        request: CompleteRequest,
    ) -> Self {
        let (mut completions, request) = (clients.completions.clone(), outgoing(cx, request));
        let connecting =
            async move { completions.complete(request).await.map(tonic::Response::into_inner) };
        Self {
            stream: Stream::Connecting(connecting.boxed()),
            number,
            provider: String::new(),
            model: String::new(),
            usage: None,
            buffer: Vec::new(),
            last_flush: None,
            call_ids: HashMap::new(),
        }
    }

    /// The next event of the stream; `None` at its end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<ModelEvent>, Status> {
        if let Stream::Connecting(connecting) = &mut self.stream {
            self.stream = Stream::Open(Box::new(connecting.await?));
        }
        let Stream::Open(stream) = &mut self.stream else {
            return Err(Status::internal("a model call that is neither connecting nor open"));
        };
        loop {
            match stream.message().await? {
                None => return Ok(None),
                Some(CompleteResponse { event: Some(event) }) => return Ok(Some(event)),
                Some(CompleteResponse { event: None }) => {}
            }
        }
    }

    /// An event that is there already, if one is.
    pub(crate) fn ready(&mut self) -> Option<Result<Option<ModelEvent>, Status>> {
        self.next().now_or_never()
    }

    /// Our id for the call that the stream numbers `index`.
    pub(crate) fn call_id(&mut self, index: i32) -> (String, bool) {
        if let Some(id) = self.call_ids.get(&index) {
            return (id.clone(), false);
        }
        let id = String::from(CallId::generate());
        self.call_ids.insert(index, id.clone());
        (id, true)
    }

    /// Keeps a piece until the next flush; a piece of the same text grows the one before.
    pub(crate) fn gather(&mut self, event: Event) {
        let grown = match (self.buffer.last_mut(), &event) {
            (Some(Event::ContentDelta(last)), Event::ContentDelta(next)) => {
                last.text.push_str(&next.text);
                true
            }
            (Some(Event::ThinkingDelta(last)), Event::ThinkingDelta(next)) => {
                last.text.push_str(&next.text);
                true
            }
            (Some(Event::ToolCall(last)), Event::ToolCall(next)) => {
                turn::grow_arguments(last, next)
            }
            _ => false,
        };
        if !grown {
            self.buffer.push(event);
        }
    }

    /// When what is gathered should be journaled. `None`: nothing is gathered.
    pub(crate) fn flush_at(&self, interval: Duration) -> Option<Instant> {
        if self.buffer.is_empty() {
            return None;
        }
        Some(self.last_flush.map_or_else(Instant::now, |last| last + interval))
    }

    /// Takes what is gathered, to be journaled now.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.last_flush = Some(Instant::now());
        std::mem::take(&mut self.buffer)
    }

    /// Forgets what is gathered, and the calls: another attempt follows on the same stream.
    pub(crate) fn reset(&mut self, number: u32) {
        self.buffer.clear();
        self.call_ids.clear();
        self.usage = None;
        self.number = number;
    }
}

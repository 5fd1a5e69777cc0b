//! A listener: accepts, serves each connection, and stops in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::Instant,
};
use tonic::body::Body;

use crate::{
    context::Peer,
    server::{Drain, Parts, ServerConfig, io::PromptStart, window},
};

/// How long to wait when the machine has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections get to send the last statuses after everything was forced to end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// An address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// How a listener stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Calls, from within the process too, that did not end by the drain deadline and were cut.
    pub forced_calls: usize,
    /// Connections that were cut, with calls or with anything else on them.
    pub forced_connections: usize,
}

/// A server on an address.
#[derive(Debug)]
pub struct Listening {
    server: Arc<Parts>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    pub(crate) async fn bind(server: Arc<Parts>, address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { server, listener, address })
    }

    /// The address, with the port that was given for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` completes, then drains: says NOT_SERVING, waits for `drain.notice`, stops
    /// accepting and ends watches, lets work finish until `drain.deadline`, then ends the rest.
    ///
    /// Dropping it cuts all connections.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Stopped {
        let drain = self.server.drain.clone();
        let config = self.server.config.drain.clone();
        tracing::info!(service = %self.server.name, address = %self.address, "listening");
        let begin = async {
            tokio::select! {
                () = stop => {}
                () = drain.leaving().cancelled() => {}
            }
            drain.leaving().cancel();
            tokio::select! {
                () = tokio::time::sleep(config.notice.get()) => {}
                () = drain.stopping().cancelled() => {}
            }
            drain.stopping().cancel();
        };
        let mut connections = JoinSet::new();
        tokio::select! {
            () = self.accept(&mut connections) => {}
            () = begin => {}
        }
        let (name, address) = (self.server.name.clone(), self.address);
        // No longer accepting also for the kernel.
        drop(self.listener);
        let stopped = finish(connections, &drain, config.deadline.get()).await;
        let Stopped { forced_calls, forced_connections } = stopped;
        tracing::info!(service = %name, %address, forced_calls, forced_connections, "stopped");
        stopped
    }

    /// Accepts for ever.
    async fn accept(&self, connections: &mut JoinSet<()>) {
        let config = &self.server.config;
        let builder = Arc::new(connection_builder(config));
        let slots = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    let peer = Peer::Socket { remote, local: local_address(&stream, self.address) };
                    let stream = prepare(stream, config);
                    connections.spawn(serve_connection(
                        builder.clone(),
                        self.server.clone(),
                        stream,
                        peer,
                        slot,
                    ));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn local_address(stream: &TcpStream, otherwise: SocketAddr) -> SocketAddr {
    stream.local_addr().unwrap_or(otherwise)
}

fn prepare(stream: TcpStream, config: &ServerConfig) -> PromptStart {
    // With Nagle's algorithm on, answers above one segment wait for delayed acknowledgements: 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps TCP's delays");
    }
    PromptStart::new(stream, config.header_timeout.get())
}

fn connection_builder(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout.get())
        .max_buf_size(config.max_header_bytes.as_usize().max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(window(config.stream_window))
        .initial_connection_window_size(window(config.connection_window))
        .max_send_buf_size(config.stream_send_buffer.as_usize())
        .max_concurrent_streams(config.max_streams_per_connection)
        .max_header_list_size(window(config.max_header_bytes))
        .keep_alive_interval(config.keepalive_interval.get())
        .keep_alive_timeout(config.keepalive_timeout.get());
    builder
}

/// Serves one connection until it ends. When the server stops, the connection takes no new requests
/// and ends with the last of its open ones.
async fn serve_connection(
    builder: Arc<auto::Builder<TokioExecutor>>,
    server: Arc<Parts>,
    stream: PromptStart,
    peer: Peer,
    _slot: OwnedSemaphorePermit,
) {
    let stopping = server.drain.stopping().clone();
    let service = service_fn(move |request: ::http::Request<Incoming>| {
        let server = server.clone();
        async move {
            let answer = server.mux.answer(request.map(Body::new), peer).await;
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Waits for calls and connections until the deadline, then ends what is left.
async fn finish(mut connections: JoinSet<()>, drain: &Drain, deadline: Duration) -> Stopped {
    let end = Instant::now() + deadline;
    let all_ended = async {
        drain.calls_ended().await;
        while connections.join_next().await.is_some() {}
    };
    tokio::select! {
        () = all_ended => return Stopped { forced_calls: 0, forced_connections: 0 },
        () = tokio::time::sleep_until(end) => {}
        () = drain.forcing().cancelled() => {}
    }
    while connections.try_join_next().is_some() {}
    let stopped =
        Stopped { forced_calls: drain.open_calls(), forced_connections: connections.len() };
    drain.forcing().cancel();
    let last_words = async {
        drain.calls_ended().await;
        while connections.join_next().await.is_some() {}
    };
    // What does not end now is cut: dropping the set aborts it.
    let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    stopped
}

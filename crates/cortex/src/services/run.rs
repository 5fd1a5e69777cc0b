//! Services on their ports, from the first call to an orderly end.

use std::net::{IpAddr, SocketAddr};

use cortex_rpc::{BindError, Listening};
use futures::future::{BoxFuture, join_all};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Built, Work};
use crate::{cli::Service, exit::Failure};

/// A service that has its ports.
pub struct Bound {
    /// Which one.
    pub service: Service,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    listening: Vec<Listening>,
    work: Option<Work>,
    close: Option<BoxFuture<'static, ()>>,
}

/// Takes the ports of every service.
///
/// # Errors
/// Every port that cannot be had, at once.
pub async fn bind(built: Vec<Built>, host: IpAddr, offset: u16) -> Result<Vec<Bound>, Failure> {
    let mut bound = Vec::new();
    let mut problems = Vec::new();
    for built in built {
        let mut listening = Vec::new();
        for port in built.service.ports() {
            let address = SocketAddr::new(host, port.saturating_add(offset));
            match built.server.bind(address).await {
                Ok(taken) => listening.push(taken),
                Err(error) => problems.push(problem(built.service, &error)),
            }
        }
        let addresses = listening.iter().map(Listening::address).collect();
        let Built { service, work, close, .. } = built;
        bound.push(Bound { service, addresses, listening, work, close });
    }
    if problems.is_empty() {
        return Ok(bound);
    }
    problems.push("stop what listens there, or move every port with --port-offset".to_owned());
    Err(Failure::other(problems.join("\n")))
}

fn problem(service: Service, error: &BindError) -> String {
    format!("{}: {}", service.name(), cortex_rpc::chain(error))
}

/// Serves until `stop`; then the work is drained, then the listeners, then what is open is closed.
pub async fn run(bound: Vec<Bound>, stop: CancellationToken) {
    let listeners_stop = CancellationToken::new();
    let mut workers = Vec::new();
    let mut listeners: Vec<JoinHandle<()>> = Vec::new();
    let mut closing = Vec::new();
    for service in bound {
        workers.extend(service.work.map(|work| tokio::spawn(work(stop.child_token()))));
        closing.extend(service.close);
        for listening in service.listening {
            let stopped = listeners_stop.clone().cancelled_owned();
            listeners.push(tokio::spawn(async move {
                listening.serve(stopped).await;
            }));
        }
    }
    stop.cancelled().await;
    join_all(workers).await;
    listeners_stop.cancel();
    join_all(listeners).await;
    join_all(closing).await;
}

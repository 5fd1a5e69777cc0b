//! One world per test: a server with the test service, and a client on one of the transports.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::panic, reason = "tests fail by it")]

pub mod echo;

use std::{sync::Arc, time::Duration};

use cortex_rpc::{Client, ClientConfig, MethodTable, Server, ServerConfig, Stopped};
use tokio::task::JoinHandle;

use echo::{Echo, EchoClient, State};

/// How a call gets to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    InProcess,
    Tcp,
}

/// Longest time that any test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct World {
    pub way: Way,
    pub server: Server,
    pub client: EchoClient,
    pub state: Arc<State>,
    pub url: String,
    pub serving: JoinHandle<Stopped>,
}

#[derive(Default)]
pub struct Setup {
    pub server: ServerConfig,
    pub client: ClientConfig,
}

pub fn methods() -> MethodTable {
    MethodTable::contracts().with_pool(&echo::pool())
}

impl World {
    pub async fn new(way: Way) -> Self {
        Self::with(way, Setup::default()).await
    }

    /// A server whose service calls itself for the action `onward`, and a client.
    pub async fn with(way: Way, setup: Setup) -> Self {
        let Setup { server: config, client } = setup;
        let state = Arc::new(State::default());
        let inner = serve(Echo { state: state.clone(), peer: None }, config.clone());
        let echo = Echo { state: state.clone(), peer: Some(EchoClient(inner.transport())) };
        // The service that is called onward is a second server of the same kind.
        let server = serve(echo, config);
        let listening =
            server.bind("127.0.0.1:0".parse().expect("an address")).await.expect("a free port");
        let url = format!("http://{}", listening.address());
        let serving = tokio::spawn(listening.serve(std::future::pending()));
        let client = Client::new(client).with_methods(methods());
        let transport = match way {
            Way::InProcess => server.transport(),
            Way::Tcp => client.connect([&url]).expect("a valid URL"),
        };
        Self { way, server, client: EchoClient(transport), state, url, serving }
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The server's metrics.
    pub fn metrics(&self) -> String {
        self.server.metrics().encode()
    }
}

pub fn serve(echo: Echo, config: ServerConfig) -> Server {
    Server::builder("echo").config(config).descriptors(echo::pool()).add_service(echo).build()
}

/// Waits until `holds`, for as long as tests have patience.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

/// One test per transport.
#[macro_export]
macro_rules! on_both_transports {
    ($($(#[$doc:meta])* $name:ident($world:ident $(, $setup:expr)?) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "not every test uses everything")]
            use super::*;

            async fn check($world: $crate::common::World) {
                $body
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_process() {
                run($crate::common::Way::InProcess).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_tcp() {
                run($crate::common::Way::Tcp).await;
            }

            async fn run(way: $crate::common::Way) {
                #[allow(unused_variables, reason = "overridden where a test says so")]
                let setup = $crate::common::Setup::default();
                $(let setup = $setup;)?
                let world = $crate::common::World::with(way, setup).await;
                tokio::time::timeout($crate::common::PATIENCE, check(world))
                    .await
                    .expect("the test ended in time");
            }
        }
    )*};
}

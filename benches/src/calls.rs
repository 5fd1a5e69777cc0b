//! What a unary call costs: in the process and over TCP, with the mesh's layers and without them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use cortex_proto::cortex::agent::v1::{
    GetAgentRequest,
    agent_service_client::AgentServiceClient,
    agent_service_server::{AgentService, AgentServiceServer},
};
use cortex_rpc::{Client, ClientConfig, Server};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
    transport::{Channel, server::TcpIncoming},
};

use crate::{
    Outcome,
    echo::Echo,
    report::{Figure, progress},
    stats::median,
};

/// The name that a small call asks for: what an id is as long as.
const SMALL: usize = 32;
/// What a large call carries, there and back.
const LARGE: usize = 64 << 10;
/// Limits, in microseconds.
const LOCAL_LIMIT: f64 = 5.0;
const TCP_LIMIT: f64 = 120.0;
/// With Nagle's algorithm and delayed acknowledgements a large call takes 40 ms.
const LARGE_TCP_LIMIT: f64 = 2000.0;

/// How often.
#[derive(Debug, Clone, Copy)]
struct Repetitions {
    rounds: usize,
    /// Calls of one round, in the process.
    local: usize,
    /// Calls of one round, over TCP.
    tcp: usize,
}

/// Every figure of unary calls.
pub(crate) async fn measure(quick: bool) -> Outcome<Vec<Figure>> {
    progress("unary calls");
    let often = match quick {
        true => Repetitions { rounds: 5, local: 4_000, tcp: 500 },
        false => Repetitions { rounds: 15, local: 20_000, tcp: 2_000 },
    };
    let mut figures = local(often).await?;
    figures.extend(tcp(often).await?);
    Ok(figures)
}

async fn local(often: Repetitions) -> Outcome<Vec<Figure>> {
    let server = server();
    let mut layered = AgentServiceClient::new(server.transport());
    let mut bare = AgentServiceClient::new(AgentServiceServer::new(Echo));
    let mut figures = Vec::new();
    let sizes = [
        ("unary_local", "unary, in process", SMALL, Some(LOCAL_LIMIT)),
        ("unary_local_64k", "unary, in process, 64 KiB", LARGE, None),
    ];
    for (name, title, size, limit) in sizes {
        let (mut direct_times, mut bare_times, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..often.rounds {
            direct_times.push(direct_p50(size, often.local).await?);
            bare_times.push(p50(&mut bare, size, often.local).await?);
            times.push(p50(&mut layered, size, often.local).await?);
        }
        let figure = Figure::new(name, title, "us", &times)
            .beside("generated client and server alone", &bare_times);
        figures.push(match limit {
            Some(limit) => figure.at_most(limit),
            None => figure,
        });
        if size == SMALL {
            let title = "  the same without layers";
            figures.push(
                Figure::new("unary_local_bare", title, "us", &bare_times)
                    .beside("the handler alone", &direct_times),
            );
        }
    }
    Ok(figures)
}

async fn tcp(often: Repetitions) -> Outcome<Vec<Figure>> {
    let stop = CancellationToken::new();
    let (address, serving) = serve_layered(&stop).await?;
    let transport = Client::connect_lazy([format!("http://{address}")], ClientConfig::default())?;
    let mut layered = AgentServiceClient::new(transport);
    let (address, serving_plain) = serve_plain(&stop)?;
    let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    let mut plain = AgentServiceClient::new(channel.connect().await?);
    let mut figures = Vec::new();
    let sizes = [
        ("unary_tcp", "unary, TCP", SMALL, TCP_LIMIT),
        ("unary_tcp_64k", "unary, TCP, 64 KiB", LARGE, LARGE_TCP_LIMIT),
    ];
    for (name, title, size, limit) in sizes {
        let (mut plain_times, mut times) = (Vec::new(), Vec::new());
        for _ in 0..often.rounds {
            plain_times.push(p50(&mut plain, size, often.tcp).await?);
            times.push(p50(&mut layered, size, often.tcp).await?);
        }
        let figure = Figure::new(name, title, "us", &times);
        figures.push(figure.at_most(limit).beside("tonic without layers", &plain_times));
    }
    stop.cancel();
    serving.await?;
    serving_plain.await??;
    Ok(figures)
}

fn server() -> Server {
    Server::builder("bench").add_service(AgentServiceServer::new(Echo)).build()
}

async fn serve_layered(
    stop: &CancellationToken,
) -> Outcome<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listening = server().bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listening.address();
    let stop = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move {
        listening.serve(stop).await;
    });
    Ok((address, serving))
}

type Serving = tokio::task::JoinHandle<Result<(), tonic::transport::Error>>;

fn serve_plain(stop: &CancellationToken) -> Outcome<(SocketAddr, Serving)> {
    let incoming =
        TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.with_nodelay(Some(true));
    let address = incoming.local_addr()?;
    let server = tonic::transport::Server::builder().add_service(AgentServiceServer::new(Echo));
    let serving = server.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    Ok((address, tokio::spawn(serving)))
}

fn ask(size: usize) -> GetAgentRequest {
    GetAgentRequest { name: "x".repeat(size) }
}

/// The median time of one call, in microseconds, when one follows the other.
async fn p50<T>(client: &mut AgentServiceClient<T>, size: usize, calls: usize) -> Outcome<f64>
where
    T: GrpcService<
            Body,
            Error: Into<StdError>,
            Future: Send,
            ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
        > + Send,
{
    let mut times = Times::new(calls);
    while times.wants_more() {
        let begun = Instant::now();
        client.get_agent(ask(size)).await?;
        times.push(begun.elapsed());
    }
    Ok(times.p50())
}

/// The same of the handler, without a client and a server.
async fn direct_p50(size: usize, calls: usize) -> Outcome<f64> {
    let mut times = Times::new(calls);
    while times.wants_more() {
        let begun = Instant::now();
        Echo.get_agent(Request::new(ask(size))).await?;
        times.push(begun.elapsed());
    }
    Ok(times.p50())
}

/// The times of calls, after those that warm up.
struct Times {
    wanted: usize,
    warm_up: usize,
    micros: Vec<f64>,
}

impl Times {
    fn new(wanted: usize) -> Self {
        Self { wanted, warm_up: wanted / 10, micros: Vec::with_capacity(wanted) }
    }

    fn wants_more(&self) -> bool {
        self.micros.len() < self.wanted
    }

    fn push(&mut self, time: Duration) {
        if self.warm_up > 0 {
            self.warm_up -= 1;
        } else {
            self.micros.push(time.as_secs_f64() * 1e6);
        }
    }

    fn p50(&self) -> f64 {
        median(&self.micros)
    }
}

//! A `cortex` process of our own, from its start to its end.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cortex_rpc::{Client, ClientConfig, Transport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::transport::Endpoint;

use crate::Outcome;

/// The ports of the mesh, without the offset. The gateway, which is ready last, comes first.
const PORTS: [u16; 8] = [8080, 3000, 8085, 8081, 8082, 8083, 8084, 8086];
/// How long a start may take.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(1);
/// Variables of the machine that would change what is measured.
const LEFT_OUT: [&str; 10] = [
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "GROQ_API_KEY",
    "GEMINI_API_KEY",
    "ANTHROPIC_API_KEY",
    "DATABASE_URL",
    "DB_PATH",
    "RUST_LOG",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "CORTEX_CONFIG",
];

/// How a process is started.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    /// The binary.
    pub(crate) cortex: &'a Path,
    /// `up`, or `serve` and a service.
    pub(crate) command: &'a [&'a str],
    /// The ports to wait for, without the offset.
    pub(crate) ports: &'a [u16],
    /// Its manifests.
    pub(crate) manifests: &'a Path,
    /// Its data and its log.
    pub(crate) directory: &'a Path,
    /// More environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl<'a> Plan<'a> {
    /// `cortex up`, ready when every port is.
    pub(crate) fn up(cortex: &'a Path, manifests: &'a Path, directory: &'a Path) -> Self {
        Self {
            cortex,
            command: &["up"],
            ports: &PORTS,
            manifests,
            directory,
            environment: Vec::new(),
        }
    }
}

/// A process that is ready. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Mesh {
    process: Child,
    offset: u16,
    log: PathBuf,
    /// From the start of the process until every port answered that it is ready.
    pub(crate) ready_after: Duration,
}

impl Mesh {
    /// Starts a process and waits until it is ready.
    pub(crate) async fn start(plan: &Plan<'_>) -> Outcome<Self> {
        let offset = free_offset()?;
        let log = plan.directory.join("cortex.log");
        let mut command = command(plan, offset, &log)?;
        let begun = Instant::now();
        let process = command.spawn()?;
        let mut mesh = Self { process, offset, log, ready_after: Duration::ZERO };
        for port in plan.ports {
            mesh.wait_until_ready(*port, begun).await?;
        }
        mesh.ready_after = begun.elapsed();
        Ok(mesh)
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The way to the service on a port.
    pub(crate) fn transport(&self, port: u16) -> Outcome<Transport> {
        let url = format!("http://{}", self.address(port));
        Ok(Client::connect_lazy([url], ClientConfig::default())?)
    }

    /// The same way without the mesh's client, for load that is to cost little.
    pub(crate) fn endpoint(&self, port: u16) -> Outcome<Endpoint> {
        let url = format!("http://{}", self.address(port));
        Ok(Endpoint::from_shared(url)?.tcp_nodelay(true))
    }

    /// Where a service listens.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port + self.offset))
    }

    /// Asks the process to stop, and waits until it has.
    pub(crate) async fn stop(mut self, within: Duration) -> Outcome<()> {
        // The standard library can only kill.
        let id = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status()?;
        if !asked.success() {
            return Err(format!("kill -TERM {id}: {asked}").into());
        }
        let begun = Instant::now();
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the process ended with {status}").into()),
                None if begun.elapsed() > within => return Err("the process does not stop".into()),
                None => sleep(PAUSE).await,
            }
        }
    }

    async fn wait_until_ready(&mut self, port: u16, begun: Instant) -> Outcome<()> {
        let address = self.address(port);
        loop {
            if timeout(ASK_TIMEOUT, is_ready(address)).await.is_ok_and(|ready| ready) {
                return Ok(());
            }
            let ended = self.process.try_wait()?;
            if ended.is_some() || begun.elapsed() > READY_TIMEOUT {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("port {port} is not ready ({ended:?}):\n{log}").into());
            }
            sleep(PAUSE).await;
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(plan: &Plan<'_>, offset: u16, log: &Path) -> Outcome<Command> {
    let log = File::create(log)?;
    let mut command = Command::new(std::path::absolute(plan.cortex)?);
    for name in LEFT_OUT {
        command.env_remove(name);
    }
    // Nothing listens on the discard port: an Ollama of this machine is left alone.
    command.env("OLLAMA_HOST", "http://127.0.0.1:9");
    command.envs(plan.environment.iter().map(|(name, value)| (name, value)));
    command
        .current_dir(plan.directory)
        .args(plan.command)
        .arg("--data-dir")
        .arg(plan.directory.join("data"))
        .arg("--manifests")
        .arg(std::path::absolute(plan.manifests)?)
        .args(["--port-offset", &offset.to_string()])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

/// `GET /health/ready`, in the fewest bytes.
async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        std::io::Result::Ok(&status == b"HTTP/1.1 200")
    };
    ask.await.unwrap_or(false)
}

/// An offset at which every port is free right now.
fn free_offset() -> Outcome<u16> {
    let free = |offset: u16| {
        PORTS.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port + offset)).is_ok())
    };
    // The process id keeps runs side by side apart.
    let first = u16::try_from(std::process::id() % 1000).unwrap_or(0) * 20 + 1000;
    (0..1000)
        .map(|n| first + n * 20)
        .find(|offset| free(*offset))
        .ok_or_else(|| "no eight free ports on this machine".into())
}

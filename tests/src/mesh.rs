//! A mesh of real processes on ports and a data directory of its own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cortex_rpc::{Client, ClientConfig, Transport};
use tempfile::TempDir;

use crate::{Answer, binary, curl, repository};

/// How the services are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// `cortex up`.
    OneProcess,
    /// `cortex serve` for each service, over TCP.
    ProcessPerService,
}

/// How a mesh differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The manifests. Default: those of the repository.
    pub manifests: Option<PathBuf>,
    /// More environment.
    pub environment: Vec<(String, String)>,
    /// A directory of the mesh that is a small disk of its own, empty at each start.
    pub small_disk: Option<SmallDisk>,
}

/// A directory that is a file system of a few mebibytes, for the processes that are started in it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallDisk {
    /// Where, inside the directory of the mesh.
    pub directory: String,
    /// How large.
    pub mebibytes: u32,
}

impl SmallDisk {
    /// A command that runs `program` where `directory` of `mesh` is the small disk.
    ///
    /// # Panics
    /// When the machine lets nobody mount, with the way to get it.
    fn command(&self, mesh: &Path, program: &Path) -> Command {
        const MOUNT: &str = "mount -t tmpfs -o size=\"$1\" tmpfs \"$0\" && shift && exec \"$@\"";
        let tried = Command::new("unshare").args(["-rm", "true"]).status();
        assert!(
            tried.is_ok_and(|status| status.success()),
            "a small disk needs user namespaces: sysctl -w kernel.unprivileged_userns_clone=1"
        );
        let directory = mesh.join(&self.directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", MOUNT]).arg(directory);
        command.arg(format!("{}m", self.mebibytes)).arg(program);
        command
    }
}

impl Options {
    /// One more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// A small disk.
    #[must_use]
    pub fn small_disk(mut self, directory: &str, mebibytes: u32) -> Self {
        self.small_disk = Some(SmallDisk { directory: directory.to_owned(), mebibytes });
        self
    }

    /// Other manifests.
    #[must_use]
    pub fn manifests(mut self, directory: &Path) -> Self {
        self.manifests = Some(directory.to_owned());
        self
    }
}

/// Services in the order in which they are started.
const SERVICES: [&str; 7] =
    ["storage", "manifest", "llm", "container", "runtime", "agent", "gateway"];
/// How long a mesh may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// Variables of the machine that would change what is tested.
const LEFT_OUT: [&str; 10] = [
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "GROQ_API_KEY",
    "GEMINI_API_KEY",
    "ANTHROPIC_API_KEY",
    "DATABASE_URL",
    "DB_PATH",
    "RUST_LOG",
    "CORTEX_URL",
    "CORTEX_CONFIG",
];

/// Running processes of the real binary. Killed when dropped.
pub struct Mesh {
    topology: Topology,
    options: Options,
    offset: u16,
    directory: TempDir,
    processes: Vec<Child>,
}

impl Mesh {
    /// Starts a mesh and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready, with the ends of its logs.
    pub async fn start(topology: Topology, options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut mesh =
            Self { topology, options, offset: free_offset(), directory, processes: Vec::new() };
        mesh.launch();
        mesh.wait_until_ready().await;
        mesh
    }

    /// The address of a service.
    pub fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{}", port + self.offset)
    }

    /// The address of the gateway.
    pub fn gateway(&self) -> String {
        self.url(8080)
    }

    /// The way to the services behind a port.
    pub fn transport(&self, port: u16) -> Transport {
        Client::connect_lazy([self.url(port)], ClientConfig::default()).expect("a URL")
    }

    /// How many milliseconds it took until everything answered, from the start of the process.
    pub async fn restart(&mut self) -> Duration {
        let started = Instant::now();
        self.launch();
        self.wait_until_ready().await;
        started.elapsed()
    }

    /// Starts it again, when nothing runs, in another way than before.
    pub async fn restart_as(&mut self, options: Options) {
        self.options = options;
        self.restart().await;
    }

    /// Deletes everything that was stored. Nothing may run.
    ///
    /// # Panics
    /// When the directory cannot be removed.
    pub fn wipe(&self) {
        assert!(self.processes.is_empty(), "nothing may run");
        std::fs::remove_dir_all(self.directory.path().join("data")).expect("a data directory");
    }

    /// Where the mesh has its files; commands run here.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Ends every process at once, as a crash does.
    pub fn kill(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        self.processes.clear();
    }

    /// Runs the `cortex` command against this mesh.
    pub fn cortex(&self) -> Command {
        self.cortex_on(None)
    }

    /// The same, where a directory of the mesh is a small disk.
    pub fn cortex_on(&self, disk: Option<&SmallDisk>) -> Command {
        let mut command = self.program(disk);
        self.prepare(&mut command);
        command.env("CORTEX_URL", self.gateway());
        command
    }

    /// Begins a session and gives its id.
    pub async fn session(&self, agent: &str) -> String {
        let created = self.post(&format!("/agent/{agent}/session"), "{}").await;
        assert_eq!(created.status, 200, "{}", created.body);
        created.json()["session_id"].as_str().expect("an id").to_owned()
    }

    /// POSTs JSON to the gateway.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let url = format!("{}{path}", self.gateway());
        curl(["-X", "POST", &url, "-H", "Content-Type: application/json", "-d", body]).await
    }

    /// GETs from the gateway.
    pub async fn get(&self, path: &str) -> Answer {
        curl([format!("{}{path}", self.gateway())]).await
    }

    /// What the processes said, for messages of failed tests.
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for service in SERVICES.iter().chain(&["up"]) {
            let text = std::fs::read_to_string(self.log(service)).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(15).collect();
            if !tail.is_empty() {
                logs.push_str(&format!("--- {service}\n"));
                logs.extend(tail.iter().rev().map(|line| format!("{line}\n")));
            }
        }
        logs
    }

    /// The most memory that the processes have had together since the last reset, in bytes.
    ///
    /// # Panics
    /// When Linux does not tell.
    pub fn peak_memory(&self) -> u64 {
        let peak = |process: &Child| {
            let path = format!("/proc/{}/status", process.id());
            let status = std::fs::read_to_string(path).expect("the process runs");
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.expect("Linux tells the peak") * 1024
        };
        self.processes.iter().map(peak).sum()
    }

    /// Makes what the processes have now the peak, and answers it.
    ///
    /// # Panics
    /// When Linux does not let us.
    pub fn reset_peak_memory(&self) -> u64 {
        for process in &self.processes {
            let path = format!("/proc/{}/clear_refs", process.id());
            std::fs::write(path, "5").expect("the peak can be reset");
        }
        self.peak_memory()
    }

    /// How many files hold bytes of artifacts, whole or not.
    pub fn artifact_files(&self) -> usize {
        files(&self.directory.path().join("data/artifacts"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    fn launch(&mut self) {
        let commands: Vec<(&str, Vec<&str>)> = match self.topology {
            Topology::OneProcess => vec![("up", vec!["up"])],
            Topology::ProcessPerService => {
                SERVICES.iter().map(|&service| (service, vec!["serve", service])).collect()
            }
        };
        for (name, arguments) in commands {
            let child = self.spawn(name, &arguments);
            self.processes.push(child);
        }
    }

    fn spawn(&self, name: &str, arguments: &[&str]) -> Child {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(name))
            .expect("a log");
        let manifests =
            self.options.manifests.clone().unwrap_or_else(|| repository().join("manifests"));
        let mut command = self.program(self.options.small_disk.as_ref());
        self.prepare(&mut command);
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .arg("--manifests")
            .arg(manifests)
            .args(["--port-offset", &self.offset.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        command.spawn().expect("the binary starts")
    }

    fn program(&self, disk: Option<&SmallDisk>) -> Command {
        let program = binary("cortex");
        match disk {
            Some(disk) => disk.command(self.directory.path(), &program),
            None => Command::new(program),
        }
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.directory.path());
        for name in LEFT_OUT {
            command.env_remove(name);
        }
        // Nothing listens on the discard port: an Ollama of this machine is left alone.
        command.env("OLLAMA_HOST", "http://127.0.0.1:9");
        command.envs(self.options.environment.iter().cloned());
    }

    async fn wait_until_ready(&mut self) {
        let until = Instant::now() + READY;
        for port in [8084, 8082, 8081, 8086, 8083, 8085, 8080] {
            let url = format!("{}/health/ready", self.url(port));
            while curl(["-m", "2", &url]).await.status != 200 {
                assert!(Instant::now() < until, "{url} is not ready\n{}", self.logs());
                for process in &mut self.processes {
                    let ended = process.try_wait().expect("a child of ours");
                    assert!(ended.is_none(), "a process ended: {ended:?}\n{}", self.logs());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.kill();
    }
}

/// Files below a directory; none where there is no directory.
fn files(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let count = |path: PathBuf| if path.is_dir() { files(&path) } else { 1 };
    entries.filter_map(Result::ok).map(|entry| count(entry.path())).sum()
}

/// An offset at which every port is free.
fn free_offset() -> u16 {
    let ports = [3000, 8080, 8081, 8082, 8083, 8084, 8085, 8086];
    for _ in 0..1000 {
        let offset = 1000 + rand::random::<u16>() % 20_000;
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", port + offset)).is_ok();
        if ports.iter().all(free) {
            return offset;
        }
    }
    panic!("no eight free ports on this machine");
}

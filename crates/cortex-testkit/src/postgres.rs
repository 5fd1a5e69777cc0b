//! A throw-away PostgreSQL server.
//!
//! One server serves every test that runs at the same time, whatever process it is in: each holds a
//! shared lock on a file for as long as it lives, and a watchdog stops the server and deletes its data
//! when nobody holds it any more. So it ends too when a test panics or is killed. A test that stops or
//! kills its server has one of its own, by the same means.

use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Where Debian puts the programs of PostgreSQL 15.
const DEBIAN: &str = "/usr/lib/postgresql/15/bin";
/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

/// Stops the server and deletes its data when nobody uses it: `$1` is its directory, `$2` its
/// programs.
const WATCHDOG: &str = r#"
while sleep 5; do
  [ -d "$1/data" ] || exit 0
  if flock -n -x "$1/users" sh -c '
    "$2/pg_ctl" -D "$1/data" -m immediate -w stop >/dev/null 2>&1
    rm -f "$1/port"
    mv "$1/data" "$1/over.$$"' sh "$1" "$2"
  then rm -rf "$1"/over.*; exit 0; fi
done
"#;

/// A server that tests may use.
pub struct Postgres {
    directory: PathBuf,
    port: u16,
    /// Shared, so that the server lives.
    _user: File,
    /// Of a server of one test alone.
    _own: Option<TempDir>,
}

impl Postgres {
    /// The server that tests share. Starts it if it does not run.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, with the way to get it, or does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            let user = std::env::var("USER").unwrap_or_else(|_| "user".into());
            let directory = std::env::temp_dir().join(format!("cortex-tests-postgres-{user}"));
            std::fs::create_dir_all(&directory).expect("a directory for PostgreSQL");
            Self::join(directory, None)
        })
    }

    /// A server of its own, which ends with this value or this process.
    ///
    /// # Panics
    /// Those of [`Postgres::shared`].
    pub fn own() -> Self {
        let own = tempfile::tempdir().expect("a temporary directory");
        Self::join(own.path().to_owned(), Some(own))
    }

    fn join(directory: PathBuf, own: Option<TempDir>) -> Self {
        installed();
        allow_everybody(&directory);
        let user = open(&directory.join("users"));
        user.lock_shared().expect("a lock");
        // One at a time looks whether it runs, and starts it.
        let starting = open(&directory.join("starting"));
        starting.lock().expect("a lock");
        let port = running(&directory).unwrap_or_else(|| create(&directory));
        drop(starting);
        Self { directory, port, _user: user, _own: own }
    }

    /// A new database, which goes away with the value.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn database(&self) -> PostgresDatabase<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        // A process of an earlier run may have had this number.
        self.sql(&format!("DROP DATABASE IF EXISTS {name}"));
        self.sql(&format!("CREATE DATABASE {name}"));
        PostgresDatabase { server: self, name }
    }

    /// The URL of a database, for the superuser, who needs no password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database, for a user who has to give a password: `hunter2` is right.
    pub fn guarded_url(&self, database: &str, password: &str) -> String {
        format!("postgres://guarded:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a statement as the superuser, outside of any test's database.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, statement: &str) {
        self.sql_in("postgres", statement);
    }

    /// Runs a statement as the superuser in a database.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql_in(&self, database: &str, statement: &str) {
        succeeded("psql", &psql(self.port, database, statement));
    }

    /// Ends the server as a crash does: no checkpoint, connections are cut.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn crash(&self) {
        let output = self.control(&["-m", "immediate", "-w", "stop"]);
        succeeded("pg_ctl", &output);
    }

    /// Ends the server with SIGKILL to its first process, and waits until all of it is gone.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.directory.join("data/postmaster.pid"));
        let pid = pid.expect("it runs").lines().next().expect("its number").to_owned();
        let output = Command::new("kill").args(["-KILL", &pid]).output().expect("kill runs");
        succeeded("kill", &output);
        self.forget_process(&pid);
    }

    /// Nobody may have collected the process, and then a new server would take it for running. The
    /// rest of the file stays: by it a new server waits until the children are gone.
    fn forget_process(&self, pid: &str) {
        const NOBODY: &str = "4194303";
        let path = self.directory.join("data/postmaster.pid");
        let file = std::fs::read_to_string(&path).expect("it was killed before it could clear up");
        let file = file.replacen(pid, NOBODY, 1);
        std::fs::write(&path, file).expect("its process is forgotten");
    }

    /// Starts the server again after it ended, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        let until = Instant::now() + START;
        while !start(&self.directory, self.port) {
            assert!(
                Instant::now() < until,
                "PostgreSQL does not start again: {}",
                log(&self.directory)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn control(&self, arguments: &[&str]) -> Output {
        let data = self.directory.join("data");
        server_program("pg_ctl").arg("-D").arg(data).args(arguments).output().expect("pg_ctl runs")
    }
}

/// A database that goes away with the value.
pub struct PostgresDatabase<'s> {
    server: &'s Postgres,
    name: String,
}

impl PostgresDatabase<'_> {
    /// Its URL, for the superuser, who needs no password.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    pub fn server(&self) -> &Postgres {
        self.server
    }
}

impl Drop for PostgresDatabase<'_> {
    fn drop(&mut self) {
        // The server may have ended; then so has the database.
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        drop(psql(self.server.port, "postgres", &statement));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self._own.is_some() {
            // It may have ended already.
            drop(self.control(&["-m", "immediate", "-w", "stop"]));
        }
    }
}

fn open(path: &Path) -> File {
    File::options().create(true).truncate(false).write(true).open(path).expect("a lock file")
}

/// The server runs as another user than root.
fn allow_everybody(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let everybody = std::fs::Permissions::from_mode(0o777);
    // Fails for a directory of another user, who has done it.
    drop(std::fs::set_permissions(directory, everybody));
}

/// # Panics
/// When PostgreSQL is not there, with the way to get it.
fn installed() {
    let there = program("postgres").arg("--version").stdout(Stdio::null()).status();
    assert!(
        there.is_ok_and(|status| status.success()),
        "PostgreSQL is not installed: scripts/parts/postgres.sh gets it"
    );
}

fn program(name: &str) -> Command {
    let debian = Path::new(DEBIAN).join(name);
    if debian.exists() { Command::new(debian) } else { Command::new(name) }
}

/// A program of the server, which refuses to run as root.
fn server_program(name: &str) -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        return program(name);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command.arg(program(name).get_program());
    command
}

fn psql(port: u16, database: &str, statement: &str) -> Output {
    let port = port.to_string();
    let arguments =
        ["-X", "-q", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", database, "-c"];
    program("psql").args(arguments).arg(statement).output().expect("psql runs")
}

fn running(directory: &Path) -> Option<u16> {
    let port = std::fs::read_to_string(directory.join("port")).ok()?.trim().parse().ok()?;
    TcpStream::connect(("127.0.0.1", port)).ok()?;
    Some(port)
}

/// Makes a new server and starts it.
fn create(directory: &Path) -> u16 {
    let data = directory.join("data");
    // What a crash of the machine has left behind.
    drop(std::fs::remove_dir_all(&data));
    let output = server_program("initdb")
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        .output()
        .expect("initdb runs");
    succeeded("initdb", &output);
    let rules = "host all guarded 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n";
    std::fs::write(data.join("pg_hba.conf"), rules).expect("its rules are written");
    let until = Instant::now() + START;
    let port = loop {
        let port = free_port();
        if start(directory, port) {
            break port;
        }
        assert!(Instant::now() < until, "PostgreSQL does not start: {}", log(directory));
    };
    std::fs::write(directory.join("port"), port.to_string()).expect("its port is noted");
    watch(directory);
    succeeded("psql", &psql(port, "postgres", "CREATE USER guarded PASSWORD 'hunter2'"));
    port
}

/// Whether it started.
fn start(directory: &Path, port: u16) -> bool {
    let options = format!(
        "-p {port} -h 127.0.0.1 -c unix_socket_directories= -c max_connections=300 -c fsync=off \
         -c shared_buffers=64MB"
    );
    let started = server_program("pg_ctl")
        .arg("-D")
        .arg(directory.join("data"))
        .arg("-l")
        .arg(directory.join("data/server.log"))
        .args(["-w", "-t", "30", "-o", &options, "start"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    started.is_ok_and(|status| status.success())
}

/// Starts the watchdog, which outlives this process and does not keep its locks.
fn watch(directory: &Path) {
    let programs = program("pg_ctl").get_program().to_owned();
    let programs = Path::new(&programs).parent().unwrap_or(Path::new("/usr/bin")).to_owned();
    // In a session of its own, so that nothing that ends the test's processes ends it.
    let watchdog = server_program("setsid")
        .args(["--fork", "sh", "-c", WATCHDOG, "sh"])
        .arg(directory)
        .arg(programs)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(watchdog.is_ok_and(|status| status.success()), "there is no watchdog");
}

fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("data/server.log")).unwrap_or_default()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn succeeded(what: &str, output: &Output) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed: {told}");
}

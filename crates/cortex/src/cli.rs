//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cortex_config::Duration;

/// Where `cortex up` puts the gateway.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Declare agents in YAML, run them yourself.
#[derive(Debug, Parser)]
#[command(
    name = "cortex",
    version,
    about,
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong configuration, \
                  4 not reachable, 5 not found, 6 the turn failed or was cancelled, 130 interrupted."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the mesh is, for commands that talk to it
    #[arg(
        long,
        global = true,
        env = "CORTEX_URL",
        value_name = "URL",
        default_value = DEFAULT_URL
    )]
    pub url: String,
    /// How to print answers
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// The configuration file [default: ./cortex.yaml, else ~/.config/cortex/cortex.yaml]
    #[arg(long, global = true, env = "CORTEX_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Never use colours [default: only on a terminal, and not if NO_COLOR is set]
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: one JSON value, or one a line for streams.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every service in this process
    Up(Up),
    /// Run one service in this process; it calls the others at their URLs
    Serve(Serve),
    /// Talk to an agent; without a message, one line after the other
    Chat(Chat),
    /// Look at sessions, fork, export, import and end them
    Session(Session),
    /// Look at artifacts, fetch and store them
    Artifact(Artifact),
    /// Look after what is stored: numbers, backups, damage, age
    Storage(Storage),
    /// Call any method of any service: cortex call cortex.agent.v1.AgentService/ListAgents '{}'
    Call(Call),
    /// Ask whether services are ready
    Health(Health),
    /// Look at the configuration
    Config(Config),
    /// Print the completions of a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Options of the commands that serve.
#[derive(Debug, Clone, Args)]
pub struct Serving {
    /// The directory of the manifests [default: ./manifests, else the bundled examples]
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Where data is kept [default: ~/.local/share/cortex]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Adds N to every port
    #[arg(long, value_name = "N")]
    pub port_offset: Option<u16>,
    /// Listen on an address that others can reach, without authentication
    #[arg(long)]
    pub insecure_bind: bool,
}

/// Run every service in this process.
#[derive(Debug, Args)]
pub struct Up {
    /// What and where to serve.
    #[command(flatten)]
    pub serving: Serving,
}

/// Run one service in this process.
#[derive(Debug, Args)]
pub struct Serve {
    /// The service
    #[arg(value_enum)]
    pub service: Service,
    /// What and where to serve.
    #[command(flatten)]
    pub serving: Serving,
}

/// A service of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Service {
    /// Models and providers, 8081
    Llm,
    /// The registry of manifests, 8082
    Manifest,
    /// Scripts and workflows, 8083
    Runtime,
    /// The journal and everything stored, 8084
    Storage,
    /// Sessions and turns, 8085
    Agent,
    /// Tools and relics in containers, 8086
    Container,
    /// Every service on one port, 8080 and 3000
    Gateway,
}

impl Service {
    /// Every service, in the order in which they are started.
    pub const ALL: [Self; 7] = [
        Self::Storage,
        Self::Manifest,
        Self::Llm,
        Self::Container,
        Self::Runtime,
        Self::Agent,
        Self::Gateway,
    ];

    /// Its name, as in URLs, metrics and `serve`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Manifest => "manifest",
            Self::Runtime => "runtime",
            Self::Storage => "storage",
            Self::Agent => "agent",
            Self::Container => "container",
            Self::Gateway => "gateway",
        }
    }

    /// The ports that it listens on, before the offset.
    pub fn ports(self) -> &'static [u16] {
        match self {
            Self::Llm => &[8081],
            Self::Manifest => &[8082],
            Self::Runtime => &[8083],
            Self::Storage => &[8084],
            Self::Agent => &[8085],
            Self::Container => &[8086],
            Self::Gateway => &[8080, 3000],
        }
    }
}

/// Talk to an agent.
#[derive(Debug, Args)]
pub struct Chat {
    /// The agent
    pub agent: String,
    /// What to say; `-` reads it from standard input
    pub message: Option<String>,
    /// Go on with this session instead of beginning one
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Who talks
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

/// Look at sessions, fork, export, import and end them.
#[derive(Debug, Args)]
pub struct Session {
    /// What to do with them.
    #[command(subcommand)]
    pub command: SessionCommand,
}

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// The newest sessions
    List {
        /// Only sessions with this agent
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
        /// Only sessions with this status
        #[arg(long, value_parser = ["active", "paused", "ended"])]
        status: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u16,
    },
    /// One session with its last messages
    Show {
        /// The session
        id: String,
        /// How many messages at most
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u16,
    },
    /// Begin a session that continues another one
    Fork {
        /// The session
        id: String,
        /// Cut at the last point at or before this sequence where nothing was under way [default: the end]
        #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(1..))]
        at: Option<i64>,
    },
    /// Write a session as JSON lines
    Export {
        /// The session
        id: String,
        /// Where to [default: standard output]
        #[arg(short = 'o', long = "file", value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Make a session of what was exported
    Import {
        /// The exported lines; `-` reads them from standard input
        file: PathBuf,
    },
    /// End a session
    End {
        /// The session
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Look at artifacts, fetch and store them.
#[derive(Debug, Args)]
pub struct Artifact {
    /// What to do with them.
    #[command(subcommand)]
    pub command: ArtifactCommand,
}

/// What to do with artifacts.
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    /// The newest artifacts of a session
    List {
        /// The session
        session: String,
        /// Only artifacts of this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u16,
    },
    /// Fetch the bytes of an artifact
    Get {
        /// The artifact
        id: String,
        /// Where to; `-` is standard output [default: its name, in the working directory]
        file: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Store a file as an artifact of a session
    Put {
        /// The session
        session: String,
        /// The file; `-` reads standard input
        file: PathBuf,
        /// Its name [default: the file's]
        #[arg(long)]
        name: Option<String>,
        /// What it is, for example `report`
        #[arg(long = "type", value_name = "TYPE", default_value = "file")]
        kind: String,
        /// Its media type, for example `text/plain`
        #[arg(long, value_name = "TYPE", default_value = "")]
        content_type: String,
        /// What to attach: a JSON object
        #[arg(long, value_name = "JSON", default_value = "")]
        metadata: String,
    },
    /// Delete an artifact
    Delete {
        /// The artifact
        id: String,
    },
}

/// Look after what is stored.
#[derive(Debug, Args)]
pub struct Storage {
    /// What to do with it.
    #[command(subcommand)]
    pub command: StorageCommand,
}

/// What to do with what is stored.
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// What the installation holds, in numbers
    Stats,
    /// A consistent copy of everything, taken while the installation runs
    Backup(StorageBackup),
    /// Fill an empty installation from a backup: all of it or nothing
    Restore(StorageRestore),
    /// Look for damage; exit code 1 if there is any
    Check {
        /// Read everything instead of samples
        #[arg(long)]
        full: bool,
    },
    /// Copy the installation into another, empty database; nothing can be written meanwhile
    Migrate(StorageMigrate),
    /// Delete what is older, or more, than it should be; what is in use stays
    Prune(StoragePrune),
}

/// A consistent copy of everything.
#[derive(Debug, Args)]
pub struct StorageBackup {
    /// The file, or the directory of it [default: a name with the time, here]; `-` is standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long)]
    pub force: bool,
    /// Leave out the bytes of artifacts
    #[arg(long)]
    pub without_artifacts: bool,
}

/// Fill an empty installation from a backup.
#[derive(Debug, Args)]
pub struct StorageRestore {
    /// The backup; `-` reads it from standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Restore only a backup with this digest
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// Read and check the backup, and restore nothing
    #[arg(long)]
    pub validate_only: bool,
}

/// Copy the installation into another database.
#[derive(Debug, Args)]
pub struct StorageMigrate {
    /// The database: sqlite:PATH or postgres://…, as the storage service sees it. A URL with a password is better
    /// named by CORTEX_MIGRATE_TARGET or --target-file: others can read a command line
    #[arg(value_name = "URL", env = "CORTEX_MIGRATE_TARGET", hide_env_values = true)]
    pub target: Option<String>,
    /// Read the URL from a file; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub target_file: Option<PathBuf>,
    /// Connect, compare versions, and copy nothing
    #[arg(long)]
    pub validate_only: bool,
}

/// Delete what is older, or more, than it should be.
#[derive(Debug, Clone, Copy, Args)]
pub struct StoragePrune {
    /// Ended sessions that have not changed for so long, such as 30d
    #[arg(long, value_name = "TIME")]
    pub ended_session_age: Option<Duration>,
    /// Sessions of any status that have not changed for so long
    #[arg(long, value_name = "TIME")]
    pub session_age: Option<Duration>,
    /// All but the newest N ended sessions of each tenant
    #[arg(long, value_name = "N")]
    pub keep_ended_sessions: Option<u32>,
    /// Metrics older than this
    #[arg(long, value_name = "TIME")]
    pub metric_age: Option<Duration>,
    /// All but the newest N metrics of each tenant
    #[arg(long, value_name = "N")]
    pub keep_metrics: Option<u32>,
    /// Artifacts older than this
    #[arg(long, value_name = "TIME")]
    pub artifact_age: Option<Duration>,
    /// Give unused space back to the file system; other writes wait meanwhile
    #[arg(long)]
    pub compact: bool,
    /// Count what would be deleted, and delete nothing
    #[arg(long)]
    pub validate_only: bool,
}

/// Call any method of any service.
#[derive(Debug, Args)]
pub struct Call {
    /// The method: `package.Service/Method`. Without one, every method is listed
    pub method: Option<String>,
    /// The request as JSON; `-` reads it from standard input
    #[arg(default_value = "{}")]
    pub request: String,
    /// Seconds until the call is given up
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
}

/// Ask whether services are ready.
#[derive(Debug, Args)]
pub struct Health {
    /// Only this service, at its own port on this machine; else the mesh at --url
    #[arg(value_enum)]
    pub service: Option<Service>,
    /// Adds N to the service's port
    #[arg(long, value_name = "N", env = "CORTEX_PORT_OFFSET", default_value_t = 0)]
    pub port_offset: u16,
}

/// Look at the configuration.
#[derive(Debug, Args)]
pub struct Config {
    /// What to look at.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Print what is in force, and who says so; secrets are redacted
    Print,
    /// Say everything that is wrong
    Check,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! What a tool's manifest says.

use std::collections::BTreeMap;

use cortex_config::{
    ByteSize, Duration, KeyPath,
    yaml::{Content, Position},
};
use serde_json::Value;

use super::{
    Fields,
    agent::{environment, small},
    parameters,
};
use crate::diagnostic::code;

/// A tool.
#[derive(Debug, Clone)]
pub struct Tool {
    /// What it does, for the model.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
    /// How it is run.
    pub implementation: Implementation,
    /// Where its program is named.
    pub entrypoint_at: Position,
    /// Variables for it.
    pub environment: BTreeMap<String, String>,
}

/// How a tool is run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Implementation {
    /// `python3`, `bash`, `node`, `go`, `binary`, `toolbox`, `api`, or empty for the image's own
    /// command.
    pub runtime: String,
    /// The program, relative to the manifest's directory; for the toolbox, the tool's name.
    pub entrypoint: String,
    /// The image. Empty: made from the files.
    pub image: String,
    /// Memory in MiB. 0: the default.
    pub memory_mb: i32,
    /// Processors. 0: the default.
    pub cpu_limit: f64,
    /// Time in seconds. 0: the default.
    pub timeout_seconds: i32,
    /// `fail`, `retry` or `ask`, when it is not known whether it ran.
    pub on_lost: &'static str,
    /// `none` or `session`.
    pub network_mode: &'static str,
}

impl Implementation {
    /// Whether the files beside the manifest are needed to run it.
    pub fn needs_files(&self) -> bool {
        self.image.is_empty() && !matches!(self.runtime.as_str(), "toolbox" | "api")
    }
}

const KNOWN: &[&str] = &[
    "kind",
    "version",
    "name",
    "summary",
    "author",
    "state",
    "description",
    "parameters",
    "parameters_schema",
    "returns",
    "implementation",
    "executor",
    "dependencies",
    "environment",
    "examples",
    "import",
    "delegation",
    "on_lost",
    "tags",
    "metadata",
];
const IMPLEMENTATION_KNOWN: &[&str] = &[
    "type",
    "runtime",
    "entrypoint",
    "image",
    "resources",
    "build",
    "health_check",
    "on_lost",
    "network",
    "network_mode",
];
const TYPES: &[&str] = &["script", "container", "api", "binary", "toolbox"];
const RUNTIMES: &[&str] =
    &["python3", "python", "node", "nodejs", "go", "docker", "bash", "sh", "binary", "toolbox"];
/// What a container may have; the container service enforces the same.
const MEMORY_MIB: (u64, u64) = (64, 8192);
const CPU: (f64, f64) = (0.1, 8.0);
const TIMEOUT_SECONDS: (i64, i64) = (1, 3600);

impl Tool {
    /// Reads a tool. None when something that must be there is not.
    pub(super) fn read(root: &Fields<'_>) -> Option<Self> {
        root.suspect_typos(KNOWN);
        let description = root.spelled("description").or_else(|| root.spelled("summary"));
        let key = ["parameters", "parameters_schema", "input_schema"]
            .into_iter()
            .find(|key| root.has(key))
            .unwrap_or("parameters");
        Some(Self {
            description: description.unwrap_or_default().trim().to_owned(),
            parameters: parameters::schema(root, key),
            environment: environment(root),
            entrypoint_at: root
                .node()
                .find(KeyPath::dotted("implementation.entrypoint").steps())
                .map(|node| node.at)
                .unwrap_or_default(),
            implementation: implementation(root)?,
        })
    }
}

fn implementation(root: &Fields<'_>) -> Option<Implementation> {
    let Some(section) = root.section("implementation").or_else(|| root.section("executor")) else {
        if !root.has("implementation") && !root.has("executor") {
            root.missing("implementation");
        }
        return None;
    };
    section.suspect_typos(IMPLEMENTATION_KNOWN);
    let type_ = section.one_of("type", TYPES);
    let image = section.spelled("image").unwrap_or_default();
    let runtime = runtime(&section, type_, &image);
    let entrypoint = entrypoint(root, &section, &runtime, &image)?;
    let resources = section.section("resources");
    let limits = resources.as_ref().and_then(|r| r.section("limits")).or(resources);
    let on_lost = section.one_of("on_lost", &["fail", "retry", "ask"]);
    let network = if section.has("network_mode") { "network_mode" } else { "network" };
    Some(Implementation {
        runtime,
        entrypoint,
        image,
        memory_mb: limits.as_ref().map_or(0, memory_mb),
        cpu_limit: limits.as_ref().map_or(0.0, cpu_limit),
        timeout_seconds: limits.as_ref().map_or(0, timeout_seconds),
        on_lost: on_lost
            .or_else(|| root.one_of("on_lost", &["fail", "retry", "ask"]))
            .unwrap_or("fail"),
        network_mode: section.one_of(network, &["none", "session"]).unwrap_or("none"),
    })
}

fn runtime(section: &Fields<'_>, type_: Option<&'static str>, image: &str) -> String {
    let named = section.one_of("runtime", RUNTIMES);
    let runtime = match (named, type_) {
        (Some("python"), _) => "python3",
        (Some("nodejs"), _) => "node",
        (Some("sh"), _) => "bash",
        (Some("docker"), _) => "",
        (Some(name), _) => name,
        (None, Some("toolbox")) => "toolbox",
        (None, Some("api")) => "api",
        (None, Some("binary")) => "binary",
        (None, Some("script")) if image.is_empty() && !section.has("runtime") => {
            section.missing("runtime");
            ""
        }
        _ => "",
    };
    runtime.to_owned()
}

fn entrypoint(
    root: &Fields<'_>,
    section: &Fields<'_>,
    runtime: &str,
    image: &str,
) -> Option<String> {
    let key = if section.has("script") { "script" } else { "entrypoint" };
    let given = section.spelled(key);
    match given {
        Some(text) => {
            let text = text.trim();
            let relative = text.strip_prefix("./").unwrap_or(text);
            if runtime != "api" && image.is_empty() && leaves(relative) {
                let message = format!("'{text}' leads out of the tool's directory");
                section.error(
                    code::INVALID_VALUE,
                    key,
                    message,
                    "write it relative to the manifest",
                );
            }
            Some(relative.to_owned())
        }
        None if runtime == "toolbox" => root.spelled("name"),
        None if !image.is_empty() => Some(String::new()),
        None => {
            section.missing("entrypoint");
            None
        }
    }
}

fn leaves(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}

/// `128M`, `1G`, `512Mi`, or a number of MiB.
fn memory_mb(limits: &Fields<'_>) -> i32 {
    let Some(text) = limits.spelled("memory") else { return 0 };
    let size = match text.trim().parse::<u64>() {
        Ok(mib) if mib <= MEMORY_MIB.1 * 1024 => ByteSize::mib(mib),
        Ok(bytes) => ByteSize::bytes(bytes),
        Err(_) => match text.parse() {
            Ok(size) => size,
            Err(_) => {
                let message = format!("'{text}' is not an amount of memory such as '128M' or '1G'");
                limits.error(code::INVALID_VALUE, "memory", message, "");
                return 0;
            }
        },
    };
    let mib = size.get().div_ceil(1 << 20);
    let used = mib.clamp(MEMORY_MIB.0, MEMORY_MIB.1);
    if used != mib {
        let message = format!(
            "{text} is not from {} to {} MiB; {used} MiB are used",
            MEMORY_MIB.0, MEMORY_MIB.1
        );
        limits.warning(code::OUT_OF_RANGE, "memory", message);
    }
    i32::try_from(used).unwrap_or(i32::MAX)
}

/// `0.5`, or `500m` as Kubernetes writes it.
fn cpu_limit(limits: &Fields<'_>) -> f64 {
    let Some(text) = limits.spelled("cpu") else { return 0.0 };
    let text = text.trim();
    let cores = match text.strip_suffix('m') {
        Some(milli) => milli.parse::<f64>().ok().map(|n| n / 1000.0),
        None => text.parse().ok(),
    };
    let Some(cores) = cores.filter(|cores: &f64| cores.is_finite() && *cores > 0.0) else {
        let message = format!("'{text}' is not a number of processors such as '0.5'");
        limits.error(code::INVALID_VALUE, "cpu", message, "");
        return 0.0;
    };
    let used = cores.clamp(CPU.0, CPU.1);
    if (used - cores).abs() > f64::EPSILON {
        let message = format!("{text} is not from {} to {}; {used} is used", CPU.0, CPU.1);
        limits.warning(code::OUT_OF_RANGE, "cpu", message);
    }
    used
}

/// Seconds, or a text such as `30s`.
fn timeout_seconds(limits: &Fields<'_>) -> i32 {
    let duration = match limits.value("timeout").map(|node| &node.content) {
        Some(Content::Text(text)) => text.parse::<Duration>().ok(),
        _ => None,
    };
    if let Some(duration) = duration {
        let seconds = i64::try_from(duration.get().as_secs()).unwrap_or(i64::MAX);
        return small(seconds.clamp(TIMEOUT_SECONDS.0, TIMEOUT_SECONDS.1));
    }
    limits.integer("timeout", TIMEOUT_SECONDS.0, TIMEOUT_SECONDS.1).map_or(0, small)
}

//! Requests as commands, and manifests as declarations.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use cortex_core::{ExecutionId, SessionId};
use cortex_proto::cortex::{container::v1 as proto, manifest::v1::ToolSpec};

use crate::{
    error::ContainerError,
    tool::{
        Content, Dispatch, LimitsRequest, Network, Parameters, ToolCommand, ToolDeclaration,
        ToolName, ToolSource, is_image_reference,
    },
};

/// Variables of a request at most.
const MAX_VARIABLES: usize = 256;
/// Longest name and value of a variable, together, in bytes.
const MAX_VARIABLE: usize = 32 << 10;
/// All names and values together, in bytes: the kernel takes about 2 MiB, arguments included.
const MAX_ENVIRONMENT: usize = 512 << 10;

/// The command of an ExecuteTool.
pub(crate) fn execute_command(
    request: proto::ExecuteToolRequest,
) -> Result<ToolCommand, ContainerError> {
    Ok(ToolCommand {
        execution: dispatch(&request.execution_id, request.epoch)?,
        tool: tool_name(&request.tool_name)?,
        session_id: session_id(&request.session_id)?,
        parameters: parameters(request.parameters)?,
        source: request.source.map(source).transpose()?,
        limits: limits(request.resource_limits)?,
        environment: environment(request.environment)?,
        network: network(&request.network_mode)?,
        closure_digest: digest("manifest_digest", request.manifest_digest)?,
    })
}

/// The command of a RunTool.
pub(crate) fn run_command(request: proto::RunToolRequest) -> Result<ToolCommand, ContainerError> {
    let image = |image: String| {
        let source = proto::ToolSource {
            source: Some(proto::tool_source::Source::Image(image)),
            ..Default::default()
        };
        self::source(source)
    };
    Ok(ToolCommand {
        execution: None,
        tool: tool_name(&request.tool_name)?,
        session_id: session_id(&request.session_id)?,
        parameters: parameters(request.parameters)?,
        source: Some(request.image).filter(|name| !name.is_empty()).map(image).transpose()?,
        limits: limits(request.resource_limits)?,
        environment: environment(request.environment)?,
        network: network(&request.network_mode)?,
        closure_digest: String::new(),
    })
}

/// The request id of a RunTool. `None`: it has none.
pub(crate) fn request_id(text: &str) -> Result<Option<String>, ContainerError> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.len() {
        0 => Ok(None),
        1..=128 if printable => Ok(Some(text.to_owned())),
        _ => Err(invalid("request_id", "must have 1 to 128 printable ASCII characters")),
    }
}

/// An execution that is named in a request.
pub(crate) fn execution_id(text: &str) -> Result<ExecutionId, ContainerError> {
    ExecutionId::parse(text).map_err(|error| invalid("execution_id", error.to_string()))
}

/// A tool as the manifest service resolves it, or why it cannot be run.
pub(crate) fn declaration(tool: ToolSpec) -> Result<ToolDeclaration, String> {
    let content = match (tool.runtime.as_str(), tool.image, tool.bundle_digest) {
        ("toolbox", _, _) => Content::Toolbox(tool.entrypoint.clone()),
        (_, image, _) if !image.is_empty() => {
            if !is_image_reference(&image) {
                return Err(format!("its manifest names '{image}', which is no image reference"));
            }
            Content::Image(image)
        }
        (_, _, digest) if !digest.is_empty() => Content::Bundle(digest),
        _ => return Err("its manifest names neither an image nor files".into()),
    };
    // What a manifest asks beyond what is possible is cut to it.
    let number = |value: i32| u32::try_from(value).ok().filter(|value| *value > 0);
    Ok(ToolDeclaration {
        source: ToolSource { content, runtime: tool.runtime, entrypoint: tool.entrypoint },
        limits: LimitsRequest {
            memory_mb: number(tool.memory_mb),
            cpu: (tool.cpu_limit > 0.0).then_some(tool.cpu_limit),
            timeout: number(tool.timeout_seconds).map(|s| Duration::from_secs(s.into())),
            disk_mb: None,
            processes: None,
        },
        environment: tool.environment.into_iter().collect(),
        network: match tool.network_mode.as_str() {
            "" | "none" => Network::None,
            _ => Network::Session,
        },
    })
}

fn invalid(field: impl Into<String>, problem: impl Into<String>) -> ContainerError {
    ContainerError::invalid(field, problem)
}

fn dispatch(execution_id: &str, epoch: i64) -> Result<Option<Dispatch>, ContainerError> {
    if execution_id.is_empty() {
        return Ok(None);
    }
    let execution_id = self::execution_id(execution_id)?;
    if epoch < 1 {
        return Err(invalid("epoch", "must be the epoch of the session's holder: 1 or more"));
    }
    Ok(Some(Dispatch { execution_id, epoch }))
}

fn tool_name(text: &str) -> Result<ToolName, ContainerError> {
    ToolName::parse(text).ok_or_else(|| {
        let problem = "must be a letter, then letters, digits, '_' and '-', 128 at most";
        invalid("tool_name", problem)
    })
}

/// A session that is named in a request.
pub(crate) fn session_id(text: &str) -> Result<SessionId, ContainerError> {
    SessionId::parse(text).map_err(|error| invalid("session_id", error.to_string()))
}

fn parameters(text: String) -> Result<Parameters, ContainerError> {
    if text.len() > Parameters::MAX {
        let problem = format!("must have at most {} bytes", Parameters::MAX);
        return Err(invalid("parameters", problem));
    }
    Parameters::parse(text).ok_or_else(|| invalid("parameters", "must be one JSON object"))
}

fn source(source: proto::ToolSource) -> Result<ToolSource, ContainerError> {
    use proto::tool_source::Source;
    if source.runtime == "api" {
        return Err(invalid("source.runtime", "tools that call an HTTP API are not offered yet"));
    }
    let content = match source.source {
        Some(Source::Image(image)) if is_image_reference(&image) => Content::Image(image),
        Some(Source::Image(_)) => return Err(invalid("source.image", "is no image reference")),
        Some(Source::BundleDigest(text)) => {
            let text = digest("source.bundle_digest", text)?;
            if text.is_empty() {
                return Err(invalid("source.bundle_digest", "must not be empty"));
            }
            Content::Bundle(text)
        }
        Some(Source::Toolbox(name)) => match ToolName::parse(&name) {
            Some(_) => Content::Toolbox(name),
            None => return Err(invalid("source.toolbox", "is no tool's name")),
        },
        None => return Err(invalid("source", "must name an image, a bundle or a toolbox tool")),
    };
    if source.runtime.len() > 64 || source.entrypoint.len() > 1024 {
        return Err(invalid("source", "its runtime or entrypoint is too long"));
    }
    Ok(ToolSource { content, runtime: source.runtime, entrypoint: source.entrypoint })
}

fn digest(field: &str, text: String) -> Result<String, ContainerError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-');
    if text.len() > 128 || !text.bytes().all(fits) {
        return Err(invalid(field, "is no digest"));
    }
    Ok(text)
}

fn limits(limits: Option<proto::ResourceLimits>) -> Result<LimitsRequest, ContainerError> {
    let Some(limits) = limits else { return Ok(LimitsRequest::default()) };
    let whole = |name: &str, value: i32, least: u32, most: u32| match u32::try_from(value) {
        Ok(0) => Ok(None),
        Ok(value) if (least..=most).contains(&value) => Ok(Some(value)),
        _ => Err(out_of_range(name, least.into(), most.into())),
    };
    let cpu = match limits.cpu_limit {
        0.0 => None,
        cpu if (0.1..=8.0).contains(&cpu) => Some(cpu),
        _ => return Err(out_of_range("cpu_limit", 0.1, 8.0)),
    };
    Ok(LimitsRequest {
        memory_mb: whole("memory_mb", limits.memory_mb, 64, 8192)?,
        cpu,
        timeout: whole("timeout_seconds", limits.timeout_seconds, 1, 3600)?
            .map(|seconds| Duration::from_secs(seconds.into())),
        disk_mb: whole("disk_mb", limits.disk_mb, 100, 10_240)?,
        processes: whole("max_processes", limits.max_processes, 1, 4096)?,
    })
}

fn out_of_range(name: &str, least: f64, most: f64) -> ContainerError {
    let problem = format!("must be {least} to {most}, or 0 for the default");
    invalid(format!("resource_limits.{name}"), problem)
}

fn environment(given: HashMap<String, String>) -> Result<BTreeMap<String, String>, ContainerError> {
    let wrong = |name: &str, problem: &str| {
        let shown: String = name.chars().take(64).collect();
        invalid(format!("environment[{shown}]"), problem)
    };
    let mut size = 0;
    for (name, value) in &given {
        let mut bytes = name.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(wrong(name, "must be letters, digits and '_', not starting with a digit"));
        }
        if name.starts_with("CORTEX_") || name == "PARAMETERS" {
            return Err(wrong(name, "is reserved"));
        }
        if value.contains('\0') {
            return Err(wrong(name, "must not contain a zero byte"));
        }
        if name.len() + value.len() > MAX_VARIABLE {
            return Err(wrong(name, "is longer than 32 KiB"));
        }
        size += name.len() + value.len();
    }
    if given.len() > MAX_VARIABLES || size > MAX_ENVIRONMENT {
        return Err(invalid("environment", "has more than 256 variables or 512 KiB"));
    }
    Ok(given.into_iter().collect())
}

fn network(text: &str) -> Result<Option<Network>, ContainerError> {
    match text {
        "" => Ok(None),
        "none" => Ok(Some(Network::None)),
        "session" => Ok(Some(Network::Session)),
        _ => Err(invalid("network_mode", "must be 'none' or 'session'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> proto::ExecuteToolRequest {
        proto::ExecuteToolRequest {
            tool_name: "calculator".into(),
            session_id: SessionId::generate().to_string(),
            parameters: "{\"a\":6}".into(),
            ..Default::default()
        }
    }

    fn field(change: impl FnOnce(&mut proto::ExecuteToolRequest)) -> String {
        let mut request = request();
        change(&mut request);
        match execute_command(request) {
            Err(ContainerError::Invalid { field, .. }) => field,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_good_request_is_a_command() {
        let command = execute_command(request()).unwrap();
        assert_eq!(command.parameters.as_str(), "{\"a\":6}");
        assert_eq!((command.execution, command.source), (None, None));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let image = |name: &str| {
            Some(proto::ToolSource {
                source: Some(proto::tool_source::Source::Image(name.into())),
                ..Default::default()
            })
        };
        let limits = |limits: proto::ResourceLimits| Some(limits);
        let with = |name: &str, value: &str| HashMap::from([(name.into(), value.into())]);
        assert_eq!(field(|r| r.tool_name = "../x".into()), "tool_name");
        assert_eq!(field(|r| r.session_id = "x".into()), "session_id");
        assert_eq!(field(|r| r.parameters = "[1]".into()), "parameters");
        assert_eq!(field(|r| r.execution_id = "exec_1".into()), "execution_id");
        assert_eq!(
            field(|r| r.execution_id = ExecutionId::generate().to_string()),
            "epoch",
            "an execution of the journal needs the epoch of who sends it"
        );
        assert_eq!(field(|r| r.source = image("../../version")), "source.image");
        assert_eq!(field(|r| r.source = Some(proto::ToolSource::default())), "source");
        assert_eq!(field(|r| r.network_mode = "host".into()), "network_mode");
        assert_eq!(field(|r| r.environment = with("PARAMETERS", "")), "environment[PARAMETERS]");
        assert_eq!(field(|r| r.environment = with("CORTEX_X", "")), "environment[CORTEX_X]");
        assert_eq!(field(|r| r.environment = with("1A", "")), "environment[1A]");
        let memory = proto::ResourceLimits { memory_mb: 63, ..Default::default() };
        assert_eq!(field(|r| r.resource_limits = limits(memory)), "resource_limits.memory_mb");
        let cpu = proto::ResourceLimits { cpu_limit: f64::NAN, ..Default::default() };
        assert_eq!(field(|r| r.resource_limits = limits(cpu)), "resource_limits.cpu_limit");
        let time = proto::ResourceLimits { timeout_seconds: -1, ..Default::default() };
        assert_eq!(field(|r| r.resource_limits = limits(time)), "resource_limits.timeout_seconds");
    }

    #[test]
    fn a_manifest_becomes_a_declaration() {
        let toolbox = declaration(ToolSpec {
            runtime: "toolbox".into(),
            entrypoint: "clock".into(),
            memory_mb: 64,
            ..Default::default()
        })
        .unwrap();
        assert_eq!(toolbox.source.content, Content::Toolbox("clock".into()));
        assert_eq!(toolbox.limits.memory_mb, Some(64));
        let bundle = ToolSpec { bundle_digest: "b3_1".into(), ..Default::default() };
        assert_eq!(declaration(bundle).unwrap().source.content, Content::Bundle("b3_1".into()));
        assert!(declaration(ToolSpec::default()).is_err());
        assert!(declaration(ToolSpec { image: "a?b".into(), ..Default::default() }).is_err());
    }
}

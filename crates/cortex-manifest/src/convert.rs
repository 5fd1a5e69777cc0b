//! Between the domain and the contracts.

use std::time::{SystemTime, UNIX_EPOCH};

use cortex_proto::cortex::manifest::v1 as proto;

use crate::{
    closure::{AgentSpec, Closure, Parameters, RelicSpec, SubAgentSpec, ToolSpec, WorkflowSpec},
    diagnostic::{Diagnostic, Severity},
    error::RegistryError,
    kind::{ManifestKind, ManifestRef},
    manifest::Manifest,
    path::TreePath,
};

/// Largest text of a manifest in a request.
const MAX_CONTENT: usize = 1 << 20;

/// The kind that a request names, in any case.
pub(crate) fn kind(given: &str) -> Result<ManifestKind, RegistryError> {
    ManifestKind::lookup(given).ok_or_else(|| RegistryError::UnknownKind { given: shown(given) })
}

/// The kind of a collection that a request names.
pub(crate) fn collection(given: &str) -> Result<ManifestKind, RegistryError> {
    ManifestKind::of_collection(given)
        .ok_or_else(|| RegistryError::UnknownKind { given: shown(given) })
}

/// The manifest that a request names.
pub(crate) fn id(kind: &str, name: &str) -> Result<ManifestRef, RegistryError> {
    let kind = self::kind(kind)?;
    if name.is_empty() {
        return Err(field("name", "must not be empty"));
    }
    Ok(ManifestRef::new(kind, name))
}

/// The text of a manifest in a request.
pub(crate) fn content(text: &str) -> Result<&str, RegistryError> {
    if text.trim().is_empty() {
        return Err(field("content", "must not be empty"));
    }
    if text.len() > MAX_CONTENT {
        let reason = format!("has {} bytes; at most {MAX_CONTENT} are read", text.len());
        return Err(RegistryError::Field { field: "content", reason });
    }
    Ok(text)
}

/// The path in a request; none if it is empty.
pub(crate) fn path(text: &str) -> Result<Option<TreePath>, RegistryError> {
    match text {
        "" => Ok(None),
        text if text.starts_with('/') => {
            Err(field("path", "must be relative to the manifests' directory"))
        }
        text => Ok(Some(TreePath::parse(text)?)),
    }
}

pub(crate) fn field(field: &'static str, reason: &str) -> RegistryError {
    RegistryError::Field { field, reason: reason.to_owned() }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

pub(crate) fn manifest(manifest: &Manifest, warnings: &[Diagnostic]) -> proto::Manifest {
    proto::Manifest {
        kind: manifest.id().kind.as_str().to_owned(),
        name: manifest.id().name.clone(),
        version: manifest.common.version.clone(),
        summary: manifest.common.summary.clone(),
        state: manifest.common.state.to_owned(),
        document: manifest.common.document.to_string(),
        source: manifest.source.as_str().to_owned(),
        digest: manifest.digest.clone(),
        loaded_at: Some(timestamp(manifest.loaded_at)),
        warnings: warnings.iter().map(diagnostic).collect(),
    }
}

pub(crate) fn diagnostic(diagnostic: &Diagnostic) -> proto::Diagnostic {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let severity = match diagnostic.severity {
        Severity::Error => proto::Severity::Error,
        Severity::Warning => proto::Severity::Warning,
    };
    proto::Diagnostic {
        severity: severity.into(),
        code: diagnostic.code.to_owned(),
        message: diagnostic.text(),
        file: diagnostic.file.clone(),
        line: number(diagnostic.at.line),
        column: number(diagnostic.at.column),
        field: diagnostic.field.clone(),
    }
}

/// The verdict on a manifest, `missing` being what it imports and is not there.
pub(crate) fn validation(
    diagnostics: &[Diagnostic],
    missing: Vec<ManifestRef>,
) -> proto::ManifestValidation {
    let of = |severity| {
        let found = diagnostics.iter().filter(move |d| d.severity == severity);
        found.map(|d| d.message.clone()).collect::<Vec<_>>()
    };
    let errors = of(Severity::Error);
    proto::ManifestValidation {
        valid: errors.is_empty(),
        errors,
        warnings: of(Severity::Warning),
        dependencies_satisfied: missing.is_empty(),
        missing_dependencies: missing.iter().map(ManifestRef::to_string).collect(),
        diagnostics: diagnostics.iter().map(diagnostic).collect(),
    }
}

pub(crate) fn reference(id: &ManifestRef) -> proto::ManifestReference {
    proto::ManifestReference { kind: id.kind.as_str().to_owned(), name: id.name.clone() }
}

pub(crate) fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn closure(closure: &Closure) -> proto::AgentClosure {
    proto::AgentClosure {
        digest: closure.digest.clone(),
        agent: Some(agent(&closure.agent)),
        tools: closure.tools.iter().map(tool).collect(),
        relics: closure.relics.iter().map(relic).collect(),
        agents: closure.agents.iter().map(sub_agent).collect(),
        workflows: closure.workflows.iter().map(workflow).collect(),
    }
}

fn agent(agent: &AgentSpec) -> proto::AgentSpec {
    let engine = |(provider, model): &(String, String)| proto::EngineSpec {
        provider: provider.clone(),
        model: model.clone(),
    };
    proto::AgentSpec {
        name: agent.name.clone(),
        summary: agent.summary.clone(),
        description: agent.description.clone(),
        system_prompt: agent.system_prompt.clone(),
        user_prompt: agent.user_prompt.clone(),
        primary: agent.primary.as_ref().map(engine),
        fallback: agent.fallback.as_ref().map(engine),
        parameters: Some(parameters(&agent.parameters)),
        iteration_cap: agent.iteration_cap,
        environment: agent.environment.clone().into_iter().collect(),
        document: agent.document.to_string(),
    }
}

fn parameters(given: &Parameters) -> proto::EngineParameters {
    let extra = serde_json::Value::Object(given.extra.clone());
    proto::EngineParameters {
        temperature: given.temperature,
        top_p: given.top_p,
        top_k: given.top_k,
        max_tokens: given.max_tokens,
        stop_sequences: given.stop_sequences.clone(),
        presence_penalty: given.presence_penalty,
        frequency_penalty: given.frequency_penalty,
        seed: given.seed,
        extra: if given.extra.is_empty() { String::new() } else { extra.to_string() },
    }
}

pub(crate) fn tool(tool: &ToolSpec) -> proto::ToolSpec {
    proto::ToolSpec {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
        runtime: tool.runtime.clone(),
        entrypoint: tool.entrypoint.clone(),
        image: tool.image.clone(),
        bundle_digest: tool.bundle_digest.clone(),
        memory_mb: tool.memory_mb,
        cpu_limit: tool.cpu_limit,
        timeout_seconds: tool.timeout_seconds,
        on_lost: tool.on_lost.clone(),
        environment: tool.environment.clone().into_iter().collect(),
        network_mode: tool.network_mode.clone(),
    }
}

fn relic(relic: &RelicSpec) -> proto::RelicSpec {
    proto::RelicSpec {
        name: relic.name.clone(),
        description: relic.description.clone(),
        document: relic.document.to_string(),
        bundle_digest: relic.bundle_digest.clone(),
    }
}

fn sub_agent(agent: &SubAgentSpec) -> proto::SubAgentSpec {
    proto::SubAgentSpec {
        name: agent.name.clone(),
        description: agent.description.clone(),
        closure_digest: agent.closure_digest.clone(),
    }
}

fn workflow(workflow: &WorkflowSpec) -> proto::WorkflowSpec {
    proto::WorkflowSpec {
        name: workflow.name.clone(),
        description: workflow.description.clone(),
        parameters: workflow.parameters.clone(),
        document: workflow.document.to_string(),
    }
}

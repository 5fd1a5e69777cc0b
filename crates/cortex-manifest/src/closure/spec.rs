//! What a closure says of each manifest in it.

use super::{
    AgentSpec, BundleDigest, Closure, Parameters, RelicSpec, SubAgentSpec, ToolSpec, WorkflowSpec,
};
use crate::{
    document::{Agent, Body, Engine, EngineParameters, Tool},
    error::RegistryError,
    manifest::Manifest,
};

pub(super) fn agent_spec(manifest: &Manifest, agent: &Agent) -> AgentSpec {
    let engine = |engine: &Engine| (engine.provider.clone(), engine.model.clone());
    AgentSpec {
        name: manifest.id().name.clone(),
        summary: manifest.common.summary.clone(),
        description: agent.description.clone(),
        system_prompt: manifest.prompts.system.clone(),
        user_prompt: manifest.prompts.user.clone(),
        primary: agent.primary.as_ref().map(engine),
        fallback: agent.fallback.as_ref().map(engine),
        parameters: parameters(&agent.parameters),
        iteration_cap: agent.iteration_cap,
        environment: agent.environment.clone(),
        document: manifest.common.document.clone(),
    }
}

fn parameters(given: &EngineParameters) -> Parameters {
    Parameters {
        temperature: given.temperature,
        top_p: given.top_p,
        top_k: given.top_k,
        max_tokens: given.max_tokens,
        stop_sequences: given.stop_sequences.clone(),
        presence_penalty: given.presence_penalty,
        frequency_penalty: given.frequency_penalty,
        seed: given.seed,
        extra: given.extra.clone(),
    }
}

/// A tool as it is run. None: it is no tool.
///
/// # Errors
/// [`RegistryError`] when its files cannot be bundled.
pub fn tool_spec(
    index: usize,
    manifest: &Manifest,
    bundle: &mut BundleDigest<'_>,
) -> Result<Option<ToolSpec>, RegistryError> {
    let Body::Tool(tool) = manifest.body() else { return Ok(None) };
    let Tool { description, parameters, implementation, environment, .. } = tool.as_ref();
    let bundle_digest =
        if implementation.needs_files() { bundle(index, manifest)? } else { String::new() };
    Ok(Some(ToolSpec {
        name: manifest.id().name.clone(),
        description: description.clone(),
        parameters: parameters.to_string(),
        runtime: implementation.runtime.clone(),
        entrypoint: implementation.entrypoint.clone(),
        image: implementation.image.clone(),
        bundle_digest,
        memory_mb: implementation.memory_mb,
        cpu_limit: implementation.cpu_limit,
        timeout_seconds: implementation.timeout_seconds,
        on_lost: implementation.on_lost.to_owned(),
        environment: environment.clone(),
        network_mode: implementation.network_mode.to_owned(),
    }))
}

pub(super) fn relic_spec(
    index: usize,
    manifest: &Manifest,
    bundle: &mut BundleDigest<'_>,
) -> Result<Option<RelicSpec>, RegistryError> {
    let Body::Relic(relic) = manifest.body() else { return Ok(None) };
    Ok(Some(RelicSpec {
        name: manifest.id().name.clone(),
        description: relic.description.clone(),
        document: manifest.common.document.clone(),
        bundle_digest: bundle(index, manifest)?,
    }))
}

pub(super) fn sub_agent_spec(manifest: &Manifest, closure: Option<&Closure>) -> SubAgentSpec {
    let description = match manifest.body() {
        Body::Agent(agent) if !agent.description.is_empty() => agent.description.clone(),
        _ => manifest.common.summary.clone(),
    };
    SubAgentSpec {
        name: manifest.id().name.clone(),
        description,
        closure_digest: closure.map(|closure| closure.digest.clone()).unwrap_or_default(),
    }
}

pub(super) fn workflow_spec(manifest: &Manifest) -> Option<WorkflowSpec> {
    let Body::Workflow(workflow) = manifest.body() else { return None };
    Some(WorkflowSpec {
        name: manifest.id().name.clone(),
        description: workflow.description.clone(),
        parameters: workflow.parameters.to_string(),
        document: manifest.common.document.clone(),
    })
}

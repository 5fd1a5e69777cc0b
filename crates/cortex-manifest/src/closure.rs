//! An agent with everything that it needs to run.
//!
//! A closure's digest covers all of it. Agents may delegate to each other in circles, so that a
//! digest cannot simply contain those below: for agents that reach each other, it covers the
//! contents of the whole group.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    canonical,
    diagnostic::Diagnostic,
    document::{Agent, Body, Engine, EngineParameters, Tool},
    error::RegistryError,
    kind::ManifestKind,
    load::{Outcome, components},
    manifest::Manifest,
    snapshot::Snapshot,
};

/// An agent with everything that it needs to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Closure {
    /// BLAKE3 over everything else.
    #[serde(skip)]
    pub digest: String,
    /// The agent.
    pub agent: AgentSpec,
    /// The tools that it may call, by name.
    pub tools: Vec<ToolSpec>,
    /// The relics that it may use, by name.
    pub relics: Vec<RelicSpec>,
    /// The agents that it may delegate to, by name.
    pub agents: Vec<SubAgentSpec>,
    /// The workflows that it may start, by name.
    pub workflows: Vec<WorkflowSpec>,
}

/// An agent, normalised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentSpec {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub summary: String,
    /// What it is, at length.
    pub description: String,
    /// The system prompt.
    pub system_prompt: String,
    /// How to talk to users.
    pub user_prompt: String,
    /// The model to use first: provider and model.
    pub primary: Option<(String, String)>,
    /// The model to use when the first cannot answer.
    pub fallback: Option<(String, String)>,
    /// How the model generates.
    pub parameters: Parameters,
    /// Model calls per turn at most. 0: unlimited.
    pub iteration_cap: i32,
    /// Variables for its tools.
    pub environment: BTreeMap<String, String>,
    /// The whole manifest.
    pub document: Value,
}

/// How a model generates.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Parameters {
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// Tokens to sample from.
    pub top_k: Option<i32>,
    /// Tokens of the answer at most.
    pub max_tokens: Option<i32>,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Makes the answer repeatable.
    pub seed: Option<i64>,
    /// Fields for the provider's request.
    pub extra: Map<String, Value>,
}

/// A tool as it is run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments as text: the order of its keys counts.
    pub parameters: String,
    /// What runs it.
    pub runtime: String,
    /// The program.
    pub entrypoint: String,
    /// The image.
    pub image: String,
    /// The digest of its files. Empty: it has none.
    pub bundle_digest: String,
    /// Memory in MiB. 0: the default.
    pub memory_mb: i32,
    /// Processors. 0: the default.
    pub cpu_limit: f64,
    /// Seconds. 0: the default.
    pub timeout_seconds: i32,
    /// `fail`, `retry` or `ask`.
    pub on_lost: String,
    /// Variables for it.
    pub environment: BTreeMap<String, String>,
    /// `none` or `session`.
    pub network_mode: String,
}

/// A relic that an agent may use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelicSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The whole manifest.
    pub document: Value,
    /// The digest of its files. Empty: it has none.
    pub bundle_digest: String,
}

/// An agent that an agent may delegate to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubAgentSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The digest of its own closure.
    pub closure_digest: String,
}

/// A workflow that an agent may start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkflowSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its trigger's parameters as text.
    pub parameters: String,
    /// The whole manifest.
    pub document: Value,
}

/// Gives the digest of a manifest's files; empty if it has none.
pub type BundleDigest<'b> = dyn FnMut(usize, &Manifest) -> Result<String, RegistryError> + 'b;

/// The closure of the agent with index `agent`, and those of every agent that it can reach.
///
/// # Errors
/// [`RegistryError`] when something that one of them imports is missing, invalid or ambiguous.
pub fn resolve(
    snapshot: &Snapshot,
    agent: usize,
    bundle: &mut BundleDigest<'_>,
) -> Result<BTreeMap<usize, Closure>, RegistryError> {
    let reachable = reachable(snapshot, agent)?;
    let position = |index: &usize| reachable.iter().position(|other| other == index);
    let edges: Vec<Vec<usize>> = reachable
        .iter()
        .map(|index| Ok(sub_agents(snapshot, *index)?.iter().filter_map(position).collect()))
        .collect::<Result<_, RegistryError>>()?;
    let mut closures = BTreeMap::new();
    for group in components(&edges) {
        let members: Vec<usize> = group.iter().map(|node| reachable[*node]).collect();
        let cyclic = members.len() > 1 || edges[group[0]].contains(&group[0]);
        let mut built = Vec::new();
        for index in &members {
            built.push((*index, build(snapshot, *index, &closures, bundle)?));
        }
        seal(&mut built, cyclic);
        let digests: BTreeMap<String, String> =
            built.iter().map(|(_, c)| (c.agent.name.clone(), c.digest.clone())).collect();
        for (index, mut closure) in built {
            for sub in closure.agents.iter_mut().filter(|sub| sub.closure_digest.is_empty()) {
                sub.closure_digest = digests.get(&sub.name).cloned().unwrap_or_default();
            }
            closures.insert(index, closure);
        }
    }
    Ok(closures)
}

/// Gives each of a group its digest.
fn seal(group: &mut [(usize, Closure)], cyclic: bool) {
    let own: Vec<String> = group.iter().map(|(_, closure)| own_digest(closure)).collect();
    let mut all = own.clone();
    all.sort();
    for ((_, closure), own) in group.iter_mut().zip(own) {
        closure.digest =
            if cyclic { canonical::digest(&json!({"own": own, "group": all})) } else { own };
    }
}

fn own_digest(closure: &Closure) -> String {
    canonical::digest(&serde_json::to_value(closure).unwrap_or_default())
}

/// The indexes of `agent` and every agent that it can reach.
fn reachable(snapshot: &Snapshot, agent: usize) -> Result<Vec<usize>, RegistryError> {
    let mut found = vec![agent];
    let mut next = 0;
    while let Some(index) = found.get(next).copied() {
        for sub in sub_agents(snapshot, index)? {
            if !found.contains(&sub) {
                found.push(sub);
            }
        }
        next += 1;
    }
    Ok(found)
}

fn sub_agents(snapshot: &Snapshot, agent: usize) -> Result<Vec<usize>, RegistryError> {
    imported(snapshot, agent, ManifestKind::Agent)
}

/// What an agent imports of one kind, by name.
fn imported(
    snapshot: &Snapshot,
    agent: usize,
    kind: ManifestKind,
) -> Result<Vec<usize>, RegistryError> {
    let manifest = snapshot.at(agent);
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for import in snapshot.imports(agent) {
        let Outcome::Found(index) = import.outcome else { continue };
        let found = snapshot.at(index);
        if found.id().kind != kind {
            continue;
        }
        if let Some(other) = by_name.insert(&found.id().name, index)
            && other != index
        {
            return Err(RegistryError::Ambiguous {
                agent: manifest.id().name.clone(),
                kind,
                name: found.id().name.clone(),
                first: snapshot.at(other).source.as_str().to_owned(),
                second: found.source.as_str().to_owned(),
            });
        }
    }
    Ok(by_name.into_values().collect())
}

/// The closure of one agent, without its digest and those of agents in its own group.
fn build(
    snapshot: &Snapshot,
    index: usize,
    done: &BTreeMap<usize, Closure>,
    bundle: &mut BundleDigest<'_>,
) -> Result<Closure, RegistryError> {
    let manifest = snapshot.at(index);
    check_imports(snapshot, index, manifest)?;
    let Body::Agent(agent) = manifest.body() else {
        return Err(RegistryError::NotFound { id: manifest.id().clone(), hint: String::new() });
    };
    let mut closure = Closure {
        digest: String::new(),
        agent: agent_spec(manifest, agent),
        tools: Vec::new(),
        relics: Vec::new(),
        agents: Vec::new(),
        workflows: Vec::new(),
    };
    for tool in imported(snapshot, index, ManifestKind::Tool)? {
        closure.tools.extend(tool_spec(tool, snapshot.at(tool), bundle)?);
    }
    for relic in imported(snapshot, index, ManifestKind::Relic)? {
        closure.relics.extend(relic_spec(relic, snapshot.at(relic), bundle)?);
    }
    for sub in imported(snapshot, index, ManifestKind::Agent)? {
        closure.agents.push(sub_agent_spec(snapshot.at(sub), done.get(&sub)));
    }
    for workflow in imported(snapshot, index, ManifestKind::Workflow)? {
        closure.workflows.extend(workflow_spec(snapshot.at(workflow)));
    }
    Ok(closure)
}

fn check_imports(
    snapshot: &Snapshot,
    index: usize,
    manifest: &Manifest,
) -> Result<(), RegistryError> {
    let failed = snapshot.imports(index).iter().filter_map(|import| match &import.outcome {
        Outcome::Failed(diagnostic) => Some(diagnostic.clone()),
        Outcome::Found(_) => None,
    });
    let diagnostics: Vec<Diagnostic> = failed.collect();
    if diagnostics.is_empty() {
        return Ok(());
    }
    Err(RegistryError::ImportFailed { id: manifest.id().clone(), diagnostics })
}

fn agent_spec(manifest: &Manifest, agent: &Agent) -> AgentSpec {
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
    let Tool { description, parameters, implementation, environment } = tool.as_ref();
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

fn relic_spec(
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

fn sub_agent_spec(manifest: &Manifest, closure: Option<&Closure>) -> SubAgentSpec {
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

fn workflow_spec(manifest: &Manifest) -> Option<WorkflowSpec> {
    let Body::Workflow(workflow) = manifest.body() else { return None };
    Some(WorkflowSpec {
        name: manifest.id().name.clone(),
        description: workflow.description.clone(),
        parameters: workflow.parameters.to_string(),
        document: manifest.common.document.clone(),
    })
}

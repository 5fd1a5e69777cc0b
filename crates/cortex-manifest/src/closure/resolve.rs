//! From an agent to its closure.
//!
//! A closure's digest covers all of it. Agents may delegate to each other in circles, so that a
//! digest cannot simply contain those below: for agents that reach each other, it covers the
//! contents of the whole group.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Closure, spec};
use crate::{
    canonical,
    diagnostic::Diagnostic,
    document::Body,
    error::RegistryError,
    kind::ManifestKind,
    load::{Outcome, components},
    manifest::Manifest,
    snapshot::Snapshot,
};

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
        agent: spec::agent_spec(manifest, agent),
        tools: Vec::new(),
        relics: Vec::new(),
        agents: Vec::new(),
        workflows: Vec::new(),
    };
    for tool in imported(snapshot, index, ManifestKind::Tool)? {
        closure.tools.extend(spec::tool_spec(tool, snapshot.at(tool), bundle)?);
    }
    for relic in imported(snapshot, index, ManifestKind::Relic)? {
        closure.relics.extend(spec::relic_spec(relic, snapshot.at(relic), bundle)?);
    }
    for sub in imported(snapshot, index, ManifestKind::Agent)? {
        closure.agents.push(spec::sub_agent_spec(snapshot.at(sub), done.get(&sub)));
    }
    for workflow in imported(snapshot, index, ManifestKind::Workflow)? {
        closure.workflows.extend(spec::workflow_spec(snapshot.at(workflow)));
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

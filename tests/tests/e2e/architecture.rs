//! The arrows between crates: who may know whom.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, MetadataCommand};
use cortex_e2e::repository;

/// Every crate, and the crates of ours that it may depend on. A new arrow is a decision: it belongs
/// here only with a reason in docs/architecture.md.
const ALLOWED: &[(&str, &[&str])] = &[
    ("cortex-core", &[]),
    ("cortex-proto", &[]),
    ("cortex-toolbox", &[]),
    // For tests alone: nobody has an arrow to it that is not of a test.
    ("cortex-testkit", &[]),
    ("cortex-config", &["core"]),
    ("cortex-telemetry", &["core", "config"]),
    ("cortex-transcode", &["core", "proto"]),
    ("cortex-rpc", &["core", "proto", "config", "telemetry", "transcode"]),
    ("cortex-storage", BELOW_SERVICES),
    ("cortex-manifest", BELOW_SERVICES),
    ("cortex-llm", BELOW_SERVICES),
    ("cortex-container", BELOW_SERVICES),
    ("cortex-runtime", BELOW_SERVICES),
    ("cortex-agent", BELOW_SERVICES),
    ("cortex-gateway", BELOW_SERVICES),
];

/// What a service may know: the mesh and what is below it, never another service.
const BELOW_SERVICES: &[&str] = &["core", "proto", "config", "telemetry", "transcode", "rpc"];

#[test]
fn no_crate_has_an_arrow_that_is_not_allowed() {
    let arrows = arrows(DependencyKind::Normal);
    let mut wrong = Vec::new();
    for (name, to) in &arrows {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == name) else {
            let top = ["cortex", "cortex-e2e", "cortex-bench"].contains(&name.as_str());
            assert!(top, "{name} is new: say what it may know");
            continue;
        };
        let allowed: BTreeSet<String> =
            allowed.iter().map(|name| format!("cortex-{name}")).collect();
        wrong.extend(to.difference(&allowed).map(|to| format!("{name} -> {to}")));
    }
    assert!(wrong.is_empty(), "new arrows: {wrong:?}");
}

#[test]
fn tonic_is_named_by_those_who_serve_and_call_only() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let below =
            ["cortex-core", "cortex-config", "cortex-toolbox"].contains(&package.name.as_str());
        let tonic =
            package.dependencies.iter().any(|dependency| dependency.name.starts_with("tonic"));
        assert!(!(below && tonic), "{} knows tonic", package.name);
    }
}

fn metadata() -> cargo_metadata::Metadata {
    MetadataCommand::new()
        .manifest_path(repository().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata")
}

fn arrows(kind: DependencyKind) -> BTreeMap<String, BTreeSet<String>> {
    let ours = |name: &str| name == "cortex" || name.starts_with("cortex-");
    metadata()
        .workspace_packages()
        .iter()
        .map(|package| {
            let to = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == kind && ours(&dependency.name))
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), to)
        })
        .collect()
}

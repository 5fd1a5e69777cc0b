//! What manifests import, looked at from outside: as written, transitively, as a graph, as an export.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::{Map, Value, json};

use crate::{
    diagnostic::Diagnostic,
    document::Import,
    kind::{ManifestKind, ManifestRef, is_name},
    load::{Outcome, ResolvedImport},
    manifest::Manifest,
    path::TreePath,
    snapshot::Snapshot,
};

/// The imports of a manifest as its author wrote them, by collection; `dependencies` as `other`.
pub fn as_written(manifest: &Manifest) -> Value {
    let mut lists: Map<String, Value> = ManifestKind::ALL
        .into_iter()
        .filter(|kind| *kind != ManifestKind::Metadata)
        .map(|kind| (kind.collection().to_owned(), json!([])))
        .collect();
    for import in &manifest.common.imports {
        let list = lists.entry(import.kind.collection()).or_insert_with(|| json!([]));
        if let Value::Array(items) = list {
            items.push(import.target.0.clone().into());
        }
    }
    if let Some(other @ Value::Array(_)) = manifest.common.document.get("dependencies") {
        lists.insert("other".to_owned(), other.clone());
    }
    Value::Object(lists)
}

/// What is not there or does not fit, of a manifest and of everything that it leads to.
pub fn problems(snapshot: &Snapshot, index: usize) -> (Vec<Diagnostic>, Vec<ManifestRef>) {
    let (mut found, mut missing) = (Vec::new(), BTreeSet::new());
    let (mut seen, mut work) = (BTreeSet::from([index]), vec![index]);
    while let Some(next) = work.pop() {
        for import in snapshot.imports(next) {
            match &import.outcome {
                Outcome::Found(to) if seen.insert(*to) => work.push(*to),
                Outcome::Found(_) => {}
                Outcome::Failed(diagnostic) => {
                    found.push(diagnostic.clone());
                    missing.insert(wanted(&import.import));
                }
            }
        }
    }
    (found, missing.into_iter().collect())
}

/// The imports among `imports` that lead nowhere.
pub fn missing(imports: &[ResolvedImport]) -> Vec<ManifestRef> {
    let failed = imports.iter().filter(|import| import.outcome.found().is_none());
    let wanted: BTreeSet<ManifestRef> = failed.map(|import| wanted(&import.import)).collect();
    wanted.into_iter().collect()
}

/// What an import that leads nowhere seems to want: its name, or what its path is called.
fn wanted(import: &Import) -> ManifestRef {
    let text = import.target.0.trim_end_matches('/');
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "." | "..")).collect();
    let path = TreePath::parse(&parts.join("/")).unwrap_or_default();
    let stem = path.stem();
    let implied = ManifestKind::lookup(stem).is_some() || stem == "manifest";
    let name = if implied { path.parent().file_name().to_owned() } else { stem.to_owned() };
    let name = if is_name(&name) { name } else { text.to_owned() };
    ManifestRef::new(import.kind, name)
}

/// Who imports whom, among the manifests that have their names. Sorted, each pair once.
pub fn edges(snapshot: &Snapshot) -> Vec<(ManifestRef, ManifestRef)> {
    let mut edges = BTreeSet::new();
    for (index, manifest) in snapshot.named() {
        for import in snapshot.imports(index) {
            if let Outcome::Found(to) = import.outcome {
                edges.insert((manifest.id().clone(), snapshot.at(to).id().clone()));
            }
        }
    }
    edges.into_iter().collect()
}

/// The graph in the language of Graphviz.
pub fn dot(snapshot: &Snapshot) -> String {
    let mut text = "digraph manifests {\n  rankdir=LR;\n".to_owned();
    // Names and kinds are of letters, digits, hyphens and underscores, so that they need no escapes.
    for (_, manifest) in snapshot.named() {
        let id = manifest.id();
        let _ = writeln!(text, "  \"{id}\" [label=\"{}\\n{}\"];", id.name, id.kind.lower());
    }
    for (from, to) in edges(snapshot) {
        let _ = writeln!(text, "  \"{from}\" -> \"{to}\";");
    }
    text.push_str("}\n");
    text
}

/// The manifests by collection and name, and what is said of the whole.
pub fn export(snapshot: &Snapshot, root: &str, exported_at: &str) -> Value {
    let mut collections: BTreeMap<ManifestKind, Map<String, Value>> = BTreeMap::new();
    let mut total = 0;
    for (_, manifest) in snapshot.named() {
        let id = manifest.id();
        let document = manifest.common.document.clone();
        collections.entry(id.kind).or_default().insert(id.name.clone(), document);
        total += 1;
    }
    let mut registry = Map::new();
    let metadata = json!({
        "exported_at": exported_at,
        "total_manifests": total,
        "manifests_root": root,
    });
    registry.insert("metadata".to_owned(), metadata);
    for kind in ManifestKind::ALL {
        let manifests = collections.remove(&kind).unwrap_or_default();
        registry.insert(export_key(kind).to_owned(), Value::Object(manifests));
    }
    Value::Object(registry)
}

/// The key of a kind in an export. `metadata` is taken by what is said of the whole.
pub fn export_key(kind: ManifestKind) -> &'static str {
    match kind {
        ManifestKind::Metadata => "metadata_manifests",
        other => other.collection(),
    }
}

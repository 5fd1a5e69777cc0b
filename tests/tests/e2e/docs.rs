//! The documents against the code: what they list is what there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{CargoOpt, MetadataCommand};
use cortex_e2e::{binary, repository};

/// Names of gRPC codes, which stand beside reasons everywhere. A few are reasons too, where
/// somebody makes a fault of them.
const CODES: &[&str] = &[
    "ABORTED",
    "ALREADY_EXISTS",
    "CANCELLED",
    "DATA_LOSS",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
];

/// Words in capitals beside faults that are no reasons: HTTP methods, and what a manifest's
/// diagnostics are called.
const NO_REASONS: &[&str] = &["HEAD", "IMPORT_INVALID"];

#[test]
fn every_reason_is_documented_and_every_documented_reason_is_given() {
    let (given, mentioned) = reasons_in_code();
    let documented = reasons_in_docs();
    assert!(given.len() > 80, "the search finds too little: {given:?}");
    let missing: Vec<_> = given.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:?}");
    let stale: Vec<_> = documented.difference(&mentioned).collect();
    assert!(stale.is_empty(), "docs/errors.md lists what no code gives: {stale:?}");
}

#[test]
fn every_dependency_is_documented_and_every_documented_one_is_used() {
    let metadata = MetadataCommand::new()
        .manifest_path(repository().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let used: BTreeSet<String> = metadata
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.clone())
        .collect();
    let documented: BTreeSet<String> = rows("dependencies.md")
        .filter(|cells| cells[0] != "crate")
        .flat_map(|cells| cells[0].split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let missing: Vec<_> = used.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/dependencies.md lacks {missing:?}");
    let stale: Vec<_> = documented.difference(&used).collect();
    assert!(stale.is_empty(), "docs/dependencies.md lists what nobody uses: {stale:?}");
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let documented: BTreeMap<String, String> = rows("configuration.md")
        .filter_map(|cells| {
            let key = cells[0].strip_prefix('`')?.strip_suffix('`')?;
            let is_key = cells.len() == 3 && key.starts_with(|c: char| c.is_ascii_lowercase());
            is_key.then(|| (key.to_owned(), cells[1].clone()))
        })
        .collect();
    let in_force = settings();
    assert!(in_force.len() > 100, "too little is printed: {in_force:?}");
    for (key, value) in &in_force {
        let Some(told) = documented.get(&documented_key(key)) else {
            panic!("docs/configuration.md lacks {key}, which is {value}");
        };
        let depends = ["see below", "processors"].contains(&told.as_str());
        let provider = *key != documented_key(key);
        assert!(
            depends || provider || told == value,
            "{key}: {value}, and the document says {told}"
        );
    }
    let known: BTreeSet<String> = in_force.keys().map(|key| documented_key(key)).collect();
    let stale: Vec<_> = documented.keys().filter(|key| !known.contains(*key)).collect();
    assert!(stale.is_empty(), "docs/configuration.md lists what is no setting: {stale:?}");
}

/// What `cortex config print` says where nothing is set: keys with dots, and values as the document
/// writes them.
fn settings() -> BTreeMap<String, String> {
    let home = tempfile::tempdir().expect("a directory");
    let printed = Command::new(binary("cortex"))
        .args(["config", "print"])
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .output()
        .expect("cortex runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let mut path: Vec<String> = Vec::new();
    let mut found = BTreeMap::new();
    for line in String::from_utf8(printed.stdout).expect("text").lines() {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let (key, value) = line.trim().split_once(':').expect("a key");
        path.truncate(depth);
        path.push(key.to_owned());
        if !value.is_empty() {
            found.insert(path.join("."), as_documented(value.trim()));
        }
    }
    found
}

fn as_documented(value: &str) -> String {
    match value {
        "null" => "absent".to_owned(),
        "\"\"" => "empty".to_owned(),
        // The nearest number of 32 bits.
        "0.10000000149011612" => "0.1".to_owned(),
        other => other.replace('"', ""),
    }
}

/// The key under which the document describes a setting: providers share one description.
fn documented_key(key: &str) -> String {
    let other = ["llm.groq.", "llm.gemini.", "llm.anthropic."];
    if let Some(rest) = other.iter().find_map(|prefix| key.strip_prefix(prefix)) {
        return format!("llm.openai.{rest}");
    }
    let images = "container.runtime_images";
    if key.starts_with(images) { images.to_owned() } else { key.to_owned() }
}

/// The rows of a document's tables, cell by cell.
fn rows(document: &str) -> impl Iterator<Item = Vec<String>> + use<> {
    let text = fs::read_to_string(repository().join("docs").join(document)).expect("the document");
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect();
    rows.into_iter()
}

/// What the services can give for certain, and every word that may be a reason.
fn reasons_in_code() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut given, mut mentioned) = (BTreeSet::new(), BTreeSet::new());
    for file in sources() {
        let text = shipped(&fs::read_to_string(&file).expect("a source file"));
        if !["Fault", "Problem::", "struct Problem "].iter().any(|word| text.contains(word)) {
            continue;
        }
        let pieces: Vec<&str> = text.split('"').collect();
        for (before, word) in pieces.iter().zip(&pieces[1..]).filter(|(_, word)| is_reason(word)) {
            mentioned.insert((*word).to_owned());
            if !CODES.contains(word) || makes_a_fault(before) {
                given.insert((*word).to_owned());
            }
        }
    }
    (given, mentioned)
}

/// Whether the code before a literal is the beginning of `Fault::unavailable("…", …)`.
fn makes_a_fault(before: &str) -> bool {
    let call = before.trim_end().strip_suffix('(').unwrap_or_default();
    call.rsplit_once("Fault::")
        .is_some_and(|(_, name)| name.chars().all(|c| c.is_alphabetic() || c == '_'))
}

/// Source files of the crates that answer calls. The binary's own are those of a client.
fn sources() -> Vec<PathBuf> {
    let crates = fs::read_dir(repository().join("crates")).expect("the crates");
    let mut found = Vec::new();
    for directory in crates.map(|entry| entry.expect("an entry").path()) {
        if directory.file_name().is_some_and(|name| name != "cortex") {
            collect(&directory.join("src"), &mut found);
        }
    }
    found
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "testing" && name != "tests" {
            collect(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The text without its tests and comments.
fn shipped(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

fn is_reason(word: &str) -> bool {
    word.len() > 3
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !word.starts_with("SIG")
        && !NO_REASONS.contains(&word)
}

/// The first column of the tables: `` | `REASON` | … ``.
fn reasons_in_docs() -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("docs/errors.md")).expect("docs/errors.md");
    let reason = |line: &str| line.strip_prefix("| `")?.split('`').next().map(str::to_owned);
    text.lines().filter_map(reason).collect()
}

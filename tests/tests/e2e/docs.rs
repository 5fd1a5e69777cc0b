//! The documents against the code: what they list is what there is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use cortex_e2e::repository;

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

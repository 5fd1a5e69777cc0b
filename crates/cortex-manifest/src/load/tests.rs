use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::{adapters::Embedded, ports::Files};

fn options() -> LoadOptions {
    LoadOptions { variables: Variables::default(), limits: Limits::default(), max_manifests: 100 }
}

fn tree(files: Vec<(String, Vec<u8>)>) -> FileTree {
    let files: Arc<dyn Files> = Arc::new(Embedded::new(files).expect("paths in the tree"));
    FileTree::list(&[files], Vec::new()).expect("listed")
}

fn loaded(files: Vec<(String, Vec<u8>)>) -> Snapshot {
    load(tree(files), &[], None, &options(), SystemTime::UNIX_EPOCH)
}

const VALID: &str = "kind: Agent
version: '1.0'
name: a
summary: s
persona: {agent: ./p.md}
cognitive_engine: {primary: {provider: google, model: m}, parameters: {temperature: 1}}
import: {tools: [t, ./t/tool.yml], agents: [a]}
context_feeds: [{id: f, type: periodic, source: {type: tool}}]
environment: {variables: {A: $HOME}}
";

#[test]
fn stronger_layers_hide_weaker_ones_and_their_faults_are_not_hidden() {
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    let tool = |summary: &str| {
        format!(
            "kind: Tool\nversion: '1.0'\nname: t\nsummary: {summary}\nimplementation: {{type: toolbox}}\n"
        )
    };
    let layers = |strong: Vec<(String, Vec<u8>)>| {
        let weak = vec![file("builtin/t/tool.yml", &tool("weak"))];
        let layer = |files| Arc::new(Embedded::new(files).expect("paths")) as Arc<dyn Files>;
        let tree = FileTree::list(&[layer(strong), layer(weak)], vec![]).expect("listed");
        load(tree, &[], None, &options(), SystemTime::UNIX_EPOCH)
    };
    let id = ManifestRef::new(crate::kind::ManifestKind::Tool, "t");
    let summary = |snapshot: &Snapshot| match snapshot.get(&id) {
        crate::snapshot::Lookup::Found(_, manifest) => manifest.common.summary.clone(),
        crate::snapshot::Lookup::Broken(_) => "broken".to_owned(),
        crate::snapshot::Lookup::Missing => "missing".to_owned(),
    };
    assert_eq!(summary(&layers(vec![])), "weak");
    let replaced = layers(vec![file("mine.yml", &tool("strong"))]);
    assert_eq!((summary(&replaced).as_str(), replaced.diagnostics.len()), ("strong", 0));
    assert_eq!(summary(&layers(vec![file("t/tool.yml", "kind: Tool\nname: t\n")])), "broken");
}

#[test]
fn there_are_only_so_many() {
    let tool = |n: usize| {
        let text = format!(
            "kind: Tool\nversion: '1.0'\nname: t{n}\nsummary: s\nimplementation: {{type: toolbox}}\n"
        );
        (format!("t{n}.yml"), text.into_bytes())
    };
    let snapshot = loaded((0..150).map(tool).collect());
    assert_eq!(snapshot.len(), 100);
    assert!(snapshot.diagnostics.iter().any(|d| d.code == code::TOO_MANY_MANIFESTS));
}

#[test]
fn the_same_again_is_the_same_revision() {
    let files = || {
        vec![("a.yml".to_owned(), VALID.as_bytes().to_vec()), ("p.md".to_owned(), b"x".to_vec())]
    };
    let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let first = load(tree(files()), &[], None, &options(), at(1));
    let again = load(tree(files()), &[], Some(&first), &options(), at(2));
    assert_eq!((again.revision, again.changed_at), (first.revision, at(1)));
    assert!(again.all().all(|manifest| manifest.loaded_at == at(1)));
    let mut changed = files();
    changed[1].1 = b"y".to_vec();
    let changed = load(tree(changed), &[], Some(&again), &options(), at(0));
    assert_eq!(changed.revision, first.revision + 1, "it rises even when the clock goes back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_stops_the_registry(text in "[-a-zA-Z:{}\\[\\]&*!|>'\"#$ \\n\\t0-9./]{0,300}") {
        let snapshot = loaded(vec![("x/agent.yml".into(), text.into_bytes())]);
        prop_assert!(snapshot.len() + snapshot.broken().len() > 0);
    }

    /// A valid manifest with one piece replaced: the shape is right, so that the checks are reached.
    #[test]
    fn no_mutation_stops_the_registry(
        from in 0..VALID.len(),
        length in 0usize..40,
        with in "([-:{}\\[\\]$(),. \\n]|null|[a-z]{1,5}|[0-9]{1,22}|\\{\\}|\\[\\]){0,4}",
    ) {
        let to = (from + length).min(VALID.len());
        let text = format!("{}{with}{}", &VALID[..from], &VALID[to..]);
        let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
        let snapshot = loaded(vec![file("x/agent.yml", &text), file("x/p.md", "p"), file("x/t/tool.yml", &text)]);
        for diagnostic in &snapshot.diagnostics {
            prop_assert!(!diagnostic.message.is_empty() && !diagnostic.file.is_empty(), "{diagnostic:?}");
        }
    }
}

//! Whole directories: the bundled library, and manifests that users have written.

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{Mesh, TOOL, config};
use cortex_manifest::ManifestConfig;
use cortex_proto::cortex::manifest::v1::*;
use futures::StreamExt;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

async fn open(root: &Path) -> Mesh {
    Mesh::build(config(root), Vec::new(), None).await
}

#[tokio::test]
async fn the_bundled_library_is_flawless() {
    let mesh = open(&workspace().join("manifests")).await;
    let status = mesh.status().await;
    assert_eq!(status.diagnostics, vec![]);
    for agent in ["assistant", "research_orchestrator"] {
        let closure = mesh.resolve(agent).await.expect("resolved");
        assert!(!closure.agent.expect("an agent").system_prompt.is_empty(), "{agent}");
    }
}

/// Manifests of users, which are not part of the project: read in place where they are at hand.
fn users() -> Option<PathBuf> {
    let named = std::env::var_os("CORTEX_REAL_MANIFESTS").map(PathBuf::from);
    let beside = workspace().join("../shared/manifests");
    named.or_else(|| beside.is_dir().then_some(beside))
}

#[tokio::test]
async fn manifests_of_users_are_accepted() {
    let Some(root) = users() else {
        eprintln!("set CORTEX_REAL_MANIFESTS to a directory of manifests to check them here");
        return;
    };
    let mesh = open(&root).await;
    let status = mesh.status().await;
    let mut of_kind: BTreeMap<&str, i32> = BTreeMap::new();
    for (collection, count) in status.by_type.iter().filter(|(_, count)| **count > 0) {
        of_kind.insert(collection, *count);
    }
    let expected = [("agents", 5), ("monuments", 3), ("relics", 3), ("tools", 7), ("workflows", 6)];
    assert_eq!(of_kind, BTreeMap::from(expected), "{:#?}", status.diagnostics);
    let errors: Vec<_> =
        status.diagnostics.iter().filter(|d| d.severity() == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // Their scripts and some of what they import are elsewhere: each of that is said, with its place.
    for diagnostic in &status.diagnostics {
        let allowed = ["IMPORT_NOT_FOUND", "IMPORT_CYCLE", "FILE_NOT_FOUND"];
        assert!(allowed.contains(&diagnostic.code.as_str()), "{diagnostic:?}");
        assert!(diagnostic.line > 0 && !diagnostic.field.is_empty(), "{diagnostic:?}");
    }
    let cycle = status.diagnostics.iter().find(|d| d.code == "IMPORT_CYCLE").expect("reported");
    for member in ["agent/research_orchestrator", "workflow/multi_agent_research"] {
        assert!(cycle.message.contains(member), "{}", cycle.message);
    }
    for agent in
        ["assistant", "data_processor", "analyzer", "research_orchestrator", "web_researcher"]
    {
        mesh.resolve(agent).await.expect(agent);
    }
}

#[tokio::test]
async fn the_autoload_file_of_users_says_what_it_misses() {
    let Some(root) = users().map(|root| root.join("manifests")) else { return };
    let mesh = open(&root).await;
    let diagnostics = mesh.status().await.diagnostics;
    let missed: Vec<i32> =
        diagnostics.iter().filter(|d| d.code == "AUTOLOAD_NOT_FOUND").map(|d| d.line).collect();
    assert!(!missed.is_empty() && missed.iter().all(|line| *line > 0), "{diagnostics:#?}");
    mesh.resolve("research_orchestrator").await.expect("its own imports are there");
}

async fn changes(mesh: &Mesh) -> impl StreamExt<Item = WatchManifestsResponse> + Unpin {
    let request = WatchManifestsRequest::default();
    let stream = mesh.client().watch_manifests(request).await.expect("watched").into_inner();
    stream.map(|event| event.expect("no error"))
}

/// Waits for an event about a manifest or file of this name.
async fn told(events: &mut (impl StreamExt<Item = WatchManifestsResponse> + Unpin), name: &str) {
    use watch_manifests_response::Change;
    let waiting = async {
        loop {
            let found = match events.next().await.expect("an event").change {
                Some(Change::Loaded(manifest)) => manifest.name == name,
                Some(Change::Removed(reference)) => reference.name == name,
                Some(Change::Rejected(diagnostic)) => diagnostic.file == name,
                _ => false,
            };
            if found {
                return;
            }
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "nothing was told of {name}");
}

#[tokio::test]
async fn changes_of_the_directory_are_loaded_by_themselves() {
    let dir = tempfile::tempdir().expect("a directory");
    let quick =
        ManifestConfig { rescan: cortex_config::Duration::from_secs(3600), ..config(dir.path()) };
    let slow = ManifestConfig {
        watch: false,
        rescan: cortex_config::Duration::from_secs(1),
        ..config(dir.path())
    };
    for config in [quick, slow] {
        let mesh = Mesh::build(config, Vec::new(), None).await;
        let stop = CancellationToken::new();
        let (role, stopped) = (mesh.role.clone(), stop.clone());
        let running = tokio::spawn(async move { role.run(stopped).await });
        let mut events = changes(&mesh).await;
        let file = dir.path().join("new").join("tool.yml");
        // The watcher may start after the first write: writing again is what an editor would do.
        let writing = async {
            loop {
                std::fs::create_dir_all(file.parent().expect("a parent")).expect("created");
                let salt = std::process::id();
                std::fs::write(&file, format!("{TOOL}name: fresh\n# {salt}\n")).expect("written");
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        tokio::select! {
            () = told(&mut events, "fresh") => {}
            () = writing => {}
        }
        std::fs::write(&file, "kind: Tool\nname: fresh\n").expect("written");
        told(&mut events, "new/tool.yml").await;
        assert!(mesh.tool("fresh").await.is_ok(), "what it declared before stays in use");
        std::fs::remove_dir_all(dir.path().join("new")).expect("removed");
        told(&mut events, "fresh").await;
        assert!(mesh.tool("fresh").await.is_err());
        stop.cancel();
        timeout(PATIENCE, running).await.expect("it stops").expect("no panic");
    }
}

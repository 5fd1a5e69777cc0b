//! The generated client over the generated server, in process.

mod common;

use common::{AGENT, Mesh, TOOL, files};
use cortex_proto::cortex::manifest::v1::*;
use futures::StreamExt;
use serde_json::{Value, json};
use tonic::Code;

fn reason(status: &tonic::Status) -> String {
    cortex_rpc::reason(status).unwrap_or_default()
}

#[tokio::test]
async fn an_agent_is_resolved_with_everything_that_it_needs() {
    let mesh = Mesh::open(files()).await;
    let closure = mesh.resolve("helper").await.expect("resolved");
    let agent = closure.agent.expect("an agent");
    assert_eq!(agent.system_prompt, "You are helper.\n\nYou know a lot.");
    assert_eq!(agent.user_prompt, "Be kind.");
    assert_eq!(agent.iteration_cap, 10);
    let primary = agent.primary.expect("a model");
    assert_eq!((primary.provider.as_str(), primary.model.as_str()), ("gemini", "gemini-1.5-flash"));
    let parameters = agent.parameters.expect("parameters");
    assert_eq!(parameters.temperature, Some(0.5));
    assert_eq!(parameters.extra, r#"{"seed_text":9007199254740993}"#);
    assert_eq!(agent.environment["WORKSPACE"], "/home/cortex/agents/helper");

    let names: Vec<&str> = closure.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["clock", "counter"]);
    let counter = closure.tools.iter().find(|tool| tool.name == "counter").expect("counter");
    assert_eq!(
        counter.parameters,
        concat!(
            r#"{"type":"object","properties":{"text":{"type":"string","description":"What to count","minLength":1},"#,
            r#""unit":{"type":"string","enum":["words","letters"],"default":"words"},"#,
            r#""deep":{"type":"boolean","default":false}},"required":["text"]}"#
        )
    );
    assert_eq!((counter.runtime.as_str(), counter.entrypoint.as_str()), ("python3", "main.py"));
    assert_eq!((counter.memory_mb, counter.cpu_limit, counter.timeout_seconds), (128, 0.5, 30));
    assert_eq!((counter.on_lost.as_str(), counter.network_mode.as_str()), ("retry", "none"));
    assert!(counter.bundle_digest.starts_with("b3_"));
    let clock = closure.tools.iter().find(|tool| tool.name == "clock").expect("clock");
    assert_eq!((clock.runtime.as_str(), clock.entrypoint.as_str()), ("toolbox", "clock"));
    assert_eq!(clock.bundle_digest, "");

    assert_eq!(closure.agents[0].name, "scout");
    let scout = mesh.resolve("scout").await.expect("resolved");
    assert_eq!(closure.agents[0].closure_digest, scout.digest);
    assert_eq!(
        closure.workflows[0].parameters,
        r#"{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}"#
    );
}

#[tokio::test]
async fn a_bundle_is_the_files_beside_the_manifest_and_nothing_else() {
    let mesh = Mesh::open(files()).await;
    let tool = mesh.tool("counter").await.expect("resolved");
    let archive = mesh.bundle(&tool.bundle_digest).await.expect("bundled");
    let mut archive = tar::Archive::new(archive.as_slice());
    let entries = archive.entries().expect("an archive");
    let names: Vec<String> = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            assert_eq!(
                (entry.header().mtime().ok(), entry.header().uid().ok()),
                (Some(0), Some(0))
            );
            entry.path().expect("a path").display().to_string()
        })
        .collect();
    assert_eq!(names, ["data/words.txt", "main.py"]);
    let missing = mesh.bundle("b3_00").await.expect_err("unknown");
    assert_eq!((missing.code(), reason(&missing)), (Code::NotFound, "BUNDLE_NOT_FOUND".into()));
}

#[tokio::test]
async fn digests_depend_on_content_only() {
    let one = Mesh::open(files()).await.resolve("helper").await.expect("resolved");
    let mut reversed = files();
    reversed.reverse();
    let two = Mesh::open(reversed).await.resolve("helper").await.expect("resolved");
    assert_eq!(one.digest, two.digest);
    for (path, content) in [
        ("agents/helper/prompts/helper.md", "Another prompt."),
        ("tools/counter/main.py", "print(2)"),
        ("agents/helper/agents/scout/prompt.md", "Another scout."),
    ] {
        let mut changed = files();
        changed.retain(|(name, _)| name != path);
        changed.push((path.to_owned(), content.as_bytes().to_vec()));
        let other = Mesh::open(changed).await.resolve("helper").await.expect("resolved");
        assert_ne!(one.digest, other.digest, "{path}");
    }
}

#[tokio::test]
async fn a_closure_that_was_handed_out_stays_resolvable() {
    let dir = tempfile::tempdir().expect("a directory");
    let mesh = Mesh::in_directory(dir.path(), &files()).await;
    let before = mesh.resolve("helper").await.expect("resolved");
    std::fs::write(dir.path().join("agents/helper/prompts/helper.md"), "Changed.")
        .expect("written");
    let reloaded =
        mesh.client().reload_manifests(ReloadManifestsRequest {}).await.expect("reloaded");
    assert_eq!(reloaded.get_ref().status, "success");
    let after = mesh.resolve("helper").await.expect("resolved");
    assert_ne!(before.digest, after.digest);
    assert_eq!(after.agent.expect("an agent").system_prompt, "Changed.\n\nYou know a lot.");

    let by_digest = ResolveAgentRequest { name: "helper".into(), digest: before.digest.clone() };
    let kept = mesh.client().resolve_agent(by_digest).await.expect("kept").into_inner();
    assert_eq!(
        kept.closure.expect("a closure").agent.expect("an agent").system_prompt,
        "You are helper.\n\nYou know a lot."
    );
    let request =
        ResolveToolRequest { name: "counter".into(), closure_digest: before.digest.clone() };
    let tool = mesh.client().resolve_tool(request).await.expect("kept").into_inner();
    assert_eq!(tool.tool.expect("a tool").name, "counter");

    let other = ResolveAgentRequest { name: "scout".into(), digest: before.digest };
    let error = mesh.client().resolve_agent(other).await.expect_err("another agent's");
    assert_eq!(reason(&error), "CLOSURE_NOT_FOUND");
}

#[tokio::test]
async fn agents_that_delegate_to_each_other_have_digests() {
    let agent = |name: &str, other: &str| {
        format!(
            "{AGENT}name: {name}\npersona: {{agent: \"I am\\n{name}\"}}\nimport: {{agents: [{other}]}}\n"
        )
    };
    let files = |second: &str| {
        vec![
            ("a.agent.yml".to_owned(), agent("ping", "pong").into_bytes()),
            (
                "b.agent.yml".to_owned(),
                format!("{}tags: [{second}]\n", agent("pong", "ping")).into_bytes(),
            ),
        ]
    };
    let mesh = Mesh::open(files("x")).await;
    let (ping, pong) =
        (mesh.resolve("ping").await.expect("ok"), mesh.resolve("pong").await.expect("ok"));
    assert_eq!(ping.agents[0].closure_digest, pong.digest);
    assert_eq!(pong.agents[0].closure_digest, ping.digest);
    assert_ne!(ping.digest, pong.digest);
    let changed = Mesh::open(files("y")).await.resolve("ping").await.expect("ok");
    assert_ne!(ping.digest, changed.digest, "what an agent delegates to is part of it");

    let status = mesh.client().get_registry_status(GetRegistryStatusRequest {}).await.expect("ok");
    let cycle =
        status.get_ref().diagnostics.iter().find(|d| d.code == "IMPORT_CYCLE").expect("reported");
    assert!(cycle.message.contains("agent/ping, agent/pong"), "{}", cycle.message);
}

#[tokio::test]
async fn lookups_say_what_is_wrong() {
    let mut all = files();
    all.push(("tools/broken/tool.yml".into(), b"kind: Tool\nname: broken\nversion: 1\n".to_vec()));
    all.push(("tools/torn/tool.yml".into(), b"kind: Tool\nname: torn\nparameters: [\n".to_vec()));
    all.push((
        "agents/lame/agent.yml".into(),
        format!("{AGENT}name: lame\npersona: {{agent: \"a\\nb\"}}\nimport:\n  tools:\n    - ../../tools/broken\n").into_bytes(),
    ));
    all.push((
        "agents/blind/agent.yml".into(),
        format!(
            "{AGENT}name: blind\npersona: {{agent: \"a\\nb\"}}\nimport: {{tools: [cuonter]}}\n"
        )
        .into_bytes(),
    ));
    let mesh = Mesh::open(all).await;
    let get = |kind: &str, name: &str| GetManifestRequest { kind: kind.into(), name: name.into() };

    let error = mesh.client().get_manifest(get("tool", "cuonter")).await.expect_err("unknown");
    assert_eq!((error.code(), reason(&error)), (Code::NotFound, "MANIFEST_NOT_FOUND".into()));
    assert_eq!(error.message(), "Manifest Tool/cuonter not found; did you mean 'counter'?");
    let error = mesh.client().get_manifest(get("Foo", "x")).await.expect_err("unknown");
    assert_eq!((error.code(), reason(&error)), (Code::InvalidArgument, "UNKNOWN_KIND".into()));

    let error = mesh.client().get_manifest(get("TOOL", "broken")).await.expect_err("broken");
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::FailedPrecondition, "MANIFEST_INVALID".into())
    );
    let fault = cortex_rpc::fault(&error);
    let said: Vec<_> =
        fault.violations.iter().map(|v| (v.field.as_str(), v.description.as_str())).collect();
    assert!(
        said.contains(&("summary", "tools/broken/tool.yml:1:1: Missing required field: summary")),
        "{said:?}"
    );
    assert!(
        said.iter().any(|(field, text)| *field == "version"
            && text.starts_with("tools/broken/tool.yml:3:10: Invalid version format: '1'.")),
        "{said:?}"
    );
    let error = mesh.client().get_manifest(get("Tool", "torn")).await.expect_err("broken");
    assert!(error.message().contains("tools/torn/tool.yml:"), "{}", error.message());

    let error = mesh.resolve("lame").await.expect_err("imports what is broken");
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::FailedPrecondition, "MANIFEST_INVALID".into())
    );
    assert!(error.message().contains("agents/lame/agent.yml:9:7"), "{}", error.message());
    let error = mesh.resolve("blind").await.expect_err("imports what is not there");
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::FailedPrecondition, "IMPORT_NOT_FOUND".into())
    );
    assert!(error.message().contains("did you mean 'counter'?"), "{}", error.message());
    assert!(mesh.resolve("helper").await.is_ok(), "the rest is served");
}

#[tokio::test]
async fn lists_names_status_graph_and_export() {
    let mesh = Mesh::open(files()).await;
    let names = ListNamesRequest { collection: "tools".into(), ..Default::default() };
    let names = mesh.client().list_names(names).await.expect("ok").into_inner();
    assert_eq!(names.names, r#"{"Tool":["clock","counter"]}"#);

    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListManifestsRequest { page_size: 2, page_token, ..Default::default() };
        let page = mesh.client().list_manifests(request).await.expect("ok").into_inner();
        found.extend(page.manifests.into_iter().map(|m| format!("{}/{}", m.kind, m.name)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(
        found,
        ["Agent/helper", "Agent/scout", "Tool/clock", "Tool/counter", "Workflow/dig"]
    );
    let query =
        ListManifestsRequest { query: "TIME".into(), state: "stable".into(), ..Default::default() };
    let page = mesh.client().list_manifests(query).await.expect("ok").into_inner();
    assert_eq!(page.manifests.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["clock"]);
    let stale = ListManifestsRequest { page_token: "zzz".into(), ..Default::default() };
    assert_eq!(
        mesh.client().list_manifests(stale).await.expect_err("bad").code(),
        Code::InvalidArgument
    );

    let status = mesh
        .client()
        .get_registry_status(GetRegistryStatusRequest {})
        .await
        .expect("ok")
        .into_inner();
    assert_eq!(
        (status.total_manifests, status.by_type["agents"], status.by_type["relics"]),
        (5, 2, 0)
    );

    let graph = mesh
        .client()
        .get_graph(GetGraphRequest { format: "dot".into() })
        .await
        .expect("ok")
        .into_inner();
    assert_eq!((graph.nodes.len(), graph.edges.len()), (5, 5));
    assert!(graph.dot.contains(r#""agent/helper" -> "tool/counter";"#), "{}", graph.dot);

    let exported =
        mesh.client().export_registry(ExportRegistryRequest {}).await.expect("ok").into_inner();
    let registry: Value = serde_json::from_str(&exported.registry).expect("JSON");
    assert_eq!(registry["metadata"]["total_manifests"], json!(5));
    assert_eq!(registry["tools"]["clock"]["kind"], json!("Tool"));

    let dependencies = GetDependenciesRequest { kind: "agent".into(), name: "helper".into() };
    let dependencies = mesh.client().get_dependencies(dependencies).await.expect("ok").into_inner();
    let written: Value = serde_json::from_str(&dependencies.dependencies).expect("JSON");
    assert_eq!(written["tools"], json!(["../../tools/counter/tool.yml", "clock"]));
    assert_eq!(dependencies.resolved.len(), 4);
}

#[tokio::test]
async fn documents_keep_what_their_authors_wrote() {
    let mesh = Mesh::open(files()).await;
    let request = GetManifestRequest { kind: "tool".into(), name: "counter".into() };
    let manifest = mesh.client().get_manifest(request).await.expect("ok").into_inner();
    assert_eq!(manifest.manifest.as_ref().expect("m").document, manifest.document);
    assert!(
        manifest.document.contains(r#""x-unknown":{"z":1,"a":9007199254740993}"#),
        "{}",
        manifest.document
    );
    assert!(
        manifest.document.starts_with(r#"{"kind":"Tool","version":"1.0","#),
        "{}",
        manifest.document
    );
}

#[tokio::test]
async fn a_manifest_is_judged_without_being_registered() {
    let mesh = Mesh::open(files()).await;
    let validate = async |content: &str, path: &str| {
        let request = ValidateManifestRequest { content: content.into(), path: path.into() };
        mesh.client().validate_manifest(request).await.expect("answered").into_inner()
    };
    let good =
        validate(&format!("{TOOL}name: fresh\nimport: {{tools: [clock, nothing]}}\n"), "").await;
    let validation = good.validation.expect("a verdict");
    assert_eq!(
        (good.status.as_str(), good.manifest_type.as_str(), validation.valid),
        ("success", "Tool", true)
    );
    assert_eq!(
        (validation.dependencies_satisfied, validation.missing_dependencies),
        (false, vec!["tool/nothing".to_owned()])
    );

    let bad = validate("kind: Foo\nname: 1x\nversion: v1\n", "").await;
    let validation = bad.validation.expect("a verdict");
    assert_eq!((bad.status.as_str(), validation.valid), ("invalid", false));
    assert!(bad.parsed_data.contains("Foo"), "{}", bad.parsed_data);
    assert_eq!(
        validation.errors,
        [
            "Missing required field: summary",
            "Invalid kind 'Foo'. Valid kinds: Agent, Tool, Relic, Workflow, Monument, Amulet",
            "Name must start with a letter and contain only letters, numbers, hyphens, and underscores",
            "Invalid version format: 'v1'. Use semantic versioning (e.g., '1.0' or '1.0.0')",
        ]
    );
    let torn = validate("kind: [", "").await;
    assert_eq!((torn.status.as_str(), torn.parsed_data.as_str()), ("invalid", ""));

    let placed =
        validate(&format!("{AGENT}name: n\npersona: {{agent: ./none.md}}\n"), "agents/n/agent.yml")
            .await;
    assert!(!placed.validation.expect("a verdict").valid);
    let names = ListNamesRequest { collection: "tools".into(), ..Default::default() };
    let names = mesh.client().list_names(names).await.expect("ok").into_inner().names;
    assert!(!names.contains("fresh"));
    let empty = ValidateManifestRequest { content: " ".into(), path: String::new() };
    assert_eq!(
        mesh.client().validate_manifest(empty).await.expect_err("empty").code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn dependencies_are_validated_all_the_way_down() {
    let mut all = files();
    all.push(("deep.workflow.yml".into(), b"kind: Workflow\nversion: '1.0'\nname: deep\nsummary: s\ntrigger: {type: manual}\nsteps: [{name: a, type: agent, target: helper}]\nimport: {workflows: [dig], tools: [../gone/tool.yml, tools/gone/tool.yml]}\n".to_vec()));
    let mesh = Mesh::open(all).await;
    let request = |kind: &str, name: &str| ValidateDependenciesRequest {
        kind: kind.into(),
        name: name.into(),
    };
    let ok = mesh
        .client()
        .validate_dependencies(request("agent", "helper"))
        .await
        .expect("ok")
        .into_inner();
    assert!(ok.validation.expect("a verdict").dependencies_satisfied);
    let bad = mesh
        .client()
        .validate_dependencies(request("workflow", "deep"))
        .await
        .expect("ok")
        .into_inner();
    let bad = bad.validation.expect("a verdict");
    assert!(!bad.valid && !bad.dependencies_satisfied);
    assert_eq!(bad.missing_dependencies, ["tool/gone"]);
    let codes: Vec<_> = bad.diagnostics.iter().map(|d| d.code.as_str()).collect();
    assert_eq!(codes, ["IMPORT_OUTSIDE_ROOT", "IMPORT_NOT_FOUND"]);
}

#[tokio::test]
async fn manifests_are_applied_kept_and_deleted() {
    let store = common::store();
    let mesh = Mesh::with_store(files(), &store).await;
    let content = format!("{TOOL}name: fresh\n");
    let apply = |validate_only| ApplyManifestRequest { content: content.clone(), validate_only };
    let dry = mesh.client().apply_manifest(apply(true)).await.expect("ok").into_inner();
    assert!(dry.changed && mesh.tool("fresh").await.is_err());
    let done = mesh.client().apply_manifest(apply(false)).await.expect("ok").into_inner();
    assert!(done.changed);
    assert_eq!(done.manifest.expect("a manifest").source, "applied");
    assert!(mesh.tool("fresh").await.is_ok());
    let again = mesh.client().apply_manifest(apply(false)).await.expect("ok").into_inner();
    assert!(!again.changed, "the same again changes nothing");

    let restarted = Mesh::with_store(files(), &store).await;
    assert!(restarted.tool("fresh").await.is_ok(), "it is kept");
    let delete = |name: &str| DeleteManifestRequest { kind: "tool".into(), name: name.into() };
    let error = restarted.client().delete_manifest(delete("clock")).await.expect_err("a file's");
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::FailedPrecondition, "DECLARED_BY_FILE".into())
    );
    restarted.client().delete_manifest(delete("fresh")).await.expect("deleted");
    let error = restarted.client().delete_manifest(delete("fresh")).await.expect_err("gone");
    assert_eq!(reason(&error), "MANIFEST_NOT_FOUND");
    mesh.client().reload_manifests(ReloadManifestsRequest {}).await.expect("ok");
    assert!(mesh.tool("fresh").await.is_err(), "a reload sees what others did");

    let bad =
        ApplyManifestRequest { content: "kind: Tool\nname: x\n".into(), validate_only: false };
    let error = mesh.client().apply_manifest(bad).await.expect_err("invalid");
    assert_eq!((error.code(), reason(&error)), (Code::InvalidArgument, "MANIFEST_INVALID".into()));
}

#[tokio::test]
async fn an_export_is_imported_elsewhere_or_not_at_all() {
    let exported =
        Mesh::open(files()).await.client().export_registry(ExportRegistryRequest {}).await;
    let registry = exported.expect("ok").into_inner().registry;
    let mesh = Mesh::with_store(Vec::new(), &common::store()).await;
    let mut broken: Value = serde_json::from_str(&registry).expect("JSON");
    broken["tools"]["clock"]["version"] = json!("one");
    let import = |registry: String| ImportRegistryRequest { registry, validate_only: false };
    let error =
        mesh.client().import_registry(import(broken.to_string())).await.expect_err("invalid");
    assert_eq!(reason(&error), "MANIFEST_INVALID");
    let status = mesh.client().get_registry_status(GetRegistryStatusRequest {}).await.expect("ok");
    assert_eq!(status.get_ref().total_manifests, 0, "nothing was applied");
    let done = mesh.client().import_registry(import(registry)).await.expect("ok").into_inner();
    assert_eq!(
        (done.applied["tools"], done.applied["agents"], done.applied["workflows"]),
        (2, 2, 1)
    );
}

#[tokio::test]
async fn a_watch_tells_everything_and_then_what_changes() {
    use watch_manifests_response::Change;
    let dir = tempfile::tempdir().expect("a directory");
    let mesh = Mesh::in_directory(dir.path(), &files()).await;
    let watch = |after_revision| WatchManifestsRequest { after_revision, kind: "tool".into() };
    let mut stream = mesh.client().watch_manifests(watch(0)).await.expect("ok").into_inner();
    let mut next = async || stream.next().await.expect("an event").expect("no error");
    for expected in ["clock", "counter"] {
        let event = next().await;
        assert!(
            matches!(&event.change, Some(Change::Loaded(m)) if m.name == expected),
            "{event:?}"
        );
        assert_eq!(event.revision, 0);
    }
    let bookmark = next().await;
    assert!(matches!(bookmark.change, Some(Change::Bookmark(_))));

    std::fs::write(dir.path().join("tools/counter/tool.yml"), "kind: [").expect("written");
    std::fs::write(dir.path().join("new.tool.yml"), format!("{TOOL}name: fresh\n"))
        .expect("written");
    std::fs::remove_dir_all(dir.path().join("tools/clock")).expect("removed");
    mesh.client().reload_manifests(ReloadManifestsRequest {}).await.expect("ok");
    let mut seen = vec![next().await, next().await, next().await];
    let revisions: Vec<i64> = seen.iter().map(|event| event.revision).collect();
    assert!(revisions.is_sorted() && revisions[0] > bookmark.revision);
    assert!(matches!(seen.remove(0).change, Some(Change::Removed(r)) if r.name == "clock"));
    assert!(matches!(seen.remove(0).change, Some(Change::Loaded(m)) if m.name == "fresh"));
    assert!(
        matches!(seen.remove(0).change, Some(Change::Rejected(d)) if d.file == "tools/counter/tool.yml")
    );
    assert!(mesh.tool("counter").await.is_ok(), "what a broken file declared stays in use");

    let mut resumed =
        mesh.client().watch_manifests(watch(revisions[0])).await.expect("ok").into_inner();
    let event = resumed.next().await.expect("an event").expect("no error");
    assert_eq!(event.revision, revisions[1]);
    let beyond = mesh.client().watch_manifests(watch(i64::MAX)).await.expect_err("beyond");
    assert_eq!(beyond.code(), Code::OutOfRange);
}

#[tokio::test]
async fn what_does_not_fit_a_message_is_said() {
    let prompt = "x".repeat(1 << 20);
    let mut all: Vec<(String, Vec<u8>)> =
        (0..4).map(|n| (format!("p{n}.md"), prompt.clone().into_bytes())).collect();
    let text = "persona: {agent: p0.md, knowledge: [p1.md, p2.md, p3.md]}\n";
    all.push(("a.yml".into(), format!("{AGENT}name: a\n{text}").into_bytes()));
    let big = "y".repeat(1_000_000);
    for n in 0..5 {
        all.push((format!("t{n}.yml"), format!("{TOOL}name: t{n}\nx: {big}\n").into_bytes()));
    }
    let mesh = Mesh::open(all).await;
    let error = mesh.resolve("a").await.expect_err("too large");
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::ResourceExhausted, "CLOSURE_TOO_LARGE".into())
    );
    let request = ListManifestsRequest::default();
    let page = mesh.client().list_manifests(request).await.expect("fits").into_inner();
    assert_eq!(page.manifests.len(), 3);
    assert!(!page.next_page_token.is_empty());
}

#[tokio::test]
async fn a_bundle_that_is_too_large_is_said() {
    let max_bundle = cortex_config::ByteSize::bytes(10);
    let config = cortex_manifest::ManifestConfig { max_bundle, ..Default::default() };
    let mesh = Mesh::build(config, files(), None).await;
    let error = mesh.tool("counter").await.expect_err("too large");
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::ResourceExhausted, "BUNDLE_TOO_LARGE".into())
    );
    assert!(mesh.tool("clock").await.is_ok());
}

//! What is wrong with wrong manifests, word for word, and that odd but usable ones are accepted.

mod common;

use common::{AGENT, Mesh, TOOL};
use cortex_proto::cortex::manifest::v1::*;

const RELIC: &str =
    "kind: Relic\nversion: '1.0'\nsummary: s\nservice_type: cache\ninterface: {type: rest_api}\n";
const WORKFLOW: &str = "kind: Workflow\nversion: '1.0'\nsummary: s\ntrigger: {type: manual}\n";

/// Name, text, and where it would stand.
fn cases() -> Vec<(&'static str, String, &'static str)> {
    let agent = |rest: &str| format!("{AGENT}name: a\npersona: {{agent: \"I\\nam\"}}\n{rest}");
    let engine = |engine: &str| agent(&format!("cognitive_engine:\n  primary: {engine}\n"));
    let tool = |rest: &str| format!("{TOOL}name: t\n{rest}");
    let step = |step: &str| format!("{WORKFLOW}name: w\nsteps:\n  - {step}\n");
    vec![
        ("empty", "# nothing\n".into(), "tool.yml"),
        ("legacy relics", "PraetorianRelics:\n  KeyValueStore: {version: '1.0'}\n".into(), ""),
        ("legacy tools", "# old\nSystemTools:\n  - name: x\n".into(), ""),
        ("monument", "kind: Monument\nversion: '1.0'\nname: m\nsummary: s\ninfrastructure:\n  relics:\n    - {name: r, path: ./none.yml}\n".into(), "m.yml"),
        ("metadata", "kind: Metadata\nversion: '1.0'\nname: m\nsummary: s\nfields: {status: {type: enum}}\n".into(), ""),
        ("step without target", step("{name: a, type: tool}"), ""),
        ("step of no type", step("{name: a, type: toll, target: x}"), ""),
        ("internal step without target", step("{name: a, type: internal}"), ""),
        ("two steps of one name", step("{name: a, type: internal}\n  - {name: a, type: internal}"), ""),
        ("no steps", format!("{WORKFLOW}name: w\nsteps: []\n"), ""),
        ("version 1", tool("").replace("'1.0'", "1"), ""),
        ("version of a float", tool("").replace("'1.0'", "1.10"), ""),
        ("version v1.0", tool("").replace("'1.0'", "v1.0"), ""),
        ("version with four parts", tool("").replace("'1.0'", "1.0.0.0"), ""),
        ("name with a leading digit", tool("").replace("name: t", "name: 1 t"), ""),
        ("name that is a number", tool("").replace("name: t", "name: 7"), ""),
        ("nothing but a kind", "kind: Agent\n".into(), ""),
        ("kind in another case", tool("").replace("kind: Tool", "kind: tool"), ""),
        ("import of nothing", agent("import: null\n"), ""),
        ("import of null lists", agent("import: {tools: null, agents: []}\n"), ""),
        ("import by name", agent("import: {tools: [known]}\n"), ""),
        ("import of a directory", agent("import: {tools: [./tools/known]}\n"), ""),
        ("import of a name that is nearly there", agent("import: {tools: [knwon]}\n"), ""),
        ("import of a file that is not there", agent("import:\n  tools:\n    - ./tools/knwon/tool.yml\n"), ""),
        ("import of another kind", agent("import: {relics: [./tools/known]}\n"), ""),
        ("import from outside", agent("import: {tools: [../../etc/tool.yml, /etc/passwd]}\n"), ""),
        ("import of a broken file", agent("import: {tools: [./tools/broken/tool.yml]}\n"), ""),
        ("import of a list of maps", agent("import: {tools: [{path: ./tools/known}, {nothing: 1}]}\n"), ""),
        ("import under a misspelt key", agent("import: {tool: [known]}\n"), ""),
        ("absolute import of the container's root", agent("import: {tools: [/app/manifests/tools/known/tool.yml]}\n"), ""),
        ("feed of an agent", agent("context_feeds:\n  - {id: f, type: on_demand, source: {type: agent, name: x}}\n"), ""),
        ("feed without source", agent("context_feeds:\n  - {id: f, type: sometimes}\n"), ""),
        ("parameter in short", step("{name: a, type: internal}").replace("{type: manual}", "{type: manual, parameters: {days: integer, odd: intger}}"), ""),
        ("persona that is not there", format!("{AGENT}name: a\npersona:\n  agent: ./none.md\n"), "agents/a/agent.yml"),
        ("no persona", format!("{AGENT}name: a\n"), ""),
        ("persona without agent", format!("{AGENT}name: a\npersona: {{usr: x}}\n"), ""),
        ("variables", format!("{RELIC}name: r\nurl: \"${{X:-d}} $NOPE ${{TIMESTAMP}} $$5\"\n"), ""),
        ("number in the environment", agent("environment: {variables: {PORT: 8080, RATIO: 1.50, ON: true, NONE: }}\n"), ""),
        ("list in the environment", agent("environment: {variables: {PORTS: [1]}}\n"), ""),
        ("front matter", format!("---\n{AGENT}name: a\n---\n\n# I am a\n"), "a.md"),
        ("front matter of a list", "---\n- a\n---\ntext\n".into(), "a.md"),
        ("markdown without front matter", "# I am a\n".into(), "a.md"),
        ("separators in YAML", format!("---\n{}---\nother: 1\n", tool("")), "tool.yml"),
        ("provider of one's own", engine("{provider: openia, model: m}"), ""),
        ("no model", engine("{provider: openai}"), ""),
        ("no primary", agent("cognitive_engine: {fallback: {provider: groq, model: m}}\n"), ""),
        ("temperature 3.0", engine("{provider: google, model: m}\n  parameters: {temperature: 3.0, top_p: 1.5, max_tokens: 0}"), ""),
        ("negative iteration cap", agent("iteration_cap: -1\n"), ""),
        ("state experimental", tool("").replace("stable", "experimental"), ""),
        ("state stabel", tool("").replace("stable", "stabel"), ""),
        ("levels and grades of both families", agent("agency_level: elevated\ngrade: epic\n"), ""),
        ("levels and grades of none", agent("agency_level: godlike\ngrade: lengendary\n"), ""),
        ("relic with dependencies as an object", format!("{RELIC}name: r\ndependencies: {{services: [redis]}}\n"), ""),
        ("relic without an interface", "kind: Relic\nversion: '1.0'\nname: r\nsummary: s\n".into(), ""),
        ("tool without an implementation", tool("").replace("implementation: {type: toolbox}\n", ""), ""),
        ("tool that leaves its directory", tool("").replace("{type: toolbox}", "{type: script, runtime: python3, entrypoint: ../x.py}"), ""),
        ("tool of an unknown runtime", tool("").replace("{type: toolbox}", "{type: script, runtime: pyhton3, entrypoint: x.py}"), ""),
        ("tool with odd resources", tool("").replace("{type: toolbox}", "{type: toolbox, resources: {memory: 1M, cpu: 500m, timeout: 1m}}"), ""),
        ("tool with wrong resources", tool("").replace("{type: toolbox}", "{type: toolbox, resources: {memory: lots, cpu: none, timeout: 90000}}"), ""),
        ("parameters", tool("parameters:\n  - {name: a, type: strnig}\n  - {type: string}\n  - {name: a, type: string}\n  - text\n"), ""),
        ("typos", tool("paramters: []\nsumary: x\nx-mine: 1\n"), ""),
        ("repeated key", tool("tags: [a]\ntags: [b]\n"), ""),
        ("a number that does not fit", tool("x: 18446744073709551616\n"), ""),
        ("not closed", tool("tags: [a\n"), ""),
        ("a tab", tool("x:\n\t- a\n"), ""),
        ("not a map", "- kind: Tool\n".into(), ""),
        ("deep", tool(&format!("x: {}1{}\n", "[".repeat(80), "]".repeat(80))), ""),
    ]
}

#[tokio::test]
async fn every_case_is_answered_in_these_words() {
    let known = format!("{TOOL}name: known\n");
    let mesh = Mesh::open(vec![
        ("tools/known/tool.yml".into(), known.into_bytes()),
        ("tools/broken/tool.yml".into(), b"kind: Tool\nname: broken\n".to_vec()),
    ])
    .await;
    let mut answers = String::new();
    for (name, content, path) in cases() {
        let request = ValidateManifestRequest { content, path: path.into() };
        let response =
            mesh.client().validate_manifest(request).await.expect("answered").into_inner();
        let validation = response.validation.expect("a verdict");
        assert_eq!(validation.valid, validation.errors.is_empty(), "{name}");
        answers.push_str(&format!(
            "{name}: {}\n",
            if validation.valid { "accepted" } else { "refused" }
        ));
        for d in validation.diagnostics {
            let severity = if d.severity() == Severity::Error { "error" } else { "warning" };
            let field = if d.field.is_empty() { String::new() } else { format!(" {}:", d.field) };
            answers.push_str(&format!(
                "    {severity} {} {}:{}:{}:{field} {}\n",
                d.code, d.file, d.line, d.column, d.message
            ));
        }
    }
    insta::assert_snapshot!(answers);
}

#[tokio::test]
async fn names_that_are_taken_are_settled_and_told() {
    let tool = |summary: &str| TOOL.replace("A tool", summary) + "name: kv\n";
    let mesh = Mesh::open(vec![
        ("b/tool.yml".into(), tool("second").into_bytes()),
        ("a/tool.yml".into(), tool("first").into_bytes()),
        ("c/deep/tool.yml".into(), tool("third").into_bytes()),
    ])
    .await;
    let get = GetManifestRequest { kind: "tool".into(), name: "kv".into() };
    let manifest = mesh.client().get_manifest(get).await.expect("found").into_inner().manifest;
    assert_eq!(manifest.expect("a manifest").summary, "first");
    let duplicates: Vec<_> =
        mesh.status().await.diagnostics.into_iter().map(|d| (d.code, d.file)).collect();
    let duplicate = |file: &str| ("DUPLICATE_NAME".to_owned(), file.to_owned());
    assert_eq!(duplicates, [duplicate("b/tool.yml"), duplicate("c/deep/tool.yml")]);
}

#[tokio::test]
async fn autoload_settles_names_and_misses_nothing_silently() {
    let tool = |summary: &str| TOOL.replace("A tool", summary) + "name: kv\n";
    let autoload = "tools:\n  - b/tool.yml\n  - /app/manifests/a/tool.yml\n  - c/tool.yml\n  - ../x.yml\nmonuments:\namulets: []\n";
    let mesh = Mesh::open(vec![
        ("autoload.yml".into(), autoload.into()),
        ("a/tool.yml".into(), (TOOL.to_owned() + "name: other\n").into_bytes()),
        ("a/kv.yml".into(), tool("first").into_bytes()),
        ("b/tool.yml".into(), tool("second").into_bytes()),
    ])
    .await;
    let get = GetManifestRequest { kind: "tool".into(), name: "kv".into() };
    let manifest = mesh.client().get_manifest(get).await.expect("found").into_inner().manifest;
    assert_eq!(manifest.expect("a manifest").summary, "second");
    let diagnostics = mesh.status().await.diagnostics;
    let missed: Vec<_> = diagnostics
        .iter()
        .filter(|d| d.code == "AUTOLOAD_NOT_FOUND")
        .map(|d| format!("{}:{} {}: {}", d.file, d.line, d.field, d.message))
        .collect();
    assert_eq!(
        missed,
        [
            "autoload.yml:4 tools[2]: no file 'c/tool.yml'",
            "autoload.yml:5 tools[3]: '../x.yml' leads outside the manifests' directory"
        ]
    );
}

#[tokio::test]
async fn what_is_no_manifest_is_left_alone() {
    let mesh = Mesh::open(vec![
        ("README.md".into(), b"---\ntitle: x\n---\n# Hello".to_vec()),
        ("docker-compose.yml".into(), b"version: '3'\nservices: {}\n".to_vec()),
        ("k8s.yaml".into(), b"apiVersion: v1\nkind: Service\nname: x\n".to_vec()),
        ("values.yml".into(), b"a: {{ template }}\n".to_vec()),
        ("data.yml".into(), b"- 1\n- 2\n".to_vec()),
        ("empty.yml".into(), Vec::new()),
        ("binary.yml".into(), vec![0xff, 0xfe, 0x00]),
        ("config.json".into(), b"{\"kind\": \"Tool\"}".to_vec()),
    ])
    .await;
    let status = mesh.status().await;
    assert_eq!((status.total_manifests, status.diagnostics), (0, vec![]));
}

#[tokio::test]
async fn markdown_is_a_manifest_and_a_prompt() {
    let text = format!("---\n{AGENT}name: writer\n---\n\n# You write\n\nWell.\n");
    let mesh = Mesh::open(vec![("writer.md".into(), text.into_bytes())]).await;
    let closure = mesh.resolve("writer").await.expect("resolved");
    assert_eq!(closure.agent.expect("an agent").system_prompt, "# You write\n\nWell.");
}

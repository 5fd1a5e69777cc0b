//! What all kinds of manifests say, and which kind it is.

use cortex_config::{
    KeyPath,
    yaml::{Content, Node, Position},
};
use serde_json::Value;

use super::{Agent, Body, Fields, Relic, Tool, Workflow, fields::spelling};
use crate::{
    diagnostic::{Report, code},
    kind::{ManifestKind, ManifestRef, is_name},
    text::Document,
    variables::Variables,
};

/// The key under which the Markdown behind front matter stands in a document.
pub const MARKDOWN_KEY: &str = "_markdown_content";

/// A manifest's own words, valid in themselves. What it refers to has not been looked up.
#[derive(Debug, Clone)]
pub struct Common {
    /// Its kind and name.
    pub id: ManifestRef,
    /// Its version.
    pub version: String,
    /// What it is, in a sentence.
    pub summary: String,
    /// Its maturity: `unstable` when it is silent.
    pub state: &'static str,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What it imports, in the order in which it is written.
    pub imports: Vec<Import>,
    /// What its kind says.
    pub body: Body,
    /// Every field that its author wrote, variables of load time resolved.
    pub document: Value,
}

/// One import, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// What it must be.
    pub kind: ManifestKind,
    /// The path or name.
    pub target: ImportTarget,
    /// Where it is written.
    pub at: Position,
    /// The path of the field.
    pub field: KeyPath,
}

/// What an import names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportTarget(pub String);

const STATES: &[&str] = &["stable", "nightly", "unstable", "experimental", "deprecated"];
const LEGACY_ROOTS: &[(&str, &str)] = &[
    ("PraetorianRelics", "Relic"),
    ("PraetorianAgents", "Agent"),
    ("PraetorianTools", "Tool"),
    ("SystemTools", "Tool"),
    ("SystemRelics", "Relic"),
];
const INVALID_NAME: &str =
    "Name must start with a letter and contain only letters, numbers, hyphens, and underscores";

/// Reads one document. What is wrong goes to `report`; with an error in it there is no manifest.
/// The kind and name, as far as they can be read, are given in any case.
pub fn parse(
    document: Document,
    variables: &Variables,
    report: &Report,
) -> (Option<ManifestRef>, Option<Common>) {
    let Document { mut fields, markdown } = document;
    if let Some(text) = markdown {
        add_markdown(&mut fields, text);
    }
    let root = Fields::new(&fields, KeyPath::root(), report);
    if refuse_legacy(&root) {
        return (None, None);
    }
    let header = Header::read(&root);
    let id = header.id();
    let (Some(id), Some(version)) = (id.clone(), header.version.clone()) else {
        return (id, None);
    };
    let variables = variables.for_manifest(id.kind, &id.name, &version);
    resolve_values(&mut fields, &version, &variables, report);
    let common = body(&fields, id.clone(), version, report);
    (Some(id), common.filter(|_| !report.has_errors()))
}

fn body(fields: &Node, id: ManifestRef, version: String, report: &Report) -> Option<Common> {
    let root = Fields::new(fields, KeyPath::root(), report);
    let summary = root.spelled("summary")?;
    let body = match id.kind {
        ManifestKind::Agent => Body::Agent(Box::new(Agent::read(&root)?)),
        ManifestKind::Tool => Body::Tool(Box::new(Tool::read(&root)?)),
        ManifestKind::Relic => Body::Relic(Relic::read(&root)),
        ManifestKind::Workflow => Body::Workflow(Workflow::read(&root)),
        ManifestKind::Monument | ManifestKind::Amulet | ManifestKind::Metadata => Body::Other,
    };
    let mut imports = imports(&root);
    if id.kind == ManifestKind::Monument {
        imports.extend(monument_paths(&root));
    }
    Some(Common {
        id,
        version,
        summary,
        state: root.one_of("state", STATES).unwrap_or("unstable"),
        tags: root.texts("tags"),
        imports,
        body,
        document: fields.to_json(),
    })
}

/// `kind`, `name`, `version`, and that `summary` is there: what the predecessor calls structure.
struct Header {
    kind: Option<ManifestKind>,
    name: Option<String>,
    version: Option<String>,
}

impl Header {
    fn read(root: &Fields<'_>) -> Self {
        for key in ["kind", "version", "name", "summary"] {
            if !root.has(key) {
                root.missing(key);
            }
        }
        Self { kind: kind(root), name: name(root), version: version(root) }
    }

    fn id(&self) -> Option<ManifestRef> {
        Some(ManifestRef::new(self.kind?, self.name.clone()?))
    }
}

fn kind(root: &Fields<'_>) -> Option<ManifestKind> {
    let text = root.spelled("kind")?;
    let kind = ManifestKind::exact(&text);
    if kind.is_none() {
        let near = ManifestKind::near(&text);
        let hint = near.map(|near| format!("did you mean '{near}'?")).unwrap_or_default();
        let message = format!(
            "Invalid kind '{text}'. Valid kinds: Agent, Tool, Relic, Workflow, Monument, Amulet"
        );
        root.error(code::INVALID_KIND, "kind", message, &hint);
    }
    kind
}

fn name(root: &Fields<'_>) -> Option<String> {
    let value = root.value("name")?;
    let Some(text) = value.as_text().filter(|text| !text.is_empty()) else {
        root.error(code::INVALID_NAME, "name", "Name must be a non-empty string", "");
        return None;
    };
    if !is_name(text) {
        let hint = suggested_name(text);
        root.error(code::INVALID_NAME, "name", INVALID_NAME, &hint);
        return None;
    }
    Some(text.to_owned())
}

fn suggested_name(text: &str) -> String {
    let fixed: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let fixed = fixed.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    if fixed.is_empty() { String::new() } else { format!("'{fixed}' would do") }
}

fn version(root: &Fields<'_>) -> Option<String> {
    let value = root.value("version")?;
    let text = spelling(value).unwrap_or_default();
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !matches!(parts.len(), 2 | 3) || !parts.iter().all(digits) {
        let message = format!(
            "Invalid version format: '{text}'. Use semantic versioning (e.g., '1.0' or '1.0.0')"
        );
        root.error(code::INVALID_VERSION, "version", message, "");
        return None;
    }
    if value.as_text().is_none() {
        let message = format!("the version {text} is a number; write it in quotes: \"{text}\"");
        root.warning(code::WRONG_TYPE, "version", message);
    }
    Some(text)
}

/// Whether a map has the root of a format of before the predecessor.
pub fn is_legacy(fields: &Node) -> bool {
    fields.get("kind").is_none() && LEGACY_ROOTS.iter().any(|(key, _)| fields.get(key).is_some())
}

/// Refuses a format of before the predecessor, and says what to write instead.
fn refuse_legacy(root: &Fields<'_>) -> bool {
    if root.has("kind") {
        return false;
    }
    let legacy = LEGACY_ROOTS.iter().find(|(key, _)| root.has(key));
    let Some((key, kind)) = legacy else { return false };
    let message = format!("'{key}' is a format that is no longer read");
    let hint = format!(
        "write each entry as a manifest of its own, with 'kind: {kind}', 'version', 'name' (the \
         entry's key in lower case) and 'summary' at the top"
    );
    let at = root.node().entry(key).map_or(root.node().at, |entry| entry.key_at);
    root.report().error_with_hint(code::LEGACY_FORMAT, at, &root.path().key(*key), message, hint);
    true
}

/// Resolves variables everywhere but in what names the manifest.
fn resolve_values(fields: &mut Node, version: &str, variables: &Variables, report: &Report) {
    let Content::Map(entries) = &mut fields.content else { return };
    for entry in entries {
        match entry.key.as_str() {
            "kind" | "name" | MARKDOWN_KEY => {}
            "version" => entry.value.content = Content::Text(version.to_owned()),
            key => variables.resolve_node(&mut entry.value, &KeyPath::root().key(key), report),
        }
    }
}

fn add_markdown(fields: &mut Node, text: String) {
    let at = fields.at;
    if let Content::Map(entries) = &mut fields.content {
        entries.push(cortex_config::yaml::Entry {
            key: MARKDOWN_KEY.to_owned(),
            key_at: at,
            value: Node { content: Content::Text(text), at },
        });
    }
}

fn imports(root: &Fields<'_>) -> Vec<Import> {
    let Some(section) = root.section("import") else { return Vec::new() };
    let known = ManifestKind::ALL.map(ManifestKind::collection);
    section.suspect_typos(&known);
    let mut found = Vec::new();
    for (key, _, _) in section.entries() {
        if let Some(kind) = ManifestKind::ALL.into_iter().find(|kind| kind.collection() == key) {
            let items = section.items(key).into_iter();
            found.extend(items.filter_map(|(item, field)| import(&section, kind, item, field)));
        }
    }
    found
}

/// An import: a text, or a map that has it as `path` or `name`.
fn import(section: &Fields<'_>, kind: ManifestKind, item: &Node, field: KeyPath) -> Option<Import> {
    let named = item.get("path").or_else(|| item.get("name"));
    let text = item.as_text().or_else(|| named.and_then(Node::as_text)).map(str::trim);
    match text {
        Some(text) if !text.is_empty() => {
            Some(Import { kind, target: ImportTarget(text.to_owned()), at: item.at, field })
        }
        _ => {
            let message =
                format!("expected the path or name of a {}, found {}", kind.lower(), item.kind());
            section.report().error(code::WRONG_TYPE, item.at, &field, message);
            None
        }
    }
}

/// The paths by which a monument names its parts.
fn monument_paths(root: &Fields<'_>) -> Vec<Import> {
    let parts = [
        (root.section("infrastructure"), "relics", ManifestKind::Relic),
        (root.section("intelligence"), "agents", ManifestKind::Agent),
        (root.section("automation"), "workflows", ManifestKind::Workflow),
        (Some(root.clone()), "tools", ManifestKind::Tool),
    ];
    let mut found = Vec::new();
    for (section, key, kind) in parts {
        for part in section.iter().flat_map(|section| section.sections(key)) {
            if let (Some(path), Some(node)) = (part.text("path"), part.value("path")) {
                let field = part.path().key("path");
                let target = ImportTarget(path.to_owned());
                found.push(Import { kind, target, at: node.at, field });
            }
        }
    }
    found
}

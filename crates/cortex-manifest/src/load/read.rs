//! One file or text: is it a manifest, and what does it say.

use std::time::SystemTime;

use cortex_config::{
    KeyPath,
    yaml::{Node, Position},
};

use super::{Broken, LoadOptions};
use crate::{
    diagnostic::{Diagnostic, Report, code},
    document::{self, Body, Common, PersonaText},
    kind::{ManifestKind, ManifestRef, is_name},
    manifest::{Manifest, Prompts, Source},
    path::TreePath,
    ports::FilesError,
    text::{self, Document, Format},
    tree::FileTree,
};

/// Largest text of a persona, in bytes.
const MAX_PROMPT: u64 = 1 << 20;
/// Fields that say that a YAML file belongs to something else.
const FOREIGN: &[&str] = &["apiVersion", "services", "openapi", "swagger"];

/// What one text gave.
#[derive(Debug, Default)]
pub struct TextResult {
    /// What can be used.
    pub manifests: Vec<Manifest>,
    /// What cannot.
    pub broken: Vec<Broken>,
}

/// Reads a file of the tree. None: it is no manifest. A file that is `expected` to be one always is.
pub(super) fn read_file(
    path: &TreePath,
    expected: bool,
    tree: &FileTree,
    options: &LoadOptions,
    now: SystemTime,
) -> Option<TextResult> {
    let format = Format::of_extension(&path.extension());
    let expected = expected || is_conventional(path);
    if !expected && (format.is_none() || path.extension() == "json") {
        return None;
    }
    let limit = u64::try_from(options.limits.bytes).unwrap_or(u64::MAX);
    let (layer, text) = match read_utf8(tree, path, limit) {
        Ok(found) => found,
        Err(message) => return expected.then(|| unreadable(path, tree, &message)),
    };
    let source = Source::File { path: path.clone(), layer };
    let Some(format) = format else {
        let message = format!("Unsupported file extension: .{}", path.extension());
        return expected.then(|| refused(&text, source, message, Position::default()));
    };
    match text::read(&text, format, options.limits) {
        Ok(documents) if expected || documents.iter().any(is_manifest) => {
            Some(read_documents(documents, &source, tree, options, now))
        }
        Ok(_) => None,
        Err(error) if expected || seems_manifest(&text, format) => {
            let message = match error.message.as_str() {
                own if own.starts_with(char::is_uppercase) => own.to_owned(),
                other => format!("Failed to parse manifest '{}': {other}", path.file_name()),
            };
            Some(refused(&text, source, message, error.at))
        }
        Err(_) => None,
    }
}

/// Reads a text that came with a call, as if it stood at `path`.
pub fn read_text(
    text: &str,
    path: Option<&TreePath>,
    tree: &FileTree,
    options: &LoadOptions,
    now: SystemTime,
) -> TextResult {
    let source = match path {
        Some(path) => Source::File { path: path.clone(), layer: tree.layer_of(path).unwrap_or(0) },
        None => Source::Applied,
    };
    let format = path.and_then(|path| Format::of_extension(&path.extension()));
    match text::read(text, format.unwrap_or(Format::Unknown), options.limits) {
        Ok(documents) => read_documents(documents, &source, tree, options, now),
        Err(error) => refused(text, source, error.message, error.at),
    }
}

fn read_documents(
    documents: Vec<Document>,
    source: &Source,
    tree: &FileTree,
    options: &LoadOptions,
    now: SystemTime,
) -> TextResult {
    let mut result = TextResult::default();
    for document in documents {
        let report = Report::new(source.file());
        let said = document.fields.to_json();
        let (id, common) = document::parse(document, &options.variables, &report);
        let read = common.map(|common| {
            doubt_entrypoint(&common, source, tree, &report);
            (prompts(&common, source, tree, options, &report), common)
        });
        let has_errors = report.has_errors();
        let found = report.finish();
        match read {
            Some((prompts, common)) if !has_errors => {
                let mut manifest = Manifest::new(common, source.clone(), prompts, now);
                manifest.warnings = found;
                result.manifests.push(manifest);
            }
            _ => {
                let (source, document) = (source.clone(), Some(said));
                result.broken.push(Broken { id, source, diagnostics: found, document });
            }
        }
    }
    result
}

/// Warns of a tool whose program is not among its files.
fn doubt_entrypoint(common: &Common, source: &Source, tree: &FileTree, report: &Report) {
    let (Body::Tool(tool), Source::File { path, .. }) = (&common.body, source) else { return };
    let implementation = &tool.implementation;
    let program = implementation.entrypoint.as_str();
    if !implementation.needs_files() || program.is_empty() || program.contains(char::is_whitespace)
    {
        return;
    }
    if let Ok(file) = path.parent().join(program)
        && tree.layer_of(&file).is_none()
    {
        let field = KeyPath::dotted("implementation.entrypoint");
        let message = format!("no file '{file}'; the tool cannot run without it");
        report.warning(code::FILE_NOT_FOUND, tool.entrypoint_at, &field, message);
    }
}

/// The texts of an agent's persona, variables in double braces resolved.
fn prompts(
    common: &Common,
    source: &Source,
    tree: &FileTree,
    options: &LoadOptions,
    report: &Report,
) -> Prompts {
    let Body::Agent(agent) = &common.body else { return Prompts::default() };
    let variables =
        options.variables.for_manifest(common.id.kind, &common.id.name, &common.version);
    let directory = match source {
        Source::File { path, .. } => path.parent(),
        Source::Applied => TreePath::root(),
    };
    let join = |texts: &[PersonaText]| {
        let texts =
            texts.iter().filter_map(|text| persona_text(text, source, &directory, tree, report));
        let texts: Vec<String> = texts.filter(|text| !text.trim().is_empty()).collect();
        variables.resolve_prose(texts.join("\n\n").trim())
    };
    Prompts { system: join(&agent.persona.system), user: join(&agent.persona.user) }
}

fn persona_text(
    text: &PersonaText,
    source: &Source,
    directory: &TreePath,
    tree: &FileTree,
    report: &Report,
) -> Option<String> {
    let (path, at, field) = match text {
        PersonaText::Inline(text) => return Some(text.clone()),
        PersonaText::File { path, at, field } => (path, *at, field),
    };
    let found = locate(path, directory, tree)
        .map_err(|error| error.to_string())
        .and_then(|path| read_utf8(tree, &path, MAX_PROMPT));
    match (found, source) {
        (Ok((_, text)), _) => return Some(text.trim().to_owned()),
        // A text without a file has no directory in which its persona could stand.
        (Err(message), Source::Applied) => {
            report.warning(code::FILE_NOT_FOUND, at, field, message);
        }
        (Err(message), Source::File { .. }) => {
            let hint = format!("paths start in the manifest's directory, '{directory}'");
            report.error_with_hint(code::FILE_NOT_FOUND, at, field, message, hint);
        }
    }
    None
}

/// Where a file that a manifest names stands: absolute, relative to the manifest, or to the root.
fn locate(path: &str, directory: &TreePath, tree: &FileTree) -> Result<TreePath, FilesError> {
    if path.starts_with('/') {
        return Ok(tree.in_tree(path).map_or_else(|| TreePath::parse(path), Ok)?);
    }
    let relative = directory.join(path)?;
    if tree.layer_of(&relative).is_none() && !path.starts_with('.') {
        let from_root = TreePath::parse(path)?;
        if tree.layer_of(&from_root).is_some() {
            return Ok(from_root);
        }
    }
    Ok(relative)
}

fn read_utf8(tree: &FileTree, path: &TreePath, limit: u64) -> Result<(usize, String), String> {
    let (layer, bytes) = tree.read(path, limit).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| format!("'{path}' is not text in UTF-8"))?;
    Ok((layer, text))
}

fn unreadable(path: &TreePath, tree: &FileTree, message: &str) -> TextResult {
    let layer = tree.layer_of(path).unwrap_or(0);
    refused("", Source::File { path: path.clone(), layer }, message.to_owned(), Position::default())
}

/// A text that is no manifest, under the name that it seems to have.
fn refused(text: &str, source: Source, message: String, at: Position) -> TextResult {
    let report = Report::new(source.file());
    report.error(code::PARSE_ERROR, at, &KeyPath::root(), message);
    let id = guess(text, &source);
    let broken = Broken { id, source, diagnostics: report.finish(), document: None };
    TextResult { manifests: vec![], broken: vec![broken] }
}

/// The kind and name that a broken text would have had: as its lines say, else as its place says.
fn guess(text: &str, source: &Source) -> Option<ManifestRef> {
    let (kind, name) = text::sniff(text);
    let path = match source {
        Source::File { path, .. } => Some(path),
        Source::Applied => None,
    };
    let kind = kind.and_then(ManifestKind::lookup).or_else(|| conventional_kind(path?))?;
    let from_path = || {
        let path = path?;
        let stem = path.stem();
        let own = ManifestKind::lookup(stem).is_some() || stem == "manifest";
        Some(if own { path.parent().file_name().to_owned() } else { stem.to_owned() })
    };
    let name = name.map(str::to_owned).or_else(from_path).filter(|name| is_name(name))?;
    Some(ManifestRef::new(kind, name))
}

/// Whether a file's name says that it is a manifest: `tool.yml`, `cleanup.workflow.yaml`.
fn is_conventional(path: &TreePath) -> bool {
    let yaml = matches!(path.extension().as_str(), "yml" | "yaml");
    yaml && (conventional_kind(path).is_some() || path.stem() == "manifest")
}

fn conventional_kind(path: &TreePath) -> Option<ManifestKind> {
    let name = path.file_name();
    let (stem, _) = name.rsplit_once('.')?;
    ManifestKind::ALL.into_iter().find(|kind| {
        stem == kind.lower()
            || stem.strip_suffix(kind.lower()).is_some_and(|rest| rest.ends_with('.'))
    })
}

/// Whether a document of an ordinary file is meant to be a manifest. A docker-compose file, a
/// Kubernetes object, a README with front matter are not.
fn is_manifest(document: &Document) -> bool {
    let fields = &document.fields;
    if FOREIGN.iter().any(|key| fields.get(key).is_some()) {
        return false;
    }
    let kind = fields.get("kind").and_then(Node::as_text);
    let known = kind.is_some_and(|kind| ManifestKind::lookup(kind).is_some());
    if document.markdown.is_some() {
        return known;
    }
    let nearly = kind.is_some_and(|kind| ManifestKind::near(kind).is_some());
    let has = |key| fields.get(key).is_some();
    let shaped = has("kind") && has("name") && (has("version") || has("summary"));
    known || nearly || shaped || document::is_legacy(fields)
}

/// Whether a text that cannot be read was meant to be a manifest.
fn seems_manifest(text: &str, format: Format) -> bool {
    let (kind, _) = text::sniff(text);
    let known = kind.and_then(ManifestKind::lookup).is_some();
    known
        && !text.contains("apiVersion:")
        && (format != Format::Markdown || text.starts_with("---"))
}

/// The first error of something broken, for messages about what refers to it.
pub(super) fn first_error(broken: &Broken) -> Option<&Diagnostic> {
    broken.diagnostics.iter().find(|diagnostic| diagnostic.is_error())
}

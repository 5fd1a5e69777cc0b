//! What can go wrong in the registry, as facts.

use cortex_core::{Fault, PageError};

use crate::{
    diagnostic::Diagnostic,
    kind::{ManifestKind, ManifestRef},
    path::OutsideRoot,
    ports::{FilesError, StoreError},
};

/// What can go wrong in the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such kind.
    #[error("'{given}' is not a kind of manifest; kinds are {}", kinds())]
    UnknownKind {
        /// What was given.
        given: String,
    },
    /// No manifest has the name.
    #[error("Manifest {}/{} not found{hint}", id.kind, id.name)]
    NotFound {
        /// What was asked for.
        id: ManifestRef,
        /// `; did you mean …`, or nothing.
        hint: String,
    },
    /// The manifest is there, and cannot be used.
    #[error("the {} '{}' is invalid: {}", id.kind.lower(), id.name, first(diagnostics))]
    Invalid {
        /// The manifest.
        id: ManifestRef,
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
    /// A text that was given is no valid manifest.
    #[error("the manifest is invalid: {}", first(diagnostics))]
    InvalidText {
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
    /// What a manifest imports is not there.
    #[error("the {} '{}' cannot be resolved: {}", id.kind.lower(), id.name, first(diagnostics))]
    ImportFailed {
        /// The manifest that imports.
        id: ManifestRef,
        /// One for each import that leads nowhere.
        diagnostics: Vec<Diagnostic>,
    },
    /// Two things that an agent imports have one name.
    #[error("the agent '{agent}' imports two {} called '{name}': '{first}' and '{second}'", kind.collection())]
    Ambiguous {
        /// The agent.
        agent: String,
        /// What they are.
        kind: ManifestKind,
        /// Their name.
        name: String,
        /// Where one comes from.
        first: String,
        /// Where the other comes from.
        second: String,
    },
    /// A closure that is no longer, or never was, known here.
    #[error("no closure '{0}' is known here")]
    ClosureNotFound(String),
    /// The tool is not in the closure.
    #[error("the closure '{closure}' has no tool '{tool}'")]
    NotInClosure {
        /// The closure's digest.
        closure: String,
        /// The tool.
        tool: String,
    },
    /// A closure that does not fit a message.
    #[error(
        "the closure of the agent '{agent}' has {bytes} bytes; at most {limit} fit a message: shorten its prompts, or import less"
    )]
    ClosureTooLarge {
        /// The agent.
        agent: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A bundle that is no longer, or never was, known here.
    #[error("no bundle '{0}' is known here; resolve its tool again")]
    BundleNotFound(String),
    /// The files of a tool or relic are too many or too large.
    #[error("the files of the {} '{}' {reason}", id.kind.lower(), id.name)]
    BundleTooLarge {
        /// The tool or relic.
        id: ManifestRef,
        /// What is too large.
        reason: String,
    },
    /// A manifest that a file declares cannot be removed by a call.
    #[error("the {} '{}' is declared in '{file}'; remove the file", id.kind.lower(), id.name)]
    DeclaredByFile {
        /// The manifest.
        id: ManifestRef,
        /// The file.
        file: String,
    },
    /// The directory cannot be read.
    #[error("the manifests' directory cannot be read: {0}")]
    Directory(#[from] FilesError),
    /// Applied manifests cannot be kept or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path of the request leads out of the tree.
    #[error(transparent)]
    Outside(#[from] OutsideRoot),
    /// A page that cannot be read.
    #[error(transparent)]
    Page(#[from] PageError),
    /// A field of the request is wrong.
    #[error("{field}: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A watch asks for a revision that is not there yet.
    #[error("revision {asked} is not there yet; the registry is at {head}")]
    BeyondHead {
        /// The revision that was asked for.
        asked: i64,
        /// The last one.
        head: i64,
    },
    /// The work was dropped by the runtime, which is shutting down or has panicked.
    #[error("the work on the registry was dropped")]
    Dropped,
}

fn kinds() -> String {
    ManifestKind::ALL.map(ManifestKind::as_str).join(", ")
}

fn first(diagnostics: &[Diagnostic]) -> String {
    let more = match diagnostics.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    diagnostics.first().map(|diagnostic| format!("{diagnostic}{more}")).unwrap_or_default()
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        match error {
            RegistryError::UnknownKind { .. } => {
                let mut fault = Fault::invalid("kind", message.clone());
                fault.reason = "UNKNOWN_KIND";
                fault.message = message;
                fault
            }
            RegistryError::NotFound { id, .. } => Fault::not_found("MANIFEST_NOT_FOUND", message)
                .with_resource(id.kind.as_str(), id.name),
            RegistryError::Invalid { id, diagnostics } => {
                let fault = Fault::failed_precondition("MANIFEST_INVALID", message);
                violations(fault, &diagnostics).with_resource(id.kind.as_str(), id.name)
            }
            RegistryError::InvalidText { diagnostics } => {
                let fault =
                    Fault::new(cortex_core::Kind::InvalidArgument, "MANIFEST_INVALID", message);
                violations(fault, &diagnostics)
            }
            RegistryError::ImportFailed { id, diagnostics } => {
                let invalid = diagnostics.iter().any(|d| d.code == "IMPORT_INVALID");
                let reason = if invalid { "MANIFEST_INVALID" } else { "IMPORT_NOT_FOUND" };
                let fault = Fault::failed_precondition(reason, message);
                violations(fault, &diagnostics).with_resource(id.kind.as_str(), id.name)
            }
            RegistryError::Ambiguous { agent, .. } => {
                Fault::failed_precondition("MANIFEST_INVALID", message)
                    .with_resource("Agent", agent)
            }
            RegistryError::ClosureNotFound(digest) => {
                Fault::not_found("CLOSURE_NOT_FOUND", message).with_resource("closure", digest)
            }
            RegistryError::NotInClosure { tool, .. } => {
                Fault::not_found("MANIFEST_NOT_FOUND", message).with_resource("Tool", tool)
            }
            RegistryError::ClosureTooLarge { agent, bytes, limit } => {
                let quota = format!("{bytes} bytes of {limit}");
                Fault::resource_exhausted("CLOSURE_TOO_LARGE", message)
                    .with_quota(format!("agent/{agent}"), quota)
            }
            RegistryError::BundleNotFound(digest) => {
                Fault::not_found("BUNDLE_NOT_FOUND", message).with_resource("bundle", digest)
            }
            RegistryError::BundleTooLarge { id, reason } => {
                Fault::resource_exhausted("BUNDLE_TOO_LARGE", message)
                    .with_quota(id.to_string(), reason)
            }
            RegistryError::DeclaredByFile { id, file } => {
                Fault::failed_precondition("DECLARED_BY_FILE", message)
                    .with("file", file)
                    .with_resource(id.kind.as_str(), id.name)
            }
            RegistryError::Directory(_) => Fault::unavailable("DIRECTORY_UNREADABLE", message),
            RegistryError::Store(_) => Fault::unavailable("STORAGE_UNAVAILABLE", message),
            RegistryError::Outside(_) => Fault::invalid("path", message),
            RegistryError::Page(PageError::NegativeSize(_)) => Fault::invalid("page_size", message),
            RegistryError::Page(_) => Fault::invalid("page_token", message),
            RegistryError::Field { field, reason } => Fault::invalid(field, reason),
            RegistryError::BeyondHead { .. } => {
                Fault::out_of_range("REVISION_BEYOND_HEAD", message)
            }
            RegistryError::Dropped => Fault::internal("WORK_DROPPED", message),
        }
    }
}

/// One violation for each diagnostic, which says file, line and column.
fn violations(fault: Fault, diagnostics: &[Diagnostic]) -> Fault {
    diagnostics.iter().fold(fault, |fault, diagnostic| {
        let place = diagnostic.place();
        let text = diagnostic.text();
        let said = if place.is_empty() { text } else { format!("{place}: {text}") };
        fault.with_violation(&diagnostic.field, said)
    })
}

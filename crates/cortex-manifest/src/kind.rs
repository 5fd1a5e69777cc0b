//! The kinds of manifests, and what each is called.

use cortex_config::closest;

/// What a manifest declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManifestKind {
    /// Something that answers messages.
    Agent,
    /// Something that an agent calls, run in a container of its own.
    Tool,
    /// A service that lives as long as a session.
    Relic,
    /// Steps that are run one after another or side by side.
    Workflow,
    /// A system made of relics, agents and workflows.
    Monument,
    /// A template or a change of behaviour.
    Amulet,
    /// Fields of a session, and what is started when they change.
    Metadata,
}

impl ManifestKind {
    /// Every kind, in the order in which lists show them.
    pub const ALL: [Self; 7] = [
        Self::Agent,
        Self::Tool,
        Self::Relic,
        Self::Workflow,
        Self::Monument,
        Self::Amulet,
        Self::Metadata,
    ];

    /// As manifests write it: `Agent`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Tool => "Tool",
            Self::Relic => "Relic",
            Self::Workflow => "Workflow",
            Self::Monument => "Monument",
            Self::Amulet => "Amulet",
            Self::Metadata => "Metadata",
        }
    }

    /// In lower case, as file names have it: `agent`.
    pub const fn lower(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Tool => "tool",
            Self::Relic => "relic",
            Self::Workflow => "workflow",
            Self::Monument => "monument",
            Self::Amulet => "amulet",
            Self::Metadata => "metadata",
        }
    }

    /// What imports and paths call several of them: `agents`.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Agent => "agents",
            Self::Tool => "tools",
            Self::Relic => "relics",
            Self::Workflow => "workflows",
            Self::Monument => "monuments",
            Self::Amulet => "amulets",
            Self::Metadata => "metadata",
        }
    }

    /// The kind that a manifest's `kind:` names, written exactly.
    pub fn exact(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The kind that a caller means, in any case.
    pub fn lookup(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.lower().eq_ignore_ascii_case(text))
    }

    /// The kind of a collection such as `agents`, in any case. The kind itself will do too.
    pub fn of_collection(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.collection().eq_ignore_ascii_case(text))
            .or_else(|| Self::lookup(text))
    }

    /// The kind nearest to a text that names none.
    pub fn near(text: &str) -> Option<Self> {
        closest(text, Self::ALL.map(Self::as_str)).and_then(Self::exact)
    }
}

impl std::fmt::Display for ManifestKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names a manifest: its kind, and its name within that kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestRef {
    /// The kind.
    pub kind: ManifestKind,
    /// The name.
    pub name: String,
}

impl ManifestRef {
    /// A reference to the `kind` called `name`.
    pub fn new(kind: ManifestKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for ManifestRef {
    /// As the predecessor shows it: `tool/calculator`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.lower(), self.name)
    }
}

/// Whether `name` is one that a manifest may have: `[a-zA-Z][a-zA-Z0-9_-]*`.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_what_callers_write() {
        assert_eq!(ManifestKind::exact("agent"), None);
        assert_eq!(ManifestKind::lookup("agent"), Some(ManifestKind::Agent));
        assert_eq!(ManifestKind::of_collection("Workflows"), Some(ManifestKind::Workflow));
        assert_eq!(ManifestKind::near("Agnet"), Some(ManifestKind::Agent));
        assert_eq!(ManifestRef::new(ManifestKind::Tool, "x").to_string(), "tool/x");
    }
}

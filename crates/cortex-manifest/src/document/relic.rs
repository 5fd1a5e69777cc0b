//! What a relic's manifest says.

use super::Fields;

/// A relic. What it offers is read from its document when a session starts it.
#[derive(Debug, Clone)]
pub struct Relic {
    /// What it does, for the model.
    pub description: String,
}

const KNOWN: &[&str] = &[
    "kind",
    "version",
    "name",
    "summary",
    "author",
    "state",
    "description",
    "service_type",
    "interface",
    "health_check",
    "persistence",
    "deployment",
    "dependencies",
    "environment",
    "monitoring",
    "import",
    "automation",
    "tags",
    "metadata",
];
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH"];

impl Relic {
    /// Reads a relic.
    pub(super) fn read(root: &Fields<'_>) -> Self {
        root.suspect_typos(KNOWN);
        root.required_text("service_type");
        match root.section("interface") {
            Some(interface) => endpoints(&interface),
            None if root.has("interface") => {}
            None => root.missing("interface"),
        }
        if let Some(persistence) = root.section("persistence") {
            persistence.spelled("size");
        }
        let description = root.spelled("description").or_else(|| root.spelled("summary"));
        Self { description: description.unwrap_or_default().trim().to_owned() }
    }
}

fn endpoints(interface: &Fields<'_>) {
    for endpoint in interface.sections("endpoints") {
        endpoint.required_text("name");
        endpoint.required_text("path");
        endpoint.one_of("method", METHODS);
    }
}

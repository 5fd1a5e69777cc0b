//! What a workflow's manifest says.

use serde_json::Value;

use super::{Fields, parameters};
use crate::diagnostic::code;

/// A workflow. Its steps are read from its document when it runs.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// What it does, for the model.
    pub description: String,
    /// The JSON Schema of its trigger's parameters.
    pub parameters: Value,
}

const KNOWN: &[&str] = &[
    "kind",
    "version",
    "name",
    "summary",
    "author",
    "state",
    "description",
    "trigger",
    "triggers",
    "steps",
    "timeout",
    "retry_policy",
    "dependencies",
    "environment",
    "configuration",
    "outputs",
    "import",
    "variables",
    "error_handlers",
    "notifications",
    "tags",
    "metadata",
];
/// Kinds of steps, and whether they name what they run.
const STEPS: &[(&str, bool)] = &[
    ("tool", true),
    ("relic", true),
    ("agent", true),
    ("workflow", true),
    ("conditional", false),
    ("parallel", false),
    ("decision", false),
    ("barrier", false),
    ("internal", false),
];

impl Workflow {
    /// Reads a workflow.
    pub(super) fn read(root: &Fields<'_>) -> Self {
        root.suspect_typos(KNOWN);
        let trigger = root.section("trigger").or_else(|| root.section("triggers"));
        if trigger.is_none() && !root.has("trigger") && !root.has("triggers") {
            root.missing("trigger");
        }
        steps(root);
        let description = root.spelled("description").or_else(|| root.spelled("summary"));
        let parameters = match &trigger {
            Some(trigger) => parameters::schema(trigger, "parameters"),
            None => parameters::schema(root, ""),
        };
        Self { description: description.unwrap_or_default().trim().to_owned(), parameters }
    }
}

fn steps(root: &Fields<'_>) {
    if !root.has("steps") {
        root.missing("steps");
        return;
    }
    let steps = root.sections("steps");
    if steps.is_empty() && root.items("steps").is_empty() {
        root.error(code::INVALID_VALUE, "steps", "a workflow has at least one step", "");
    }
    for step in &steps {
        check_step(step);
    }
    let mut seen = Vec::new();
    for step in &steps {
        let Some(name) = step.value("name").and_then(|node| node.as_text()) else { continue };
        if seen.contains(&name) {
            let message = format!("the step '{name}' is declared twice");
            step.error(code::INVALID_VALUE, "name", message, "steps are referred to by name");
        }
        seen.push(name);
    }
}

fn check_step(step: &Fields<'_>) {
    step.required_text("name");
    let names: Vec<&'static str> = STEPS.iter().map(|(name, _)| *name).collect();
    if !step.has("type") {
        step.missing("type");
    }
    let type_ = step.one_of("type", &names);
    let needs_target = STEPS.iter().any(|(name, target)| Some(*name) == type_ && *target);
    if needs_target {
        step.required_text("target");
    }
    step.one_of("on_failure", &["abort", "continue", "retry", "skip", "log_only"]);
    for key in ["parallel", "then", "else"] {
        for (item, path) in step.items(key) {
            if matches!(item.content, cortex_config::yaml::Content::Map(_)) {
                check_step(&Fields::new(item, path, step.report()));
            }
        }
    }
}

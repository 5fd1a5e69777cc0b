//! What an agent's manifest says.

use std::collections::BTreeMap;

use cortex_config::{KeyPath, yaml::Position};
use serde_json::{Map, Value};

use super::{Fields, common::MARKDOWN_KEY};
use crate::diagnostic::code;

/// Model calls per turn when the manifest is silent.
pub const DEFAULT_ITERATION_CAP: i64 = 10;

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// What it is, at length.
    pub description: String,
    /// Who it is.
    pub persona: Persona,
    /// The model to use first.
    pub primary: Option<Engine>,
    /// The model to use when the first cannot answer.
    pub fallback: Option<Engine>,
    /// How the model generates.
    pub parameters: EngineParameters,
    /// Model calls per turn at most. 0: unlimited.
    pub iteration_cap: i32,
    /// Variables for its tools.
    pub environment: BTreeMap<String, String>,
}

/// Who an agent is: files, or text that stands in the manifest.
#[derive(Debug, Clone, Default)]
pub struct Persona {
    /// What becomes the system prompt, in this order.
    pub system: Vec<PersonaText>,
    /// How to talk to users.
    pub user: Vec<PersonaText>,
}

/// A text of a persona.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonaText {
    /// It stands in the manifest.
    Inline(String),
    /// It stands in a file, named as imports are.
    File {
        /// The path.
        path: String,
        /// Where it is written.
        at: Position,
        /// The path of the field.
        field: KeyPath,
    },
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// The provider; `gemini` for `google`. Empty: as the model says.
    pub provider: String,
    /// The model.
    pub model: String,
}

/// How a model generates. What is absent is left to the provider.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineParameters {
    /// Randomness, 0 to 2.
    pub temperature: Option<f64>,
    /// Probability mass to sample from, 0 to 1.
    pub top_p: Option<f64>,
    /// Tokens to sample from.
    pub top_k: Option<i32>,
    /// Tokens of the answer at most.
    pub max_tokens: Option<i32>,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Makes the answer repeatable where the provider can.
    pub seed: Option<i64>,
    /// Fields to add to the provider's request.
    pub extra: Map<String, Value>,
}

const AGENCY_LEVELS: &[&str] =
    &["strict", "default", "loose", "autonomous", "elevated", "admin", "restricted"];
const GRADES: &[&str] = &["common", "uncommon", "rare", "epic", "legendary", "mythic"];
/// Providers that the mesh knows by itself. Others may be configured, so that they are only doubted.
const PROVIDERS: &[&str] =
    &["google", "gemini", "openai", "anthropic", "ollama", "groq", "custom", "rehearsal", "auto"];
const FEED_TYPES: &[&str] = &["on_demand", "periodic", "streaming", "event_driven"];
const FEED_SOURCES: &[&str] =
    &["internal", "tool", "relic", "external", "agent", "workflow", "llm"];
const KNOWN: &[&str] = &[
    "kind",
    "version",
    "name",
    "summary",
    "author",
    "state",
    "description",
    "persona",
    "agency_level",
    "grade",
    "iteration_cap",
    "cognitive_engine",
    "import",
    "context_feeds",
    "environment",
    "memory",
    "tool_use",
    "delegation",
    "safety",
    "metrics",
    "error_handling",
    "internal_actions",
    "tags",
    "metadata",
];
const ENGINE_KNOWN: &[&str] =
    &["primary", "fallback", "parameters", "vision", "function_calling", "endpoint"];
const PARAMETERS_KNOWN: &[&str] = &[
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stream",
    "stop_sequences",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "extra_params",
];

impl Agent {
    /// Reads an agent. None when something that must be there is not.
    pub(super) fn read(root: &Fields<'_>) -> Option<Self> {
        root.suspect_typos(KNOWN);
        root.one_of("agency_level", AGENCY_LEVELS);
        root.one_of("grade", GRADES);
        feeds(root);
        let engine = root.section("cognitive_engine");
        if let Some(engine) = &engine {
            engine.suspect_typos(ENGINE_KNOWN);
            if !engine.has("primary") {
                engine.missing("primary");
            }
        }
        let model = |key| engine.as_ref().and_then(|engine| self::engine(&engine.section(key)?));
        let parameters = engine.as_ref().and_then(|engine| engine.section("parameters"));
        let cap = root.integer("iteration_cap", 0, i64::from(i32::MAX));
        Some(Self {
            description: root.spelled("description").unwrap_or_default().trim().to_owned(),
            primary: model("primary"),
            fallback: model("fallback"),
            parameters: parameters.map(|section| engine_parameters(&section)).unwrap_or_default(),
            iteration_cap: small(cap.unwrap_or(DEFAULT_ITERATION_CAP)),
            environment: environment(root),
            persona: persona(root)?,
        })
    }
}

/// The variables of `environment`, which all kinds declare in the same way.
pub(super) fn environment(root: &Fields<'_>) -> BTreeMap<String, String> {
    root.section("environment").map(|section| section.text_map("variables")).unwrap_or_default()
}

fn persona(root: &Fields<'_>) -> Option<Persona> {
    let body = root.text(MARKDOWN_KEY).filter(|text| !text.is_empty());
    let inline = body.map(|text| PersonaText::Inline(text.to_owned()));
    if !root.has("persona") {
        if inline.is_none() {
            root.missing("persona");
        }
        return Some(Persona { system: vec![inline?], user: Vec::new() });
    }
    let section = root.section("persona")?;
    if !section.has("agent") && inline.is_none() {
        section.missing("agent");
        return None;
    }
    section.suspect_typos(&["agent", "user", "system", "knowledge", "examples"]);
    let mut persona = Persona::default();
    for key in ["agent", "system", "knowledge", "examples"] {
        persona.system.extend(persona_texts(&section, key));
    }
    persona.system.extend(inline);
    persona.user = persona_texts(&section, "user");
    Some(persona)
}

/// Texts named by `key`. One with a line break is the text itself, any other is a path.
fn persona_texts(section: &Fields<'_>, key: &str) -> Vec<PersonaText> {
    let items = section.items(key).into_iter();
    items
        .filter_map(|(item, field)| match item.as_text() {
            Some(text) if text.trim().contains('\n') => {
                Some(PersonaText::Inline(text.trim().to_owned()))
            }
            Some(text) => {
                Some(PersonaText::File { path: text.trim().to_owned(), at: item.at, field })
            }
            None => {
                let message = format!("expected the path of a text, found {}", item.kind());
                section.report().error(code::WRONG_TYPE, item.at, &field, message);
                None
            }
        })
        .collect()
}

fn engine(section: &Fields<'_>) -> Option<Engine> {
    section.suspect_typos(&["provider", "model", "endpoint"]);
    let provider = section.spelled("provider").unwrap_or_default();
    let name = provider.to_lowercase();
    if !name.is_empty() && !PROVIDERS.contains(&name.as_str()) {
        let suggestion = cortex_config::did_you_mean(&name, PROVIDERS.iter().copied());
        let message = format!(
            "'{provider}' is none of the providers that come with the system ({}){suggestion}",
            PROVIDERS.join(", ")
        );
        section.warning(code::INVALID_VALUE, "provider", message);
    }
    let model = section.required_text("model").map(str::to_owned)?;
    let provider = match name.as_str() {
        "google" => "gemini".to_owned(),
        "auto" => String::new(),
        _ => name,
    };
    Some(Engine { provider, model })
}

fn engine_parameters(section: &Fields<'_>) -> EngineParameters {
    section.suspect_typos(PARAMETERS_KNOWN);
    section.boolean("stream");
    let extra = section.section("extra_params").map(|extra| extra.node().to_json());
    EngineParameters {
        temperature: section.number("temperature", 0.0, 2.0),
        top_p: section.number("top_p", 0.0, 1.0),
        top_k: section.integer("top_k", 1, i64::from(i32::MAX)).map(small),
        max_tokens: section.integer("max_tokens", 1, i64::from(i32::MAX)).map(small),
        stop_sequences: section.texts("stop_sequences"),
        presence_penalty: section.number("presence_penalty", -2.0, 2.0),
        frequency_penalty: section.number("frequency_penalty", -2.0, 2.0),
        seed: section.integer("seed", i64::MIN, i64::MAX),
        extra: match extra {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        },
    }
}

/// Checks the feeds, which are read from the document when a turn is built.
fn feeds(root: &Fields<'_>) {
    for feed in root.sections("context_feeds") {
        feed.required_text("id");
        if feed.has("type") {
            feed.one_of("type", FEED_TYPES);
        } else {
            feed.missing("type");
        }
        feed.integer("interval", 1, i64::from(i32::MAX));
        match feed.section("source") {
            Some(source) if source.has("type") => {
                source.one_of("type", FEED_SOURCES);
            }
            Some(source) => source.missing("type"),
            None => feed.missing("source"),
        }
    }
}

/// A number that was checked to fit.
pub(super) fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

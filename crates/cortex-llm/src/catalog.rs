//! Which providers there are, and which one a model's name means.

use std::sync::Arc;

use futures::future::join_all;

use crate::{error::LlmError, lane::Lane, ports::Dialect};

/// The name of the built-in provider and of its model.
pub(crate) const REHEARSAL: &str = "rehearsal";
/// The name that stands for the default model.
pub(crate) const AUTO: &str = "auto";

/// Every provider: those that can be used, in the order of preference, and those that cannot.
pub(crate) struct Catalog {
    /// What `auto` stands for, when the configuration says so.
    pub(crate) default_model: Option<String>,
    /// Providers that can be used, the preferred ones first. Without `rehearsal`.
    pub(crate) lanes: Vec<Arc<Lane>>,
    /// Known providers that cannot be used.
    pub(crate) absent: Vec<Absent>,
    /// The built-in model.
    pub(crate) rehearsal: Arc<Lane>,
}

/// A known provider that cannot be used.
#[derive(Debug, Clone)]
pub(crate) struct Absent {
    pub(crate) name: &'static str,
    pub(crate) dialect: Dialect,
    pub(crate) why: Why,
}

/// Why a known provider cannot be used.
#[derive(Debug, Clone)]
pub(crate) enum Why {
    /// It is not configured, or switched off: how to change that.
    NotConfigured(String),
    /// It is configured, and its adapter comes later: what to do instead.
    AdapterMissing(String),
}

impl Absent {
    fn error(&self) -> LlmError {
        let provider = self.name.to_owned();
        match self.why.clone() {
            Why::NotConfigured(hint) => LlmError::NotConfigured { provider, hint },
            Why::AdapterMissing(hint) => LlmError::AdapterMissing { provider, hint },
        }
    }

    /// What is missing, for a person.
    pub(crate) fn problem(&self) -> &str {
        match &self.why {
            Why::NotConfigured(hint) | Why::AdapterMissing(hint) => hint,
        }
    }
}

/// A model at a provider.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) lane: Arc<Lane>,
    pub(crate) model: String,
}

/// The name of a provider, whatever it is called.
pub(crate) fn canonical(provider: &str) -> String {
    let name = provider.trim().to_ascii_lowercase();
    if name == "google" { "gemini".to_owned() } else { name }
}

/// The provider that makes models of such a name.
fn maker(model: &str) -> Option<&'static str> {
    let openai = ["gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-3"];
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
    if starts(&openai) {
        Some("openai")
    } else if starts(&["gemini-"]) {
        Some("gemini")
    } else if starts(&["claude-"]) {
        Some("anthropic")
    } else {
        None
    }
}

impl Catalog {
    /// Which model at which provider a name means. `stand_in` allows the rehearsal for `auto`.
    ///
    /// Bounded by the providers' time-outs for lists, which are asked for only when the name does
    /// not say enough.
    ///
    /// # Errors
    /// [`LlmError`], precise about what is missing.
    pub(crate) async fn resolve(
        &self,
        provider: &str,
        model: &str,
        stand_in: bool,
    ) -> Result<Target, LlmError> {
        if !provider.is_empty() {
            let lane = self.lane(provider)?;
            let own = model
                .split_once('/')
                .filter(|(first, _)| canonical(first).eq_ignore_ascii_case(&lane.name))
                .map_or(model, |(_, rest)| rest);
            return at(lane, own).await;
        }
        match model {
            "" | AUTO => self.auto(stand_in).await,
            REHEARSAL => at(self.rehearsal.clone(), REHEARSAL).await,
            _ => self.by_model(model).await,
        }
    }

    /// The provider of that name, `rehearsal` included.
    pub(crate) fn lane(&self, name: &str) -> Result<Arc<Lane>, LlmError> {
        let name = canonical(name);
        let mut all = self.lanes.iter().chain([&self.rehearsal]);
        if let Some(lane) = all.find(|lane| lane.name.eq_ignore_ascii_case(&name)) {
            return Ok(lane.clone());
        }
        let absent = self.absent.iter().find(|absent| absent.name == name);
        Err(absent.map_or_else(|| self.no_provider(&name), Absent::error))
    }

    fn no_provider(&self, name: &str) -> LlmError {
        let lanes = self.lanes.iter().map(|lane| lane.name.clone());
        let absent = self.absent.iter().map(|absent| absent.name.to_owned());
        let known = lanes.chain(absent).chain([REHEARSAL.to_owned()]).collect();
        LlmError::ProviderNotFound { name: name.to_owned(), known }
    }

    async fn by_model(&self, model: &str) -> Result<Target, LlmError> {
        if let Some(lane) = self.only_one(model, self.configured_for(model))? {
            return Ok(Target { lane, model: model.to_owned() });
        }
        if let Some((first, rest)) = model.split_once('/') {
            match self.lane(first) {
                Err(LlmError::ProviderNotFound { .. }) => {}
                lane => return at(lane?, rest).await,
            }
        }
        let maker = maker(model).map(|name| self.lane(name));
        if let Some(Ok(lane)) = maker {
            return Ok(Target { lane, model: model.to_owned() });
        }
        if let Some(lane) = self.only_one(model, self.live_for(model).await)? {
            return Ok(Target { lane, model: model.to_owned() });
        }
        match (model.split_once('/'), self.lanes.as_slice(), maker) {
            (Some((first, _)), _, _) => Err(self.no_provider(first)),
            (None, [only], _) if only.dialect != Dialect::Ollama => {
                Ok(Target { lane: only.clone(), model: model.to_owned() })
            }
            (_, _, Some(Err(error))) => Err(error),
            _ => Err(self.no_model(model)),
        }
    }

    /// Providers whose configuration lists the model.
    fn configured_for(&self, model: &str) -> Vec<Arc<Lane>> {
        let has = |lane: &&Arc<Lane>| {
            let default = lane.default_model.as_deref() == Some(model);
            default || lane.models.iter().any(|id| id == model)
        };
        self.lanes.iter().filter(has).cloned().collect()
    }

    /// Providers that list the model themselves. All are asked at once.
    async fn live_for(&self, model: &str) -> Vec<Arc<Lane>> {
        let answers = join_all(self.lanes.iter().map(|lane| lane.lists(model))).await;
        let lanes = self.lanes.iter().zip(answers);
        lanes.filter(|(_, has)| *has).map(|(lane, _)| lane.clone()).collect()
    }

    fn only_one(
        &self,
        model: &str,
        mut lanes: Vec<Arc<Lane>>,
    ) -> Result<Option<Arc<Lane>>, LlmError> {
        if lanes.len() > 1 {
            let full: Vec<String> =
                lanes.iter().map(|lane| format!("{}/{model}", lane.name)).collect();
            let names = full.join(" or ");
            return Err(LlmError::invalid("model", format!("several have it; name {names}")));
        }
        Ok(lanes.pop())
    }

    fn no_model(&self, model: &str) -> LlmError {
        let hint = if self.lanes.iter().all(|lane| lane.dialect == Dialect::Ollama) {
            "no provider is configured; set OPENAI_API_KEY or GROQ_API_KEY, start Ollama, or use \
             the built-in model 'rehearsal'"
        } else {
            "no provider lists it; name it as provider/model"
        };
        LlmError::ModelNotFound { model: model.to_owned(), hint: hint.to_owned() }
    }

    async fn auto(&self, stand_in: bool) -> Result<Target, LlmError> {
        match self.default_model.as_deref() {
            None | Some("" | AUTO) => {}
            Some(REHEARSAL) => return at(self.rehearsal.clone(), REHEARSAL).await,
            Some(model) => return self.by_model(model).await,
        }
        let (ollama, keyed): (Vec<_>, Vec<_>) =
            self.lanes.iter().partition(|lane| lane.dialect == Dialect::Ollama);
        if let Some(lane) = keyed.first() {
            return at((*lane).clone(), AUTO).await;
        }
        let later = |absent: &&Absent| matches!(absent.why, Why::AdapterMissing(_));
        if let Some(absent) = self.absent.iter().find(later) {
            return Err(absent.error());
        }
        for lane in ollama {
            if lane.live_models().await.is_ok_and(|models| !models.is_empty()) {
                return at(lane.clone(), AUTO).await;
            }
        }
        if stand_in {
            return at(self.rehearsal.clone(), REHEARSAL).await;
        }
        Err(self.no_model(AUTO))
    }
}

async fn at(lane: Arc<Lane>, model: &str) -> Result<Target, LlmError> {
    let model = match model {
        "" | AUTO => lane.default_model().await?,
        _ => model.to_owned(),
    };
    if lane.dialect == Dialect::Rehearsal && model != REHEARSAL {
        let hint = "the provider rehearsal has only the model rehearsal".to_owned();
        return Err(LlmError::ModelNotFound { model: format!("{REHEARSAL}/{model}"), hint });
    }
    Ok(Target { lane, model })
}

//! What there is to choose from: providers and their models, as they are now.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;

use crate::{
    catalog::{Absent, Catalog, canonical},
    error::LlmError,
    lane::{Lane, Past},
    ports::Dialect,
    router::Router,
};

/// Answers what there is.
#[derive(Clone)]
pub(crate) struct Directory {
    router: Arc<Router>,
}

/// A provider as it is now.
#[derive(Debug, Clone)]
pub(crate) struct ProviderState {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    /// What is missing when it cannot be used. Empty: it can.
    pub(crate) problem: String,
    pub(crate) past: Past,
    pub(crate) active_calls: i32,
    pub(crate) default_model: String,
}

/// A model that can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelState {
    pub(crate) provider: String,
    pub(crate) id: String,
    pub(crate) context_tokens: u64,
}

impl ModelState {
    /// Its full name.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.provider, self.id)
    }
}

impl Directory {
    pub(crate) fn new(router: Arc<Router>) -> Self {
        Self { router }
    }

    fn catalog(&self) -> &Catalog {
        &self.router.catalog
    }

    fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.catalog().lanes.iter().chain([&self.catalog().rehearsal])
    }

    /// Every known provider, by name. Those that may be away are asked, all at once, within their
    /// time-out.
    pub(crate) async fn providers(&self) -> Vec<ProviderState> {
        let absent = self.catalog().absent.iter().map(ProviderState::absent);
        let mut providers = join_all(self.lanes().map(|lane| state(lane))).await;
        providers.extend(absent);
        providers.sort_by(|a, b| a.name.cmp(&b.name));
        providers
    }

    /// One provider.
    ///
    /// # Errors
    /// [`LlmError::ProviderNotFound`].
    pub(crate) async fn provider(&self, name: &str) -> Result<ProviderState, LlmError> {
        let name = canonical(name);
        if let Some(absent) = self.catalog().absent.iter().find(|absent| absent.name == name) {
            return Ok(ProviderState::absent(absent));
        }
        Ok(state(&*self.catalog().lane(&name)?).await)
    }

    /// The models of one provider, or of all when `provider` is empty, by name: what the
    /// configuration names and what the providers list. A provider that does not answer adds none.
    ///
    /// # Errors
    /// [`LlmError`] when the provider does not exist or cannot be used.
    pub(crate) async fn models(&self, provider: &str) -> Result<Vec<ModelState>, LlmError> {
        let lanes: Vec<Arc<Lane>> = if provider.is_empty() {
            self.lanes().cloned().collect()
        } else {
            vec![self.catalog().lane(provider)?]
        };
        let models = join_all(lanes.iter().map(|lane| models(lane))).await;
        let mut models: Vec<ModelState> = models.into_iter().flatten().collect();
        models.sort_by_key(ModelState::name);
        Ok(models)
    }
}

impl ProviderState {
    fn absent(absent: &Absent) -> Self {
        Self {
            name: absent.name.to_owned(),
            dialect: absent.dialect,
            problem: absent.problem().to_owned(),
            past: Past::default(),
            active_calls: 0,
            default_model: String::new(),
        }
    }
}

/// A hosted provider counts as there; one on a machine of the user's is asked.
async fn state(lane: &Lane) -> ProviderState {
    let problem = match lane.dialect {
        Dialect::Ollama => match lane.live_models().await {
            Ok(models) if models.is_empty() => "it has no models; run: ollama pull llama3.2".into(),
            Ok(_) => String::new(),
            Err(failure) => format!("it does not answer: {failure}; start it with: ollama serve"),
        },
        _ => String::new(),
    };
    let configured = lane.default_model.clone().or_else(|| lane.models.first().cloned());
    let default_model = match (configured, lane.dialect) {
        (Some(model), _) => model,
        (None, Dialect::Ollama) => lane.default_model().await.unwrap_or_default(),
        (None, _) => String::new(),
    };
    ProviderState {
        name: lane.name.clone(),
        dialect: lane.dialect,
        problem,
        past: lane.health.past(),
        active_calls: lane.health.active(),
        default_model,
    }
}

async fn models(lane: &Lane) -> Vec<ModelState> {
    let live = lane.live_models().await.unwrap_or_default();
    let named = lane.models.iter().chain(&lane.default_model).map(|id| (id.clone(), 0));
    let listed = live.iter().map(|info| (info.id.clone(), info.context_tokens));
    let all: BTreeMap<String, u64> = named.chain(listed).collect();
    all.into_iter()
        .map(|(id, context_tokens)| ModelState { provider: lane.name.clone(), id, context_tokens })
        .collect()
}

//! A provider as the router sees it: how to reach it, what it offers, and how it has been doing.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, SystemTime},
};

use cortex_core::Clock;
use tokio::time::Instant;

use crate::{
    error::LlmError,
    failure::Failure,
    ports::{Dialect, ModelInfo, Provider},
};

/// How long a list of models is believed.
const LIST_FRESH: Duration = Duration::from_secs(60);
/// How long it is believed that a provider does not answer. Short, so that an Ollama that was just
/// started is found.
const FAILURE_FRESH: Duration = Duration::from_secs(5);

/// A provider that can be used.
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) provider: Arc<dyn Provider>,
    /// Models that the configuration names.
    pub(crate) models: Vec<String>,
    /// The model when only the provider is named.
    pub(crate) default_model: Option<String>,
    pub(crate) health: Arc<Health>,
    live: Mutex<Option<Live>>,
}

struct Live {
    until: Instant,
    models: Result<Arc<[ModelInfo]>, Failure>,
}

impl Lane {
    pub(crate) fn new(
        name: &str,
        dialect: Dialect,
        provider: Arc<dyn Provider>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            dialect,
            provider,
            models: Vec::new(),
            default_model: None,
            health: Arc::new(Health::new(clock)),
            live: Mutex::default(),
        }
    }

    /// The models that the provider lists, believed for a minute.
    ///
    /// # Errors
    /// [`Failure`] when it does not answer; that is believed for five seconds.
    pub(crate) async fn live_models(&self) -> Result<Arc<[ModelInfo]>, Failure> {
        if let Some(live) = self.lock().as_ref().filter(|live| live.until > Instant::now()) {
            return live.models.clone();
        }
        let models = self.provider.list_models().await.map(Arc::from);
        let fresh = if models.is_ok() { LIST_FRESH } else { FAILURE_FRESH };
        *self.lock() = Some(Live { until: Instant::now() + fresh, models: models.clone() });
        models
    }

    /// Whether the model is one that the configuration or the provider lists.
    pub(crate) async fn lists(&self, model: &str) -> bool {
        if self.models.iter().any(|id| id == model) {
            return true;
        }
        let live = self.live_models().await.unwrap_or_default();
        live.iter().any(|info| self.is_same(&info.id, model))
    }

    /// Ollama lists a model with its tag, and people leave out the tag `latest`.
    fn is_same(&self, listed: &str, asked: &str) -> bool {
        listed == asked
            || (self.dialect == Dialect::Ollama && listed.strip_suffix(":latest") == Some(asked))
    }

    /// The model when only the provider is named.
    ///
    /// # Errors
    /// [`LlmError`] when none is configured and the provider lists none.
    pub(crate) async fn default_model(&self) -> Result<String, LlmError> {
        if let Some(model) = self.default_model.as_ref().or(self.models.first()) {
            return Ok(model.clone());
        }
        let failed = |failure| LlmError::Failed {
            provider: self.name.clone(),
            model: "auto".to_owned(),
            failure,
        };
        let live = self.live_models().await.map_err(failed)?;
        // A model that only makes vectors cannot answer.
        let talks = |info: &&ModelInfo| !info.id.contains("embed");
        live.iter().find(talks).map(|info| info.id.clone()).ok_or_else(|| LlmError::ModelNotFound {
            model: format!("{}/auto", self.name),
            hint: format!("{} lists no models; install one there or name one", self.name),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a provider has been doing.
pub(crate) struct Health {
    clock: Arc<dyn Clock>,
    active: AtomicI32,
    past: Mutex<Past>,
}

/// What was seen last of a provider.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    pub(crate) last_success: Option<SystemTime>,
    /// What it last failed with. Empty: it never failed.
    pub(crate) last_error: String,
}

impl Health {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, active: AtomicI32::new(0), past: Mutex::default() }
    }

    /// Calls that run now.
    pub(crate) fn active(&self) -> i32 {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn past(&self) -> Past {
        self.lock().clone()
    }

    /// Counts a call until the guard is dropped. A call that is dropped without a result was
    /// cancelled by its client, which says nothing about the provider.
    pub(crate) fn begin(self: &Arc<Self>) -> ActiveCall {
        self.active.fetch_add(1, Ordering::Relaxed);
        ActiveCall(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs.
pub(crate) struct ActiveCall(Arc<Health>);

impl ActiveCall {
    /// The call ended well.
    pub(crate) fn succeeded(self) {
        let now = self.0.clock.now();
        self.0.lock().last_success = Some(now);
    }

    /// The call failed.
    pub(crate) fn failed(self, failure: &Failure) {
        let error = format!("{}: {}", failure.reason(), failure.message);
        self.0.lock().last_error = error;
    }
}

impl Drop for ActiveCall {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

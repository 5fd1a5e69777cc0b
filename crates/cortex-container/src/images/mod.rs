//! Which image a tool runs in, and how it gets there.

mod bundle;
mod toolbox;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use cortex_rpc::CallContext;
use tokio::sync::OnceCell;

pub(crate) use toolbox::Toolbox;

use crate::{
    error::ContainerError,
    ports::{ContainerEngine, ImageBuild, Registry},
    sandbox::{Labels, label},
    tool::{Content, ToolName, ToolSource},
};

/// What a container is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The image, which the engine has.
    pub image: String,
    /// What is started. `None`: what the image says.
    pub entrypoint: Option<Vec<String>>,
}

/// How images are found and made.
#[derive(Debug, Clone)]
pub(crate) struct ImagePolicy {
    /// Where the toolbox is. `None`: it is looked for.
    pub toolbox_path: Option<PathBuf>,
    /// Whether missing images may be pulled.
    pub pull: bool,
    /// For each runtime the images that can run it.
    pub runtimes: BTreeMap<String, Vec<String>>,
    /// Largest bundle in bytes.
    pub max_bundle: usize,
}

/// Finds and makes images.
pub(crate) struct Images {
    engine: Arc<dyn ContainerEngine>,
    registry: Arc<dyn Registry>,
    policy: ImagePolicy,
    toolbox: OnceCell<Toolbox>,
    /// One lock for each image under way, so that it is made once however many ask.
    under_way: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Images {
    /// Images of `engine`, made from what `registry` has.
    pub(crate) fn new(
        engine: Arc<dyn ContainerEngine>,
        registry: Arc<dyn Registry>,
        policy: ImagePolicy,
    ) -> Self {
        Self { engine, registry, policy, toolbox: OnceCell::new(), under_way: Mutex::default() }
    }

    /// The recipe for a tool. Its image is there when this returns. Cancel-safe: a build goes on or
    /// is begun again by the next caller.
    ///
    /// # Errors
    /// [`ContainerError::ImageNotFound`], [`ContainerError::ImageBuildFailed`], and those of the
    /// engine and of the registry.
    pub(crate) async fn recipe(
        &self,
        cx: &CallContext,
        tool: &ToolName,
        source: &ToolSource,
    ) -> Result<Recipe, ContainerError> {
        match &source.content {
            Content::Image(reference) => {
                self.present(reference).await?;
                Ok(Recipe { image: reference.clone(), entrypoint: command(source, "")? })
            }
            Content::Toolbox(name) => self.toolbox(name).await,
            Content::Bundle(digest) => self.bundle(cx, tool, source, digest).await,
        }
    }

    async fn toolbox(&self, name: &str) -> Result<Recipe, ContainerError> {
        let path = self.policy.toolbox_path.clone();
        let toolbox = self.toolbox.get_or_try_init(|| Toolbox::load(path)).await?;
        let tag = toolbox.tag();
        self.made(&tag, "toolbox", || async { toolbox.context() }).await?;
        Ok(Recipe { image: tag, entrypoint: Some(Toolbox::command(name)) })
    }

    async fn bundle(
        &self,
        cx: &CallContext,
        tool: &ToolName,
        source: &ToolSource,
        digest: &str,
    ) -> Result<Recipe, ContainerError> {
        let (base, base_id) = self.base(&source.runtime).await?;
        let entrypoint = command(source, bundle::DIRECTORY)?;
        let tag = bundle::tag(tool, digest, &base_id);
        let context = || async {
            let files = self.registry.bundle(cx, digest, self.policy.max_bundle).await?;
            bundle::context(tool, files, &base, &source.entrypoint).await
        };
        self.made(&tag, tool.as_str(), context).await?;
        Ok(Recipe { image: tag, entrypoint })
    }

    /// The first image of a runtime that is there, and its id.
    async fn base(&self, runtime: &str) -> Result<(String, String), ContainerError> {
        let runtime = canonical_runtime(runtime);
        let Some(candidates) = self.policy.runtimes.get(runtime) else {
            let known: Vec<&str> = self.policy.runtimes.keys().map(String::as_str).collect();
            let problem = format!(
                "the runtime '{runtime}' is unknown: use {}, or add it to container.runtime_images",
                known.join(", ")
            );
            return Err(ContainerError::invalid("source.runtime", problem));
        };
        for image in candidates {
            if let Some(id) = self.engine.image_id(image).await? {
                return Ok((image.clone(), id));
            }
        }
        let Some(last) = candidates.last().filter(|_| self.policy.pull) else {
            return Err(ContainerError::ImageNotFound {
                image: candidates.join("' or '"),
                remedy: format!(
                    "tools of the runtime '{runtime}' need one of them; load it into the engine \
                     (docker pull, docker load), name another one in container.runtime_images, or \
                     allow pulls with container.pull_images"
                ),
            });
        };
        let id = self.pulled(last).await?;
        Ok((last.clone(), id))
    }

    /// Makes sure that an image that somebody named is there.
    async fn present(&self, reference: &str) -> Result<(), ContainerError> {
        if self.engine.image_id(reference).await?.is_some() {
            return Ok(());
        }
        if self.policy.pull {
            return self.pulled(reference).await.map(drop);
        }
        Err(ContainerError::ImageNotFound {
            image: reference.to_owned(),
            remedy: format!(
                "run 'docker pull {reference}', or allow pulls with container.pull_images"
            ),
        })
    }

    async fn pulled(&self, reference: &str) -> Result<String, ContainerError> {
        let lock = self.lock(reference);
        let _one = lock.lock().await;
        if let Some(id) = self.engine.image_id(reference).await? {
            return Ok(id);
        }
        tracing::info!(image = reference, "pulling an image");
        let not_found = |remedy| ContainerError::ImageNotFound { image: reference.into(), remedy };
        self.engine
            .pull_image(reference)
            .await
            .map_err(|error| not_found(format!("pulling it failed: {error}")))?;
        let id = self.engine.image_id(reference).await?;
        id.ok_or_else(|| not_found("it was pulled and is still not there".into()))
    }

    /// Makes sure that the image `tag` is there, making it from `context` if it is not.
    async fn made<F>(
        &self,
        tag: &str,
        tool: &str,
        context: impl FnOnce() -> F,
    ) -> Result<(), ContainerError>
    where
        F: Future<Output = Result<Bytes, ContainerError>>,
    {
        if self.engine.image_id(tag).await?.is_some() {
            return Ok(());
        }
        let lock = self.lock(tag);
        let _one = lock.lock().await;
        if self.engine.image_id(tag).await?.is_some() {
            return Ok(());
        }
        tracing::info!(tool, image = tag, "building an image");
        let labels = Labels::from([
            (label::MANAGED.to_owned(), "true".to_owned()),
            (label::NAME.to_owned(), tool.to_owned()),
        ]);
        let build = ImageBuild { tag: tag.to_owned(), context: context().await?, labels };
        self.engine.build_image(build).await.map_err(|error| match error {
            crate::ports::EngineError::Refused { message, .. } => {
                ContainerError::ImageBuildFailed { tool: tool.to_owned(), problem: message }
            }
            other => other.into(),
        })
    }

    fn lock(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody holds a lock that only the map knows: its image is made.
        under_way.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(under_way.entry(key.to_owned()).or_default())
    }
}

fn canonical_runtime(runtime: &str) -> &str {
    match runtime {
        "" | "python" | "python3" => "python3",
        "sh" | "bash" | "shell" => "bash",
        "node" | "nodejs" => "node",
        other => other,
    }
}

/// What starts a program of `directory` with its runtime. `None`: the image knows.
fn command(source: &ToolSource, directory: &str) -> Result<Option<Vec<String>>, ContainerError> {
    if source.entrypoint.is_empty() {
        return match directory {
            "" => Ok(None),
            _ => {
                Err(ContainerError::invalid("source.entrypoint", "a bundle needs a program to run"))
            }
        };
    }
    let program = match directory {
        "" => source.entrypoint.clone(),
        _ => format!("{directory}/{}", bundle::relative(&source.entrypoint)?),
    };
    let interpreter: &[&str] = match canonical_runtime(&source.runtime) {
        _ if source.runtime.is_empty() && directory.is_empty() => &[],
        // -B and -u: the file system is read-only, and output must not wait in a buffer.
        "python3" => &["python3", "-B", "-u"],
        "bash" => &["bash"],
        "node" => &["node"],
        _ => &[],
    };
    let words = interpreter.iter().map(|&word| word.to_owned()).chain([program]);
    Ok(Some(words.collect()))
}

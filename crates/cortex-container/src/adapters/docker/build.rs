//! Images: built without network, or pulled.

use bollard::{
    body_full,
    query_parameters::{BuildImageOptionsBuilder, CreateImageOptionsBuilder},
};
use futures::TryStreamExt as _;

use super::DockerEngine;
use crate::{
    ports::{EngineError, ImageBuild},
    tool::is_image_reference,
};

impl DockerEngine {
    /// Builds an image with the engine's own builder.
    pub(super) async fn build(&self, build: ImageBuild) -> Result<(), EngineError> {
        let ImageBuild { tag, context, labels } = build;
        let labels = labels.into_iter().collect();
        let options = BuildImageOptionsBuilder::default()
            .t(&tag)
            .labels(&labels)
            .networkmode("none")
            .rm(true)
            .forcerm(true)
            .build();
        self.call("build image", self.image_limit, async |docker| {
            let mut steps = docker.build_image(options, None, Some(body_full(context)));
            while let Some(step) = steps.try_next().await? {
                if let Some(line) = step.stream {
                    tracing::trace!(image = tag, line = line.trim_end(), "build");
                }
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Pulls an image.
    pub(super) async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        if !is_image_reference(reference) {
            let message = format!("'{reference}' is no image reference");
            return Err(EngineError::Refused { call: "pull image", message });
        }
        // A reference without tag or digest would pull every tag.
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let tag = if name.contains([':', '@']) { "" } else { "latest" };
        let options = CreateImageOptionsBuilder::default().from_image(reference).tag(tag).build();
        self.call("pull image", self.image_limit, async |docker| {
            let steps = docker.create_image(Some(options), None, None);
            steps.try_for_each(|_| async { Ok(()) }).await
        })
        .await?;
        Ok(())
    }
}

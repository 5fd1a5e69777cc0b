//! The registry, by the manifest service.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cortex_proto::cortex::manifest::v1::{
    GetBundleRequest, ResolveToolRequest, manifest_service_client::ManifestServiceClient,
};
use cortex_rpc::{CallContext, Transport, fault, outgoing};
use tonic::{Request, Status};

use crate::{convert::declaration, error::ContainerError, ports::Registry, tool::ToolDeclaration};

/// For looking up a tool.
const LOOK_UP: Duration = Duration::from_secs(10);
/// For reading a bundle.
const READ: Duration = Duration::from_secs(120);

/// The manifest service.
pub(crate) struct ManifestRegistry {
    client: ManifestServiceClient<Transport>,
}

impl ManifestRegistry {
    /// The registry behind `manifest`.
    pub(crate) fn new(manifest: Transport) -> Self {
        Self { client: ManifestServiceClient::new(manifest) }
    }
}

#[tonic::async_trait]
impl Registry for ManifestRegistry {
    async fn tool(
        &self,
        cx: &CallContext,
        name: &str,
        closure_digest: &str,
    ) -> Result<ToolDeclaration, ContainerError> {
        let request =
            ResolveToolRequest { name: name.to_owned(), closure_digest: closure_digest.to_owned() };
        let resolved = self.client.clone().resolve_tool(bounded(cx, request, LOOK_UP)).await;
        let resolved = resolved.map_err(|status| match status.code() {
            tonic::Code::NotFound => ContainerError::ToolNotFound { tool: name.to_owned() },
            _ => upstream(&status),
        })?;
        let tool = resolved.into_inner().tool.unwrap_or_default();
        declaration(tool)
            .map_err(|problem| ContainerError::ImageBuildFailed { tool: name.to_owned(), problem })
    }

    async fn bundle(
        &self,
        cx: &CallContext,
        digest: &str,
        limit: usize,
    ) -> Result<Bytes, ContainerError> {
        let request = GetBundleRequest { digest: digest.to_owned() };
        let bundle = self.client.clone().get_bundle(bounded(cx, request, READ)).await;
        let mut pieces = bundle.map_err(|status| upstream(&status))?.into_inner();
        let mut bundle = BytesMut::new();
        while let Some(piece) = pieces.message().await.map_err(|status| upstream(&status))? {
            bundle.extend_from_slice(&piece.data);
            if bundle.len() > limit {
                let problem = format!("its bundle is larger than {limit} bytes");
                return Err(ContainerError::ImageBuildFailed { tool: digest.into(), problem });
            }
        }
        Ok(bundle.freeze())
    }
}

fn bounded<T>(cx: &CallContext, message: T, limit: Duration) -> Request<T> {
    let mut request = outgoing(cx, message);
    request.set_timeout(limit);
    request
}

fn upstream(status: &Status) -> ContainerError {
    ContainerError::Upstream { service: "manifest", fault: Box::new(fault(status)) }
}

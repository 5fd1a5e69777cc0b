//! ArtifactService.

use bytes::Bytes;
use cortex_proto::google::api::HttpBody;
use cortex_rpc::to_status;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, take};
use crate::{
    artifact::{Artifact, Depot, Download},
    config::Limits,
    convert::{self, artifact_to_proto, proto},
    error::StorageError,
    tenant::Tenant,
};

/// ArtifactService on a depot.
#[derive(Clone)]
pub struct ArtifactApi {
    depot: Depot,
    limits: Limits,
}

impl ArtifactApi {
    /// The service on `depot`.
    pub fn new(depot: Depot, limits: Limits) -> Self {
        Self { depot, limits }
    }

    async fn upload(
        &self,
        tenant: &Tenant,
        mut requests: Streaming<proto::UploadArtifactRequest>,
    ) -> Result<Artifact, Refused> {
        let first = self.depot.next(requests.message()).await??;
        let first = first.ok_or_else(|| StorageError::invalid("content", "no request came"))?;
        let (request, content) = convert::upload(first, &self.limits)?;
        let rest = requests.map_ok(|request| request.content.unwrap_or_default().data);
        let bytes = stream::iter([Ok(content.data)]).chain(rest.map_err(Refused::Stream));
        self.depot.upload(tenant, request, bytes).await
    }
}

/// Why an upload is not stored.
enum Refused {
    Storage(StorageError),
    /// The stream broke off, or was cut by whoever sends it.
    Stream(Status),
}

impl From<StorageError> for Refused {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Stream(status)
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Storage(error) => to_status(error),
            Refused::Stream(status) => status,
        }
    }
}

/// The download as answers, once its first bytes are there.
async fn answers(
    download: Download,
) -> Result<impl Stream<Item = Result<proto::DownloadArtifactResponse, StorageError>>, StorageError>
{
    let mut head = proto::DownloadArtifactResponse {
        content: None,
        size: download.artifact.size,
        digest: download.digest.to_string(),
        name: download.artifact.about.name.clone(),
        offset: i64::try_from(download.range.start).unwrap_or(i64::MAX),
    };
    let content_type = download.artifact.about.content_type.clone();
    let mut pieces = Box::pin(download.pieces());
    let first = pieces.try_next().await?.unwrap_or_default();
    head.content = Some(HttpBody { content_type, data: first, ..Default::default() });
    let rest = pieces.map_ok(|data: Bytes| proto::DownloadArtifactResponse {
        content: Some(HttpBody { data, ..Default::default() }),
        ..Default::default()
    });
    Ok(stream::iter([Ok(head)]).chain(rest))
}

#[tonic::async_trait]
impl proto::artifact_service_server::ArtifactService for ArtifactApi {
    type DownloadArtifactStream = Answers<proto::DownloadArtifactResponse>;

    async fn create_artifact(
        &self,
        request: Request<proto::CreateArtifactRequest>,
    ) -> Result<Response<proto::CreateArtifactResponse>, Status> {
        let (tenant, request) = take(request);
        let new = convert::new_artifact(request, &self.limits).map_err(to_status)?;
        let artifact = self.depot.store().create_artifact(&tenant, new).await.map_err(to_status)?;
        let artifact = Some(artifact_to_proto(artifact));
        Ok(Response::new(proto::CreateArtifactResponse { artifact }))
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<proto::UploadArtifactRequest>>,
    ) -> Result<Response<proto::UploadArtifactResponse>, Status> {
        let (tenant, requests) = take(request);
        let artifact = self.upload(&tenant, requests).await?;
        let artifact = Some(artifact_to_proto(artifact));
        Ok(Response::new(proto::UploadArtifactResponse { artifact }))
    }

    async fn download_artifact(
        &self,
        request: Request<proto::DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let (tenant, request) = take(request);
        let (id, range) = convert::download(&request).map_err(to_status)?;
        let download = self.depot.download(&tenant, &id, range).await.map_err(to_status)?;
        let answers = answers(download).await.map_err(to_status)?;
        Ok(Response::new(super::answers(answers, |answer| answer)))
    }

    async fn get_artifact(
        &self,
        request: Request<proto::GetArtifactRequest>,
    ) -> Result<Response<proto::GetArtifactResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::artifact_id(&request.artifact_id).map_err(to_status)?;
        let artifact = self.depot.store().artifact(&tenant, &id).await.map_err(to_status)?;
        let artifact = Some(artifact_to_proto(artifact));
        Ok(Response::new(proto::GetArtifactResponse { artifact }))
    }

    async fn list_artifacts(
        &self,
        request: Request<proto::ListArtifactsRequest>,
    ) -> Result<Response<proto::ListArtifactsResponse>, Status> {
        let (tenant, request) = take(request);
        let (query, asked) = convert::artifact_query(&request).map_err(to_status)?;
        let page = self.depot.store().artifacts(&tenant, query).await.map_err(to_status)?;
        Ok(Response::new(proto::ListArtifactsResponse {
            artifacts: page.items.into_iter().map(artifact_to_proto).collect(),
            next_page_token: asked.next(page.next),
        }))
    }

    async fn delete_artifact(
        &self,
        request: Request<proto::DeleteArtifactRequest>,
    ) -> Result<Response<proto::DeleteArtifactResponse>, Status> {
        let (tenant, request) = take(request);
        let id = convert::artifact_id(&request.artifact_id).map_err(to_status)?;
        self.depot.delete(&tenant, &id).await.map_err(to_status)?;
        let status = super::DELETED.to_owned();
        Ok(Response::new(proto::DeleteArtifactResponse { status, artifact_id: id.into() }))
    }
}

//! `cortex.llm.v1.CompletionService`.

use std::{pin::Pin, sync::Arc};

use cortex_proto::cortex::llm::v1::{
    CompleteRequest, CompleteResponse, EmbedRequest, EmbedResponse, GenerateRequest,
    GenerateResponse, completion_service_server::CompletionService,
};
use cortex_rpc::to_status;
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::{answer::Answer, convert, error::LlmError, router::Router};

/// The server of `CompletionService`.
#[derive(Clone)]
pub struct Completions {
    router: Arc<Router>,
}

impl Completions {
    pub(crate) fn new(router: Arc<Router>) -> Self {
        Self { router }
    }
}

type Responses = Pin<Box<dyn Stream<Item = Result<CompleteResponse, Status>> + Send>>;

#[tonic::async_trait]
impl CompletionService for Completions {
    type CompleteStream = Responses;

    async fn complete(
        &self,
        request: Request<CompleteRequest>,
    ) -> Result<Response<Responses>, Status> {
        let request = convert::request(request.into_inner()).map_err(to_status)?;
        let outputs = self.router.begin(request).await.map_err(to_status)?;
        let responses = outputs.map(|output| output.map(convert::response).map_err(to_status));
        Ok(Response::new(responses.boxed()))
    }

    async fn generate(
        &self,
        request: Request<GenerateRequest>,
    ) -> Result<Response<GenerateResponse>, Status> {
        let request = convert::as_complete(request.into_inner());
        let request = convert::request(request).map_err(to_status)?;
        let answer = Answer::collect(self.router.complete(request)).await.map_err(to_status)?;
        Ok(Response::new(convert::generated(answer)))
    }

    async fn embed(
        &self,
        _request: Request<EmbedRequest>,
    ) -> Result<Response<EmbedResponse>, Status> {
        Err(to_status(LlmError::NotOffered("embeddings are not offered by this version yet")))
    }
}

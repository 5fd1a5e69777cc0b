//! `cortex.llm.v1.ProviderService`.

use std::sync::Arc;

use cortex_core::{PageSize, PageToken};
use cortex_proto::cortex::llm::v1::{
    GetProviderRequest, GetProviderResponse, ListModelsRequest, ListModelsResponse,
    ListProvidersRequest, ListProvidersResponse, ListUsageRequest, ListUsageResponse,
    ResetProviderRequest, ResetProviderResponse, provider_service_server::ProviderService,
};
use cortex_rpc::to_status;
use tonic::{Request, Response, Status};

use crate::{catalog::canonical, convert, directory::Directory, error::LlmError, router::Router};

/// The server of `ProviderService`.
#[derive(Clone)]
pub struct Providers {
    directory: Directory,
}

impl Providers {
    pub(crate) fn new(router: Arc<Router>) -> Self {
        Self { directory: Directory::new(router) }
    }
}

#[tonic::async_trait]
impl ProviderService for Providers {
    async fn list_providers(
        &self,
        request: Request<ListProvidersRequest>,
    ) -> Result<Response<ListProvidersResponse>, Status> {
        let request = request.into_inner();
        let providers = self.directory.providers().await.into_iter().map(convert::provider);
        let (providers, next_page_token) = page(
            providers.collect(),
            |provider| &provider.name,
            (request.page_size, &request.page_token, "providers"),
        )
        .map_err(to_status)?;
        Ok(Response::new(ListProvidersResponse { providers, next_page_token }))
    }

    async fn get_provider(
        &self,
        request: Request<GetProviderRequest>,
    ) -> Result<Response<GetProviderResponse>, Status> {
        let name = request.into_inner().name;
        if name.trim().is_empty() {
            return Err(to_status(LlmError::invalid("name", "is empty")));
        }
        let provider = self.directory.provider(&name).await.map_err(to_status)?;
        Ok(Response::new(GetProviderResponse { provider: Some(convert::provider(provider)) }))
    }

    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let request = request.into_inner();
        let provider = canonical(&request.provider);
        let models = self.directory.models(&provider).await.map_err(to_status)?;
        let models = models.into_iter().map(convert::model).collect();
        let query = format!("models of {provider}");
        let page_of = (request.page_size, request.page_token.as_str(), query.as_str());
        let (models, next_page_token) =
            page(models, |model| &model.name, page_of).map_err(to_status)?;
        Ok(Response::new(ListModelsResponse { models, next_page_token }))
    }

    async fn reset_provider(
        &self,
        _request: Request<ResetProviderRequest>,
    ) -> Result<Response<ResetProviderResponse>, Status> {
        let message = "providers have no circuit breakers in this version yet: nothing to reset";
        Err(to_status(LlmError::NotOffered(message)))
    }

    async fn list_usage(
        &self,
        _request: Request<ListUsageRequest>,
    ) -> Result<Response<ListUsageResponse>, Status> {
        Err(to_status(LlmError::NotOffered("usage is not recorded by this version yet")))
    }
}

/// The page of `items`, which are in the order of their names, that the query (size, token, what it
/// asks for) means, and the token of the next.
fn page<T>(
    items: Vec<T>,
    name: impl Fn(&T) -> &str,
    (size, token, query): (i32, &str, &str),
) -> Result<(Vec<T>, String), LlmError> {
    let size = PageSize::parse(size)?.get() as usize;
    let after = PageToken::decode(token, query)?;
    let mut rest = items
        .into_iter()
        .filter(|item| after.as_ref().is_none_or(|after| name(item) > after.position()));
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    let last = page.last().filter(|_| more).map(|item| PageToken::after(name(item)));
    Ok((page, last.map(|token| token.encode(query)).unwrap_or_default()))
}

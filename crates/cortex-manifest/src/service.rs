//! `cortex.manifest.v1.ManifestService`: read the request, ask the registry, answer.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use cortex_core::{Clock, PageSize, PageToken};
use cortex_proto::cortex::manifest::v1::{manifest_service_server::ManifestService, *};
use cortex_rpc::to_status;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use crate::{
    applied::Applied,
    closure::Closure,
    convert, dependencies,
    error::RegistryError,
    kind::{ManifestKind, ManifestRef},
    load::Checked,
    manifest::Manifest,
    registry::{Registry, blocking, find},
    snapshot::Snapshot,
    watch,
};

/// Bytes of a bundle in one response.
const PIECE: usize = 64 << 10;

/// The gRPC service over a registry.
#[derive(Clone)]
pub struct Manifests {
    pub(crate) registry: Arc<Registry>,
    pub(crate) applied: Applied,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Bytes of a message that every client reads.
const MAX_MESSAGE: usize = 4 << 20;
/// Bytes of documents after which a page of a list ends, whatever its size.
const MAX_PAGE: usize = 2 << 20;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ManifestService for Manifests {
    async fn get_manifest(
        &self,
        request: Request<GetManifestRequest>,
    ) -> Answer<GetManifestResponse> {
        let request = request.into_inner();
        let id = convert::id(&request.kind, &request.name).map_err(to_status)?;
        let snapshot = self.registry.snapshot();
        let (index, manifest) = find(&snapshot, &id).map_err(to_status)?;
        let manifest = convert::manifest(manifest, &snapshot.warnings(index));
        let document = manifest.document.clone();
        Ok(Response::new(GetManifestResponse { manifest: Some(manifest), document }))
    }

    async fn list_manifests(
        &self,
        request: Request<ListManifestsRequest>,
    ) -> Answer<ListManifestsResponse> {
        let request = request.into_inner();
        let snapshot = self.registry.snapshot();
        list(&snapshot, &request).map(Response::new).map_err(to_status)
    }

    async fn list_names(&self, request: Request<ListNamesRequest>) -> Answer<ListNamesResponse> {
        let request = request.into_inner();
        let snapshot = self.registry.snapshot();
        list_names(&snapshot, &request).map(Response::new).map_err(to_status)
    }

    async fn get_registry_status(
        &self,
        _request: Request<GetRegistryStatusRequest>,
    ) -> Answer<GetRegistryStatusResponse> {
        let snapshot = self.registry.snapshot();
        let by_type = counts(&snapshot);
        Ok(Response::new(GetRegistryStatusResponse {
            total_manifests: by_type.values().sum(),
            by_type,
            last_updated: Some(convert::timestamp(snapshot.changed_at)),
            manifests_root: self.registry.title(),
            diagnostics: snapshot.diagnostics.iter().map(convert::diagnostic).collect(),
            revision: snapshot.revision,
        }))
    }

    async fn validate_manifest(
        &self,
        request: Request<ValidateManifestRequest>,
    ) -> Answer<ValidateManifestResponse> {
        let request = request.into_inner();
        convert::content(&request.content).map_err(to_status)?;
        let path = convert::path(&request.path).map_err(to_status)?;
        let registry = self.registry.clone();
        let checked = blocking(move || Ok(registry.check(&request.content, path.as_ref())));
        Ok(Response::new(verdict(&checked.await.map_err(to_status)?)))
    }

    async fn apply_manifest(
        &self,
        request: Request<ApplyManifestRequest>,
    ) -> Answer<ApplyManifestResponse> {
        let request = request.into_inner();
        convert::content(&request.content).map_err(to_status)?;
        let texts = vec![request.content];
        let done = self.applied.apply(self.registry.clone(), texts, request.validate_only).await;
        let done = done.map_err(to_status)?;
        let manifest = done.manifests.first().map(|m| convert::manifest(m, &m.warnings));
        Ok(Response::new(ApplyManifestResponse { manifest, changed: done.changed }))
    }

    async fn delete_manifest(
        &self,
        request: Request<DeleteManifestRequest>,
    ) -> Answer<DeleteManifestResponse> {
        let request = request.into_inner();
        let id = convert::id(&request.kind, &request.name).map_err(to_status)?;
        self.applied.delete(self.registry.clone(), id).await.map_err(to_status)?;
        Ok(Response::new(DeleteManifestResponse { status: "deleted".to_owned() }))
    }

    async fn resolve_agent(
        &self,
        request: Request<ResolveAgentRequest>,
    ) -> Answer<ResolveAgentResponse> {
        let request = request.into_inner();
        let registry = self.registry.clone();
        let closure = match (request.name.as_str(), request.digest.as_str()) {
            ("", "") => Err(convert::field("name", "must not be empty without a digest")),
            (_, "") => blocking(move || registry.resolve_agent(&request.name)).await,
            ("", digest) => registry.closure(digest),
            (name, digest) => registry.closure(digest).and_then(|closure| {
                let fits = closure.agent.name == name;
                fits.then_some(closure).ok_or(RegistryError::ClosureNotFound(digest.to_owned()))
            }),
        };
        let closure: Arc<Closure> = closure.map_err(to_status)?;
        let response = ResolveAgentResponse { closure: Some(convert::closure(&closure)) };
        let bytes = response.encoded_len();
        if bytes > MAX_MESSAGE {
            let agent = closure.agent.name.clone();
            return Err(to_status(RegistryError::ClosureTooLarge {
                agent,
                bytes,
                limit: MAX_MESSAGE,
            }));
        }
        Ok(Response::new(response))
    }

    async fn resolve_tool(
        &self,
        request: Request<ResolveToolRequest>,
    ) -> Answer<ResolveToolResponse> {
        let request = request.into_inner();
        if request.name.is_empty() {
            return Err(to_status(convert::field("name", "must not be empty")));
        }
        let registry = self.registry.clone();
        let tool = blocking(move || resolve_tool(&registry, &request)).await.map_err(to_status)?;
        Ok(Response::new(ResolveToolResponse { tool: Some(tool) }))
    }

    type GetBundleStream = BoxStream<'static, Result<GetBundleResponse, Status>>;

    async fn get_bundle(
        &self,
        request: Request<GetBundleRequest>,
    ) -> Answer<Self::GetBundleStream> {
        let digest = request.into_inner().digest;
        let registry = self.registry.clone();
        let archive = blocking(move || registry.bundle(&digest)).await.map_err(to_status)?;
        let pieces = pieces(archive).map(|data| Ok(GetBundleResponse { data }));
        Ok(Response::new(stream::iter(pieces).boxed()))
    }

    async fn get_dependencies(
        &self,
        request: Request<GetDependenciesRequest>,
    ) -> Answer<GetDependenciesResponse> {
        let request = request.into_inner();
        let id = convert::id(&request.kind, &request.name).map_err(to_status)?;
        let snapshot = self.registry.snapshot();
        let (index, manifest) = find(&snapshot, &id).map_err(to_status)?;
        let mut resolved: Vec<ManifestRef> = snapshot
            .imports(index)
            .iter()
            .filter_map(|import| Some(snapshot.at(import.outcome.found()?).id().clone()))
            .collect();
        resolved.sort();
        resolved.dedup();
        Ok(Response::new(GetDependenciesResponse {
            dependencies: dependencies::as_written(manifest).to_string(),
            resolved: resolved.iter().map(convert::reference).collect(),
        }))
    }

    async fn validate_dependencies(
        &self,
        request: Request<ValidateDependenciesRequest>,
    ) -> Answer<ValidateDependenciesResponse> {
        let request = request.into_inner();
        let id = convert::id(&request.kind, &request.name).map_err(to_status)?;
        let snapshot = self.registry.snapshot();
        let validation = match find(&snapshot, &id) {
            Ok((index, _)) => {
                let (mut found, missing) = dependencies::problems(&snapshot, index);
                found.extend(snapshot.cycles_of(index));
                ManifestValidation {
                    valid: missing.is_empty(),
                    ..convert::validation(&found, missing)
                }
            }
            Err(RegistryError::Invalid { diagnostics, .. }) => {
                convert::validation(&diagnostics, Vec::new())
            }
            Err(error) => return Err(to_status(error)),
        };
        Ok(Response::new(ValidateDependenciesResponse { validation: Some(validation) }))
    }

    async fn get_graph(&self, request: Request<GetGraphRequest>) -> Answer<GetGraphResponse> {
        let format = request.into_inner().format;
        if !matches!(format.as_str(), "" | "json" | "dot") {
            return Err(to_status(convert::field("format", "must be 'json' or 'dot'")));
        }
        let snapshot = self.registry.snapshot();
        let edge = |(from, to): &(ManifestRef, ManifestRef)| GraphEdge {
            from: Some(convert::reference(from)),
            to: Some(convert::reference(to)),
        };
        Ok(Response::new(GetGraphResponse {
            nodes: snapshot.named().map(|(_, m)| convert::reference(m.id())).collect(),
            edges: dependencies::edges(&snapshot).iter().map(edge).collect(),
            dot: if format == "dot" { dependencies::dot(&snapshot) } else { String::new() },
        }))
    }

    type WatchManifestsStream = BoxStream<'static, Result<WatchManifestsResponse, Status>>;

    async fn watch_manifests(
        &self,
        request: Request<WatchManifestsRequest>,
    ) -> Answer<Self::WatchManifestsStream> {
        let request = request.into_inner();
        let kind = match request.kind.as_str() {
            "" => None,
            given => Some(convert::kind(given).map_err(to_status)?),
        };
        if request.after_revision < 0 {
            return Err(to_status(convert::field("after_revision", "must not be negative")));
        }
        let stream = watch::follow(self.registry.clone(), request.after_revision, kind);
        Ok(Response::new(stream.map_err(to_status)?.boxed()))
    }

    async fn reload_manifests(
        &self,
        _request: Request<ReloadManifestsRequest>,
    ) -> Answer<ReloadManifestsResponse> {
        let snapshot = self.applied.reload(self.registry.clone()).await.map_err(to_status)?;
        let errors = snapshot.diagnostics.iter().filter(|d| d.is_error()).count();
        let mut synced = counts(&snapshot);
        synced.insert("errors".to_owned(), i32::try_from(errors).unwrap_or(i32::MAX));
        let status = if errors == 0 { "success" } else { "errors" };
        Ok(Response::new(ReloadManifestsResponse {
            status: status.to_owned(),
            synced,
            diagnostics: snapshot.diagnostics.iter().map(convert::diagnostic).collect(),
        }))
    }

    async fn export_registry(
        &self,
        _request: Request<ExportRegistryRequest>,
    ) -> Answer<ExportRegistryResponse> {
        let snapshot = self.registry.snapshot();
        let now = jiff::Timestamp::try_from(self.clock.now()).unwrap_or_default();
        let registry = dependencies::export(&snapshot, &self.registry.title(), &now.to_string());
        let status = "success".to_owned();
        Ok(Response::new(ExportRegistryResponse { status, registry: registry.to_string() }))
    }

    async fn import_registry(
        &self,
        request: Request<ImportRegistryRequest>,
    ) -> Answer<ImportRegistryResponse> {
        let request = request.into_inner();
        let texts = exported_texts(&request.registry).map_err(to_status)?;
        let done = self.applied.apply(self.registry.clone(), texts, request.validate_only).await;
        let mut applied: HashMap<String, i32> = HashMap::new();
        for manifest in &done.map_err(to_status)?.manifests {
            *applied.entry(manifest.id().kind.collection().to_owned()).or_default() += 1;
        }
        Ok(Response::new(ImportRegistryResponse { status: "success".to_owned(), applied }))
    }
}

fn list(
    snapshot: &Snapshot,
    request: &ListManifestsRequest,
) -> Result<ListManifestsResponse, RegistryError> {
    let kind = match request.kind.as_str() {
        "" => None,
        given => Some(convert::kind(given)?),
    };
    let needle = request.query.to_lowercase();
    let size = usize::try_from(PageSize::parse(request.page_size)?.get()).unwrap_or(usize::MAX);
    let query = format!("manifests {} {} {}", request.kind, request.state, request.query);
    let token = PageToken::decode(&request.page_token, &query)?;
    let matching = snapshot.named().filter(|(_, manifest)| {
        kind.is_none_or(|kind| manifest.id().kind == kind)
            && (request.state.is_empty() || manifest.common.state == request.state)
            && manifest.contains(&needle)
            && token
                .as_ref()
                .is_none_or(|token| position(manifest.id()).as_str() > token.position())
    });
    let mut found: Vec<_> = matching.take(size + 1).collect();
    let fitting = fitting(&found).min(size);
    let more = found.len() > fitting;
    found.truncate(fitting);
    let last = found.last().filter(|_| more).map(|(_, manifest)| position(manifest.id()));
    Ok(ListManifestsResponse {
        next_page_token: last.map(|p| PageToken::after(p).encode(&query)).unwrap_or_default(),
        manifests: found
            .into_iter()
            .map(|(index, manifest)| convert::manifest(manifest, &snapshot.warnings(index)))
            .collect(),
    })
}

/// How many manifests fit one page: one at least.
fn fitting(manifests: &[(usize, &Arc<Manifest>)]) -> usize {
    let sizes = manifests.iter().map(|(_, manifest)| manifest.common.document.to_string().len());
    let mut total = 0;
    let fit = sizes.take_while(|size| {
        total += size;
        total <= MAX_PAGE
    });
    fit.count().max(1)
}

/// Where a manifest stands in a list of all kinds; sorts as the list does.
fn position(id: &ManifestRef) -> String {
    let kind = ManifestKind::ALL.iter().position(|kind| *kind == id.kind).unwrap_or_default();
    format!("{kind}/{}", id.name)
}

fn list_names(
    snapshot: &Snapshot,
    request: &ListNamesRequest,
) -> Result<ListNamesResponse, RegistryError> {
    let kind = convert::collection(&request.collection)?;
    let size = usize::try_from(PageSize::parse(request.page_size)?.get()).unwrap_or(usize::MAX);
    let query = format!("names {}", kind.lower());
    let token = PageToken::decode(&request.page_token, &query)?;
    let after = |name: &&str| token.as_ref().is_none_or(|token| *name > token.position());
    let mut names: Vec<&str> = snapshot.names(kind).filter(after).take(size + 1).collect();
    let more = names.len() > size;
    names.truncate(size);
    let last = names.last().filter(|_| more);
    let next_page_token =
        last.map(|name| PageToken::after(*name).encode(&query)).unwrap_or_default();
    let names = json!({ kind.as_str(): names }).to_string();
    Ok(ListNamesResponse { names, next_page_token })
}

fn counts(snapshot: &Snapshot) -> HashMap<String, i32> {
    let mut counts: HashMap<String, i32> =
        ManifestKind::ALL.into_iter().map(|kind| (kind.collection().to_owned(), 0)).collect();
    for (_, manifest) in snapshot.named() {
        *counts.entry(manifest.id().kind.collection().to_owned()).or_default() += 1;
    }
    counts
}

fn verdict(checked: &Checked) -> ValidateManifestResponse {
    let imports: Vec<_> = checked.imports.iter().flatten().cloned().collect();
    let missing = dependencies::missing(&imports);
    let validation = convert::validation(&checked.diagnostics, missing);
    let manifest = checked.manifests.first();
    let broken = checked.broken.first().and_then(|broken| broken.id.as_ref());
    let kind = manifest.map(|manifest| manifest.id()).or(broken).map(|id| id.kind.as_str());
    ValidateManifestResponse {
        status: if validation.valid { "success" } else { "invalid" }.to_owned(),
        parsed_data: checked.document().map(ToString::to_string).unwrap_or_default(),
        manifest_type: kind.unwrap_or_default().to_owned(),
        validation: Some(validation),
    }
}

fn resolve_tool(
    registry: &Registry,
    request: &ResolveToolRequest,
) -> Result<ToolSpec, RegistryError> {
    if request.closure_digest.is_empty() {
        return registry.resolve_tool(&request.name).map(|tool| convert::tool(&tool));
    }
    let closure = registry.closure(&request.closure_digest)?;
    let tool = closure.tools.iter().find(|tool| tool.name == request.name);
    tool.map(convert::tool).ok_or_else(|| RegistryError::NotInClosure {
        closure: request.closure_digest.clone(),
        tool: request.name.clone(),
    })
}

fn pieces(mut archive: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = archive.len().min(PIECE);
        (length > 0).then(|| archive.split_to(length))
    })
}

/// The texts of the manifests of an export.
fn exported_texts(registry: &str) -> Result<Vec<String>, RegistryError> {
    let wrong = |reason: &str| convert::field("registry", reason);
    let value: Value =
        serde_json::from_str(registry).map_err(|error| wrong(&format!("is not JSON: {error}")))?;
    let mut texts = Vec::new();
    for kind in ManifestKind::ALL {
        match value.get(dependencies::export_key(kind)) {
            None => {}
            Some(Value::Object(manifests)) => {
                texts.extend(manifests.values().map(Value::to_string));
            }
            Some(_) => return Err(wrong("each collection is an object of manifests by name")),
        }
    }
    if texts.is_empty() {
        return Err(wrong("holds no manifests; give what ExportRegistry answered"));
    }
    Ok(texts)
}

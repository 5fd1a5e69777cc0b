//! OpenAI's `/v1` as this service serves it: models and chat completions, streamed and in one piece,
//! with tools. (<https://platform.openai.com/docs/api-reference/chat>)
//!
//! It is another way into the same router. A client of this API cannot take anything back, so an
//! attempt is replaced only before its first content; a stream that fails ends with an error object
//! and without `[DONE]`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State, rejection::BytesRejection},
    http::{HeaderMap, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;

use crate::{
    answer::Answer,
    catalog::AUTO,
    directory::{Directory, ModelState},
    router::{Outputs, Router},
};

mod chunks;
mod error;
mod request;
mod response;

use error::ApiError;

/// How often a stream that has nothing to say shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Clone)]
struct Api {
    router: Arc<Router>,
    directory: Directory,
}

/// The routes below `/v1`. Bodies are of at most `request_bytes`.
pub(crate) fn routes(router: Arc<Router>, request_bytes: usize) -> axum::Router {
    let directory = Directory::new(router.clone());
    axum::Router::new()
        .route("/v1/models", get(list_models))
        .route("/v1/models/{*model}", get(get_model))
        .route("/v1/chat/completions", post(complete))
        .layer(DefaultBodyLimit::max(request_bytes))
        .with_state(Api { router, directory })
}

#[derive(Serialize)]
struct ModelList {
    object: &'static str,
    data: Vec<ModelObject>,
}

#[derive(Serialize)]
struct ModelObject {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
}

fn model_object(id: String, owned_by: String) -> ModelObject {
    ModelObject { id, object: "model", created: 0, owned_by }
}

async fn list_models(State(api): State<Api>) -> Result<Json<ModelList>, ApiError> {
    let models = api.directory.models("").await?;
    let object = |model: ModelState| model_object(model.name(), model.provider);
    let auto = model_object(AUTO.to_owned(), "cortex".to_owned());
    let data = [auto].into_iter().chain(models.into_iter().map(object)).collect();
    Ok(Json(ModelList { object: "list", data }))
}

async fn get_model(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<ModelObject>, ApiError> {
    let target = api.router.catalog.resolve("", &name, true).await?;
    Ok(Json(model_object(name, target.lane.name.clone())))
}

async fn complete(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return Err(ApiError::media_type());
    }
    let body = body.map_err(|rejection| ApiError::body(rejection.status(), &rejection))?;
    let asked = request::parse(&body)?;
    if !asked.stream {
        let answer = Answer::collect(api.router.complete(asked.request)).await?;
        return Ok(Json(response::completion(&answer)).into_response());
    }
    let events = events(api.router.begin(asked.request).await?, asked.include_usage);
    let heartbeat = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(events).keep_alive(heartbeat).into_response())
}

/// The frames of the stream. Dropping it cancels the completion.
fn events(
    outputs: Outputs,
    include_usage: bool,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let writer = chunks::Writer::new(include_usage);
    outputs
        .scan(writer, |writer, output| {
            let frames = match output {
                Ok(output) => writer.write(output),
                Err(error) => vec![ApiError::from(error).to_json()],
            };
            std::future::ready(Some(stream::iter(frames)))
        })
        .flatten()
        .map(|data| Ok(Event::default().data(data)))
}

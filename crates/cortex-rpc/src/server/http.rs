//! The plain HTTP side of a port: health, metrics, the service's own routes, then the transcoder.

use std::{convert::Infallible, sync::Arc, time::Instant};

use ::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::{extract::DefaultBodyLimit, routing::get};
use cortex_config::ByteSize;
use cortex_core::Fault;
use cortex_telemetry::Metrics;
use futures::{TryFutureExt, future::Either};
use serde_json::{Value, json};
use tonic::{Status, body::Body};
use tower::{ServiceExt, service_fn};

use crate::{
    body::{self, Reply},
    context::{REQUEST_ID, TRACEPARENT, context_mut},
    http_error::{http_error, http_error_as, json_response},
    layer::{Authenticator, CatchPanic, RequestId, Trace, identify, refuse},
    server::{guard::Guard, health::Readiness},
    status::status,
    transport::{Answer, GrpcService, Transport},
};

/// What the HTTP side is made from.
pub(crate) struct HttpParts {
    pub(crate) name: Box<str>,
    pub(crate) version: Box<str>,
    pub(crate) routes: axum::Router,
    pub(crate) fallback: Option<Transport>,
    pub(crate) openapi: Option<Arc<str>>,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) guard: Guard,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) max_body: ByteSize,
}

/// The HTTP side with its layers, read from the inside out. Failures of the layers are statuses until
/// the last step makes JSON of them.
pub(crate) fn http_service(parts: HttpParts) -> Transport {
    let (guard, authenticator) = (parts.guard.clone(), parts.authenticator.clone());
    let routes = CatchPanic::new(AsTransport(router(parts)));
    let guarded = Guarded { inner: routes, guard, authenticator };
    Transport::of(InJson(Trace::for_http(RequestId::new(guarded))))
}

fn router(parts: HttpParts) -> axum::Router {
    let probes = probes(&parts);
    let mut router = axum::Router::new().merge(probes).merge(parts.routes);
    if let Some(document) = parts.openapi {
        let document = bytes::Bytes::copy_from_slice(document.as_bytes());
        let answer =
            move || async move { ([(header::CONTENT_TYPE, "application/json")], document) };
        router = router.route("/openapi.json", get(answer));
    }
    let fallback = parts.fallback;
    let otherwise = service_fn(move |request: Request<axum::body::Body>| {
        let fallback = fallback.clone();
        async move {
            let response = answer_otherwise(fallback, request.map(Body::new)).await;
            Ok::<_, Infallible>(response.map(axum::body::Body::new))
        }
    });
    let not_this_method = otherwise.clone();
    router
        .fallback_service(otherwise)
        .method_not_allowed_fallback(move |request: Request<axum::body::Body>| {
            not_this_method.clone().oneshot(request)
        })
        .layer(DefaultBodyLimit::max(parts.max_body.as_usize()))
}

async fn answer_otherwise(fallback: Option<Transport>, request: Request<Body>) -> Response<Body> {
    let Some(fallback) = fallback else {
        return status(&not_found(&request)).into_http();
    };
    match fallback.oneshot(request).await {
        Ok(response) => response,
        Err(error) => Status::from_error(error.into_inner()).into_http(),
    }
}

fn not_found(request: &Request<Body>) -> Fault {
    let message = format!("nothing answers {} {}", request.method(), request.uri().path());
    Fault::not_found("ROUTE_NOT_FOUND", message)
}

/// `/health`, `/health/live`, `/health/ready` and `/metrics`.
fn probes(parts: &HttpParts) -> axum::Router {
    let about = Arc::new(About {
        service: parts.name.clone(),
        version: parts.version.clone(),
        since: Instant::now(),
        readiness: parts.readiness.clone(),
    });
    let (full, live) = (about.clone(), about.clone());
    let metrics = parts.metrics.clone();
    let scrape =
        move || async move { ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.encode()) };
    axum::Router::new()
        .route(
            "/health",
            get(move || async move { full.health().await.map(axum::body::Body::new) }),
        )
        .route("/health/live", get(move || async move { live.live().map(axum::body::Body::new) }))
        .route(
            "/health/ready",
            get(move || async move { about.ready().await.map(axum::body::Body::new) }),
        )
        .route("/metrics", get(scrape))
}

/// What the probes tell.
struct About {
    service: Box<str>,
    version: Box<str>,
    since: Instant,
    readiness: Readiness,
}

impl About {
    /// Alive and what it lacks: 200 as long as the process answers at all.
    async fn health(&self) -> Response<Body> {
        self.report(StatusCode::OK).await
    }

    /// Alive: asks nothing of others.
    fn live(&self) -> Response<Body> {
        json_response(StatusCode::OK, &self.base("healthy"))
    }

    /// Ready for calls: 503 while it is not.
    async fn ready(&self) -> Response<Body> {
        self.report(StatusCode::SERVICE_UNAVAILABLE).await
    }

    async fn report(&self, otherwise: StatusCode) -> Response<Body> {
        let report = self.readiness.report().await;
        let (code, word) = match (report.is_ready(), report.draining) {
            (true, _) => (StatusCode::OK, "healthy"),
            (false, true) => (otherwise, "draining"),
            (false, false) => (otherwise, "degraded"),
        };
        let mut body = self.base(word);
        let told =
            |answer: &Result<(), String>| answer.clone().err().unwrap_or_else(|| "ok".into());
        let checks: serde_json::Map<String, Value> = report
            .checks
            .iter()
            .map(|(name, answer)| (name.clone(), told(answer).into()))
            .collect();
        body["checks"] = checks.into();
        json_response(code, &body)
    }

    fn base(&self, status: &str) -> Value {
        json!({
            "status": status,
            "service": self.service,
            "version": self.version,
            "uptime_seconds": self.since.elapsed().as_secs(),
        })
    }
}

/// An axum router as a service of the mesh's types.
struct AsTransport(axum::Router);

impl GrpcService for AsTransport {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let call = self.0.clone().oneshot(request);
        let call = call.map_ok(|response| response.map(|body| Reply::Flow(Body::new(body))));
        call.map_err(|never| match never {})
    }
}

/// Failed gRPC statuses as JSON.
struct InJson<S>(S);

impl<S: GrpcService> GrpcService for InJson<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        self.0.call(request).map_ok(in_json)
    }
}

/// Host and Origin must fit, and the caller is named. Probes pass: they are asked by address.
struct Guarded<S> {
    inner: S,
    guard: Guard,
    authenticator: Arc<dyn Authenticator>,
}

impl<S: GrpcService> GrpcService for Guarded<S> {
    fn call(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + Send {
        if is_probe(request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        if let Err(refusal) = self.guard.check(&request) {
            let mut response = body::respond(status(&refusal.fault));
            response.extensions_mut().insert(HttpStatus(refusal.status));
            return Either::Right(std::future::ready(Ok(response)));
        }
        if let Err(fault) = identify(&*self.authenticator, &mut request) {
            return Either::Right(refuse(&fault));
        }
        tell_onward(&mut request);
        Either::Left(self.inner.call(request))
    }
}

fn is_probe(path: &str) -> bool {
    matches!(path, "/health" | "/health/live" | "/health/ready" | "/metrics")
}

/// Puts request id and trace into the headers too, for a fallback that forwards headers only.
fn tell_onward(request: &mut Request<Body>) {
    let context = context_mut(request).clone();
    let trace = context.trace().map(|trace| trace.to_string()).unwrap_or_default();
    for (name, text) in [(REQUEST_ID, context.request_id()), (TRACEPARENT, &trace)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            request.headers_mut().insert(name, value);
        }
    }
}

/// The HTTP status of a response whose gRPC code has another one.
#[derive(Debug, Clone, Copy)]
struct HttpStatus(StatusCode);

/// Makes JSON of a response that is a failed gRPC status.
fn in_json(response: Response<Reply>) -> Response<Reply> {
    let Some(failed) = Status::from_header_map(response.headers()) else { return response };
    let mut answer = match response.extensions().get::<HttpStatus>() {
        Some(HttpStatus(code)) => http_error_as(*code, &failed),
        None => http_error(&failed),
    };
    if let Some(id) = response.headers().get(REQUEST_ID) {
        answer.headers_mut().insert(REQUEST_ID, id.clone());
    }
    answer.map(Reply::Flow)
}

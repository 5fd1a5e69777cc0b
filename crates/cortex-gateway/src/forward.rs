//! HTTP requests passed on to another service as they are.

use axum::{body::Body, extract::Request, response::Response, routing::any};
use cortex_core::Fault;
use http::{HeaderMap, HeaderName, Uri, header, uri};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// Why requests cannot be passed on to a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardError {
    url: String,
}

impl std::fmt::Display for ForwardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' is not a URL of the form http://host:port", self.url)
    }
}

impl std::error::Error for ForwardError {}

/// Headers of one connection, which do not travel on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Routes that pass everything below `prefix` on to `url`, bodies streamed in both directions.
///
/// # Errors
/// [`ForwardError`] when `url` is not `http://host:port`.
pub fn forward_http(url: &str, prefix: &str) -> Result<axum::Router, ForwardError> {
    let wrong = || ForwardError { url: url.to_owned() };
    let target: Uri = url.trim_end_matches('/').parse().map_err(|_| wrong())?;
    if target.scheme() != Some(&uri::Scheme::HTTP) || target.authority().is_none() {
        return Err(wrong());
    }
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    let pass_on = move |request: Request| pass_on(client.clone(), target.clone(), request);
    Ok(axum::Router::new().route(&format!("{prefix}/{{*rest}}"), any(pass_on)))
}

async fn pass_on(
    client: Client<HttpConnector, Body>,
    target: Uri,
    mut request: Request,
) -> Response {
    *request.uri_mut() = rebase(&target, request.uri());
    clean(request.headers_mut());
    request.headers_mut().remove(header::HOST);
    match client.request(request).await {
        Ok(response) => {
            let mut response = response.map(Body::new);
            clean(response.headers_mut());
            response
        }
        Err(error) => {
            tracing::warn!(%target, %error, "a request could not be passed on");
            let message = format!("the llm service at {target} does not answer");
            let fault = Fault::unavailable("CONNECT_FAILED", message);
            cortex_rpc::http_error(&cortex_rpc::status(&fault)).map(Body::new)
        }
    }
}

fn rebase(target: &Uri, original: &Uri) -> Uri {
    let mut parts = target.clone().into_parts();
    parts.path_and_query = original.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_else(|_| target.clone())
}

fn clean(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn upstream() -> String {
        let echo = |uri: Uri, body: String| async move { format!("{uri} {body}") };
        let routes = axum::Router::new().route("/v1/chat/completions", post(echo));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    fn request() -> Request {
        let uri = "/v1/chat/completions?a=b";
        Request::post(uri).body(Body::from("bytes")).expect("a request")
    }

    #[tokio::test]
    async fn path_query_and_body_travel_untouched() {
        let routes = forward_http(&upstream().await, "/v1").expect("a URL");
        let response = routes.oneshot(request()).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(&body[..], b"/v1/chat/completions?a=b bytes");
    }

    #[tokio::test]
    async fn a_service_that_is_away_is_503() {
        let routes = forward_http("http://127.0.0.1:9", "/v1").expect("a URL");
        let response = routes.oneshot(request()).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn only_plain_http_urls_are_taken() {
        for bad in ["ftp://x:1", "localhost:80", "http://", ""] {
            assert!(forward_http(bad, "/v1").is_err(), "{bad}");
        }
    }
}

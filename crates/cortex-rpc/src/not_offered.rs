//! Services whose contract stands and whose work is not offered yet.

use std::{convert::Infallible, sync::Arc};

use cortex_core::Fault;
use http::{Request, Response};
use tonic::body::Body;

use crate::{
    status::status,
    transport::{Transport, local},
};

/// Answers every call with UNIMPLEMENTED and the reason NOT_OFFERED. `what` names what is missing,
/// for people: `workflows`.
///
/// ```
/// let runtime = cortex_rpc::Router::new()
///     .route("cortex.runtime.v1.WorkflowService", cortex_rpc::not_offered("workflows"));
/// let server = cortex_rpc::Server::builder("runtime").forward(runtime).build();
/// ```
pub fn not_offered(what: &str) -> Transport {
    let message: Arc<str> = format!("this release does not offer {what} yet").into();
    local(tower::service_fn(move |request: Request<Body>| {
        let message = message.clone();
        async move {
            let method = request.uri().path().trim_start_matches('/').to_owned();
            let fault = Fault::unimplemented("NOT_OFFERED", &*message).with("method", method);
            Ok::<Response<Body>, Infallible>(status(&fault).into_http())
        }
    }))
}

#[cfg(test)]
mod tests {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    #[tokio::test]
    async fn every_call_is_told_what_is_missing() {
        let mut client = HealthClient::new(super::not_offered("health"));
        let status = client.check(HealthCheckRequest::default()).await.expect_err("not offered");
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        assert_eq!(crate::reason(&status).as_deref(), Some("NOT_OFFERED"));
        assert_eq!(status.message(), "this release does not offer health yet");
    }
}

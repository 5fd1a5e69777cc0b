//! Health: the standard gRPC service and what `/health/ready` is made from.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::BoxFuture, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use cortex_core::Fault;

use crate::{server::Drain, status::status};

/// How long one readiness check may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);
/// How often a health watch looks again.
const WATCH_PERIOD: Duration = Duration::from_secs(2);

/// A question about readiness: `Err` says in a sentence what is missing.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Whether a service can do its work.
#[derive(Clone)]
pub(crate) struct Readiness {
    checks: Arc<BTreeMap<String, Check>>,
    drain: Drain,
}

/// The answer to all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// What each check said.
    pub(crate) checks: BTreeMap<String, Result<(), String>>,
    /// Whether the server is stopping.
    pub(crate) draining: bool,
}

impl Report {
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining && self.checks.values().all(Result::is_ok)
    }
}

impl Readiness {
    pub(crate) fn new(checks: BTreeMap<String, Check>, drain: Drain) -> Self {
        Self { checks: Arc::new(checks), drain }
    }

    /// Asks every check, at the same time.
    pub(crate) async fn report(&self) -> Report {
        let asked = self.checks.iter().map(|(name, check)| async move {
            let answer = tokio::time::timeout(CHECK_DEADLINE, check()).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {CHECK_DEADLINE:?}")));
            (name.clone(), answer)
        });
        let checks = futures::future::join_all(asked).await.into_iter().collect();
        Report { checks, draining: self.drain.has_begun() }
    }

    pub(crate) fn draining(&self) -> bool {
        self.drain.has_begun()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("checks", &self.checks.keys()).finish_non_exhaustive()
    }
}

/// `grpc.health.v1.Health`: "" is the server with its checks; a service by name is SERVING until the
/// server leaves.
#[derive(Debug, Clone)]
pub(crate) struct HealthService {
    services: Arc<Vec<String>>,
    readiness: Readiness,
}

impl HealthService {
    pub(crate) fn new(services: Vec<String>, readiness: Readiness) -> Self {
        Self { services: Arc::new(services), readiness }
    }

    /// `None` for a service that is not here.
    async fn look(&self, service: &str) -> Option<ServingStatus> {
        if !service.is_empty() && !self.services.iter().any(|known| known == service) {
            return None;
        }
        let ready = match service {
            _ if self.readiness.draining() => false,
            "" => self.readiness.report().await.is_ready(),
            _ => true,
        };
        Some(if ready { ServingStatus::Serving } else { ServingStatus::NotServing })
    }

    /// The status now, or once it differs from `last`.
    async fn next(&self, service: &str, last: Option<ServingStatus>) -> ServingStatus {
        loop {
            let now = self.look(service).await.unwrap_or(ServingStatus::ServiceUnknown);
            if last != Some(now) {
                return now;
            }
            let leaving = self.readiness.drain.leaving().cancelled();
            let left_before = self.readiness.draining();
            tokio::select! {
                () = tokio::time::sleep(WATCH_PERIOD) => {}
                () = leaving, if !left_before => {}
            }
        }
    }
}

fn answer(now: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: now.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let now = self.look(&service).await.ok_or_else(|| {
            let message = format!("no service '{service}' on this server");
            status(&Fault::not_found("SERVICE_UNKNOWN", message).with_resource("service", service))
        })?;
        Ok(Response::new(answer(now)))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let start = (self.clone(), request.into_inner().service, None);
        let changes = stream::unfold(start, |(health, service, last)| async move {
            let now = health.next(&service, last).await;
            Some((Ok(answer(now)), (health, service, Some(now))))
        });
        Ok(Response::new(changes.boxed()))
    }
}

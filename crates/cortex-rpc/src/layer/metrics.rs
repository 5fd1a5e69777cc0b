//! Calls counted and timed. Names and labels follow the gRPC ecosystem (go-grpc-middleware's
//! Prometheus provider), so that its dashboards work.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use cortex_telemetry::Metrics;
use foldhash::fast::RandomState;
use futures::TryFutureExt;
use http::{HeaderMap, Request};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use crate::{
    body::{self, Observe},
    method::{Method, MethodTable},
    transport::{Answer, GrpcService},
};

/// Upper bounds in seconds: from a call within the process to a completion's deadline.
const BUCKETS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0, 600.0,
];

/// Number of gRPC codes.
const CODES: usize = 17;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    grpc_type: &'static str,
    grpc_service: String,
    grpc_method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandledLabels {
    grpc_type: &'static str,
    grpc_service: String,
    grpc_method: String,
    grpc_code: &'static str,
}

type Seconds = Family<MethodLabels, Histogram, fn() -> Histogram>;

/// Which side of a call is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// The call metrics of one side of one service.
#[derive(Debug)]
pub(crate) struct CallMetrics {
    methods: MethodTable,
    started: Family<MethodLabels, Counter>,
    handled: Family<HandledLabels, Counter>,
    in_flight: Family<MethodLabels, Gauge>,
    seconds: Seconds,
    /// Handles of the methods of the table, made with their first call. Paths that clients make up
    /// share one.
    known: HashMap<Box<str>, OnceLock<Arc<MethodMetrics>>, RandomState>,
    unknown: OnceLock<Arc<MethodMetrics>>,
}

impl CallMetrics {
    /// Registers the metrics of `side` in the registry of a service. Once per registry and side.
    pub(crate) fn register(metrics: &Metrics, side: Side, methods: MethodTable) -> Arc<Self> {
        let prefix = match side {
            Side::Server => "grpc_server",
            Side::Client => "grpc_client",
        };
        let seconds: Seconds = Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let this = Self {
            started: Family::default(),
            handled: Family::default(),
            in_flight: Family::default(),
            seconds,
            known: methods.paths().map(|path| (path.into(), OnceLock::new())).collect(),
            unknown: OnceLock::new(),
            methods,
        };
        let name = |rest: &str| format!("{prefix}_{rest}");
        metrics.register(&name("started"), "Calls begun", this.started.clone());
        metrics.register(&name("handled"), "Calls ended, by code", this.handled.clone());
        metrics.register(&name("in_flight"), "Calls open now", this.in_flight.clone());
        metrics.register(
            &name("handling_seconds"),
            "Time from a call's begin until it is answered, of a stream until its end",
            this.seconds.clone(),
        );
        Arc::new(this)
    }

    fn of(&self, path: &str) -> Arc<MethodMetrics> {
        let handles = self.known.get(path).unwrap_or(&self.unknown);
        let made = handles.get_or_init(|| {
            Arc::new(match self.methods.get(path) {
                Some(method) => self.handles(call_type(method), &method.service, &method.name),
                None => self.handles("unary", "unknown", "unknown"),
            })
        });
        made.clone()
    }

    fn handles(&self, grpc_type: &'static str, service: &str, method: &str) -> MethodMetrics {
        let labels = MethodLabels {
            grpc_type,
            grpc_service: service.to_owned(),
            grpc_method: method.to_owned(),
        };
        MethodMetrics {
            started: self.started.get_or_create_owned(&labels),
            in_flight: self.in_flight.get_or_create_owned(&labels),
            seconds: self.seconds.get_or_create_owned(&labels),
            handled: Default::default(),
            family: self.handled.clone(),
            labels,
        }
    }
}

fn call_type(method: &Method) -> &'static str {
    match (method.client_streaming, method.server_streaming) {
        (false, false) => "unary",
        (true, false) => "client_stream",
        (false, true) => "server_stream",
        (true, true) => "bidi_stream",
    }
}

/// The metrics of one method.
#[derive(Debug)]
struct MethodMetrics {
    started: Counter,
    in_flight: Gauge,
    seconds: Histogram,
    handled: [OnceLock<Counter>; CODES],
    family: Family<HandledLabels, Counter>,
    labels: MethodLabels,
}

impl MethodMetrics {
    fn count(&self, code: Code) {
        let Some(counter) = self.handled.get(code as usize) else { return };
        counter
            .get_or_init(|| {
                self.family.get_or_create_owned(&HandledLabels {
                    grpc_type: self.labels.grpc_type,
                    grpc_service: self.labels.grpc_service.clone(),
                    grpc_method: self.labels.grpc_method.clone(),
                    grpc_code: code_name(code),
                })
            })
            .inc();
    }
}

/// The spelling of the gRPC ecosystem's dashboards.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// Counts and times calls. Outermost on a server.
#[derive(Debug)]
pub(crate) struct Measure<S> {
    inner: S,
    metrics: Arc<CallMetrics>,
}

impl<S> Measure<S> {
    pub(crate) fn new(inner: S, metrics: Arc<CallMetrics>) -> Self {
        Self { inner, metrics }
    }
}

impl<S: GrpcService> GrpcService for Measure<S> {
    fn call(&self, request: Request<Body>) -> impl Future<Output = Answer> + Send {
        let measured = Measured::begin(self.metrics.of(request.uri().path()));
        self.inner.call(request).map_ok(|response| {
            if let Some(code) = body::head_code(&response) {
                measured.end(code);
                return response;
            }
            response.map(|body| body::observe(body, measured))
        })
    }
}

/// One call. Counted when dropped: as CANCELLED when nobody waited for its status.
struct Measured {
    metrics: Arc<MethodMetrics>,
    begun: Instant,
    code: Code,
}

impl Measured {
    fn begin(metrics: Arc<MethodMetrics>) -> Self {
        metrics.started.inc();
        metrics.in_flight.inc();
        Self { metrics, begun: Instant::now(), code: Code::Cancelled }
    }

    fn end(mut self, code: Code) {
        self.code = code;
    }
}

impl Observe for Measured {
    fn on_trailers(&mut self, code: Code, _trailers: &mut HeaderMap) {
        self.code = code;
    }

    fn on_error(&mut self, error: &Status) {
        self.code = error.code();
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics.seconds.observe(self.begun.elapsed().as_secs_f64());
        self.metrics.count(self.code);
    }
}

//! What travels with a call on every hop: who, under which id, until when, in which trace, how deep.

use std::{sync::Arc, time::Duration};

use cortex_telemetry::TraceContext;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::method::Method;

/// Metadata that carries the request id, on requests and on responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Metadata that carries the tenant. Believed only from inside the mesh.
pub const TENANT: HeaderName = HeaderName::from_static("x-cortex-tenant");
/// Metadata that carries the user on whose behalf a call is made. Believed only from inside the mesh.
pub const USER: HeaderName = HeaderName::from_static("x-cortex-user");
/// Metadata that carries how many services a call has come through.
pub const HOPS: HeaderName = HeaderName::from_static("x-cortex-hops");
/// Metadata that carries the trace (W3C Trace Context).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Metadata that carries the time left (gRPC over HTTP/2).
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The tenant of everybody while authentication is off.
pub const DEFAULT_TENANT: &str = "default";

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    tenant: Arc<str>,
    user: Option<Arc<str>>,
}

impl Identity {
    /// Somebody of `tenant`.
    pub fn of_tenant(tenant: &str) -> Self {
        Self { tenant: tenant.into(), user: None }
    }

    /// The same tenant, with a user.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Whose data the call may see. Never empty.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The user, when one is authenticated.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

impl Default for Identity {
    fn default() -> Self {
        static DEFAULT: std::sync::LazyLock<Identity> =
            std::sync::LazyLock::new(|| Identity::of_tenant(DEFAULT_TENANT));
        DEFAULT.clone()
    }
}

/// Where a call came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Peer {
    /// Nobody noted it: to be trusted with nothing.
    #[default]
    Unknown,
    /// A service in this process.
    InProcess,
    /// A socket.
    Socket {
        /// The other end.
        remote: std::net::SocketAddr,
        /// This end.
        local: std::net::SocketAddr,
    },
}

/// What travels with a call. A server's layers put it into the request's extensions; a service hands
/// it to every call that it makes on the caller's behalf:
///
/// ```
/// # async fn example(
/// #     request: tonic::Request<tonic_health::pb::HealthCheckRequest>,
/// #     mut peer: tonic_health::pb::health_client::HealthClient<cortex_rpc::Transport>,
/// # ) -> Result<(), tonic::Status> {
/// let cx = cortex_rpc::context(&request);
/// let call = cortex_rpc::outgoing(&cx, tonic_health::pb::HealthCheckRequest::default());
/// let answer = peer.check(call).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct CallContext {
    /// Who is calling.
    pub identity: Identity,
    pub(crate) request_id: Option<Arc<str>>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) hops: u32,
    pub(crate) method: Option<Arc<Method>>,
}

impl CallContext {
    /// The context of work that no call asked for, such as a timer: a new request, a new trace.
    pub fn background(identity: Identity) -> Self {
        Self {
            identity,
            request_id: Some(new_request_id()),
            trace: Some(TraceContext::current().unwrap_or_else(TraceContext::generate)),
            ..Self::default()
        }
    }

    /// The id of the request, for logs and for people. Empty only outside a server.
    pub fn request_id(&self) -> &str {
        self.request_id.as_deref().unwrap_or_default()
    }

    /// When the caller stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the caller still waits. Zero when it no longer does.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The trace.
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// How many services the call has come through.
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// The same context for work that outlives the call: no deadline.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// The same context with a deadline: the earlier of both.
    #[must_use]
    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |at| at.min(deadline)));
        self
    }

    /// The same context as if it had come through `hops` services. For work that was stored and is
    /// taken up again, so that a loop through storage still ends.
    #[must_use]
    pub fn at_hop(mut self, hops: u32) -> Self {
        self.hops = hops;
        self
    }

    /// Writes request id, trace and hops for the next service, which is `hop` further on. Replaces
    /// what is there.
    pub(crate) fn inject(&self, headers: &mut HeaderMap, hop: u32) {
        let mut set = |name: HeaderName, value: &[u8]| {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(name, value);
            }
        };
        match &self.request_id {
            Some(id) => set(REQUEST_ID, id.as_bytes()),
            None => set(REQUEST_ID, new_request_id().as_bytes()),
        }
        let trace = TraceContext::current().or(self.trace).unwrap_or_else(TraceContext::generate);
        set(TRACEPARENT, &trace.to_bytes());
        headers.insert(HOPS, count(self.hops.saturating_add(hop)));
    }

    /// Writes who is calling. Replaces what is there.
    pub(crate) fn inject_identity(&self, headers: &mut HeaderMap) {
        let tenant = match self.identity.tenant() {
            DEFAULT_TENANT => Ok(HeaderValue::from_static(DEFAULT_TENANT)),
            tenant => HeaderValue::from_str(tenant),
        };
        if let Ok(tenant) = tenant {
            headers.insert(TENANT, tenant);
        }
        match self.identity.user().map(HeaderValue::from_str) {
            Some(Ok(user)) => headers.insert(USER, user),
            _ => headers.remove(USER),
        };
    }
}

/// The context of an incoming call. Outside a server: a default context.
pub fn context<T>(request: &tonic::Request<T>) -> CallContext {
    request.extensions().get::<CallContext>().cloned().unwrap_or_default()
}

/// A call to another service on behalf of `cx`: same identity, request id and trace, one hop deeper,
/// until the same deadline or an earlier one set with [`tonic::Request::set_timeout`].
pub fn outgoing<T>(cx: &CallContext, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(cx.clone());
    request
}

/// The context in a request's extensions, made if it is missing.
pub(crate) fn context_mut<B>(request: &mut http::Request<B>) -> &mut CallContext {
    request.extensions_mut().get_or_insert_default::<CallContext>()
}

/// A new request id: `req_` and 32 hex digits.
pub(crate) fn new_request_id() -> Arc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = *b"req_00000000000000000000000000000000";
    for (digits, byte) in text[4..].chunks_exact_mut(2).zip(rand::random::<[u8; 16]>()) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
    }
    String::from_utf8_lossy(&text).into()
}

/// A small number as metadata: the few that come up are not made anew for each call.
fn count(number: u32) -> HeaderValue {
    const FEW: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let few = usize::try_from(number).ok().and_then(|number| FEW.get(number));
    few.map_or_else(|| HeaderValue::from(number), |text| HeaderValue::from_static(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_travels_and_the_hop_is_counted() {
        let identity = Identity::of_tenant("acme").with_user("ann");
        let mut cx = CallContext::background(identity).at_hop(3);
        cx.request_id = Some("req_7".into());
        let mut headers = HeaderMap::new();
        headers.insert(TENANT, HeaderValue::from_static("someone_else"));
        cx.inject_identity(&mut headers);
        cx.inject(&mut headers, 1);
        assert_eq!(headers[TENANT], "acme");
        assert_eq!(headers[USER], "ann");
        assert_eq!(headers[REQUEST_ID], "req_7");
        assert_eq!(headers[HOPS], "4");
        let trace = TraceContext::parse(headers[TRACEPARENT].to_str().expect("ascii"));
        assert_eq!(trace.map(TraceContext::id), cx.trace().map(TraceContext::id));
    }

    #[test]
    fn a_deadline_only_gets_earlier() {
        let now = Instant::now();
        let cx = CallContext::default().until(now + Duration::from_secs(5));
        assert_eq!(cx.clone().until(now + Duration::from_secs(9)).deadline(), cx.deadline());
        assert!(cx.clone().until(now).deadline() < cx.deadline());
        assert_eq!(cx.detached().deadline(), None);
    }
}

//! The context of a call, written into its metadata.

use cortex_telemetry::TraceContext;
use http::{HeaderMap, request::Parts};

use crate::context::{CallContext, HOPS, REQUEST_ID, TRACEPARENT, new_request_id};

/// What a call tells the next service: identity, request id, trace and hop count.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Of the call on whose behalf it is made.
    OnBehalf(CallContext),
    /// Of a call of its own, whose metadata may name an identity.
    Own(CallContext),
}

impl Outgoing {
    /// Takes the [`CallContext`] out of the request's extensions, and drops the others. A call without
    /// one gets a request id and a trace, unless its metadata has them.
    pub(super) fn take(parts: &mut Parts) -> Self {
        let context = std::mem::take(&mut parts.extensions).remove::<CallContext>();
        context.map_or_else(|| Self::Own(of_metadata(&parts.headers)), Self::OnBehalf)
    }

    /// Writes it into `headers` of a call that is `hop` further on when it arrives.
    pub(super) fn write(&self, headers: &mut HeaderMap, hop: u32) {
        match self {
            Self::OnBehalf(context) => {
                context.inject_identity(headers);
                context.inject(headers, hop);
            }
            Self::Own(context) => context.inject(headers, hop),
        }
    }
}

fn of_metadata(headers: &HeaderMap) -> CallContext {
    let text = |name| headers.get(name)?.to_str().ok();
    let trace = text(TRACEPARENT).and_then(TraceContext::parse);
    CallContext {
        request_id: Some(text(REQUEST_ID).map_or_else(new_request_id, Into::into)),
        trace,
        hops: text(HOPS).and_then(|hops| hops.parse().ok()).unwrap_or(0),
        ..CallContext::default()
    }
}

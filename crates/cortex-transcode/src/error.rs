//! Why a transcoder cannot be built: an annotation that does not fit its contract.

/// An annotation that does not fit its contract, or a service that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The pool has no such service.
    #[error("service {service} is not in the descriptor pool")]
    UnknownService {
        /// Full name of the service.
        service: String,
    },
    /// A `google.api.http` rule or an HTTP option of ours is wrong.
    #[error("{rpc}: {reason}")]
    Annotation {
        /// Full name of the method.
        rpc: String,
        /// What is wrong, and with what.
        reason: String,
    },
    /// Two bindings answer the same calls.
    #[error("{rpc} and {other} both answer {method} {path}")]
    Conflict {
        /// Full name of the second method.
        rpc: String,
        /// Full name of the first method.
        other: String,
        /// The HTTP method.
        method: String,
        /// The path template of the second method.
        path: String,
    },
}

/// What an upstream service failed with. Keeps the source, from which tonic reads the status.
#[derive(Debug, thiserror::Error)]
#[error("the call could not be sent: {0}")]
pub(crate) struct UpstreamError(#[source] pub(crate) tower::BoxError);

//! The gRPC services: parse, call the store, answer.

mod admin;
mod artifact;
mod attended;
mod cache;
mod history;
mod journal;
mod metric;
mod record;
mod session;
mod state;
mod transfer;

pub use admin::AdminApi;
pub use artifact::ArtifactApi;
pub use cache::CacheApi;
pub use history::HistoryApi;
pub use journal::JournalApi;
pub use metric::MetricApi;
pub use record::RecordApi;
pub use session::SessionApi;
pub use state::StateApi;

use cortex_rpc::{context, to_status};
use futures::{Stream, StreamExt, stream::BoxStream};
use tonic::{Request, Status};

use crate::{
    error::StorageError,
    tenant::{Scope, Tenant},
};

/// A stream of answers.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// Whose rows a request may see. The one place where a caller's identity becomes a tenant.
fn tenant_of<T>(request: &Request<T>) -> Tenant {
    Tenant::new(context(request).identity.tenant())
}

/// Whose sessions a holder may look for. A call of the default tenant on behalf of no user is a
/// service's own; while authentication is off there is no other tenant to see.
fn scope_of<T>(request: &Request<T>) -> Scope {
    let identity = context(request).identity;
    let own = identity.tenant() == Tenant::DEFAULT && identity.user().is_none();
    if own { Scope::Every } else { Scope::One(Tenant::new(identity.tenant())) }
}

/// The message of a request, with its tenant.
fn take<T>(request: Request<T>) -> (Tenant, T) {
    (tenant_of(&request), request.into_inner())
}

/// A stream of the domain as a stream of answers.
fn answers<S, T, U>(stream: S, mut convert: impl FnMut(T) -> U + Send + 'static) -> Answers<U>
where
    S: Stream<Item = Result<T, StorageError>> + Send + 'static,
{
    stream.map(move |item| item.map(&mut convert).map_err(to_status)).boxed()
}

/// What a deletion answers.
const DELETED: &str = "deleted";

//! What the mesh knows about a method, read from the contracts: kind, deadlines, idempotency, drain.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use cortex_proto::cortex::api::v1::{CallOptions, DrainKind};
use foldhash::fast::RandomState;
use prost_reflect::{DescriptorPool, MethodDescriptor, ReflectMessage, Value};

/// The deadline of a unary call that names none, and the longest that a unary call may ask for,
/// where its contract says nothing else.
pub const DEFAULT_UNARY_DEADLINE: Duration = Duration::from_secs(30);

/// The full name of our method option.
const CALL_OPTION: &str = "cortex.api.v1.call";

/// One method of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// The HTTP/2 path: `/package.Service/Method`.
    pub path: Box<str>,
    /// The service's full name.
    pub service: Box<str>,
    /// The method's name in its service.
    pub name: Box<str>,
    /// Whether the request is a stream.
    pub client_streaming: bool,
    /// Whether the response is a stream.
    pub server_streaming: bool,
    /// The deadline of a call that names none.
    pub default_deadline: Option<Duration>,
    /// A longer deadline than this is cut to it.
    pub max_deadline: Option<Duration>,
    /// What a drain does to an open stream of this method.
    pub drain: Drains,
    /// Whether calling twice does no more than calling once
    /// (`idempotency_level` is NO_SIDE_EFFECTS or IDEMPOTENT).
    pub idempotent: bool,
}

/// What a drain does to an open stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drains {
    /// Ends it at once, with UNAVAILABLE and RetryInfo.
    AtOnce,
    /// Lets it finish until the drain deadline.
    WhenFinished,
}

impl Method {
    /// One request, one response.
    pub fn is_unary(&self) -> bool {
        !self.client_streaming && !self.server_streaming
    }

    /// Part of the plumbing (health, reflection) rather than of the product: never shed.
    pub fn is_infrastructure(&self) -> bool {
        self.service.starts_with("grpc.")
    }

    /// How long a call may take that asks for `asked`.
    pub fn deadline(&self, asked: Option<Duration>) -> Option<Duration> {
        let wanted = asked.or(self.default_deadline);
        match (wanted, self.max_deadline) {
            (Some(wanted), Some(max)) => Some(wanted.min(max)),
            (wanted, max) => wanted.or(max),
        }
    }

    /// A method that no contract describes: treated as unary and not idempotent.
    pub(crate) fn unknown(path: &str) -> Self {
        let (service, name) = split(path).unwrap_or(("unknown", "unknown"));
        Self {
            path: path.into(),
            service: service.into(),
            name: name.into(),
            client_streaming: false,
            server_streaming: false,
            default_deadline: Some(DEFAULT_UNARY_DEADLINE),
            max_deadline: None,
            drain: Drains::WhenFinished,
            idempotent: false,
        }
    }

    fn read(method: &MethodDescriptor) -> Self {
        let options = CallOptionsView::read(method);
        let unary = !method.is_client_streaming() && !method.is_server_streaming();
        let fallback = unary.then_some(DEFAULT_UNARY_DEADLINE);
        let default_deadline = options.default_deadline.or(fallback);
        // A default above the usual cap raises the cap: the contract asked for that much.
        let max_deadline =
            options.max_deadline.or(fallback.max(options.default_deadline.filter(|_| unary)));
        let service = method.parent_service();
        Self {
            path: format!("/{}/{}", service.full_name(), method.name()).into(),
            service: service.full_name().into(),
            name: method.name().into(),
            client_streaming: method.is_client_streaming(),
            server_streaming: method.is_server_streaming(),
            default_deadline,
            max_deadline,
            drain: options.drain.unwrap_or(if unary {
                Drains::WhenFinished
            } else {
                Drains::AtOnce
            }),
            idempotent: is_idempotent(method),
        }
    }
}

/// The service's full name and the method's name in a gRPC path.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/'))
        .then_some((service, method))
}

/// `cortex.api.v1.call` of a method.
#[derive(Default)]
struct CallOptionsView {
    default_deadline: Option<Duration>,
    max_deadline: Option<Duration>,
    drain: Option<Drains>,
}

impl CallOptionsView {
    fn read(method: &MethodDescriptor) -> Self {
        let Some(extension) = method.parent_pool().get_extension_by_name(CALL_OPTION) else {
            return Self::default();
        };
        let options = method.options();
        if !options.has_extension(&extension) {
            return Self::default();
        }
        let value = options.get_extension(&extension);
        let Some(call) = value.as_message().and_then(|m| m.transcode_to::<CallOptions>().ok())
        else {
            return Self::default();
        };
        let drain = match call.drain() {
            DrainKind::Work => Drains::WhenFinished,
            DrainKind::Watch | DrainKind::Unspecified => Drains::AtOnce,
        };
        Self {
            default_deadline: call.default_deadline.and_then(positive),
            max_deadline: call.max_deadline.and_then(positive),
            drain: (method.is_client_streaming() || method.is_server_streaming()).then_some(drain),
        }
    }
}

fn positive(duration: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero())
}

/// google.protobuf.MethodOptions.idempotency_level: 1 is NO_SIDE_EFFECTS, 2 is IDEMPOTENT.
fn is_idempotent(method: &MethodDescriptor) -> bool {
    let options = method.options();
    options
        .descriptor()
        .get_field_by_name("idempotency_level")
        .is_some_and(|field| matches!(*options.get_field(&field), Value::EnumNumber(1 | 2)))
}

/// Every method that the mesh knows, by path. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct MethodTable(Arc<HashMap<Box<str>, Arc<Method>, RandomState>>);

impl MethodTable {
    /// The methods of the project's contracts, and of the standard health and reflection services.
    /// Read once per process.
    pub fn contracts() -> Self {
        static CONTRACTS: LazyLock<MethodTable> = LazyLock::new(|| {
            MethodTable::from_pool(cortex_proto::descriptor_pool())
                .with_pool(crate::descriptors::infrastructure())
        });
        CONTRACTS.clone()
    }

    /// The methods of `pool`.
    pub fn from_pool(pool: &DescriptorPool) -> Self {
        Self::default().with_pool(pool)
    }

    /// Adds the methods of `pool`.
    #[must_use]
    pub fn with_pool(mut self, pool: &DescriptorPool) -> Self {
        let methods = Arc::make_mut(&mut self.0);
        for method in pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()) {
            let method = Method::read(&method);
            methods.insert(method.path.clone(), Arc::new(method));
        }
        self
    }

    /// The gRPC paths of all methods.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|path| &**path)
    }

    /// The method of a gRPC path.
    pub fn get(&self, path: &str) -> Option<&Arc<Method>> {
        self.0.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: &str = "/grpc.health.v1.Health/Watch";

    #[test]
    fn health_is_known_and_is_plumbing() {
        let table = MethodTable::contracts();
        let watch = table.get(WATCH).expect("health is in the table");
        assert!(watch.server_streaming && watch.is_infrastructure());
        assert_eq!((watch.deadline(None), watch.drain), (None, Drains::AtOnce));
        let check = table.get("/grpc.health.v1.Health/Check").expect("in the table");
        assert_eq!(check.deadline(None), Some(DEFAULT_UNARY_DEADLINE));
        assert_eq!(check.deadline(Some(Duration::from_secs(60))), Some(DEFAULT_UNARY_DEADLINE));
        assert_eq!(check.deadline(Some(Duration::from_secs(1))), Some(Duration::from_secs(1)));
    }

    #[test]
    fn options_are_read_from_the_contracts() {
        let described = cortex_proto::descriptor_pool()
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter(|method| {
                let extension = method.parent_pool().get_extension_by_name(CALL_OPTION);
                extension.is_some_and(|extension| method.options().has_extension(&extension))
            })
            .count();
        assert!(
            described > 0,
            "no method of the contracts has the option: was it lost in the build?"
        );
    }

    #[test]
    fn paths_that_are_not_grpc_do_not_split() {
        assert_eq!(split("/a.B/C"), Some(("a.B", "C")));
        for bad in ["", "/", "/a", "a/b", "/a/b/c", "//b"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}

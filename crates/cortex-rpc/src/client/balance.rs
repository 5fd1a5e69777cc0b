//! Calls spread over the endpoints of a service: the less busy of two random ones (Mitzenmacher,
//! "The Power of Two Choices in Randomized Load Balancing").

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cortex_core::Fault;
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::{Code, body::Body};

use crate::{
    body::{self, Held, Reply},
    client::{breaker::Breaker, channel, config::ClientConfig, target::Target},
    status::status,
    transport::{Answer, GrpcService, Transport},
};

/// Names are not looked up more often than this, however much fails.
const LEAST_RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

/// In the extensions of a request: the addresses where the same call failed before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tried(pub(crate) Vec<SocketAddr>);

/// In the extensions of a response: the address that gave it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(pub(crate) SocketAddr);

/// One address of a service.
struct Endpoint {
    address: SocketAddr,
    transport: Transport,
    breaker: Breaker,
    in_flight: AtomicUsize,
}

/// Finds the addresses of a target.
type Resolve = fn(&Target) -> BoxFuture<'_, Result<BTreeSet<SocketAddr>, String>>;

/// The endpoints of a service, as last resolved.
pub(crate) struct Endpoints {
    resolver: Resolve,
    targets: Vec<Target>,
    config: ClientConfig,
    now: RwLock<Arc<[Arc<Endpoint>]>>,
    resolved: Mutex<Option<Instant>>,
    resolving: AtomicBool,
    /// The first look-up, which callers wait for, is made by one of them.
    first: tokio::sync::Mutex<()>,
}

impl Endpoints {
    pub(crate) fn new(targets: Vec<Target>, config: ClientConfig) -> Arc<Self> {
        Self::with_resolver(targets, config, |target| Box::pin(target.resolve()))
    }

    fn with_resolver(targets: Vec<Target>, config: ClientConfig, resolver: Resolve) -> Arc<Self> {
        let this = Self {
            resolver,
            targets,
            config,
            now: RwLock::new(Arc::new([])),
            resolved: Mutex::new(None),
            resolving: AtomicBool::new(false),
            first: tokio::sync::Mutex::default(),
        };
        if this.is_static() {
            let addresses = this.targets.iter().filter_map(|t| Some((t.literal()?, t.clone())));
            this.replace(addresses.collect());
        }
        Arc::new(this)
    }

    /// Whether no name ever needs to be looked up.
    fn is_static(&self) -> bool {
        self.targets.iter().all(|target| target.literal().is_some())
    }

    fn current(&self) -> Arc<[Arc<Endpoint>]> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The endpoints, looked up if they never were; looked up in the background if that is long ago.
    async fn get(self: &Arc<Self>) -> Result<Arc<[Arc<Endpoint>]>, Fault> {
        if self.is_static() {
            return Ok(self.current());
        }
        match self.age() {
            Some(age) => {
                if age >= self.config.resolve_interval.get() {
                    self.refresh();
                }
            }
            None => {
                let _first = self.first.lock().await;
                if self.age().is_none() {
                    self.resolve().await.map_err(|why| {
                        Fault::unavailable("NAME_NOT_RESOLVED", why)
                            .with_retry_after(LEAST_RESOLVE_INTERVAL)
                    })?;
                }
            }
        }
        Ok(self.current())
    }

    fn age(&self) -> Option<Duration> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// Looks the names up again, in the background, unless that is going on or was done just now.
    fn refresh(self: &Arc<Self>) {
        let recent = self.age().is_some_and(|age| age < LEAST_RESOLVE_INTERVAL);
        if self.is_static() || recent || self.resolving.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        // Ends by itself: a look-up has a deadline.
        tokio::spawn(async move {
            if let Err(why) = this.resolve().await {
                tracing::warn!(%why, "keeping the addresses of the last look-up");
                this.touch();
            }
            this.resolving.store(false, Ordering::Release);
        });
    }

    /// Looks the names up. Names that resolve are enough; if none does, nothing changes.
    async fn resolve(&self) -> Result<(), String> {
        let mut addresses = BTreeMap::new();
        let mut failure = None;
        for target in &self.targets {
            match (self.resolver)(target).await {
                Ok(found) => addresses.extend(found.into_iter().map(|a| (a, target.clone()))),
                Err(why) => failure = Some(why),
            }
        }
        if addresses.is_empty() {
            return Err(failure.unwrap_or_else(|| "the service has no address".to_owned()));
        }
        self.replace(addresses);
        self.touch();
        Ok(())
    }

    fn touch(&self) {
        *self.resolved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Takes over new addresses. Those that stay keep their connection and their breaker.
    fn replace(&self, addresses: BTreeMap<SocketAddr, Target>) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let next = addresses.into_iter().map(|(address, target)| {
            let known = now.iter().find(|endpoint| endpoint.address == address).cloned();
            known.unwrap_or_else(|| {
                Arc::new(Endpoint {
                    address,
                    transport: channel::connect(address, &target.authority(), &self.config),
                    breaker: Breaker::new(&self.config.breaker),
                    in_flight: AtomicUsize::new(0),
                })
            })
        });
        let next = next.collect();
        *now = next;
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.current().iter().map(|endpoint| endpoint.address).collect();
        f.debug_struct("Endpoints")
            .field("targets", &self.targets)
            .field("addresses", &addresses)
            .finish_non_exhaustive()
    }
}

/// Picks an endpoint per call. Answers UNAVAILABLE when every circuit is open.
#[derive(Debug, Clone)]
pub(crate) struct Balance {
    endpoints: Arc<Endpoints>,
}

impl Balance {
    pub(crate) fn new(endpoints: Arc<Endpoints>) -> Self {
        Self { endpoints }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Reply>, Fault> {
        let endpoints = self.endpoints.get().await?;
        let tried = request.extensions().get::<Tried>().cloned().unwrap_or_default();
        let endpoint = pick(&endpoints, &tried, Instant::now())?;
        let busy = Busy::begin(endpoint.clone());
        let answer = GrpcService::call(&endpoint.transport, request).await;
        let mut response = answer.map_err(|error| {
            Fault::unavailable("CONNECTION_LOST", format!("the connection was lost: {error}"))
        })?;
        if body::head_code(&response) == Some(Code::Unavailable) {
            if endpoint.breaker.failed(Instant::now()) {
                tracing::warn!(address = %endpoint.address, "the service keeps failing: circuit open");
            }
            self.endpoints.refresh();
        } else {
            endpoint.breaker.succeeded();
        }
        response.extensions_mut().insert(From(endpoint.address));
        Ok(response.map(|body| body::observe(body, Held(busy))))
    }
}

impl GrpcService for Balance {
    async fn call(&self, request: Request<Body>) -> Answer {
        Ok(self.send(request).await.unwrap_or_else(|fault| body::respond(status(&fault))))
    }
}

/// A call that keeps an endpoint busy until it is dropped.
struct Busy(Arc<Endpoint>);

impl Busy {
    fn begin(endpoint: Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The less busy of two random endpoints whose circuits are closed and where the call was not tried
/// before; if there is none, of those where it was.
fn pick(endpoints: &[Arc<Endpoint>], tried: &Tried, now: Instant) -> Result<Arc<Endpoint>, Fault> {
    let closed = |endpoint: &&Arc<Endpoint>| endpoint.breaker.closed_in(now).is_zero();
    let (old, new): (Vec<_>, Vec<_>) =
        endpoints.iter().filter(closed).partition(|endpoint| tried.0.contains(&endpoint.address));
    acquire(new, now).or_else(|| acquire(old, now)).ok_or_else(|| all_open(endpoints, now))
}

fn acquire(mut ready: Vec<&Arc<Endpoint>>, now: Instant) -> Option<Arc<Endpoint>> {
    while !ready.is_empty() {
        let first = rand::random_range(0..ready.len());
        let second = rand::random_range(0..ready.len());
        let busy = |index: usize| ready[index].in_flight.load(Ordering::Relaxed);
        let chosen = if busy(second) < busy(first) { second } else { first };
        if ready[chosen].breaker.acquire(now) {
            return Some(ready[chosen].clone());
        }
        ready.swap_remove(chosen);
    }
    None
}

fn all_open(endpoints: &[Arc<Endpoint>], now: Instant) -> Fault {
    let soonest = endpoints.iter().map(|e| e.breaker.closed_in(now)).min().unwrap_or_default();
    let addresses: Vec<_> = endpoints.iter().map(|e| e.address.to_string()).collect();
    let message = format!("the service at {} keeps failing", addresses.join(", "));
    Fault::unavailable("CIRCUIT_OPEN", message).with_retry_after(soonest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the name in the tests stands for: one address per look-up so far, then a failure.
    static LOOK_UPS: AtomicUsize = AtomicUsize::new(0);

    fn changing(_: &Target) -> BoxFuture<'_, Result<BTreeSet<SocketAddr>, String>> {
        let nth = LOOK_UPS.fetch_add(1, Ordering::SeqCst);
        let address = |last: usize| SocketAddr::from(([127, 0, 0, 1], 1000 + last as u16));
        Box::pin(async move {
            match nth {
                0 => Ok(BTreeSet::from([address(1), address(2)])),
                1 => Ok(BTreeSet::from([address(2), address(3)])),
                _ => Err("the name server is away".to_owned()),
            }
        })
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_again_and_what_stays_keeps_its_state() {
        let target = Target::parse("http://storage:8084").expect("valid");
        let endpoints = Endpoints::with_resolver(vec![target], ClientConfig::default(), changing);
        let ports = |of: &[Arc<Endpoint>]| of.iter().map(|e| e.address.port()).collect::<Vec<_>>();

        let first = endpoints.get().await.expect("resolved");
        assert_eq!(ports(&first), [1001, 1002]);
        tokio::time::advance(Duration::from_secs(29)).await;
        endpoints.get().await.expect("resolved");
        settle().await;
        assert_eq!(LOOK_UPS.load(Ordering::SeqCst), 1, "fresh enough");

        tokio::time::advance(Duration::from_secs(2)).await;
        let stale = endpoints.get().await.expect("resolved");
        assert_eq!(ports(&stale), [1001, 1002], "nobody waits for a second look-up");
        settle().await;
        let second = endpoints.get().await.expect("resolved");
        assert_eq!(ports(&second), [1002, 1003]);
        assert!(Arc::ptr_eq(&first[1], &second[0]), "the same connection and breaker");

        tokio::time::advance(Duration::from_secs(31)).await;
        endpoints.get().await.expect("resolved");
        settle().await;
        assert_eq!(LOOK_UPS.load(Ordering::SeqCst), 3);
        assert_eq!(ports(&endpoints.get().await.expect("kept")), [1002, 1003]);
    }
}

//! Manifest closures: resolved once per session, kept with it, named by digest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use cortex_proto::cortex::{
    manifest::v1::{AgentClosure, ResolveAgentRequest},
    storage::v1::{GetRecordRequest, PutRecordRequest, Session, UpdateSessionRequest},
};
use cortex_rpc::{CallContext, outgoing};
use prost::Message;
use tonic::{Code, Status};

use crate::clients::Clients;

/// Closures kept in memory at most.
const CACHED: usize = 256;

/// Where closures come from and where they are kept. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Closures {
    clients: Clients,
    cache: Arc<Mutex<Cache>>,
}

#[derive(Default)]
struct Cache {
    by_digest: HashMap<String, Arc<AgentClosure>>,
    oldest_first: VecDeque<String>,
}

impl Closures {
    pub(crate) fn new(clients: Clients) -> Self {
        Self { clients, cache: Arc::default() }
    }

    /// Resolves an agent as its manifest says now, and keeps the closure.
    ///
    /// # Errors
    /// The status of the manifest service or of storage.
    pub(crate) async fn resolve(
        &self,
        cx: &CallContext,
        agent: &str,
    ) -> Result<Arc<AgentClosure>, Status> {
        let request = ResolveAgentRequest { name: agent.to_owned(), ..Default::default() };
        let answer = self.clients.manifests.clone().resolve_agent(outgoing(cx, request)).await?;
        let closure = answer.into_inner().closure.unwrap_or_default();
        if let Some(known) = self.cached(&closure.digest) {
            return Ok(known);
        }
        self.keep(cx, &closure).await?;
        Ok(self.remember(closure))
    }

    /// The closure that a session runs with. One that names none gets the current one, and so does one
    /// that was imported from elsewhere, whose closure nobody keeps here.
    ///
    /// # Errors
    /// The status of storage, or of the manifest service.
    pub(crate) async fn of_session(
        &self,
        cx: &CallContext,
        session: &Session,
    ) -> Result<Arc<AgentClosure>, Status> {
        if let Some(closure) = self.kept(cx, session).await? {
            return Ok(closure);
        }
        if !session.manifest_digest.is_empty() {
            tracing::warn!(
                session_id = session.id,
                digest = session.manifest_digest,
                "the closure of a session is not kept here; it goes on with the current one"
            );
        }
        let closure = self.resolve(cx, &session.agent_name).await?;
        let request = UpdateSessionRequest {
            session_id: session.id.clone(),
            manifest_digest: closure.digest.clone(),
            ..Default::default()
        };
        self.clients.sessions.clone().update_session(outgoing(cx, request)).await?;
        Ok(closure)
    }

    /// The closure that a session names, if it names one that is kept here.
    ///
    /// # Errors
    /// The status of storage.
    pub(crate) async fn kept(
        &self,
        cx: &CallContext,
        session: &Session,
    ) -> Result<Option<Arc<AgentClosure>>, Status> {
        if session.manifest_digest.is_empty() {
            return Ok(None);
        }
        match self.load(cx, &session.manifest_digest).await {
            Err(status) if status.code() == Code::NotFound => Ok(None),
            closure => closure.map(Some),
        }
    }

    async fn load(&self, cx: &CallContext, digest: &str) -> Result<Arc<AgentClosure>, Status> {
        if let Some(known) = self.cached(digest) {
            return Ok(known);
        }
        let request = GetRecordRequest { key: key(digest) };
        let answer = self.clients.records.clone().get_record(outgoing(cx, request)).await?;
        let value = answer.into_inner().record.unwrap_or_default().value;
        let closure = AgentClosure::decode(value.as_ref()).map_err(|error| {
            Status::data_loss(format!("closure {digest} cannot be read: {error}"))
        })?;
        Ok(self.remember(closure))
    }

    async fn keep(&self, cx: &CallContext, closure: &AgentClosure) -> Result<(), Status> {
        let request = PutRecordRequest {
            key: key(&closure.digest),
            value: closure.encode_to_vec().into(),
            expected_revision: Some(0),
            ttl: None,
        };
        match self.clients.records.clone().put_record(outgoing(cx, request)).await {
            Err(status) if status.code() != Code::Aborted => Err(status),
            _ => Ok(()),
        }
    }

    fn cached(&self, digest: &str) -> Option<Arc<AgentClosure>> {
        self.lock().by_digest.get(digest).cloned()
    }

    fn remember(&self, closure: AgentClosure) -> Arc<AgentClosure> {
        let closure = Arc::new(closure);
        let mut cache = self.lock();
        if cache.by_digest.insert(closure.digest.clone(), closure.clone()).is_none() {
            cache.oldest_first.push_back(closure.digest.clone());
        }
        if cache.oldest_first.len() > CACHED
            && let Some(oldest) = cache.oldest_first.pop_front()
        {
            cache.by_digest.remove(&oldest);
        }
        drop(cache);
        closure
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(digest: &str) -> String {
    format!("agent/closures/{digest}")
}

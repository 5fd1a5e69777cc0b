//! The outside world in memory, with faults on demand. For unit tests.

mod engine;
mod ledger;

use std::collections::BTreeMap;

use bytes::Bytes;
use cortex_core::{ClaimantId, ExecutionId};
use cortex_rpc::CallContext;

pub(crate) use engine::FakeEngine;
pub(crate) use ledger::{FakeLedger, Rows};

use crate::{
    error::ContainerError,
    ports::{Incarnation, Intent, Intents, Registry},
    tool::ToolDeclaration,
};

/// An incarnation of `instance`.
pub(crate) fn incarnation(instance: &str) -> Incarnation {
    Incarnation { instance: instance.into(), claimant: ClaimantId::generate() }
}

/// Intents in memory, shared by every incarnation.
#[derive(Default)]
pub(crate) struct FakeIntents(std::sync::Mutex<BTreeMap<ExecutionId, String>>);

impl FakeIntents {
    pub(crate) fn claimants(&self) -> Vec<String> {
        self.0.lock().unwrap().values().cloned().collect()
    }

    pub(crate) fn write(&self, execution_id: ExecutionId, claimant: &str) {
        self.0.lock().unwrap().insert(execution_id, claimant.into());
    }
}

#[tonic::async_trait]
impl Intents for FakeIntents {
    async fn put(
        &self,
        _: &CallContext,
        execution_id: &ExecutionId,
        tool: &str,
    ) -> Result<(), ContainerError> {
        self.write(execution_id.clone(), &format!("claimant of {tool}"));
        Ok(())
    }

    async fn delete(&self, _: &CallContext, id: &ExecutionId) -> Result<(), ContainerError> {
        self.0.lock().unwrap().remove(id);
        Ok(())
    }

    async fn list(&self, _: &CallContext) -> Result<Vec<Intent>, ContainerError> {
        let intents = self.0.lock().unwrap();
        let intent = |(id, claimant): (&ExecutionId, &String)| Intent {
            execution_id: id.clone(),
            claimant: claimant.clone(),
        };
        Ok(intents.iter().map(intent).collect())
    }
}

/// A registry that knows no tool: commands of tests name their image.
pub(crate) struct NoRegistry;

#[tonic::async_trait]
impl Registry for NoRegistry {
    async fn tool(
        &self,
        _: &CallContext,
        name: &str,
        _: &str,
    ) -> Result<ToolDeclaration, ContainerError> {
        Err(ContainerError::ToolNotFound { tool: name.into() })
    }

    async fn bundle(&self, _: &CallContext, _: &str, _: usize) -> Result<Bytes, ContainerError> {
        Err(ContainerError::Internal("there are no bundles".into()))
    }
}

//! A ledger in memory, under the rules of the session protocol, section 5.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use cortex_core::{ExecutionId, Fault, SessionId};
use cortex_rpc::CallContext;
use tokio::sync::watch;

use crate::{
    error::ContainerError,
    ports::{Incarnation, Ledger, LedgerRow, LedgerState},
    runs::ToolRun,
};

/// One ledger as one incarnation sees it. Its rows are shared with other incarnations'.
pub(crate) struct FakeLedger {
    rows: std::sync::Arc<Rows>,
    incarnation: Incarnation,
}

/// The rows that incarnations share.
pub(crate) struct Rows {
    state: Mutex<State>,
    /// Epochs whose claims wait before they are looked at.
    held: watch::Sender<BTreeSet<i64>>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<ExecutionId, LedgerRow>,
    epoch: i64,
    away: bool,
    lose_next_answer: bool,
    claims: usize,
}

impl Rows {
    pub(crate) fn new() -> std::sync::Arc<Self> {
        let state = State { epoch: 1, ..State::default() };
        let held = watch::Sender::new(BTreeSet::new());
        std::sync::Arc::new(Self { state: Mutex::new(state), held })
    }

    pub(crate) fn intend(&self) -> ExecutionId {
        let row = LedgerRow {
            execution_id: ExecutionId::generate(),
            session_id: SessionId::generate(),
            tool_name: "tool".into(),
            state: LedgerState::Intended,
        };
        let id = row.execution_id.clone();
        self.state().rows.insert(id.clone(), row);
        id
    }

    pub(crate) fn set(&self, id: &ExecutionId, row: LedgerState) {
        self.state().rows.get_mut(id).unwrap().state = row;
    }

    pub(crate) fn get(&self, id: &ExecutionId) -> LedgerState {
        self.state().rows[id].state.clone()
    }

    pub(crate) fn set_epoch(&self, epoch: i64) {
        self.state().epoch = epoch;
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// The next call does its work, and its answer is lost.
    pub(crate) fn lose_next_answer(&self) {
        self.state().lose_next_answer = true;
    }

    pub(crate) fn claims(&self) -> usize {
        self.state().claims
    }

    pub(crate) fn hold(&self, epoch: i64) {
        self.held.send_modify(|held| assert!(held.insert(epoch)));
    }

    pub(crate) fn release(&self, epoch: i64) {
        self.held.send_modify(|held| assert!(held.remove(&epoch)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn enter(&self) -> Result<MutexGuard<'_, State>, ContainerError> {
        let state = self.state();
        if state.away { Err(away()) } else { Ok(state) }
    }
}

fn away() -> ContainerError {
    let fault = Fault::unavailable("STORAGE_AWAY", "no answer");
    ContainerError::Upstream { service: "storage", fault: Box::new(fault) }
}

impl FakeLedger {
    pub(crate) fn new(rows: std::sync::Arc<Rows>, incarnation: Incarnation) -> Self {
        Self { rows, incarnation }
    }

    fn grant(&self, id: &ExecutionId, epoch: i64) -> Result<(), ContainerError> {
        let mut state = self.rows.enter()?;
        state.claims += 1;
        let current = state.epoch;
        let missing = || ContainerError::ExecutionNotFound { execution_id: id.clone() };
        let row = state.rows.get_mut(id).ok_or_else(missing)?;
        let refused = |name| ContainerError::ExecutionRefused {
            execution_id: id.clone(),
            state: name,
            problem: "refused".into(),
        };
        match &row.state {
            LedgerState::Claimed { claimant, .. }
                if *claimant == self.incarnation.claimant.as_str() => {}
            _ if epoch != current => {
                return Err(ContainerError::StaleEpoch { execution_id: id.clone(), epoch });
            }
            LedgerState::Intended => {
                row.state = LedgerState::Claimed {
                    claimant: self.incarnation.claimant.to_string(),
                    instance: self.incarnation.instance.clone(),
                };
            }
            LedgerState::Claimed { .. } => return Err(refused("claimed")),
            LedgerState::Finished(_) => return Err(refused("finished")),
            LedgerState::Closed => return Err(refused("closed")),
        }
        if std::mem::take(&mut state.lose_next_answer) { Err(away()) } else { Ok(()) }
    }
}

#[tonic::async_trait]
impl Ledger for FakeLedger {
    async fn claim(
        &self,
        _: &CallContext,
        id: &ExecutionId,
        epoch: i64,
    ) -> Result<(), ContainerError> {
        let mut held = self.rows.held.subscribe();
        held.wait_for(|held| !held.contains(&epoch)).await.ok();
        self.grant(id, epoch)
    }

    async fn finish(&self, _: &CallContext, run: &ToolRun) -> Result<ToolRun, ContainerError> {
        let mut state = self.rows.enter()?;
        let row = state.rows.get_mut(&run.execution_id).unwrap();
        match &row.state {
            LedgerState::Finished(won) => return Ok(ToolRun::clone(won)),
            LedgerState::Claimed { .. } => row.state = LedgerState::Finished(Box::new(run.clone())),
            other => panic!("an outcome for a row that is {other:?}"),
        }
        if std::mem::take(&mut state.lose_next_answer) { Err(away()) } else { Ok(run.clone()) }
    }

    async fn get(
        &self,
        _: &CallContext,
        id: &ExecutionId,
    ) -> Result<Option<LedgerRow>, ContainerError> {
        Ok(self.rows.enter()?.rows.get(id).cloned())
    }

    async fn claimed(&self, _: &CallContext) -> Result<Vec<LedgerRow>, ContainerError> {
        let state = self.rows.enter()?;
        let ours = |row: &&LedgerRow| {
            matches!(&row.state, LedgerState::Claimed { instance, .. }
                if *instance == self.incarnation.instance)
        };
        Ok(state.rows.values().filter(ours).cloned().collect())
    }
}

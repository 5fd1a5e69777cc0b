//! Providers and models as the contract has them.

use std::time::SystemTime;

use cortex_proto::cortex::llm::v1 as pb;

use crate::directory::{ModelState, ProviderState};

/// A provider as the contract has it.
pub(crate) fn provider(state: ProviderState) -> pb::Provider {
    pb::Provider {
        name: state.name,
        dialect: state.dialect.as_str().to_owned(),
        available: state.problem.is_empty(),
        circuit: pb::CircuitState::Closed.into(),
        problem: state.problem,
        last_success_at: state.past.last_success.map(timestamp),
        last_error: state.past.last_error,
        active_calls: state.active_calls,
        default_model: state.default_model,
    }
}

fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// A model as the contract has it.
pub(crate) fn model(state: ModelState) -> pb::Model {
    pb::Model {
        name: state.name(),
        provider: state.provider,
        id: state.id,
        context_tokens: i64::try_from(state.context_tokens).unwrap_or(i64::MAX),
        // Every dialect of this version carries tool calls; whether the model makes any is its own.
        native_tools: true,
    }
}

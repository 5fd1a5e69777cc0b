//! Errors of the agent service, each with the facts that its caller needs.

use cortex_core::Fault;

/// Why a call of the agent service fails.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A field of the request is wrong.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// There is no such agent.
    #[error("Agent not found: {name}")]
    AgentNotFound {
        /// What was asked for.
        name: String,
        /// What the registry says, for example names that are close.
        detail: String,
    },
    /// The session takes no messages now.
    #[error("session {session_id} is paused; resume it first")]
    SessionPaused {
        /// The session.
        session_id: String,
    },
    /// There is no open turn that could be cancelled.
    #[error("session {session_id} has no open turn")]
    TurnNotOpen {
        /// The session.
        session_id: String,
    },
    /// History cannot change while a turn is open.
    #[error("session {session_id} has an open turn; wait for its end or cancel it")]
    TurnOpen {
        /// The session.
        session_id: String,
    },
    /// A call of another service failed.
    #[error("{0}")]
    Upstream(#[from] tonic::Status),
    /// Offered by a later release.
    #[error("{what} is not offered yet")]
    NotOffered {
        /// What was asked for.
        what: &'static str,
    },
    /// Something did not happen in the time it should take.
    #[error("{what} did not happen in time; it was asked for and will happen")]
    Late {
        /// What was waited for.
        what: &'static str,
    },
    /// The turn that answers the message failed.
    #[error("{}", .0.message)]
    TurnFailed(Fault),
}

impl From<AgentError> for Fault {
    fn from(error: AgentError) -> Self {
        let message = error.to_string();
        match error {
            AgentError::Field { field, problem } => Fault::invalid(field, problem),
            AgentError::AgentNotFound { name, detail } => {
                let fault =
                    Fault::not_found("AGENT_NOT_FOUND", message).with_resource("agent", name);
                if detail.is_empty() { fault } else { fault.with("detail", detail) }
            }
            AgentError::SessionPaused { session_id } => {
                Fault::failed_precondition("SESSION_PAUSED", message)
                    .with_resource("session", session_id)
            }
            AgentError::TurnNotOpen { session_id } => {
                Fault::failed_precondition("TURN_NOT_OPEN", message)
                    .with_resource("session", session_id)
            }
            AgentError::TurnOpen { session_id } => Fault::failed_precondition("TURN_OPEN", message)
                .with_resource("session", session_id),
            AgentError::Upstream(status) => cortex_rpc::fault(&status),
            AgentError::NotOffered { .. } => Fault::unimplemented("NOT_OFFERED", message),
            AgentError::Late { .. } => Fault::deadline_exceeded("LATE", message),
            AgentError::TurnFailed(fault) => fault,
        }
    }
}

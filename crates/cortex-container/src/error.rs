//! What can go wrong, as facts, and what callers are told of it.

use std::time::Duration;

use cortex_core::{ExecutionId, Fault, Kind};

use crate::ports::EngineError;

/// Why a call of the container service has no answer. A tool that runs and fails is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ContainerError {
    /// A field of the request is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field's path.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// No manifest declares the tool.
    #[error("there is no tool '{tool}'")]
    ToolNotFound {
        /// The tool's name.
        tool: String,
    },
    /// The engine has no such image, and may not pull it.
    #[error("the image '{image}' is not there: {remedy}")]
    ImageNotFound {
        /// The image's reference.
        image: String,
        /// How to get it.
        remedy: String,
    },
    /// A tool's image cannot be made.
    #[error("the image of '{tool}' cannot be built: {problem}")]
    ImageBuildFailed {
        /// The tool's name.
        tool: String,
        /// What went wrong.
        problem: String,
    },
    /// The engine cannot be reached, or did not answer in time.
    #[error("{problem}; {remedy}")]
    EngineUnavailable {
        /// What went wrong, and where.
        problem: String,
        /// How to get an engine.
        remedy: String,
    },
    /// The engine refused something that it should do.
    #[error("the container engine refused: {problem}")]
    EngineRefused {
        /// What it said.
        problem: String,
    },
    /// Nobody knows the execution.
    #[error("there is no execution {execution_id}")]
    ExecutionNotFound {
        /// The execution.
        execution_id: ExecutionId,
    },
    /// No container of this service has the id.
    #[error("there is no container {container_id} of this service")]
    ContainerNotFound {
        /// The id.
        container_id: String,
    },
    /// The execution's row does not allow what was asked.
    #[error("the execution {execution_id} is {state}: {problem}")]
    ExecutionRefused {
        /// The execution.
        execution_id: ExecutionId,
        /// Where its row stands.
        state: &'static str,
        /// Why that is in the way.
        problem: String,
    },
    /// The caller's epoch is over.
    #[error("the epoch {epoch} is not current: another holder has the session of {execution_id}")]
    StaleEpoch {
        /// The execution.
        execution_id: ExecutionId,
        /// The epoch that the caller named.
        epoch: i64,
    },
    /// As many runs wait as may.
    #[error("{limit} tool runs wait or run already")]
    TooManyRuns {
        /// How many runs there may be.
        limit: usize,
        /// When a place is likely to be free.
        retry_after: Duration,
    },
    /// A request id was used before, for another request.
    #[error("the request_id '{request_id}' was used for another request")]
    RequestIdReused {
        /// The request id.
        request_id: String,
    },
    /// Sessions have no network yet.
    #[error("a session's private network is not available yet: use network_mode 'none'")]
    NoSessionNetwork,
    /// The service is stopping.
    #[error("the container service is stopping")]
    Stopping,
    /// Another service answered with an error.
    #[error("{service}: {fault}")]
    Upstream {
        /// The service.
        service: &'static str,
        /// What it said.
        fault: Box<Fault>,
    },
    /// A promise of ours is broken.
    #[error("{0}")]
    Internal(String),
}

impl ContainerError {
    /// A request whose `field` is wrong.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// The class and the reason that callers are told.
    fn class(&self) -> (Kind, &'static str) {
        match self {
            Self::Invalid { .. } => (Kind::InvalidArgument, "INVALID_FIELD"),
            Self::ToolNotFound { .. } => (Kind::NotFound, "TOOL_NOT_FOUND"),
            Self::ImageNotFound { .. } => (Kind::NotFound, "IMAGE_NOT_FOUND"),
            Self::ImageBuildFailed { .. } => (Kind::FailedPrecondition, "IMAGE_BUILD_FAILED"),
            Self::EngineUnavailable { .. } => (Kind::Unavailable, "ENGINE_UNAVAILABLE"),
            Self::EngineRefused { .. } => (Kind::FailedPrecondition, "ENGINE_REFUSED"),
            Self::ExecutionNotFound { .. } => (Kind::NotFound, "EXECUTION_NOT_FOUND"),
            Self::ContainerNotFound { .. } => (Kind::NotFound, "CONTAINER_NOT_FOUND"),
            Self::ExecutionRefused { .. } => (Kind::FailedPrecondition, "EXECUTION_REFUSED"),
            Self::StaleEpoch { .. } => (Kind::Aborted, "STALE_EPOCH"),
            Self::TooManyRuns { .. } => (Kind::ResourceExhausted, "TOO_MANY_RUNS"),
            Self::RequestIdReused { .. } => (Kind::AlreadyExists, "REQUEST_ID_REUSED"),
            Self::NoSessionNetwork => (Kind::FailedPrecondition, "NETWORK_UNAVAILABLE"),
            Self::Stopping => (Kind::Unavailable, "STOPPING"),
            Self::Upstream { fault, .. } => (fault.kind, fault.reason),
            Self::Internal(_) => (Kind::Internal, "INTERNAL"),
        }
    }
}

impl From<ContainerError> for Fault {
    fn from(error: ContainerError) -> Self {
        let (kind, reason) = error.class();
        let message = error.to_string();
        match error {
            ContainerError::Invalid { field, problem } => Self::invalid(field, problem),
            ContainerError::Upstream { fault, .. } => Self { message, ..*fault },
            ContainerError::ToolNotFound { tool } => {
                Self::new(kind, reason, message).with_resource("tool", tool)
            }
            ContainerError::ImageNotFound { image, .. } => {
                Self::new(kind, reason, message).with_resource("image", image)
            }
            ContainerError::ContainerNotFound { container_id } => {
                Self::new(kind, reason, message).with_resource("container", container_id)
            }
            ContainerError::ExecutionNotFound { execution_id } => {
                Self::new(kind, reason, message).with_resource("execution", execution_id)
            }
            ContainerError::ExecutionRefused { execution_id, state, .. } => {
                Self::new(kind, reason, message)
                    .with_resource("execution", execution_id)
                    .with("state", state)
            }
            ContainerError::StaleEpoch { execution_id, epoch } => Self::new(kind, reason, message)
                .with_resource("execution", execution_id)
                .with("epoch", epoch),
            ContainerError::TooManyRuns { limit, retry_after } => Self::new(kind, reason, message)
                .with_retry_after(retry_after)
                .with_quota("container-service", format!("{limit} tool runs")),
            ContainerError::EngineUnavailable { .. } | ContainerError::Stopping => {
                Self::new(kind, reason, message).with_retry_after(Duration::from_secs(1))
            }
            _ => Self::new(kind, reason, message),
        }
    }
}

impl From<EngineError> for ContainerError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable { .. } | EngineError::Lost { .. } => {
                Self::EngineUnavailable { remedy: remedy(&error), problem: error.to_string() }
            }
            EngineError::Missing { .. } | EngineError::Refused { .. } => {
                Self::EngineRefused { problem: error.to_string() }
            }
        }
    }
}

/// How to get an engine that answers.
fn remedy(error: &EngineError) -> String {
    let EngineError::Unavailable { reason, .. } = error else {
        return "try again, and look at the engine's own log if it happens again".into();
    };
    if reason.to_ascii_lowercase().contains("permission denied") {
        return "let this user use it: add it to the group 'docker' and log in again".into();
    }
    "install Docker Engine (https://docs.docker.com/engine/install) and start it, or name another \
     one with DOCKER_HOST"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_engine_says_how_to_get_one() {
        let absent = EngineError::Unavailable {
            host: "unix:///nowhere.sock".into(),
            reason: "no such file".into(),
        };
        let fault = Fault::from(ContainerError::from(absent));
        assert_eq!((fault.kind, fault.reason), (Kind::Unavailable, "ENGINE_UNAVAILABLE"));
        assert!(fault.message.contains("unix:///nowhere.sock"), "{fault}");
        assert!(fault.message.contains("install Docker Engine"), "{fault}");
        assert!(fault.retry_after.is_some());

        let forbidden = EngineError::Unavailable {
            host: "unix:///var/run/docker.sock".into(),
            reason: "Permission denied (os error 13)".into(),
        };
        let fault = Fault::from(ContainerError::from(forbidden));
        assert!(fault.message.contains("group 'docker'"), "{fault}");
    }

    #[test]
    fn an_upstream_fault_keeps_its_facts() {
        let fault = Fault::unavailable("STORAGE_AWAY", "no route").with("host", "x");
        let error = ContainerError::Upstream { service: "storage", fault: Box::new(fault) };
        let told = Fault::from(error);
        assert_eq!((told.kind, told.reason), (Kind::Unavailable, "STORAGE_AWAY"));
        assert_eq!(told.message, "storage: no route");
        assert_eq!(told.metadata.get("host").map(String::as_str), Some("x"));
    }
}

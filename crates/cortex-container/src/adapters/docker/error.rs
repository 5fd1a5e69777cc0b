//! Failures of the Docker client, sorted by what is known after them.

use bollard::errors::Error;

use crate::ports::EngineError;

/// A failure with the HTTP status that it came as, if it did.
#[derive(Debug)]
pub(super) struct Failure {
    status: Option<u16>,
    error: EngineError,
}

/// Whether the engine answered with this status.
pub(super) fn is_status(failure: &Failure, status: u16) -> bool {
    failure.status == Some(status)
}

impl Failure {
    /// What `error` says of `call` at `host`.
    pub(super) fn new(host: &str, call: &'static str, error: Error) -> Self {
        let never_sent =
            |reason: String| EngineError::Unavailable { host: host.to_owned(), reason };
        match error {
            Error::DockerResponseServerError { status_code, message } => Self {
                status: Some(status_code),
                error: match status_code {
                    404 => EngineError::Missing { message },
                    // The engine's own trouble: what it did until then is not known.
                    502..=504 => EngineError::Lost { call, reason: message },
                    _ => EngineError::Refused { call, message },
                },
            },
            Error::DockerStreamError { error } => {
                EngineError::Refused { call, message: error }.into()
            }
            Error::SocketNotFoundError(path) => never_sent(format!("{path} does not exist")).into(),
            Error::HyperLegacyError { err } if err.is_connect() => never_sent(deepest(&err)).into(),
            other => EngineError::Lost { call, reason: deepest(&other) }.into(),
        }
    }
}

/// What an error and its causes say, the last cause first to be of use.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        last = error.to_string();
        source = error.source();
    }
    last
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { status: None, error }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

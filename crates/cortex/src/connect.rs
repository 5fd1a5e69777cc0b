//! The way to a mesh that runs somewhere.

use std::time::Duration;

use cortex_rpc::{Client, ClientConfig, Transport};
use tonic::Status;

use crate::{cli::Global, exit::Failure};

/// A mesh at a URL.
pub struct Mesh {
    /// Where it is.
    pub url: String,
    /// The way to it.
    pub transport: Transport,
}

/// Time for a call that answers from memory or a database.
pub const SHORT: Duration = Duration::from_secs(15);

impl Mesh {
    /// The mesh that the options name. Connects with the first call.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        Self::at(&global.url)
    }

    /// The mesh at `url`.
    pub fn at(url: &str) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let transport = Client::connect_lazy([url.clone()], ClientConfig::default())
            .map_err(|error| Failure::usage(format!("--url {url}: {error}")))?;
        Ok(Self { url, transport })
    }

    /// What went wrong, for the user.
    pub fn failure(&self, status: &Status) -> Failure {
        Failure::of(&self.url, status)
    }
}

/// A request with the time that a short call may take.
pub fn short<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(SHORT);
    request
}

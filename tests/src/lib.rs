//! The real binary, started for the cross-service tests, in either topology.
//!
//! Nothing is faked here: processes, ports, files and signals are those of a user. A part that is
//! missing fails the test with the way to get it.

mod binary;
mod curl;
mod mesh;
mod sse;
mod upstream;

pub use binary::{binary, npm_binary, repository};
pub use curl::{Answer, curl};
pub use mesh::{Mesh, Options, SmallDisk, Topology};
pub use sse::{Frame, frames};
pub use upstream::Upstream;

/// Runs one scenario in one process, and with one process for each service over TCP.
#[macro_export]
macro_rules! in_both_topologies {
    ($($scenario:ident),* $(,)?) => {
        mod one_process {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario($crate::Topology::OneProcess).await;
            })*
        }
        mod process_per_service {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario($crate::Topology::ProcessPerService).await;
            })*
        }
    };
}

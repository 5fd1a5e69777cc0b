//! The container service on a real Docker engine: tools, limits, hardening, leaks.
//!
//! The service is called as it is in the mesh: its generated tonic server behind the transport seam.
//! Storage and the manifest service are fakes behind the same seam, so that their answers can be
//! chosen.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod docker_crash;
mod docker_engine;
mod docker_hardening;
mod docker_limits;
mod docker_tools;
mod fakes;
mod support;

//! Storage on a port, as clients meet it: JSON over HTTP in the predecessor's shapes, wrong input in
//! both protocols, and tenants that do not see each other.
#![expect(clippy::panic, reason = "tests fail by it")]

mod bad_input;
mod cache;
mod history;
mod metrics;
mod port;
mod predecessor;
mod raw;
mod rpcs;
mod sessions;
mod state;
mod tenancy;

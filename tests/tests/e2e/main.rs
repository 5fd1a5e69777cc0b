//! Scenarios of users and operators on the real binary, each in both topologies where it can be.

mod architecture;
mod artifacts;
mod clients;
mod command_line;
mod crash;
mod docs;
mod errors;
mod fixtures;
mod main_job;
mod numbers;
mod postgres;
mod sessions;
mod storage;
mod upstream_faults;

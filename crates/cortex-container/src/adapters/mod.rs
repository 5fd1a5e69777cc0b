//! The ports on real things: the Docker engine, and the storage and manifest services.

mod docker;
mod journal;
mod manifest;
mod records;

pub(crate) use docker::DockerEngine;
pub(crate) use journal::JournalLedger;
pub(crate) use manifest::ManifestRegistry;
pub(crate) use records::RecordIntents;

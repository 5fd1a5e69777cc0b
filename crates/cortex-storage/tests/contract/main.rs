//! What every storage must do, said through the generated clients: one suite for every database.
//!
//! A test is a function of a [`Fixture`](support::Fixture); [`contract`] runs it on each adapter.

#[macro_use]
mod support;

mod admin;
mod cache;
#[path = "../parts/moto.rs"]
mod moto;

mod artifacts;
mod contents;
mod direct;
mod forks;
mod history;
mod holders;
mod journal;
mod ledger;
mod metrics;
mod postgres;
mod records;
mod runnable;
mod sessions;
mod state;
mod story;
mod tenants;
mod transfers;
mod watch;

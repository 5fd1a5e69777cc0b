//! Random interleavings of everything that moves a session, on the real storage and on a small model
//! side by side: both must answer the same, and leave the same behind.
//!
//! The model is the storage's part of the protocol's checked model, with sequences and leases instead
//! of their abstractions. Sessions are forked and deleted meanwhile, leases run out, watchers leave and
//! come back. Each case also checks what the protocol promises as a whole: one gapless log that every
//! watcher sees, no event of a fenced holder, one claimant per execution, no command left without a
//! session that somebody will find, and forks that share what their parent was and nothing else.

mod check;
mod model;
mod run;
mod step;

use proptest::{collection::vec, prelude::*, test_runner::Config};

/// Cases of the short form; `CORTEX_STORAGE_CASES` sets more. (`PROPTEST_CASES` would set as many for each
/// test.)
const SHORT: u32 = 24;
/// Of these as many on PostgreSQL, where each takes long.
const POSTGRES: u32 = 4;

fn config(part: u32) -> Config {
    let cases = std::env::var("CORTEX_STORAGE_CASES").ok().and_then(|text| text.parse().ok());
    let cases = cases.unwrap_or(SHORT).div_ceil(part);
    Config { cases, failure_persistence: None, ..Config::default() }
}

fn run(replicas: Option<usize>, steps: &[step::Step]) -> run::Checked {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run::Run::new(replicas).run(steps))
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn storage_and_model_agree(steps in vec(step::any(), 1..120)) {
        run(None, &steps)?;
    }

}

proptest! {
    #![proptest_config(config(SHORT / POSTGRES))]

    #[test]
    fn postgres_and_model_agree(steps in vec(step::any(), 1..120)) {
        run(Some(1), &steps)?;
    }

    #[test]
    fn two_replicas_on_postgres_and_model_agree(steps in vec(step::any(), 1..120)) {
        run(Some(2), &steps)?;
    }
}

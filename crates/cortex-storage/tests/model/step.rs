//! What may happen next. Numbers choose among what there is, whatever that is by then.

use proptest::prelude::*;

/// Sessions that a case begins with.
pub const SESSIONS: usize = 2;
/// Sessions of a case at most, forks included.
pub const MOST_SESSIONS: usize = 4;

/// How a call is settled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Settle {
    NotRun,
    Outcome,
    Unknown,
    Replaced,
}

/// What an append does beside one event.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    Nothing,
    /// Consumes the next command, or the one after it.
    Consume {
        skip: bool,
    },
    /// Consumes the next command and queues it.
    Queue,
    /// Consumes the next command and opens a turn.
    Open,
    /// Opens a turn with the first queued message.
    Start,
    /// One intent.
    Intend,
    Settle {
        row: usize,
        kind: Settle,
    },
    /// Closes the turn, and settles a row if one is given.
    Close {
        settle: Option<(usize, Settle)>,
    },
}

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Submit {
        session: usize,
        message: bool,
        repeat: bool,
    },
    Register {
        instance: usize,
    },
    Renew {
        holder: usize,
    },
    Retire {
        holder: usize,
    },
    Acquire {
        session: usize,
        holder: usize,
        stale: bool,
    },
    Append {
        session: usize,
        holder: usize,
        stale: bool,
        effect: Effect,
    },
    /// The last append of the session once more, under the same epoch.
    Repeat {
        session: usize,
    },
    Release {
        session: usize,
        holder: usize,
        stale: bool,
        wait: Option<bool>,
    },
    Claim {
        row: usize,
        claimant: usize,
        stale: bool,
    },
    Finish {
        row: usize,
        claimant: usize,
        lost: bool,
    },
    /// A claim under the current epoch, and its outcome.
    Execute {
        row: usize,
        lost: bool,
    },
    /// Milliseconds pass.
    Pass {
        millis: u64,
    },
    /// The watcher of a session leaves and comes back.
    Rewatch {
        session: usize,
    },
    /// A fork at a sequence, mostly one that there is.
    Fork {
        session: usize,
        at: i64,
    },
    /// A session goes; forks of it stay.
    Delete {
        session: usize,
    },
    /// Storage closes and opens again.
    Reopen,
}

fn settle() -> impl Strategy<Value = Settle> {
    prop_oneof![
        Just(Settle::NotRun),
        Just(Settle::Outcome),
        Just(Settle::Unknown),
        Just(Settle::Replaced)
    ]
}

fn effect() -> impl Strategy<Value = Effect> {
    let row = 0..8_usize;
    prop_oneof![
        1 => Just(Effect::Nothing),
        2 => proptest::bool::ANY.prop_map(|skip| Effect::Consume { skip }),
        2 => Just(Effect::Queue),
        4 => Just(Effect::Open),
        2 => Just(Effect::Start),
        6 => Just(Effect::Intend),
        12 => (row.clone(), settle()).prop_map(|(row, kind)| Effect::Settle { row, kind }),
        3 => proptest::option::of((row, settle())).prop_map(|settle| Effect::Close { settle }),
    ]
}

pub fn any() -> impl Strategy<Value = Step> {
    let session = || 0..MOST_SESSIONS;
    let holder = || 0..4_usize;
    let stale = || proptest::bool::weighted(0.1);
    prop_oneof![
        6 => (session(), proptest::bool::ANY, stale()).prop_map(|(session, message, repeat)| Step::Submit { session, message, repeat }),
        1 => (0..2_usize).prop_map(|instance| Step::Register { instance }),
        2 => holder().prop_map(|holder| Step::Renew { holder }),
        1 => holder().prop_map(|holder| Step::Retire { holder }),
        8 => (session(), holder(), stale()).prop_map(|(session, holder, stale)| Step::Acquire { session, holder, stale }),
        40 => (session(), holder(), stale(), effect()).prop_map(|(session, holder, stale, effect)| Step::Append { session, holder, stale, effect }),
        3 => session().prop_map(|session| Step::Repeat { session }),
        4 => (session(), holder(), stale(), proptest::option::of(proptest::bool::ANY)).prop_map(|(session, holder, stale, wait)| Step::Release { session, holder, stale, wait }),
        8 => (0..8_usize, 0..2_usize, stale()).prop_map(|(row, claimant, stale)| Step::Claim { row, claimant, stale }),
        6 => (0..8_usize, 0..2_usize, proptest::bool::ANY).prop_map(|(row, claimant, lost)| Step::Finish { row, claimant, lost }),
        10 => (0..8_usize, proptest::bool::ANY).prop_map(|(row, lost)| Step::Execute { row, lost }),
        3 => (1..4_000_u64).prop_map(|millis| Step::Pass { millis }),
        1 => session().prop_map(|session| Step::Rewatch { session }),
        3 => (session(), 0..40_i64).prop_map(|(session, at)| Step::Fork { session, at }),
        1 => session().prop_map(|session| Step::Delete { session }),
        1 => Just(Step::Reopen),
    ]
}

//! What a token costs when many sessions stream at the pace of a real model, and how late it is.
//!
//! The built-in model emits its tokens on a schedule. How much later than the earliest token of its
//! session a token comes, each held against that schedule, is what the way to the client added to it.

use std::time::{Duration, Instant};

use futures::future::try_join_all;

use crate::{
    Arguments, Outcome, manifests,
    mesh::{Mesh, Plan},
    process::cpu_time,
    relay::{self, CHARACTERS, Delta, LIMIT},
    report::{Figure, progress},
    stats::quantile,
};

/// Time between two tokens of one session: 50 a second.
const PACE: Duration = Duration::from_millis(20);

/// One load.
#[derive(Debug, Clone, Copy)]
struct Load {
    sessions: usize,
    cost: (&'static str, &'static str),
    median: (&'static str, &'static str),
    tail: (&'static str, &'static str),
}

const LOADS: [Load; 2] = [
    Load {
        sessions: 50,
        cost: ("load_50", "a token relayed, 50 sessions, each one per 20 ms"),
        median: ("load_50_p50", "  how late it is, median"),
        tail: ("load_50_p99", "  how late it is, 99 of 100"),
    },
    Load {
        sessions: 200,
        cost: ("load_200", "a token relayed, 200 sessions, each one per 20 ms"),
        median: ("load_200_p50", "  how late it is, median"),
        tail: ("load_200_p99", "  how late it is, 99 of 100"),
    },
];

/// Every load.
pub(crate) async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for load in LOADS {
        figures.extend(one_load(arguments, load).await?);
    }
    Ok(figures)
}

async fn one_load(arguments: &Arguments, load: Load) -> Outcome<Vec<Figure>> {
    progress(load.cost.1);
    let (rounds, tokens) = if arguments.quick { (1, 200) } else { (3, 500) };
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("manifests");
    manifests::write(&root)?;
    let delay = format!("{}ms", PACE.as_millis());
    let plan = Plan {
        environment: vec![("CORTEX_LLM__REHEARSAL__TOKEN_DELAY", delay)],
        ..Plan::up(&arguments.cortex, &root, directory.path())
    };
    let mesh = Mesh::start(&plan).await?;
    relayed(&mesh, load.sessions, 50).await?;
    let (mut all, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(completed(&mesh, load.sessions, tokens).await?);
        all.push(relayed(&mesh, load.sessions, tokens).await?);
    }
    Ok(figures(load, &all, &alone))
}

fn figures(load: Load, relayed: &[Round], alone: &[Round]) -> Vec<Figure> {
    let of =
        |rounds: &[Round], what: fn(&Round) -> f64| rounds.iter().map(what).collect::<Vec<_>>();
    let compared = |name, title: String, unit, what: fn(&Round) -> f64| {
        let figure = Figure::new(name, title, unit, &of(relayed, what));
        figure.beside(relay::ALONE, &of(alone, what))
    };
    let together = crate::stats::median(&of(relayed, |round| round.together));
    let title = format!("{} ({together:.1} an event)", load.cost.1);
    vec![
        compared(load.cost.0, title, "us", |round| round.cost).at_most(LIMIT),
        compared(load.median.0, load.median.1.to_owned(), "ms", |round| round.median),
        compared(load.tail.0, load.tail.1.to_owned(), "ms", |round| round.tail),
    ]
}

/// What one round took.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Processor time of a token, in microseconds.
    cost: f64,
    /// Tokens of an event, on average.
    together: f64,
    /// How late the tokens came, in milliseconds.
    median: f64,
    tail: f64,
}

/// Answers of an agent, in as many sessions.
async fn relayed(mesh: &Mesh, sessions: usize, tokens: usize) -> Outcome<Round> {
    let created = (0..sessions).map(|_| relay::session(mesh, manifests::AGENT));
    let created = try_join_all(created).await?;
    let message = format!("rehearse {tokens} tokens");
    round(mesh, tokens, created.iter().map(|session| session.ask(&message))).await
}

/// As many completions of the llm service, without an agent.
async fn completed(mesh: &Mesh, sessions: usize, tokens: usize) -> Outcome<Round> {
    let message = format!("rehearse {tokens} tokens");
    round(mesh, tokens, (0..sessions).map(|_| relay::complete(mesh, &message))).await
}

async fn round(
    mesh: &Mesh,
    tokens: usize,
    answers: impl Iterator<Item = impl Future<Output = Outcome<Vec<Delta>>>>,
) -> Outcome<Round> {
    let before = cpu_time(mesh.id())?;
    let answers = try_join_all(answers).await?;
    let spent = cpu_time(mesh.id())?.saturating_sub(before);
    let mut late = Vec::with_capacity(answers.len() * tokens);
    for answer in &answers {
        relay::check(answer, tokens)?;
        late.extend(lateness(answer));
    }
    let events: usize = answers.iter().map(Vec::len).sum();
    let all = (answers.len() * tokens) as f64;
    Ok(Round {
        cost: spent.as_secs_f64() * 1e6 / all,
        together: all / events as f64,
        median: quantile(&late, 0.5),
        tail: quantile(&late, 0.99),
    })
}

/// How much later than the earliest token each one came, in milliseconds.
fn lateness(answer: &[Delta]) -> Vec<f64> {
    let Some(begun) = answer.first().map(|delta| delta.at) else { return Vec::new() };
    let mut late = Vec::new();
    for delta in answer {
        for _ in 0..delta.characters / CHARACTERS {
            let due = PACE.as_secs_f64() * late.len() as f64;
            late.push((since(begun, delta.at) - due) * 1e3);
        }
    }
    let earliest = late.iter().copied().fold(f64::INFINITY, f64::min);
    late.iter().map(|late| late - earliest).collect()
}

fn since(begun: Instant, at: Instant) -> f64 {
    at.duration_since(begun).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_held_against_the_schedule() {
        let begun = Instant::now();
        let delta = |millis, tokens| Delta {
            characters: tokens * CHARACTERS,
            at: begun + Duration::from_millis(millis),
        };
        // The first is 3 ms late, the next two come together, the last is the earliest.
        let late = lateness(&[delta(3, 1), delta(43, 2), delta(60, 1)]);
        let rounded: Vec<f64> = late.iter().map(|late| late.round()).collect();
        assert_eq!(rounded, [3.0, 23.0, 3.0, 0.0]);
    }
}

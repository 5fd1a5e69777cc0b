//! Bytes that a session of 1,000 calls of tools takes, beside those that are unique in it.
//!
//! What is stored is the size of the database's file after an orderly stop, which copies the write-ahead
//! log into it. Unique are the results, the arguments and the model's text alone: ids, times, the
//! ledger and whatever else a session needs count as overhead.

use std::time::Duration;

use super::{
    conversation::{Shape, read_back, write},
    serve,
    session::Session,
};
use crate::{
    Arguments, Outcome,
    report::{Figure, progress},
};

/// Stored bytes for each unique one.
const LIMIT: f64 = 1.5;
/// How long an orderly stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A session of 1,000 calls with results of 5 KB and 200,000 tokens of text.
const SESSION: Shape =
    Shape { calls: 1000, calls_per_turn: 10, result: 5_000, tokens: 200, tokens_per_delta: 16 };

/// One pace of the model.
struct Pace {
    name: &'static str,
    title: &'static str,
    tokens_per_delta: usize,
    limit: Option<f64>,
}

/// Every pace: the agent service gathers what comes within `agent.delta_interval`, 15 ms.
pub(crate) async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    let paces = [
        Pace {
            name: "storage_bytes",
            title: "stored bytes for each unique one, 16 tokens a delta",
            tokens_per_delta: 16,
            limit: Some(LIMIT),
        },
        Pace {
            name: "storage_bytes_4",
            title: "stored bytes for each unique one, 4 tokens a delta",
            tokens_per_delta: 4,
            limit: None,
        },
    ];
    let mut figures = Vec::new();
    for pace in paces {
        progress(pace.title);
        let calls = if arguments.quick { 200 } else { SESSION.calls };
        let shape = Shape { calls, tokens_per_delta: pace.tokens_per_delta, ..SESSION };
        let figure = Figure::new(pace.name, pace.title, "x", &[ratio(arguments, shape).await?]);
        figures.push(match pace.limit {
            Some(limit) => figure.at_most(limit),
            None => figure,
        });
    }
    Ok(figures)
}

async fn ratio(arguments: &Arguments, shape: Shape) -> Outcome<f64> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("data/cortex.db");
    serve(arguments, directory.path()).await?.stop(STOP_TIMEOUT).await?;
    let empty = std::fs::metadata(&file)?.len();
    let mesh = serve(arguments, directory.path()).await?;
    let mut session = Session::create(mesh.transport(8084)?).await?;
    let written = write(&mut session, shape).await?;
    if read_back(&mut session).await? != written.messages {
        return Err("the history is not what was written".into());
    }
    drop(session);
    mesh.stop(STOP_TIMEOUT).await?;
    let stored = std::fs::metadata(&file)?.len() - empty;
    Ok(stored as f64 / written.unique as f64)
}

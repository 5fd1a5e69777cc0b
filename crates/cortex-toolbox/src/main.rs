//! The bundled example tools in one static binary that runs in an image FROM scratch.
//!
//! `cortex-toolbox calculator '{"operation":"multiply","a":6,"b":7}'` prints
//! `{"success":true,"result":42}`. Called by a tool's own name (a link, or argv[0]) it is that tool.
//! Every tool follows the tool contract of [`contract`].

mod calculator;
mod clock;
mod contract;
mod decimal;
mod http;
mod text_analyzer;
mod web_search;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use contract::{Answer, ToolError};

/// A bundled tool: its name, what it does, and its code.
struct Tool {
    name: &'static str,
    summary: &'static str,
    run: fn(&str) -> Result<Answer, ToolError>,
}

const TOOLS: [Tool; 4] = [
    Tool {
        name: "calculator",
        summary: "adds, subtracts, multiplies and divides exactly",
        run: calculator::run,
    },
    Tool { name: "clock", summary: "tells the time", run: clock::run },
    Tool {
        name: "text_analyzer",
        summary: "counts words, sentences and lines of a text",
        run: text_analyzer::run,
    },
    Tool { name: "web_search", summary: "asks a search endpoint", run: web_search::run },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let own_name = arguments.next().unwrap_or_default();
    let called_as = Path::new(&own_name).file_name().and_then(|name| name.to_str()).unwrap_or("");
    if let Some(tool) = find(called_as) {
        return answer(tool, arguments.next());
    }
    let Some(name) = arguments.next().filter(|name| !name.starts_with('-')) else {
        return usage();
    };
    match find(&name) {
        Some(tool) => answer(tool, arguments.next()),
        None => unknown(&name),
    }
}

/// A tool that is not in this box is an error by the contract, like any other of a tool.
fn unknown(name: &str) -> ExitCode {
    let known: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    let known = known.join(", ");
    print(&ToolError::new(format!("the toolbox has no tool '{name}'; it has {known}")));
    ExitCode::FAILURE
}

fn find(name: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

fn answer(tool: &Tool, argument: Option<String>) -> ExitCode {
    if argument.as_deref() == Some("--health-check") {
        return print(&Answer::new("healthy"));
    }
    let parameters =
        contract::parameters(argument, io::stdin().lock(), std::env::var("PARAMETERS"));
    match parameters.and_then(|parameters| (tool.run)(&parameters)) {
        Ok(answer) => print(&answer),
        Err(error) => {
            print(&error);
            ExitCode::FAILURE
        }
    }
}

/// Writes one line of JSON to standard output. A reader that has gone away is a failure.
fn print(body: &impl serde::Serialize) -> ExitCode {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer(&mut out, body)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    let mut text = String::from("usage: cortex-toolbox TOOL [PARAMETERS | --health-check]\n\n");
    for tool in &TOOLS {
        text.push_str(&format!("  {:<14} {}\n", tool.name, tool.summary));
    }
    text.push_str(
        "\nPARAMETERS is one JSON object; without it, standard input, then the variable PARAMETERS.\n",
    );
    // Nobody is left to tell when standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    ExitCode::from(2)
}

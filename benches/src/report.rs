//! Figures, their limits and baselines, as a table and as JSON.

use std::{
    error::Error,
    fmt::{self, Write},
};

use serde_json::{Value, json};

use crate::machine::Machine;

/// One thing that was measured.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// A name that stays the same from run to run.
    pub(crate) name: &'static str,
    /// What it says, for people.
    pub(crate) title: String,
    /// The unit of every value here.
    pub(crate) unit: &'static str,
    /// What was measured.
    pub(crate) value: f64,
    /// The lowest and the highest of the repetitions that `value` is the median of.
    pub(crate) range: (f64, f64),
    /// What it must keep to.
    pub(crate) limit: Option<Limit>,
    /// What the same run took for less than the whole: its name and value.
    pub(crate) baseline: Option<(&'static str, f64)>,
}

/// What a figure must keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn json(self) -> Value {
        match self {
            Self::AtMost(limit) => json!({ "at_most": limit }),
            Self::AtLeast(limit) => json!({ "at_least": limit }),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, limit) = match self {
            Self::AtMost(limit) => ("<=", limit),
            Self::AtLeast(limit) => (">=", limit),
        };
        f.pad(&format!("{sign} {}", number(*limit)))
    }
}

impl Figure {
    /// A figure that is the median of `repetitions`.
    pub(crate) fn new(
        name: &'static str,
        title: impl Into<String>,
        unit: &'static str,
        repetitions: &[f64],
    ) -> Self {
        let range = repetitions
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
        let value = crate::stats::median(repetitions);
        Self { name, title: title.into(), unit, value, range, limit: None, baseline: None }
    }

    /// Sets what it may be at most.
    pub(crate) fn at_most(mut self, limit: f64) -> Self {
        self.limit = Some(Limit::AtMost(limit));
        self
    }

    /// Sets what it must be at least.
    pub(crate) fn at_least(mut self, limit: f64) -> Self {
        self.limit = Some(Limit::AtLeast(limit));
        self
    }

    /// Sets what it is compared with: the median of `repetitions`.
    pub(crate) fn beside(mut self, name: &'static str, repetitions: &[f64]) -> Self {
        self.baseline = Some((name, crate::stats::median(repetitions)));
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.baseline.map(|(_, baseline)| self.value / baseline)
    }

    fn holds(&self) -> bool {
        self.limit.is_none_or(|limit| limit.holds(self.value))
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "value": round(self.value),
            "lowest": round(self.range.0),
            "highest": round(self.range.1),
            "limit": self.limit.map(Limit::json),
            "holds": self.holds(),
            "baseline": self.baseline.map(|(name, value)| json!({ "name": name, "value": round(value) })),
            "ratio": self.ratio().map(round),
        })
    }
}

/// Everything that was measured in one run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Machine,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, figures: Vec::new() }
    }

    pub(crate) fn extend(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }

    /// Whether every figure keeps to its limit.
    pub(crate) fn holds(&self) -> bool {
        self.figures.iter().all(Figure::holds)
    }

    /// The figures as a JSON document.
    pub(crate) fn json(&self) -> String {
        let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
        let document = json!({ "machine": self.machine.json(), "figures": figures });
        format!("{document:#}\n")
    }

    #[expect(clippy::print_stdout, reason = "the table is what was asked for")]
    pub(crate) fn print(&self) {
        println!("{}", self.table());
    }

    fn table(&self) -> String {
        let width = self.figures.iter().map(|figure| figure.title.chars().count()).max();
        let width = width.unwrap_or(0).max(6);
        let mut table = format!("{}\n\n", self.machine.line());
        let _ = writeln!(
            table,
            "{:<width$}  {:>10} {:>21} {:>9}  {:<4}  {:>6}  baseline",
            "figure", "median", "lowest - highest", "limit", "", "ratio"
        );
        for figure in &self.figures {
            let _ = writeln!(table, "{}", row(figure, width));
        }
        let over = self.figures.iter().filter(|figure| !figure.holds()).count();
        if over > 0 {
            let _ = write!(table, "\n{over} of {} figures miss their limit", self.figures.len());
        }
        table
    }
}

fn row(figure: &Figure, width: usize) -> String {
    let verdict = match figure.limit {
        None => "",
        Some(_) if figure.holds() => "ok",
        Some(_) => "MISS",
    };
    let limit = figure.limit.map(|limit| limit.to_string()).unwrap_or_default();
    let range = format!("{} - {}", number(figure.range.0), number(figure.range.1));
    let ratio = figure.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let baseline = figure
        .baseline
        .map(|(name, value)| format!("{name}: {} {}", number(value), figure.unit))
        .unwrap_or_default();
    let value = format!("{} {}", number(figure.value), figure.unit);
    format!(
        "{:<width$}  {value:>10} {range:>21} {limit:>9}  {verdict:<4}  {ratio:>6}  {baseline}",
        figure.title
    )
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Says what kept the run from its end, with its causes.
#[expect(clippy::print_stderr, reason = "the last words of a program")]
pub(crate) fn complain(error: &(dyn Error + 'static)) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    eprintln!("cortex-bench: {text}");
}

/// Says what is being measured, since it takes minutes.
#[expect(clippy::print_stderr, reason = "progress, beside the table on standard output")]
pub(crate) fn progress(text: &str) {
    eprintln!("measuring {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_may_be_bound_from_either_side() {
        let figure = Figure::new("x", "x", "/s", &[7.0, 9.0, 11.0]);
        assert!(figure.holds());
        assert!(figure.clone().at_most(9.0).holds() && !figure.clone().at_most(8.9).holds());
        assert!(figure.clone().at_least(9.0).holds() && !figure.at_least(9.1).holds());
    }

    #[test]
    fn a_figure_that_is_no_number_keeps_to_no_limit() {
        let figure = Figure::new("x", "x", "/s", &[]);
        assert!(!figure.clone().at_most(9.0).holds() && !figure.at_least(9.0).holds());
    }
}

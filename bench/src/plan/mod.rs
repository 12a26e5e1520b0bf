//! `hype plan`: from what a packet costs on a machine (a report of `hype bench report`) and what
//! people will want (a demand), how many nodes and cores that takes, what they send and what it
//! costs. The model (`traffic`, `model`) is pure; only this file reads and writes files.

mod curve;
mod demand;
mod figures;
mod ledger;
mod model;
mod page;
mod phases;
mod sizing;
mod table;
mod traffic;

#[cfg(test)]
mod tests;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::report::result::Report;
use demand::Demand;
use figures::Figures;
pub(crate) use ledger::short;
use model::Plan;

/// What to plan, and how to show it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// A `report.json` of `hype bench report`; without it, the figures shipped with the release.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A demand, TOML or JSON; without it, the phases of growth.
    #[arg(long, value_name = "FILE", conflicts_with = "phase")]
    demand: Option<PathBuf>,
    /// One phase, 1–5, or `all`.
    #[arg(long, default_value = "all", value_parser = phase)]
    phase: Phase,
    /// The formula behind each number, below the table.
    #[arg(long)]
    explain: bool,
    /// One JSON object instead of the table; formulas and inputs are in it.
    #[arg(long)]
    json: bool,
    /// Also writes one self-contained page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Prints a documented demand file with all defaults, and nothing else.
    #[arg(long)]
    example: bool,
}

impl Options {
    /// The command that makes the same page.
    fn command(&self) -> String {
        let mut command = String::from("hype plan");
        for (flag, path) in
            [("--report", &self.report), ("--demand", &self.demand), ("--html", &self.html)]
        {
            if let Some(path) = path {
                command.push_str(&format!(" {flag} {}", path.display()));
            }
        }
        if let Phase::One(number) = self.phase {
            command.push_str(&format!(" --phase {number}"));
        }
        command
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    All,
    One(u8),
}

fn phase(text: &str) -> Result<Phase, String> {
    match text.parse() {
        Ok(number @ 1..=5) => Ok(Phase::One(number)),
        _ if text == "all" => Ok(Phase::All),
        _ => Err("expected 1, 2, 3, 4, 5 or all".into()),
    }
}

/// Plans that were made with one set of figures. The keys of the JSON form are stable.
#[derive(Debug, Serialize)]
struct Plans {
    /// What a packet and a person cost, for each back end that a demand asks for.
    figures: Vec<Figures>,
    plans: Vec<Plan>,
}

impl Plans {
    fn make(demands: &[Demand], report: Option<(&Report, &str)>) -> anyhow::Result<Self> {
        let mut plans = Self { figures: Vec::new(), plans: Vec::new() };
        for demand in demands {
            let figures = match report {
                Some((report, source)) => Figures::of(report, source, &demand.node.io),
                None => Figures::shipped(&demand.node.io)?,
            };
            plans.plans.push(model::plan(demand, &figures));
            if !plans.figures.contains(&figures) {
                plans.figures.push(figures);
            }
        }
        Ok(plans)
    }
}

/// Computes and shows.
///
/// # Errors
/// When a file cannot be read or written, or is not what it should be.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.example {
        return show(demand::EXAMPLE);
    }
    let demands = match (&options.demand, options.phase) {
        (Some(path), _) => vec![Demand::read(path)?],
        (None, Phase::All) => phases::all(),
        (None, Phase::One(number)) => phases::phase(number).into_iter().collect(),
    };
    let report = match &options.report {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the report {}", path.display()))?;
            let report = Report::parse(&text).with_context(|| path.display().to_string())?;
            Some((report, path.display().to_string()))
        }
    };
    let report = report.as_ref().map(|(report, source)| (report, source.as_str()));
    let plans = Plans::make(&demands, report)?;
    if let Some(path) = &options.html {
        std::fs::write(path, page::html(&plans, &options.command()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    if options.json {
        let mut json = serde_json::to_string_pretty(&plans)?;
        json.push('\n');
        show(&json)
    } else {
        show(&table::text(&plans, options.explain))
    }
}

/// Writes to standard output; whoever reads only its beginning (`head`) is not an error.
fn show(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

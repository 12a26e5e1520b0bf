//! `hype bench report`: runs the set of benches one after the other, each as a process of this
//! same binary, and writes one page with plots (`report.html`) and what it shows as data
//! (`report.json`, which `hype plan` reads). A run that failed or is impossible here is shown with
//! its reason and never left out.

mod execute;
mod page;
mod plots;
pub mod result;
mod server;
mod set;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;

use result::{Measured, Outcome, Report, Run};
use server::Server;
use set::{Extent, Planned};

/// What to run, and where to write.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder for report.html, report.json and what each bench printed; made when missing.
    #[arg(long, default_value = "hype-report", value_name = "DIR")]
    out: PathBuf,
    /// Few and small shapes for a second each: shows that everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Seconds of each window of a measurement, 1–60; 3 by default, 1 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: Option<u64>,
    /// Windows of each measurement, 1–100, over which a result is the median; 3 by default, 1 with
    /// --quick.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pairs: Option<u64>,
    /// Only runs whose name begins with one of these, such as `rate,video`.
    #[arg(long, value_delimiter = ',', value_name = "NAME[,NAME]")]
    only: Vec<String>,
    /// Runs nothing: writes the page anew from a report.json.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "seconds", "pairs", "only"])]
    from: Option<PathBuf>,
}

/// Runs the set and writes the report.
///
/// # Errors
/// When files cannot be written. A bench that fails is part of the report, not an error.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let report = match &options.from {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Report::parse(&text).with_context(|| path.display().to_string())?
        }
        None => measure(&options).await?,
    };
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make the folder {}", options.out.display()))?;
    write(&options.out.join("report.html"), &page::html(&report))?;
    if options.from.is_none() {
        write(&options.out.join("report.json"), &serde_json::to_string_pretty(&report)?)?;
    }
    let of = |outcome| report.runs.iter().filter(|run| run.outcome == outcome).count();
    println!(
        "{} runs: {} measured, {} failed, {} impossible here, {} stopped",
        report.runs.len(),
        of(Outcome::Measured),
        of(Outcome::Failed),
        of(Outcome::Impossible),
        of(Outcome::Stopped)
    );
    println!("page: {}", options.out.join("report.html").display());
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let extent = Extent {
        seconds: options.seconds.unwrap_or(if options.quick { 1 } else { 3 }),
        pairs: options.pairs.unwrap_or(if options.quick { 1 } else { 3 }),
        quick: options.quick,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let mut set = set::set(extent);
    set.retain(|planned| {
        options.only.is_empty() || options.only.iter().any(|name| planned.id.starts_with(name))
    });
    if set.is_empty() {
        let names: Vec<String> = set::set(extent).into_iter().map(|planned| planned.id).collect();
        anyhow::bail!("no run begins with {:?}; there are {}", options.only, names.join(", "));
    }
    let logs = options.out.join("logs");
    std::fs::create_dir_all(&logs)
        .with_context(|| format!("cannot make the folder {}", logs.display()))?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stop);
    tokio::spawn(async move {
        crate::stop_signal().await;
        eprintln!("stopping after this run; the report will have what was measured");
        stopper.store(true, Ordering::Relaxed);
    });
    let root = is_root();
    let mut runs = Vec::new();
    for (number, planned) in set.iter().enumerate() {
        let began = Instant::now();
        eprint!("[{}/{}] {:<22} ", number + 1, set.len(), planned.id);
        let run = one(planned, root, &logs, &stop).await;
        let seconds = began.elapsed().as_secs_f64();
        match &run.reason {
            None => eprintln!("measured in {seconds:.1} s"),
            Some(reason) => eprintln!("{:?}: {reason}", run.outcome),
        }
        runs.push(run);
    }
    let made_at = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    let quick = "made with --quick: it shows that everything works, not how fast it is";
    let debug = "made by a debug build: its figures say nothing about a release";
    let note = match (cfg!(debug_assertions), options.quick) {
        (true, _) => Some(debug.into()),
        (false, true) => Some(quick.into()),
        (false, false) => None,
    };
    // Every bench describes the machine beside its result; the first did so before the load of
    // the others.
    let machine = runs.iter().find_map(|run: &Run| run.result.object("machine"));
    Ok(Report {
        v: 1,
        version: Some(env!("CARGO_PKG_VERSION").into()),
        made_at,
        note,
        command: Some(command_line(options, extent)),
        machine: machine.unwrap_or_default(),
        runs,
    })
}

fn command_line(options: &Options, extent: Extent) -> String {
    let Extent { seconds, pairs, .. } = extent;
    let mut line = format!("hype bench report --seconds {seconds} --pairs {pairs}");
    if options.quick {
        line.push_str(" --quick");
    }
    if !options.only.is_empty() {
        line.push_str(" --only ");
        line.push_str(&options.only.join(","));
    }
    line
}

/// One run, or why there is none.
async fn one(planned: &Planned, root: bool, logs: &Path, stop: &AtomicBool) -> Run {
    let without = |outcome, reason: String| Run {
        id: planned.id.clone(),
        group: planned.group,
        command: format!("hype bench {}", planned.arguments.join(" ")),
        outcome,
        reason: Some(reason),
        result: Measured::default(),
    };
    if stop.load(Ordering::Relaxed) {
        return without(Outcome::Stopped, "stopped before it began".into());
    }
    if planned.needs_root && !root {
        let reason = "needs root: it makes network namespaces and devices; \
                      the runs on loopback do not";
        return without(Outcome::Impossible, reason.into());
    }
    if !planned.needs_server {
        return execute::run(planned, logs, stop).await;
    }
    match Server::start(logs).await {
        Err(error) => without(Outcome::Failed, format!("{error:#}")),
        Ok(server) => {
            let mut planned = planned.clone();
            planned.arguments.extend(["--url".into(), server.url.clone()]);
            execute::run(&planned, logs, stop).await
        }
    }
}

/// Whether this process has the effective user 0; where /proc does not say, it counts as not.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

//! Where logs and metrics go. Installed once, here: the planes only use the facades.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Sends log lines to standard error.
pub fn log(filter: &str, format: Format) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("--log: `{filter}` is no filter; try `info` or `hype_node=debug`")
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Text => lines.init(),
        Format::Json => lines.json().init(),
    }
    Ok(())
}

/// Bounds of histograms by the last word of their name; Prometheus sums them over processes.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const MILLISECONDS: [f64; 13] =
    [0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 500.0];
const MINUTES: [f64; 9] = [0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0];

/// Starts collecting metrics; the handle renders them for `/metrics`.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_ms".into()), &MILLISECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_minutes".into()), &MINUTES)?
        .install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut period = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            period.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

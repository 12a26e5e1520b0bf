//! `hype bench`: loads a running Hype through its public API, or a node process that it starts
//! alone, with clients whose SRTP is webrtc-srtp (not our own), and checks what comes back. These
//! never look inside the server: what they report is what clients get, and what the kernel tells
//! of the process. Only `engine` measures the media engine in this process.

pub mod api;
mod browser;
mod community;
pub mod engine;
pub mod gateway;
mod ice;
mod idle;
mod join;
pub mod machine;
pub mod node_process;
pub mod peer;
mod place;
pub mod plan;
mod plot;
mod relay;
mod report;
mod srtp;
mod suite;
pub mod tally;
mod voice;

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// One voice channel full of native clients: counts, losses and latency of every packet.
    #[command(after_long_help = include_str!("../keys/voice.txt"))]
    Voice(voice::Options),
    /// Cost of a forwarded voice packet: a real node, a generator apart from it.
    #[command(after_long_help = include_str!("../keys/relay.txt"))]
    Relay(relay::Options),
    /// Cost of a forwarded video packet: frames as bursts.
    #[command(after_long_help = include_str!("../keys/relay.txt"))]
    Video(relay::VideoOptions),
    /// Memory of a node process alone, with silent people connected by real ICE and DTLS.
    #[command(after_long_help = include_str!("../keys/idle.txt"))]
    Idle(idle::Options),
    /// Joins a second, and the time until somebody is heard, through the public API.
    #[command(after_long_help = include_str!("../keys/join.txt"))]
    Join(join::Options),
    /// A community that chats and talks while replicas die: what is lost, doubled or out of order.
    #[command(after_long_help = include_str!("../keys/community.txt"))]
    Community(community::Options),
    /// Runs all benches and writes one page with plots, and a JSON file that `hype plan` reads.
    Report(report::Options),
    /// The media engine alone, beside the bare seals that the same work needs.
    #[command(after_long_help = include_str!("../keys/engine.txt"))]
    Engine(engine::Options),
}

/// Runs one benchmark; prints its result to standard output.
///
/// # Errors
/// When the server cannot be reached or refuses, or when a check of the result fails.
pub async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Voice(options) => voice::run(options).await,
        Bench::Relay(options) => relay::run(options).await,
        Bench::Video(options) => relay::run_video(options).await,
        Bench::Idle(options) => idle::run(options).await,
        Bench::Join(options) => join::run(options).await,
        Bench::Community(options) => community::run(options).await,
        Bench::Report(options) => report::run(options).await,
        Bench::Engine(options) => engine::run(options).await,
    }
}

/// Completes at Ctrl-C or SIGTERM; from its first poll on, neither ends the process by itself.
pub async fn stop_signal() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be caught");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be caught");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Ends at such a signal, too: what was made (processes, networks, connections) goes with what is
/// dropped.
async fn until_stopped<T>(bench: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        // In this order: the first look at a bench makes its networks, and must be caught already.
        biased;
        () = stop_signal() => anyhow::bail!("stopped before there was a result"),
        outcome = bench => outcome,
    }
}

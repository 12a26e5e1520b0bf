//! `hype bench`. `voice` loads a running Hype through its public API, with native clients whose
//! SRTP is webrtc-srtp (not our own), checks every packet that comes back, and never looks inside
//! the server; `engine` measures the media engine alone, in this process.

mod api;
pub mod engine;
mod gateway;
pub mod machine;
mod peer;
mod suite;
mod tally;
mod voice;

use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// One voice channel full of native clients: counts, losses and latency of every packet.
    Voice(voice::Options),
    /// The media engine alone, beside the bare seals that the same work needs.
    Engine(engine::Options),
}

/// Runs one benchmark; prints its result to standard output.
///
/// # Errors
/// When the server cannot be reached or refuses, or when a check of the result fails.
pub async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Voice(options) => voice::run(options).await,
        Bench::Engine(options) => engine::run(options).await,
    }
}

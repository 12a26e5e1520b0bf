//! `hype bench`: loads a running Hype through its public API, with native clients whose SRTP is
//! webrtc-srtp (not our own), and checks every packet that comes back.
//! It never looks inside the server: what it reports is what clients get.

mod api;
mod gateway;
pub mod machine;
pub mod node_process;
mod peer;
mod relay;
pub mod plan;
mod plot;
mod report;
mod tally;
mod voice;

use clap::Subcommand;
use hype_protocol::secret::SrtpProfile;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// One voice channel full of native clients: counts, losses and latency of every packet.
    Voice(voice::Options),
    /// Cost of a forwarded voice packet: a real node, a generator apart from it.
    Relay(relay::Options),
    /// Cost of a forwarded video packet: frames as bursts.
    Video(relay::VideoOptions),
    /// Runs all benches and writes one page with plots, and a JSON file that `hype plan` reads.
    Report(report::Options),
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
        Bench::Report(options) => report::run(options).await,
    }
}

/// The value of `--suite`.
fn suite(text: &str) -> Result<SrtpProfile, String> {
    match text {
        "gcm" => Ok(SrtpProfile::AeadAes128Gcm),
        "gcm256" => Ok(SrtpProfile::AeadAes256Gcm),
        "cm" => Ok(SrtpProfile::Aes128CmSha1_80),
        _ => Err("expected gcm, gcm256 or cm".into()),
    }
}

//! The roles of the process, and what they start.
//! Only here and in `settings` is anything read from the environment.

pub mod bench_floor;
pub mod bench_node;
pub mod cert;
pub mod config;
pub mod control;
pub mod node;
pub mod shard;
pub mod up;

use hype_node::io::IoKind;

fn io_kind(text: &str) -> Result<IoKind, String> {
    text.parse().map_err(|error: hype_node::io::UnknownIoKind| error.to_string())
}

/// Completes at Ctrl-C or SIGTERM.
async fn stop_signal() {
    hype_bench::stop_signal().await;
    tracing::info!("stopping");
}

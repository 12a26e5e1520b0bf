//! `hype control`: one replica of the control plane, with etcd; nodes dial it over QUIC.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use hype_control::{Environment, Nodes};
use hype_protocol::id::ControlId;

use super::{ControlOptions, EtcdOptions};
use crate::telemetry;

/// Flags of the role.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    control: ControlOptions,
    #[command(flatten)]
    etcd: EtcdOptions,
    /// Name of this replica: 1–32 of a-z, 0-9 and -.
    #[arg(long, env = "HYPE_CONTROL_ID", default_value = "control-1")]
    control_id: ControlId,
    /// UDP address and port where nodes dial this replica.
    #[arg(long, env = "HYPE_LINK", default_value = "0.0.0.0:7443", value_name = "ADDR:PORT")]
    link: SocketAddr,
    /// By which addresses nodes reach it; by default this machine's.
    #[arg(long, env = "HYPE_LINK_ANNOUNCE", value_delimiter = ',', value_name = "ADDR:PORT")]
    link_announce: Vec<SocketAddr>,
    /// Directory of the fleet's certificates; made with a new authority when it is empty.
    #[arg(long, env = "HYPE_PKI_DIR", default_value = "hype-pki")]
    pki_dir: PathBuf,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let config = hype_control::Config { control: options.control_id, ..options.control.config() };
    let environment = Environment {
        coordination: options.etcd.store()?,
        nodes: Nodes::Quic {
            pki_dir: options.pki_dir,
            link: options.link,
            announce: options.link_announce,
        },
        metrics: telemetry::metrics()?,
    };
    let bound = |address| tracing::info!(%address, "listening");
    hype_control::run(config, environment, bound, super::stop_signal()).await?;
    Ok(())
}

//! `hype control`: one replica of the control plane, with etcd; nodes dial it over QUIC.

use clap::Args;
use hype_control::{Environment, Nodes};

use crate::settings::{Flags, flags};
use crate::telemetry;

/// Flags of the role.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags<flags::Control>,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let settings = options.flags.settings()?;
    let environment = Environment {
        coordination: settings.etcd.store()?,
        nodes: Nodes::Quic {
            pki_dir: settings.link.pki_dir,
            link: settings.link.address,
            announce: settings.link.announce,
        },
        metrics: telemetry::metrics()?,
    };
    let bound = |address| tracing::info!(%address, "listening");
    hype_control::run(settings.control, environment, bound, super::stop_signal()).await?;
    Ok(())
}

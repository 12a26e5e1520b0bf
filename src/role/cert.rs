//! `hype cert`: the fleet's authority, certificates and enrollment tokens.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hype_protocol::id::{ControlId, NodeId};
use hype_protocol::identity::{Authority, Subject};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes the authority: ca.pem and ca.key. A control replica does it by itself at its first
    /// start; further replicas get a copy of ca.pem and certificates of their own.
    Init(Place),
    /// Makes a control replica's certificate and key, for the PKI directory of its machine.
    Control {
        #[command(flatten)]
        place: Place,
        /// Name of the replica.
        #[arg(long)]
        control: ControlId,
        /// Where to put ca.pem, control.pem and control.key.
        #[arg(long)]
        out: PathBuf,
    },
    /// Prints a token with which a node enrolls: `hype node --enroll TOKEN --control URL`.
    Token {
        #[command(flatten)]
        place: Place,
        /// Name of the node.
        #[arg(long)]
        node: NodeId,
        /// For how many hours it can be used, 1–720.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=720))]
        hours: u64,
    },
}

/// Where the authority is.
#[derive(Debug, Args)]
pub struct Place {
    /// Directory of ca.pem and ca.key.
    #[arg(long, env = "HYPE_PKI_DIR", default_value = "hype-pki")]
    pki_dir: PathBuf,
}

pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Init(place) => {
            Authority::open(&place.pki_dir)?;
            println!("the authority is in {}", place.pki_dir.display());
        }
        Command::Control { place, control, out } => {
            Authority::load(&place.pki_dir)?.issue(&Subject::Control(control.clone()), out)?;
            println!("the certificate of {control} is in {}", out.display());
        }
        Command::Token { place, node, hours } => {
            let life = Duration::from_secs(hours * 3600);
            println!("{}", Authority::load(&place.pki_dir)?.token(node, life));
        }
    }
    Ok(())
}

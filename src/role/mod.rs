//! The roles of the process: their flags and environment, and what they start.
//! Only here is anything read from the environment.

pub mod bench_floor;
pub mod bench_node;
pub mod cert;
pub mod control;
pub mod node;
pub mod up;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use hype_control::config::Tls;
use hype_node::io::IoKind;
use hype_protocol::coordination::{self, etcd};
use hype_protocol::id::{NodeId, Region};
use tokio::signal::unix::{SignalKind, signal};

/// Flags of everything that serves people.
#[derive(Debug, Clone, Args)]
pub struct ControlOptions {
    /// Where accounts, guilds, messages and keys are kept; made when missing.
    #[arg(long, env = "HYPE_DATA_DIR", default_value = "hype-data")]
    data_dir: PathBuf,
    /// Address and port of the page, the API and the gateway.
    #[arg(long, env = "HYPE_HTTP", default_value = "0.0.0.0:8080", value_name = "ADDR:PORT")]
    http: SocketAddr,
    /// `off`, `self-signed`, or files `CERT,KEY` (PEM). Browsers give out the microphone only on
    /// https, or on http://localhost.
    #[arg(long, env = "HYPE_TLS", default_value = "off", value_name = "MODE|CERT,KEY")]
    tls: Tls,
}

impl ControlOptions {
    fn config(&self) -> hype_control::Config {
        hype_control::Config {
            http: self.http,
            data_dir: self.data_dir.clone(),
            tls: self.tls.clone(),
            ..Default::default()
        }
    }
}

/// Flags of everything that forwards media.
#[derive(Debug, Clone, Args)]
pub struct NodeOptions {
    /// UDP port of the first worker; the others follow it.
    #[arg(long, env = "HYPE_UDP_PORT", default_value_t = hype_node::config::DEFAULT_UDP_PORT)]
    udp_port: u16,
    /// Workers, one core each; by default all cores but one.
    #[arg(long, env = "HYPE_WORKERS")]
    workers: Option<u16>,
    /// Addresses that clients shall send media to; by default all of this machine. Behind a 1:1
    /// address translation, its outer address.
    #[arg(long, env = "HYPE_ANNOUNCE", value_delimiter = ',', value_name = "IP[,IP]")]
    announce: Vec<IpAddr>,
    /// `auto`, `uring`, `socket` where io_uring is forbidden, or `xdp` (past the kernel's network
    /// stack; needs --interface and root).
    #[arg(long, env = "HYPE_IO", default_value = "auto", value_parser = io_kind)]
    io: IoKind,
    /// Network interfaces to use AF_XDP on, with `--io xdp` or `auto`. What comes and goes by them
    /// for media does not pass the host's packet filters.
    #[arg(long, env = "HYPE_INTERFACE", value_delimiter = ',', value_name = "IF[,IF]")]
    interface: Vec<String>,
    /// Name of the node: 1–32 of a-z, 0-9 and -.
    #[arg(long, env = "HYPE_NODE_ID", default_value = "node-1")]
    node_id: NodeId,
    /// Where it stands, such as eu-central-1.
    #[arg(long, env = "HYPE_REGION", default_value = "local")]
    region: Region,
    /// The most people connected at once.
    #[arg(long, env = "HYPE_MAX_SESSIONS", default_value_t = 10_000)]
    max_sessions: u32,
}

fn io_kind(text: &str) -> Result<IoKind, String> {
    text.parse().map_err(|error: hype_node::io::UnknownIoKind| error.to_string())
}

impl NodeOptions {
    fn config(&self) -> hype_node::Config {
        let defaults = hype_node::Config::default();
        hype_node::Config {
            node: self.node_id.clone(),
            region: self.region.clone(),
            udp_port: self.udp_port,
            workers: self.workers.unwrap_or(defaults.workers),
            announce: self.announce.clone(),
            io: self.io,
            interfaces: self.interface.clone(),
            max_sessions: self.max_sessions,
            ..defaults
        }
    }
}

/// How to reach etcd.
#[derive(Debug, Clone, Args)]
pub struct EtcdOptions {
    /// Endpoints of the etcd cluster.
    #[arg(
        long,
        env = "HYPE_ETCD",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2379",
        value_name = "URL[,URL]"
    )]
    etcd: Vec<String>,
    /// PEM file of the authority that signed etcd's certificates (for https).
    #[arg(long, env = "HYPE_ETCD_CA")]
    etcd_ca: Option<PathBuf>,
    /// PEM files of our certificate and key for etcd.
    #[arg(long, env = "HYPE_ETCD_CERT", requires = "etcd_ca", value_name = "CERT,KEY")]
    etcd_cert: Option<String>,
    /// etcd user.
    #[arg(long, env = "HYPE_ETCD_USER", requires = "etcd_password")]
    etcd_user: Option<String>,
    /// Its password; better given by the environment.
    #[arg(long, env = "HYPE_ETCD_PASSWORD", hide_env_values = true)]
    etcd_password: Option<String>,
}

impl EtcdOptions {
    fn store(&self) -> anyhow::Result<coordination::Store> {
        let read = |path: &std::path::Path| {
            use anyhow::Context;
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let identity = match self.etcd_cert.as_deref().map(|files| files.split_once(',')) {
            None => None,
            Some(Some((cert, key))) => Some((read(cert.as_ref())?, read(key.as_ref())?)),
            Some(None) => anyhow::bail!("--etcd-cert wants two files: CERT,KEY"),
        };
        let tls = match &self.etcd_ca {
            Some(path) => Some(etcd::Tls { authority: read(path)?, identity, server_name: None }),
            None => None,
        };
        let user = self.etcd_user.clone().zip(self.etcd_password.clone());
        let settings = etcd::Settings { endpoints: self.etcd.clone(), tls, user };
        Ok(coordination::Store::Etcd(etcd::Etcd::new(settings)?))
    }
}

/// Completes at Ctrl-C or SIGTERM.
async fn stop_signal() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be caught");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be caught");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
}

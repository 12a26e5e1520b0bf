//! A media node's process: sockets, pinned workers that forward, and the agent that follows the
//! control plane. `hype up` runs one inside its own process; `hype node` is one.
//! [`Node::start`] takes everything that can fail at a start (ports, threads), [`Node::run`] then
//! serves until it is told to stop.

pub mod agent;
pub mod config;
pub mod io;
pub mod worker;

pub mod floor;
mod start;

use std::net::{IpAddr, SocketAddr};

use hype_protocol::coordination::Store;
use hype_protocol::id::WorkerId;
use hype_protocol::identity::Identity;
use hype_protocol::pipe::ControlEnd;
use tokio::sync::mpsc;

pub use config::Config;
pub use start::{Node, cores};

/// How the node talks with the control plane.
#[derive(Debug)]
pub enum Links {
    /// With the control plane of the same process, which is handed its end of a new connection
    /// here: once at the start, and again whenever the one before has ended.
    InProcess(mpsc::Sender<ControlEnd>),
    /// With every replica that announces itself in the store, by QUIC under this identity.
    Quic(Identity),
}

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] config::Invalid),
    /// The machine's addresses cannot be listed.
    #[error("cannot list this machine's addresses: {0}")]
    Addresses(#[source] std::io::Error),
    /// A media port cannot be bound.
    #[error("cannot bind UDP {address} for worker {}: {source}; choose another --udp-port", .worker.0)]
    Bind {
        /// Where.
        address: SocketAddr,
        /// For whom.
        worker: WorkerId,
        /// Why.
        source: std::io::Error,
    },
    /// The admin port cannot be bound.
    #[error("cannot serve the admin pages at {address}: {source}")]
    Admin {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A worker did not start.
    #[error(transparent)]
    Worker(#[from] worker::StartError),
    /// The system gave no randomness.
    #[error("the system gives no random bytes")]
    Entropy,
    /// The DTLS certificate could not be made.
    #[error("cannot make the DTLS certificate: {0}")]
    Certificate(#[source] rcgen::Error),
    /// DTLS threads or event queues could not be made.
    #[error("cannot start the agent: {0}")]
    Agent(#[source] std::io::Error),
    /// The identity names another node than the config.
    #[error("the certificate is for {found}, but this node is called {node}")]
    Identity {
        /// Whom the certificate names.
        found: String,
        /// The config's name.
        node: hype_protocol::id::NodeId,
    },
    /// A worker ended by itself: its log says why. Restart the process.
    #[error("worker {} ended by itself", .0.0)]
    WorkerEnded(WorkerId),
}

/// Starts a node and serves until `shutdown` ends; stops within 1.5 s then.
///
/// # Errors
/// [`Error`], at the start or when a worker fails later.
pub async fn run(
    config: Config,
    store: Store,
    links: Links,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    Node::start(config)?.run(store, links, shutdown).await
}

/// All addresses by which media of this node can be reached, for a message at the start.
pub fn announced(node: &Node) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for address in node.live().workers.iter().flatten() {
        if !ips.contains(&address.ip()) {
            ips.push(address.ip());
        }
    }
    ips
}

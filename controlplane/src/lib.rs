//! The control plane: accounts, guilds, channels, messages, signaling, and where each room lives.
//! [`run`] is all that the binary calls. It shares no memory with the data plane: nodes are
//! reached by an observation connection, in process (`hype up`) or over QUIC.

pub mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod event;
pub mod gateway;
pub mod http;
mod start;
pub mod store;
pub mod untrusted;
pub mod voice;

use std::net::SocketAddr;
use std::path::PathBuf;

use hype_protocol::{coordination, pipe};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::mpsc;

pub use app::App;
pub use config::Config;
pub use start::{Error, run};

/// How nodes are reached.
#[derive(Debug)]
pub enum Nodes {
    /// One node in this process, which hands over a new end whenever its last one was cut.
    InProcess(mpsc::Receiver<pipe::ControlEnd>),
    /// Nodes dial us over QUIC with mutual authentication.
    Quic {
        /// Holds this replica's certificate and its authority's. Where there are none, an
        /// authority is made there: it certifies this replica and enrolls nodes.
        pki_dir: PathBuf,
        /// Where we listen for them (UDP).
        link: SocketAddr,
        /// The addresses by which nodes reach us; empty announces this machine's own ones.
        announce: Vec<SocketAddr>,
    },
}

/// What [`run`] needs besides its configuration.
#[derive(Debug)]
pub struct Environment {
    /// What the fleet agrees on.
    pub coordination: coordination::Store,
    /// How nodes are reached.
    pub nodes: Nodes,
    /// Renders the metrics of this process; its recorder is installed by the binary.
    pub metrics: PrometheusHandle,
}

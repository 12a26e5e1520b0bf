//! What `hype bench-node`, a node process without a control plane, tells the benchmark that started
//! it: one [`Started`] as the first frame on standard output. All further frames there, and those
//! on standard input, are the observation messages of [`crate::observation`].
//! `hype bench-floor`, which benchmarks compare a node with, speaks the `Floor` frames instead.
//! They never carry anything that a benchmark measures.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::record::{Assignment, NodeLive};

/// The node serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// What it would announce to a fleet: its addresses and its DTLS fingerprint.
    pub live: NodeLive,
    /// The rooms that it serves, which it assigned to itself.
    pub rooms: Vec<Assignment>,
    /// By which back end each of its workers sends and receives.
    pub back_ends: Vec<String>,
}

/// The floor's first frame on standard output: the address of each worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorStarted {
    /// One for each worker.
    pub workers: Vec<SocketAddr>,
}

/// The floor's second frame, when it has its routes and forwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorServing {
    /// As [`Started::back_ends`].
    pub back_ends: Vec<String>,
}

/// The one frame on the floor's standard input: who gets a copy of what comes from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorRoutes {
    /// By worker: sources, each with its destinations.
    pub workers: Vec<Vec<(SocketAddr, Vec<SocketAddr>)>>,
}

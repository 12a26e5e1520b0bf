//! What `hype bench-node`, a node process without a control plane, tells the benchmark that started
//! it: one [`Started`] as the first frame on standard output. All further frames there, and those
//! on standard input, are the observation messages of [`crate::observation`].
//! It never carries anything that a benchmark measures.

use serde::{Deserialize, Serialize};

use crate::record::{Assignment, NodeLive};

/// The node serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// What it would announce to a fleet: its addresses and its DTLS fingerprint.
    pub live: NodeLive,
    /// The rooms that it serves, which it assigned to itself.
    pub rooms: Vec<Assignment>,
}

//! Units as types, for numbers that would otherwise be confused.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Bitrate(pub u64);

impl Bitrate {
    /// From bytes counted over `elapsed_ms` milliseconds; zero when no time has passed.
    pub fn from_bytes(bytes: u64, elapsed_ms: u64) -> Self {
        Self((bytes * 8 * 1000).checked_div(elapsed_ms).unwrap_or(0))
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate @ 0..1_000 => write!(f, "{rate} bit/s"),
            rate @ 1_000..1_000_000 => write!(f, "{} kbit/s", rate / 1_000),
            rate => write!(f, "{:.1} Mbit/s", rate as f64 / 1e6),
        }
    }
}

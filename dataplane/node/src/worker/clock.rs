//! The worker's clock: monotonic time since its start, as the engine wants to be told it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hype_sfu::Timestamp;

/// Counts from the moment it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
    unix_at_zero: Duration,
}

impl Clock {
    /// Starts at zero. Wall time is read this once: a step of it later must not bend RTP timestamps.
    pub fn start() -> Self {
        let unix_at_zero = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { zero: Instant::now(), unix_at_zero }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.zero.elapsed()
    }

    /// Unix time at zero.
    pub fn unix_at_zero(&self) -> Duration {
        self.unix_at_zero
    }
}

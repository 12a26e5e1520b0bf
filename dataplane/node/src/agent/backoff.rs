//! Waiting times between tries: growing, with a limit, and with jitter so that a fleet does not
//! come back in step.

use std::time::Duration;

/// The first waiting time.
const FIRST: Duration = Duration::from_millis(100);
/// No waiting time is longer.
pub const LONGEST: Duration = Duration::from_secs(2);

/// A row of tries.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// From the beginning.
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait before the next try: half to all of a time that doubles.
    pub fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        let mut random = [0; 1];
        // Without entropy there is no jitter, which is no reason to stop.
        let _ = aws_lc_rs::rand::fill(&mut random);
        full.mul_f64(0.5 + f64::from(random[0]) / 512.0)
    }

    /// A try succeeded.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_start_again() {
        let mut backoff = Backoff::new();
        for round in 0..20 {
            let full = (FIRST * 2u32.pow(round)).min(LONGEST);
            let wait = backoff.wait();
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}

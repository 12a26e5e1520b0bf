//! Ids that grow with time: 42 bits of milliseconds since 2025, 10 bits of worker, 11 of counter,
//! below 2^63 until the year 2164. Two workers never make the same one, nor does one worker twice:
//! a clock that goes back makes it wait, and refuse when the wait would be long. In a fleet the worker
//! number is leased ([`super::id_lease`]), and no id is made beyond what the lease allows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 2025-01-01T00:00:00Z in Unix milliseconds.
pub const EPOCH_MS: u64 = 1_735_689_600_000;
/// The highest worker number.
pub const MAX_WORKER: u16 = 1023;
/// How far the clock may be behind the last id before ids are refused.
const PATIENCE: Duration = Duration::from_millis(500);

const COUNTER_BITS: u32 = 11;
const WORKER_BITS: u32 = 10;
const TIME_SHIFT: u32 = COUNTER_BITS + WORKER_BITS;

/// Why no id can be made now. All of it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoIds {
    /// The clock is behind the last id that was made, by more than the generator waits for.
    #[error("the system clock went back by {behind_ms} ms: no new ids until it has caught up")]
    ClockWentBack {
        /// By how much, in milliseconds.
        behind_ms: u64,
    },
    /// This replica is not sure of its worker number.
    #[error("the worker number of new ids is not certain: the coordination store does not answer")]
    NotLeased,
}

/// Now, in Unix milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        .unwrap_or(0)
}

/// When an id was made, in Unix milliseconds.
pub fn made_at_ms(id: u64) -> u64 {
    (id >> TIME_SHIFT) + EPOCH_MS
}

/// The least id that can be made at a time, in Unix milliseconds.
pub fn first_at_ms(time_ms: u64) -> u64 {
    time_ms.saturating_sub(EPOCH_MS) << TIME_SHIFT
}

#[derive(Debug)]
struct Last {
    time_ms: u64,
    counter: u64,
    worker: u64,
    /// No id is of this millisecond or a later one.
    until_ms: u64,
}

/// Makes ids for one worker number at a time. Clones share it.
#[derive(Debug, Clone)]
pub struct Snowflakes {
    last: Arc<Mutex<Last>>,
}

impl Snowflakes {
    /// A generator for `worker` (0–1,023) whose ids all come after `newest`, the newest stored id:
    /// so a clock that went back while the process was down is noticed too.
    pub fn new(worker: u16, newest: u64) -> Self {
        Self::with(worker, newest, u64::MAX)
    }

    /// A generator that makes no ids before it is granted a worker number.
    pub fn unleased(newest: u64) -> Self {
        Self::with(0, newest, 0)
    }

    fn with(worker: u16, newest: u64, until_ms: u64) -> Self {
        let time_ms = if newest == 0 { 0 } else { newest >> TIME_SHIFT };
        let worker = u64::from(worker & MAX_WORKER);
        // The counter counts as used up: the id may have been any worker's.
        let last = Last { time_ms, counter: (1 << COUNTER_BITS) - 1, worker, until_ms };
        Self { last: Arc::new(Mutex::new(last)) }
    }

    /// From now on ids are of `worker`, each after `from_ms` and before `until_ms` (Unix
    /// milliseconds). It goes on with the number that it has.
    pub fn grant(&self, worker: u16, from_ms: u64, until_ms: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = u64::from(worker & MAX_WORKER);
        let from_ms = from_ms.saturating_sub(EPOCH_MS);
        if worker != last.worker || from_ms >= last.time_ms {
            last.worker = worker;
            last.time_ms = last.time_ms.max(from_ms);
            last.counter = (1 << COUNTER_BITS) - 1;
        }
        last.until_ms = until_ms.saturating_sub(EPOCH_MS);
    }

    /// A new id above `last`, which another worker with a clock ahead of ours may have made.
    ///
    /// # Errors
    /// [`NoIds`] as for [`Self::next`], also when our clock is that far behind theirs.
    pub async fn next_after(&self, last: u64) -> Result<u64, NoIds> {
        loop {
            let id = self.next().await?;
            if id > last {
                return Ok(id);
            }
            let behind_ms = (last >> TIME_SHIFT) - (id >> TIME_SHIFT) + 1;
            let wait = Duration::from_millis(behind_ms);
            if wait > PATIENCE {
                return Err(NoIds::ClockWentBack { behind_ms });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// A new id. Waits while this millisecond's numbers are used up, or for a clock that is a
    /// little behind.
    ///
    /// # Errors
    /// [`NoIds`] when the clock is behind by more than half a second, or the worker number is not
    /// certain.
    pub async fn next(&self) -> Result<u64, NoIds> {
        loop {
            match self.at(unix_ms())? {
                Ok(id) => return Ok(id),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// An id for the time `now_ms`, or how long to wait for one.
    fn at(&self, now_ms: u64) -> Result<Result<u64, Duration>, NoIds> {
        let now_ms = now_ms.saturating_sub(EPOCH_MS);
        // The state is two numbers and is whole after every statement, also when a holder panicked.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms.max(last.time_ms) >= last.until_ms {
            return Err(NoIds::NotLeased);
        }
        if now_ms > last.time_ms {
            (last.time_ms, last.counter) = (now_ms, 0);
        } else {
            let behind_ms = last.time_ms - now_ms;
            if Duration::from_millis(behind_ms) > PATIENCE {
                return Err(NoIds::ClockWentBack { behind_ms });
            }
            if behind_ms > 0 || last.counter + 1 >= 1 << COUNTER_BITS {
                return Ok(Err(Duration::from_millis(behind_ms + 1)));
            }
            last.counter += 1;
        }
        Ok(Ok((last.time_ms << TIME_SHIFT) | (last.worker << COUNTER_BITS) | last.counter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = EPOCH_MS + 1_000_000;

    #[test]
    fn ids_grow_within_and_across_milliseconds_and_then_wait() {
        let ids = Snowflakes::new(7, 0);
        let mut last = 0;
        for _ in 0..1 << COUNTER_BITS {
            let id = ids.at(NOW).expect("the clock is right").expect("a number is free");
            assert!(id > last);
            assert_eq!(made_at_ms(id), NOW);
            assert!(first_at_ms(NOW) <= id && id < first_at_ms(NOW + 1));
            last = id;
        }
        let wait = ids.at(NOW).expect("the clock is right").expect_err("all numbers are used");
        assert_eq!(wait, Duration::from_millis(1));
        assert!(ids.at(NOW + 1).expect("the clock is right").expect("a new millisecond") > last);
    }

    #[test]
    fn workers_never_make_the_same() {
        let (one, two) = (Snowflakes::new(1, 0), Snowflakes::new(2, 0));
        assert_ne!(one.at(NOW), two.at(NOW));
    }

    #[test]
    fn nothing_is_made_beyond_the_grant() {
        let ids = Snowflakes::unleased(0);
        assert_eq!(ids.at(NOW), Err(NoIds::NotLeased));
        ids.grant(5, NOW - 10, NOW + 10);
        let first = ids.at(NOW).expect("granted").expect("free");
        assert_eq!((first >> COUNTER_BITS) & u64::from(MAX_WORKER), 5);
        assert_eq!(ids.at(NOW + 10), Err(NoIds::NotLeased));
        ids.grant(5, NOW - 10, NOW + 200);
        assert!(ids.at(NOW + 10).expect("its own number goes on").is_ok());
        // Another number begins after whatever its last owner may have made.
        ids.grant(6, NOW + 300, NOW + 600);
        assert_eq!(ids.at(NOW + 250), Ok(Err(Duration::from_millis(51))));
        assert!(ids.at(NOW + 301).expect("granted").expect("free") > first);
    }

    #[test]
    fn a_clock_that_went_back_waits_a_little_and_refuses_a_lot() {
        let ids = Snowflakes::new(0, 0);
        ids.at(NOW).expect("the clock is right").expect("a number is free");
        assert_eq!(ids.at(NOW - 20), Ok(Err(Duration::from_millis(21))));
        assert_eq!(ids.at(NOW - 3000), Err(NoIds::ClockWentBack { behind_ms: 3000 }));
        assert!(ids.at(NOW + 1).expect("caught up").is_ok());
    }

    #[test]
    fn a_restart_never_falls_behind_what_is_stored() {
        let newest = Snowflakes::new(9, 0).at(NOW).expect("right").expect("free");
        let ids = Snowflakes::new(0, newest);
        assert_eq!(ids.at(NOW - 5000), Err(NoIds::ClockWentBack { behind_ms: 5000 }));
        assert_eq!(ids.at(NOW), Ok(Err(Duration::from_millis(1))));
        assert!(ids.at(NOW + 1).expect("right").expect("free") > newest);
    }

    #[tokio::test]
    async fn many_at_once_are_all_different() {
        let ids = Snowflakes::new(3, 0);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(ids.next().await.expect("the clock is right")));
        }
    }
}

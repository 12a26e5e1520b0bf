//! A worker's counters as others read them. The worker copies them here several times a second;
//! while it forwards it counts in plain memory of its own.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hype_sfu::{DropReason, engine};

use crate::io::IoCounters;

macro_rules! engine_counters {
    ($($name:ident)*) => {
        /// Names of the engine's counters other than its drops, in the order of `engine_values`.
        const ENGINE_NAMES: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        fn engine_values(counters: &engine::Counters) -> [u64; ENGINE_NAMES.len()] {
            [$(counters.$name),*]
        }
    };
}

engine_counters! {
    packets_in
    bytes_in
    packets_out
    bytes_out
    forwarded
    retransmitted
    nacks_received
    nacks_sent
    rtx_received
    key_frames_requested
    transport_feedback_sent
    transport_feedback_received
    receiver_estimates
    checks_answered
    events_dropped
    link_frames_in
    link_frames_out
}

/// Shared, written by one worker, read by anyone. Numbers are since the worker's start, and each is
/// right by itself: a set of them read together may be of different turns.
#[derive(Debug)]
pub struct Counters {
    io: [AtomicU64; IoCounters::NAMES.len()],
    engine: [AtomicU64; ENGINE_NAMES.len()],
    dropped: [AtomicU64; DropReason::COUNT],
    cpu_nanos: AtomicU64,
    /// Thousandths of the last interval.
    busy: AtomicU32,
    sessions: AtomicU32,
    rooms: AtomicU32,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            io: [const { AtomicU64::new(0) }; _],
            engine: [const { AtomicU64::new(0) }; _],
            dropped: [const { AtomicU64::new(0) }; _],
            cpu_nanos: AtomicU64::new(0),
            busy: AtomicU32::new(0),
            sessions: AtomicU32::new(0),
            rooms: AtomicU32::new(0),
        }
    }
}

impl Counters {
    /// Datagrams and bytes in and out, and what went wrong with them in the kernel.
    pub fn io(&self) -> IoCounters {
        IoCounters::from_values(std::array::from_fn(|index| self.io[index].load(Ordering::Relaxed)))
    }

    /// What the engine counted beside its drops, each with its name as in [`engine::Counters`].
    pub fn engine(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ENGINE_NAMES.into_iter().zip(self.engine.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// What the engine dropped, by reason.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> {
        let counts = self.dropped.iter().map(|count| count.load(Ordering::Relaxed));
        DropReason::ALL.into_iter().zip(counts)
    }

    /// CPU time that the worker's thread has used, system calls included.
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Share of the last interval in which the worker's thread had a core, 0–1.
    pub fn busy(&self) -> f32 {
        self.busy.load(Ordering::Relaxed) as f32 / 1000.0
    }

    /// Sessions open.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Rooms served.
    pub fn rooms(&self) -> u32 {
        self.rooms.load(Ordering::Relaxed)
    }

    pub(super) fn publish_io(&self, counters: &IoCounters) {
        for (shared, value) in self.io.iter().zip(counters.values()) {
            shared.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn publish_engine(&self, counters: &engine::Counters, load: &engine::Load) {
        for (shared, value) in self.engine.iter().zip(engine_values(counters)) {
            shared.store(value, Ordering::Relaxed);
        }
        for (reason, count) in counters.drops.iter() {
            self.dropped[reason as usize].store(count, Ordering::Relaxed);
        }
        self.sessions.store(load.sessions, Ordering::Relaxed);
        self.rooms.store(load.rooms, Ordering::Relaxed);
    }

    /// `used` of the last `interval`, and `total` since the start.
    pub(super) fn publish_cpu(&self, total: Duration, used: Duration, interval: Duration) {
        let nanos = u64::try_from(total.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_nanos.store(nanos, Ordering::Relaxed);
        let thousandths = (used.as_nanos() * 1000).checked_div(interval.as_nanos()).unwrap_or(0);
        let thousandths = u32::try_from(thousandths).unwrap_or(1000).min(1000);
        self.busy.store(thousandths, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let counters = Counters::default();
        let io = IoCounters { received: 3, send_would_block: 4, ..IoCounters::default() };
        counters.publish_io(&io);
        assert_eq!(counters.io(), io);
        let mut engine = engine::Counters { forwarded: 5, ..engine::Counters::default() };
        engine.drops[DropReason::Muted] = 7;
        let load = engine::Load { sessions: 2, rooms: 1, packets_out: 0, bytes_out: 0 };
        counters.publish_engine(&engine, &load);
        assert!(counters.engine().any(|found| found == ("forwarded", 5)));
        assert_eq!((counters.sessions(), counters.rooms()), (2, 1));
        assert_eq!(counters.dropped().filter(|(_, count)| *count > 0).count(), 1);
        assert!(counters.dropped().any(|found| found == (DropReason::Muted, 7)));
        let second = Duration::from_secs(1);
        counters.publish_cpu(second, Duration::from_millis(250), second);
        assert!((counters.busy() - 0.25).abs() < 1e-3);
        counters.publish_cpu(second, second, Duration::ZERO);
        assert_eq!(counters.cpu_time(), second);
        assert!(counters.busy() < 1e-3);
    }
}

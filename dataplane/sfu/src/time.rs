//! The engine's idea of time: a reading of some monotonic clock that the caller passes in.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds since an arbitrary moment of the caller's choice, monotonic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment itself.
    pub const ZERO: Self = Self(0);
    /// Later than every other.
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds since the moment.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the moment.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the moment.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds since the moment.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Milliseconds since the moment.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The last multiple of `step` that is not later.
    pub const fn aligned(self, step: Duration) -> Self {
        let step = step.as_nanos() as u64;
        Self(self.0 - self.0 % step)
    }

    /// How long after `earlier` this is; zero when it is before it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }
}

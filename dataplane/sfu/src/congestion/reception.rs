//! Reception statistics of one incoming SSRC for receiver reports: loss and jitter
//! (RFC 3550 §6.4.1, appendices A.3 and A.8).

use crate::time::Timestamp;

/// Counts of one SSRC.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reception {
    started: bool,
    base: u64,
    highest: u64,
    received: u64,
    /// At the last report.
    expected_before: u64,
    received_before: u64,
    /// Interarrival jitter in timestamp units, times 16.
    jitter: u64,
    last_transit: u32,
    last_timestamp: u32,
}

/// What a report block says of an SSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// Of 256.
    pub(crate) fraction_lost: u8,
    /// −2^23 to 2^23 − 1.
    pub(crate) cumulative_lost: i32,
    /// With the count of wraps in the high half.
    pub(crate) highest: u32,
    /// In timestamp units.
    pub(crate) jitter: u32,
}

impl Reception {
    /// Counts a packet by its extended index.
    pub(crate) fn note(&mut self, index: u64, timestamp: u32, clock_rate: u32, now: Timestamp) {
        if !self.started {
            *self = Self { started: true, base: index, highest: index, ..Self::default() };
        }
        self.received += 1;
        if index < self.base {
            // What was reordered at the very start counts as expected, too.
            self.base = index;
        }
        self.highest = self.highest.max(index);
        let arrival = u128::from(now.as_micros()) * u128::from(clock_rate) / 1_000_000;
        let transit = ((arrival & 0xffff_ffff) as u32).wrapping_sub(timestamp);
        // Packets of one frame share a timestamp and tell nothing about the network's jitter.
        if self.received > 1 && timestamp != self.last_timestamp {
            let difference = transit.wrapping_sub(self.last_transit);
            let difference = u64::from(difference.min(0u32.wrapping_sub(difference)));
            // A pause or a jump of the sender's clock is no jitter.
            if difference < u64::from(clock_rate) {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            }
        }
        self.last_transit = transit;
        self.last_timestamp = timestamp;
    }

    /// Any packet yet.
    pub(crate) fn started(&self) -> bool {
        self.started
    }

    /// Packets expected and received since the start.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let expected = if self.started { self.highest - self.base + 1 } else { 0 };
        (expected, self.received)
    }

    /// Jitter in timestamp units.
    pub(crate) fn jitter(&self) -> u32 {
        u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX)
    }

    /// What to report; starts the next interval.
    pub(crate) fn report(&mut self) -> Interval {
        let (expected, received) = self.totals();
        let expected_now = expected - self.expected_before.min(expected);
        let received_now = received - self.received_before;
        self.expected_before = expected;
        self.received_before = received;
        let lost = expected_now.saturating_sub(received_now);
        let fraction = (lost * 256).checked_div(expected_now).unwrap_or(0).min(255);
        let cumulative = i64::try_from(expected).unwrap_or(i64::MAX)
            - i64::try_from(received).unwrap_or(i64::MAX);
        Interval {
            fraction_lost: fraction as u8,
            cumulative_lost: i32::try_from(cumulative.clamp(-0x80_0000, 0x7f_ffff))
                .expect("clamped to 24 bits"),
            highest: (self.highest & 0xffff_ffff) as u32,
            jitter: self.jitter(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_reported_per_interval_and_in_total() {
        let mut reception = Reception::default();
        for index in 100..200 {
            if index % 4 != 0 {
                reception.note(
                    index,
                    (index * 960) as u32,
                    48_000,
                    Timestamp::from_millis(index * 20),
                );
            }
        }
        let report = reception.report();
        // 101..=199 are expected; of those 24 are missing.
        assert_eq!((report.cumulative_lost, report.highest), (24, 199));
        assert_eq!(report.fraction_lost, (24 * 256 / 99) as u8);
        assert_eq!(report.jitter, 0);
        for index in 200..210 {
            reception.note(index, (index * 960) as u32, 48_000, Timestamp::from_millis(index * 20));
        }
        let report = reception.report();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, 24));
    }

    #[test]
    fn duplicates_make_the_total_negative_but_never_the_fraction() {
        let mut reception = Reception::default();
        for _ in 0..3 {
            reception.note(7, 0, 48_000, Timestamp::ZERO);
        }
        let report = reception.report();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, -2));
    }

    #[test]
    fn jitter_follows_the_formula() {
        let mut reception = Reception::default();
        // Every other packet 10 ms late: |D| is 480 ticks each time, and J tends to 480.
        for index in 0..400u64 {
            let late = if index % 2 == 0 { 0 } else { 10 };
            let now = Timestamp::from_millis(index * 20 + late);
            reception.note(index, (index * 960) as u32, 48_000, now);
        }
        assert!((470..=490).contains(&reception.jitter()), "{}", reception.jitter());
    }
}

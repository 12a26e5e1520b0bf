//! Joins runs of packets from different sources into one gapless stream: continued indexes, and
//! timestamps that advance by elapsed time across a switch. Gaps inside a run are kept, so that
//! the receiver sees real losses and only those. A packet from before its run's start is refused,
//! so no index is ever given twice (DESIGN rule 5).

use std::time::Duration;

use crate::time::Timestamp;

/// A greater gap is taken for a new start: a receiver that lost a few packets of a stream which
/// leaps on and on would lose count of its wraps, and with it the stream (RFC 3711 §3.3.1).
const LARGEST_GAP: u64 = 1024;

/// Where a packet goes in the outgoing stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index in the outgoing stream: its low 16 bits are the sequence number.
    pub(crate) index: u64,
    /// RTP timestamp in the outgoing stream.
    pub(crate) timestamp: u32,
    /// True for the first packet of a run.
    pub(crate) first: bool,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    source: u64,
    first_in: u64,
    first_out: u64,
    timestamp_offset: u32,
}

/// The state of one outgoing stream.
#[derive(Debug, Clone)]
pub(crate) struct Rewriter {
    clock_rate: u32,
    /// The least that a timestamp advances over a switch, in its clock's ticks.
    least_advance: u32,
    run: Option<Run>,
    /// The next index after the highest given.
    next: u64,
    last_timestamp: u32,
    last_at: Timestamp,
    started: bool,
}

impl Rewriter {
    /// A stream that starts at `index` and `timestamp` (both random, RFC 3550 §5.1).
    pub(crate) fn new(clock_rate: u32, least_advance: u32, index: u64, timestamp: u32) -> Self {
        Self {
            clock_rate,
            least_advance,
            run: None,
            next: index,
            last_timestamp: timestamp,
            last_at: Timestamp::ZERO,
            started: false,
        }
    }

    /// Places a packet; a source other than the run's starts a new run. None: the packet lies
    /// before its run's start.
    pub(crate) fn place(
        &mut self,
        source: u64,
        index: u64,
        timestamp: u32,
        now: Timestamp,
    ) -> Option<Place> {
        match self.run {
            Some(run) if run.source == source => {
                let offset = index.checked_sub(run.first_in)?;
                let placed = run.first_out + offset;
                if placed > self.next + LARGEST_GAP {
                    return Some(self.start(source, index, timestamp, now));
                }
                let place = Place {
                    index: placed,
                    timestamp: timestamp.wrapping_add(run.timestamp_offset),
                    first: false,
                };
                if place.index >= self.next {
                    self.next = place.index + 1;
                    self.last_timestamp = place.timestamp;
                    self.last_at = now;
                }
                Some(place)
            }
            Some(_) | None => Some(self.start(source, index, timestamp, now)),
        }
    }

    fn start(&mut self, source: u64, index: u64, timestamp: u32, now: Timestamp) -> Place {
        let advance = if self.started {
            self.ticks(now.since(self.last_at)).max(self.least_advance)
        } else {
            0
        };
        let place = Place {
            index: self.next,
            timestamp: self.last_timestamp.wrapping_add(advance),
            first: true,
        };
        self.run = Some(Run {
            source,
            first_in: index,
            first_out: place.index,
            timestamp_offset: place.timestamp.wrapping_sub(timestamp),
        });
        self.next = place.index + 1;
        self.last_timestamp = place.timestamp;
        self.last_at = now;
        self.started = true;
        place
    }

    /// Ends the run: the next packet starts another, whatever its source.
    pub(crate) fn end_run(&mut self) {
        self.run = None;
    }

    /// What was followed ended, and something else is followed from now on.
    pub(crate) fn forget(&mut self) {
        self.started = false;
    }

    /// The stream is made elsewhere, and this packet of it came: kept so that it can be reported
    /// here, and gone on with, should it be made here one day. False: it leaps, as no stream does
    /// that [`Self::place`] makes, so what was counted before means nothing any more.
    pub(crate) fn follow(&mut self, index: u64, timestamp: u32, now: Timestamp) -> bool {
        let goes_on = !self.started || index <= self.next + LARGEST_GAP;
        if index >= self.next || !self.started {
            self.next = index + 1;
            self.last_timestamp = timestamp;
            self.last_at = now;
            self.started = true;
        }
        goes_on
    }

    /// The timestamp that the stream stands at now, for sender reports (RFC 3550 §6.4.1).
    pub(crate) fn timestamp_at(&self, now: Timestamp) -> u32 {
        self.last_timestamp.wrapping_add(self.ticks(now.since(self.last_at)))
    }

    /// The outgoing timestamp of an incoming one in the current run.
    pub(crate) fn map_timestamp(&self, timestamp: u32) -> Option<u32> {
        self.run.map(|run| timestamp.wrapping_add(run.timestamp_offset))
    }

    fn ticks(&self, span: Duration) -> u32 {
        let ticks = span.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        // A timestamp wraps, and so does an advance by more than its range.
        (ticks & u128::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn check(
        rewriter: &mut Rewriter,
        input: (u64, u64, u32, u64),
        output: Option<(u64, u32, bool)>,
    ) {
        let (source, index, timestamp, ms) = input;
        let place = rewriter.place(source, index, timestamp, at(ms));
        let expected = output.map(|(index, timestamp, first)| Place { index, timestamp, first });
        assert_eq!(place, expected, "{input:?}");
    }

    #[test]
    fn a_switch_continues_the_sequence_and_advances_by_elapsed_time() {
        let mut rewriter = Rewriter::new(48_000, 960, 1000, 5000);
        check(&mut rewriter, (1, 70, 100, 0), Some((1000, 5000, true)));
        check(&mut rewriter, (1, 71, 1060, 20), Some((1001, 5960, false)));
        // A gap inside the run stays a gap.
        check(&mut rewriter, (1, 74, 3940, 80), Some((1004, 8840, false)));
        check(&mut rewriter, (1, 73, 2980, 81), Some((1003, 7880, false)));
        // Another source 100 ms later: next index, 4800 ticks on.
        check(&mut rewriter, (2, 9, 77, 180), Some((1005, 13640, true)));
        // What comes late from before the switch point is dropped.
        check(&mut rewriter, (2, 8, 0, 181), None);
        // Back to the first source: a new run, never an old index.
        check(&mut rewriter, (1, 75, 4900, 181), Some((1006, 14600, true)));
        check(&mut rewriter, (1, 74, 3940, 182), None);
    }

    #[test]
    fn a_leap_is_a_new_start() {
        let mut rewriter = Rewriter::new(48_000, 960, 0, 0);
        check(&mut rewriter, (1, 5, 0, 0), Some((0, 0, true)));
        check(&mut rewriter, (1, 1006, 960, 20), Some((1001, 960, false)));
        check(&mut rewriter, (1, 32_000, 99, 40), Some((1002, 1920, true)));
        check(&mut rewriter, (1, 1007, 1920, 41), None);
    }

    #[test]
    fn timestamps_wrap() {
        let mut rewriter = Rewriter::new(90_000, 1, 0, u32::MAX - 10);
        check(&mut rewriter, (1, 5, 7, 0), Some((0, u32::MAX - 10, true)));
        check(&mut rewriter, (1, 6, 3007, 33), Some((1, 2989, false)));
        assert_eq!(rewriter.timestamp_at(at(43)), 3889);
    }

    #[test]
    fn an_ended_run_starts_again_with_the_same_source() {
        let mut rewriter = Rewriter::new(90_000, 1, 0, 0);
        check(&mut rewriter, (1, 5, 0, 0), Some((0, 0, true)));
        rewriter.end_run();
        check(&mut rewriter, (1, 500, 0, 10), Some((1, 900, true)));
        check(&mut rewriter, (1, 499, 0, 10), None);
    }
}

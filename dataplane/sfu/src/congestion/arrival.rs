//! When the packets of one publisher came, by their transport-wide sequence numbers, for
//! transport-cc feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01). A ring of fixed
//! size; what falls out of it unreported is reported as lost, which it almost is.

use std::time::Duration;

use super::unwrap_u16;
use crate::time::Timestamp;

/// Sequence numbers that one feedback message spans at most.
pub(crate) const SPAN: usize = 256;
/// How long arrivals are gathered before feedback is sent. In a turn that takes place anyway it is
/// sent up to 20 ms before that.
const INTERVAL: Duration = Duration::from_millis(80);
/// Feedback is due at once when this many numbers have gathered.
const EARLY: u64 = 160;

/// Arrivals of one publisher.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// By the number's remainder; [`Timestamp::NEVER`] where none came.
    ring: Box<[Timestamp; SPAN]>,
    /// First number that was not reported.
    base: u64,
    /// One past the highest that came.
    next: u64,
    /// When the first unreported packet came.
    since: Option<Timestamp>,
    started: bool,
}

impl Arrivals {
    /// No arrivals.
    pub(crate) fn new() -> Self {
        Self {
            ring: Box::new([Timestamp::NEVER; SPAN]),
            base: 0,
            next: 0,
            since: None,
            started: false,
        }
    }

    /// A packet came.
    pub(crate) fn note(&mut self, number: u16, now: Timestamp) {
        if !self.started {
            self.started = true;
            // One turn up, so that reordering at the start has room below.
            self.base = 0x1_0000 + u64::from(number);
            self.next = self.base;
        }
        let index = unwrap_u16(self.next - 1, number);
        if index >= self.next {
            if index - self.next >= SPAN as u64 {
                self.ring.fill(Timestamp::NEVER);
                self.base = index;
            } else {
                for skipped in self.next..=index {
                    self.ring[Self::place(skipped)] = Timestamp::NEVER;
                }
            }
            self.next = index + 1;
            self.base = self.base.max(self.next.saturating_sub(SPAN as u64));
        } else if index + (SPAN as u64) < self.next {
            return;
        }
        self.ring[Self::place(index)] = now;
        // A straggler is reported by going back to it; receivers of feedback expect that.
        self.base = self.base.min(index);
        self.since.get_or_insert(now);
    }

    /// When feedback is due; [`Timestamp::NEVER`] when nothing came.
    pub(crate) fn due_at(&self) -> Timestamp {
        match self.since {
            None => Timestamp::NEVER,
            Some(since) if self.next - self.base >= EARLY => since,
            Some(since) => since + INTERVAL,
        }
    }

    /// Fills `times` with the arrival of each number from the first unreported one to the highest
    /// ([`Timestamp::NEVER`] where none came), and returns the first number's low 16 bits and how
    /// many there are. All of it counts as reported. None: nothing came.
    pub(crate) fn take(&mut self, times: &mut [Timestamp; SPAN]) -> Option<(u16, usize)> {
        self.since.take()?;
        let (base, next) = (self.base, self.next);
        self.base = next;
        let mut count = 0;
        for (time, index) in times.iter_mut().zip(base..next) {
            *time = self.ring[Self::place(index)];
            count += 1;
        }
        Some(((base & 0xffff) as u16, count))
    }

    fn place(index: u64) -> usize {
        (index % SPAN as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn take(arrivals: &mut Arrivals) -> (u16, Vec<Option<u64>>) {
        let mut times = [Timestamp::ZERO; SPAN];
        let (base, count) = arrivals.take(&mut times).expect("something came");
        let came = |time: &Timestamp| (*time != Timestamp::NEVER).then(|| time.as_millis());
        (base, times[..count].iter().map(came).collect())
    }

    #[test]
    fn reports_each_number_from_base_to_highest() {
        let mut arrivals = Arrivals::new();
        assert!(arrivals.take(&mut [Timestamp::ZERO; SPAN]).is_none());
        for (number, ms) in [(0xfffe, 1), (0xffff, 2), (1, 4)] {
            arrivals.note(number, at(ms));
        }
        assert_eq!(arrivals.due_at(), at(81));
        assert_eq!(take(&mut arrivals), (0xfffe, vec![Some(1), Some(2), None, Some(4)]));
        assert_eq!(arrivals.due_at(), Timestamp::NEVER);
        arrivals.note(2, at(70));
        assert_eq!(take(&mut arrivals), (2, vec![Some(70)]));
        // A straggler brings the numbers after it along again.
        arrivals.note(0, at(80));
        assert_eq!(take(&mut arrivals), (0, vec![Some(80), Some(4), Some(70)]));
    }

    #[test]
    fn a_jump_or_a_flood_keeps_the_span_bounded() {
        let mut arrivals = Arrivals::new();
        arrivals.note(10, at(0));
        arrivals.note(10_000, at(1));
        assert_eq!(take(&mut arrivals), (10_000, vec![Some(1)]));
        for number in 10_001..10_000 + 3 * SPAN as u16 {
            arrivals.note(number, at(2));
        }
        assert_eq!(arrivals.due_at(), at(2), "so many are due at once");
        let (base, times) = take(&mut arrivals);
        assert_eq!(times.len(), SPAN);
        assert_eq!(base, 10_000 + 2 * SPAN as u16);
    }
}

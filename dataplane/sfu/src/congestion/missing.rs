//! Which packets of an incoming video layer are missing, and when to ask for them again
//! (RFC 4585 §6.2.1): soon after a gap shows, then once a round trip, a few times. The list is
//! bounded; when it runs over, only a key frame can mend the stream.

use std::time::Duration;

use crate::time::Timestamp;

/// The most packets waited for at once.
const LIMIT: usize = 128;
/// How long a gap may be mere reordering.
const REORDERING: Duration = Duration::from_millis(8);
const TRIES: u8 = 4;
/// A packet later than this helps no decoder that plays live.
const EXPIRY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Missing {
    index: u64,
    since: Timestamp,
    next_try: Timestamp,
    tries: u8,
}

/// What a packet is to the layer it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Newer than all before it.
    Newest,
    /// It closes a gap.
    Recovered,
    /// It was here before, or was given up.
    Duplicate,
    /// Newest, but so much is missing before it that only a key frame helps.
    TooMuchLost,
}

/// The gaps of one layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct MissingPackets {
    highest: Option<u64>,
    /// In growing order of index.
    missing: Vec<Missing>,
}

impl MissingPackets {
    /// The highest index seen.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Forgets all; the next packet starts anew.
    pub(crate) fn clear(&mut self) {
        self.highest = None;
        self.missing.clear();
    }

    /// Whether [`Self::note`] would say [`Arrival::TooMuchLost`].
    pub(crate) fn leaps(&self, index: u64) -> bool {
        self.highest.is_some_and(|highest| {
            index > highest && index - highest - 1 > (LIMIT - self.missing.len()) as u64
        })
    }

    /// Notes a packet.
    pub(crate) fn note(&mut self, index: u64, now: Timestamp) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            return Arrival::Newest;
        };
        if index <= highest {
            return match self.missing.binary_search_by_key(&index, |missing| missing.index) {
                Ok(at) => {
                    self.missing.remove(at);
                    Arrival::Recovered
                }
                Err(_) => Arrival::Duplicate,
            };
        }
        let leaps = self.leaps(index);
        self.highest = Some(index);
        if leaps {
            self.missing.clear();
            return Arrival::TooMuchLost;
        }
        let next_try = now + REORDERING;
        self.missing.extend((highest + 1..index).map(|index| Missing {
            index,
            since: now,
            next_try,
            tries: 0,
        }));
        Arrival::Newest
    }

    /// When the next request is due; [`Timestamp::NEVER`] when nothing is missing.
    pub(crate) fn due_at(&self) -> Timestamp {
        self.missing.iter().map(|missing| missing.next_try).min().unwrap_or(Timestamp::NEVER)
    }

    /// Fills `wanted` with the sequence numbers to ask for now, in growing order of index, and
    /// returns how many there are. Gives up what was asked for too often or is too old; true when
    /// anything was given up.
    pub(crate) fn take_due(
        &mut self,
        now: Timestamp,
        round_trip: Duration,
        wanted: &mut [u16],
    ) -> (usize, bool) {
        let before = self.missing.len();
        self.missing.retain(|missing| {
            now.since(missing.since) < EXPIRY && (missing.tries < TRIES || missing.next_try > now)
        });
        let gave_up = self.missing.len() < before;
        let retry = round_trip.clamp(Duration::from_millis(20), Duration::from_millis(300));
        let mut count = 0;
        for missing in self.missing.iter_mut().filter(|missing| missing.next_try <= now) {
            let Some(room) = wanted.get_mut(count) else { break };
            *room = (missing.index & 0xffff) as u16;
            count += 1;
            missing.tries += 1;
            missing.next_try = now + retry + retry / 4;
        }
        (count, gave_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn due(missing: &mut MissingPackets, ms: u64) -> Vec<u16> {
        let mut wanted = [0; 64];
        let (count, _) = missing.take_due(at(ms), Duration::from_millis(40), &mut wanted);
        wanted[..count].to_vec()
    }

    #[test]
    fn a_gap_is_asked_for_until_it_closes() {
        let mut missing = MissingPackets::default();
        assert_eq!(missing.note(0xfffe, at(0)), Arrival::Newest);
        assert_eq!(missing.note(0x1_0001, at(10)), Arrival::Newest);
        assert!(due(&mut missing, 10).is_empty(), "it may be reordering");
        assert_eq!(missing.due_at(), at(18));
        assert_eq!(due(&mut missing, 18), [0xffff, 0]);
        assert!(due(&mut missing, 30).is_empty());
        assert_eq!(missing.note(0xffff, at(40)), Arrival::Recovered);
        assert_eq!(missing.note(0xffff, at(41)), Arrival::Duplicate);
        assert_eq!(due(&mut missing, 70), [0]);
        assert_eq!(missing.note(0x1_0000, at(80)), Arrival::Recovered);
        assert_eq!(missing.due_at(), Timestamp::NEVER);
    }

    #[test]
    fn what_never_comes_is_given_up() {
        let mut missing = MissingPackets::default();
        missing.note(1, at(0));
        missing.note(3, at(0));
        let asked: usize = (0..2000).map(|ms| due(&mut missing, ms).len()).sum();
        assert_eq!(asked, usize::from(TRIES));
        assert_eq!(missing.due_at(), Timestamp::NEVER);
        assert_eq!(missing.note(2, at(2000)), Arrival::Duplicate);
    }

    #[test]
    fn a_flood_of_gaps_ends_in_a_key_frame_and_not_in_growth() {
        let mut missing = MissingPackets::default();
        missing.note(1, at(0));
        assert_eq!(missing.note(1 + LIMIT as u64 + 2, at(1)), Arrival::TooMuchLost);
        for step in 0..1000 {
            missing.note(1000 + step * 2, at(2));
            assert!(missing.missing.len() <= LIMIT);
        }
    }
}

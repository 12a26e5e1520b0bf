//! All listeners: counts each packet that comes for them, by destination and slot, authenticates a
//! sample and keeps its latency.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::endpoint::Arrival;
use super::generator::{Cast, Tally};
use super::media::{Ear, Traffic};

/// Each packet of this many is authenticated, and its latency kept.
const SAMPLE: u64 = 16;

/// Those who listen.
pub struct Audience {
    ears: Vec<Ear>,
    /// The address before the first one's.
    before: Ipv4Addr,
    /// SSRCs that may come.
    ssrcs: Range<u32>,
    /// By listener and slot.
    recent: Vec<Recent>,
    seen: u64,
    tally: Arc<Tally>,
}

/// The last 64 sequence numbers of one stream up to the newest.
#[derive(Debug, Clone, Default)]
struct Recent {
    newest: u16,
    /// Which of them came, the newest as the lowest bit; none yet when it is 0.
    came: u64,
}

impl Recent {
    /// Notes a number; false when it came before.
    fn is_new(&mut self, number: u16) -> bool {
        let ahead = number.wrapping_sub(self.newest);
        if self.came == 0 || (1..0x8000).contains(&ahead) {
            self.came = self.came.checked_shl(ahead.into()).unwrap_or(0) | 1;
            self.newest = number;
            return true;
        }
        // What is older than all that is known cannot be told.
        let bit = 1_u64.checked_shl(self.newest.wrapping_sub(number).into()).unwrap_or(0);
        let new = self.came & bit == 0;
        self.came |= bit;
        new
    }
}

/// What came of one receive call.
#[derive(Debug, Default)]
pub struct Heard {
    good: u64,
    bytes: u64,
    bad: u64,
    answered: u64,
}

impl Audience {
    /// Everybody of a cast, whose addresses follow `before`.
    ///
    /// # Errors
    /// When somebody's keys do not fit their profile.
    pub fn new(
        cast: &Cast,
        traffic: Traffic,
        before: Ipv4Addr,
        ssrcs: Range<u32>,
        tally: Arc<Tally>,
    ) -> anyhow::Result<Self> {
        let ears = cast.listeners.iter().map(|(person, _)| Ear::new(traffic, person));
        let ears = ears.collect::<Result<Vec<_>, _>>()?;
        let recent = vec![Recent::default(); ears.len() * ssrcs.len()];
        Ok(Self { ears, before, ssrcs, recent, seen: 0, tally })
    }

    /// A datagram came.
    pub fn hear(&mut self, arrival: &Arrival<'_>, heard: &mut Heard) {
        let datagram = arrival.datagram;
        match datagram {
            [] => {}
            [0..=3, ..] => heard.answered += 1,
            // RTCP shares the port (RFC 5761 §4).
            [_, 192..=223, ..] => {}
            _ if self.count(arrival) => {
                heard.good += 1;
                heard.bytes += datagram.len() as u64;
            }
            _ => heard.bad += 1,
        }
    }

    /// Adds to what others read.
    pub fn tell(&self, heard: &Heard) {
        let tally = &self.tally;
        tally.received.fetch_add(heard.good, Ordering::Relaxed);
        tally.bytes.fetch_add(heard.bytes, Ordering::Relaxed);
        tally.bad.fetch_add(heard.bad, Ordering::Relaxed);
        tally.answered.fetch_add(heard.answered, Ordering::Relaxed);
    }

    /// One media packet; false when something is wrong with it.
    fn count(&mut self, arrival: &Arrival<'_>) -> bool {
        let datagram = arrival.datagram;
        let number = arrival.to.to_bits().checked_sub(self.before.to_bits() + 1);
        let Some(index) = number.map(|number| number as usize) else { return false };
        let Some(ear) = self.ears.get_mut(index) else { return false };
        let Some(header) = datagram.first_chunk::<12>() else { return false };
        let sequence_number = u16::from_be_bytes([header[2], header[3]]);
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if ear.has_keys() {
            // Against the floor, packets keep their speakers' SSRCs.
            if !self.ssrcs.contains(&ssrc) {
                return false;
            }
            let slot = (ssrc - self.ssrcs.start) as usize;
            let recent = &mut self.recent[index * self.ssrcs.len() + slot];
            if !recent.is_new(sequence_number) {
                return false;
            }
        }
        self.seen += 1;
        if !self.seen.is_multiple_of(SAMPLE) {
            return true;
        }
        let Some(sent) = ear.check(datagram) else { return false };
        self.tally.note_latency(arrival.at.saturating_sub(sent));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_comes_twice_is_noticed() {
        let mut recent = Recent::default();
        let new = [65_534, 65_535, 1, 0, 3, 40, 2].map(|number| recent.is_new(number));
        assert_eq!(new, [true; 7]);
        let again = [65_535, 0, 1, 2, 3, 40].map(|number| recent.is_new(number));
        assert_eq!(again, [false; 6]);
        assert!(recent.is_new(4));
    }
}

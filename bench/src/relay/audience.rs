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
    /// By listener and slot: the last sequence number.
    last: Vec<Option<u16>>,
    seen: u64,
    tally: Arc<Tally>,
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
        let last = vec![None; ears.len() * ssrcs.len()];
        Ok(Self { ears, before, ssrcs, last, seen: 0, tally })
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
            let last = &mut self.last[index * self.ssrcs.len() + slot];
            if last.replace(sequence_number) == Some(sequence_number) {
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

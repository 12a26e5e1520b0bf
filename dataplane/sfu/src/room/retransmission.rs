//! What a viewer may ask for again: a bounded cache of each layer's packets, and each viewer's
//! record of which outgoing index was which packet. A retransmission goes by RTX (RFC 4588) under
//! its own SSRC and index, so nothing is ever encrypted twice under one index (DESIGN rule 5).

use std::time::Duration;

use hype_protocol::media::Codec;

use super::picture::Offsets;
use super::rewriter::Place;
use crate::time::Timestamp;

/// Packets that a layer's cache holds at most.
const PACKETS: usize = 512;
/// Bytes that it holds at most: about 1 s of a good screen share.
const BYTES: usize = 512 * 1024;
/// Outgoing packets that a viewer's record covers.
const RECORDS: usize = 512;

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// One more than the packet's index; 0 for none.
    number: u64,
    /// Position in the endless stream of bytes that runs through the arena.
    start: u64,
    extra_len: u8,
    len: u16,
}

/// The latest packets of one layer: payload, and the extension bytes that are copied along.
#[derive(Debug)]
pub(crate) struct PacketCache {
    entries: Box<[Entry]>,
    arena: Box<[u8]>,
    /// Where the next packet goes in the endless stream.
    next: u64,
}

impl PacketCache {
    /// An empty cache; all of its memory is taken here.
    pub(crate) fn new() -> Self {
        Self {
            entries: vec![Entry::default(); PACKETS].into_boxed_slice(),
            arena: vec![0; BYTES].into_boxed_slice(),
            next: 0,
        }
    }

    /// Forgets all packets: another stream's indexes mean others.
    pub(crate) fn clear(&mut self) {
        self.entries.fill(Entry::default());
    }

    /// Keeps a packet, at the cost of the oldest. One that comes so late that its place has a
    /// newer one is not kept.
    pub(crate) fn insert(&mut self, index: u64, extra: &[u8], payload: &[u8]) {
        if self.entries[Self::place(index)].number > index + 1 {
            return;
        }
        let total = extra.len() + payload.len();
        let (Ok(extra_len), Ok(len)) = (u8::try_from(extra.len()), u16::try_from(payload.len()))
        else {
            return;
        };
        let mut at = (self.next % BYTES as u64) as usize;
        if at + total > BYTES {
            // A packet lies in one piece: skip the rest of the arena.
            self.next += (BYTES - at) as u64;
            at = 0;
        }
        self.arena[at..at + extra.len()].copy_from_slice(extra);
        self.arena[at + extra.len()..at + total].copy_from_slice(payload);
        self.entries[Self::place(index)] =
            Entry { number: index + 1, start: self.next, extra_len, len };
        self.next += total as u64;
    }

    /// The extension bytes and the payload of a packet, if it is still here.
    pub(crate) fn get(&self, index: u64) -> Option<(&[u8], &[u8])> {
        let entry = self.entries[Self::place(index)];
        let overwritten = self.next.saturating_sub(entry.start) > BYTES as u64;
        if entry.number != index + 1 || overwritten {
            return None;
        }
        let at = (entry.start % BYTES as u64) as usize;
        let whole = &self.arena[at..at + usize::from(entry.extra_len) + usize::from(entry.len)];
        Some(whole.split_at(usize::from(entry.extra_len)))
    }

    fn place(index: u64) -> usize {
        (index % PACKETS as u64) as usize
    }
}

/// One packet as it was sent to one viewer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// Where it went.
    pub(crate) place: Place,
    /// The producer it came from: a packet of an earlier one is never sent again.
    pub(crate) producer: u32,
    /// Likewise of an earlier stream of the layer.
    pub(crate) stream: u32,
    pub(crate) layer: u8,
    pub(crate) marker: bool,
    pub(crate) codec: Codec,
    /// Its index in the layer.
    pub(crate) index: u64,
    /// What was added to its picture's numbers.
    pub(crate) offsets: Offsets,
    last_sent: Timestamp,
    resent: u8,
}

/// What was sent to one viewer by one slot.
#[derive(Debug)]
pub(crate) struct SentRecords {
    records: Box<[Option<Record>]>,
}

/// The most times that one packet is sent again to one viewer.
const MAX_RESENT: u8 = 8;

impl Record {
    #[expect(clippy::too_many_arguments, reason = "a plain record, built in one place")]
    pub(crate) fn new(
        place: Place,
        (producer, stream): (u32, u32),
        layer: u8,
        marker: bool,
        codec: Codec,
        index: u64,
        offsets: Offsets,
        now: Timestamp,
    ) -> Self {
        Self {
            place,
            producer,
            stream,
            layer,
            marker,
            codec,
            index,
            offsets,
            last_sent: now,
            resent: 0,
        }
    }
}

impl SentRecords {
    /// No records; all of its memory is taken here.
    pub(crate) fn new() -> Self {
        Self { records: vec![None; RECORDS].into_boxed_slice() }
    }

    /// Brings near where the packet of this index will be noted.
    #[inline]
    pub(crate) fn prefetch(&self, index: u64) {
        hype_gcm::prefetch(&self.records[(index % RECORDS as u64) as usize]);
    }

    /// Notes a packet that was sent; a newer one keeps its place.
    pub(crate) fn insert(&mut self, record: Record) {
        let known = &mut self.records[(record.place.index % RECORDS as u64) as usize];
        if known.is_none_or(|known| known.place.index < record.place.index) {
            *known = Some(record);
        }
    }

    /// A viewer asks for a sequence number again. None: it is unknown, or was sent less than
    /// about a round trip ago (the answer to an earlier request may still be under way).
    pub(crate) fn take(
        &mut self,
        sequence_number: u16,
        now: Timestamp,
        round_trip: Duration,
    ) -> Option<Record> {
        // RECORDS divides 2^16, so the low bits of the index are those of the sequence number.
        let record = self.records[usize::from(sequence_number) % RECORDS].as_mut()?;
        let since = now.since(record.last_sent);
        // The first request needs no wait: the packet itself was sent long enough ago.
        let asked_again = record.resent > 0 && since < round_trip;
        if record.place.index & 0xffff != u64::from(sequence_number)
            || asked_again
            || record.resent >= MAX_RESENT
        {
            return None;
        }
        record.last_sent = now;
        record.resent += 1;
        Some(*record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_packets_are_there_unharmed_and_older_ones_are_gone() {
        let mut cache = PacketCache::new();
        let bytes = |index: u64| {
            let len = (index * 37 % 1200) as usize;
            ([(index % 251) as u8; 5], vec![(index % 253) as u8; len])
        };
        for index in 0..5000 {
            let (extra, payload) = bytes(index);
            cache.insert(index, &extra, &payload);
            for back in [0, 1, 100, 400] {
                let Some(old) = u64::checked_sub(index, back) else { continue };
                let (extra, payload) = bytes(old);
                assert_eq!(cache.get(old), Some((&extra[..], &payload[..])), "{index} {old}");
            }
            if let Some(old) = u64::checked_sub(index, PACKETS as u64) {
                assert_eq!(cache.get(old), None);
            }
        }
    }

    #[test]
    fn a_cleared_cache_knows_nothing_and_a_late_packet_displaces_no_newer_one() {
        let mut cache = PacketCache::new();
        cache.insert(1000, &[], &[1]);
        cache.insert(1000 - PACKETS as u64, &[], &[2]);
        assert_eq!(cache.get(1000), Some((&[][..], &[1][..])));
        assert_eq!(cache.get(1000 - PACKETS as u64), None);
        cache.clear();
        assert_eq!(cache.get(1000), None);
        cache.insert(7, &[], &[3]);
        assert_eq!(cache.get(7), Some((&[][..], &[3][..])));
    }

    #[test]
    fn overwritten_bytes_are_never_given_out() {
        let mut cache = PacketCache::new();
        for index in 0..PACKETS as u64 {
            cache.insert(index, &[], &[index as u8; 1400]);
        }
        for index in 0..PACKETS as u64 {
            if let Some((_, payload)) = cache.get(index) {
                assert!(payload.iter().all(|byte| *byte == index as u8), "{index}");
            } else {
                assert!(index < 150, "512 KiB hold the last 374 packets, {index} is not there");
            }
        }
    }

    #[test]
    fn a_repeated_request_waits_for_a_round_trip_and_has_an_end() {
        let mut records = SentRecords::new();
        let place = Place { index: 0x1_0007, timestamp: 1, first: false };
        let at = Timestamp::from_millis;
        let offsets = Offsets::default();
        records.insert(Record::new(place, (0, 0), 0, false, Codec::Vp8, 70, offsets, at(0)));
        let round_trip = Duration::from_millis(50);
        assert!(records.take(8, at(1), round_trip).is_none());
        assert!(records.take(7 + 512, at(1), round_trip).is_none());
        assert_eq!(records.take(7, at(1), round_trip).map(|record| record.index), Some(70));
        assert!(records.take(7, at(20), round_trip).is_none());
        let answered = (51..2000).filter(|ms| records.take(7, at(*ms), round_trip).is_some());
        assert_eq!(answered.count(), usize::from(MAX_RESENT) - 1);
    }
}

//! Streams going out to one peer. An audio line's outgoing index is the room's index minus what
//! was kept from this peer on purpose (his own voice, a time of deafness), so he never sees a loss
//! that was none.

use crate::transport::srtp::OutboundStream;

use super::header::AudioHeader;

/// What was sent by one line, for sender reports (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SentCount {
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    /// `packets` at the last sender report.
    reported: u32,
}

impl SentCount {
    /// Counts a packet with this many bytes of payload.
    #[inline]
    pub(crate) fn note(&mut self, payload: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
    }

    /// Whether anything was sent since the last call.
    pub(crate) fn take_activity(&mut self) -> bool {
        let active = self.reported != self.packets;
        self.reported = self.packets;
        active
    }
}

/// One voice slot of one peer: two cache lines, all of which a forwarded packet touches.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct VoiceConsumer {
    /// One above the highest index sent to this peer.
    next: u64,
    /// Added (wrapping) to the room's index.
    offset: u64,
    /// The room's index at which the peer took up the slot again.
    floor: u64,
    pub(crate) stream: OutboundStream,
    pub(crate) sent: SentCount,
    pub(crate) ssrc: u32,
    paused: bool,
    pub(crate) header: AudioHeader,
}

impl VoiceConsumer {
    /// A line that starts at `first` (random) with the first packet.
    pub(crate) fn new(ssrc: u32, header: AudioHeader, first: u64) -> Self {
        Self {
            ssrc,
            header,
            stream: OutboundStream::default(),
            sent: SentCount::default(),
            next: first,
            offset: 0,
            floor: 0,
            paused: true,
        }
    }

    /// The peer does not get what the slot carries now; what he misses is no loss.
    #[inline]
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// The outgoing index of the room's index; none for what belongs before the peer took up the
    /// slot.
    #[inline]
    pub(crate) fn map(&mut self, room_index: u64) -> Option<u64> {
        if self.paused {
            self.paused = false;
            self.offset = self.next.wrapping_sub(room_index);
            self.floor = room_index;
        }
        if room_index < self.floor {
            return None;
        }
        let index = room_index.wrapping_add(self.offset);
        self.next = self.next.max(index + 1);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::media::HeaderExtensions;

    use super::*;

    #[test]
    fn a_slot_is_two_cache_lines() {
        assert_eq!(size_of::<VoiceConsumer>(), 128);
    }

    #[test]
    fn pauses_leave_no_gap_and_losses_do() {
        let header = AudioHeader::new(1, 111, b"1", &HeaderExtensions::default(), true);
        let mut consumer = VoiceConsumer::new(1, header.expect("short tags"), 50);
        let mapped: Vec<_> = [900, 901, 903, 902].map(|index| consumer.map(index)).into();
        assert_eq!(mapped, [Some(50), Some(51), Some(53), Some(52)]);
        consumer.pause();
        let mapped: Vec<_> = [1700, 1699, 1701].map(|index| consumer.map(index)).into();
        assert_eq!(mapped, [Some(54), None, Some(55)]);
    }
}

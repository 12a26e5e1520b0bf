//! What an engine counted since its start. The caller turns these into metrics and rates.

use crate::drop_reason;

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams and copies of packets that went no further, by reason.
    pub drops: drop_reason::Counters,
    /// Datagrams that came in.
    pub packets_in: u64,
    /// Their UDP payload.
    pub bytes_in: u64,
    /// Datagrams that went out.
    pub packets_out: u64,
    /// Their UDP payload.
    pub bytes_out: u64,
    /// RTP packets that went out, one for each receiver; without retransmissions.
    pub forwarded: u64,
    /// Packets sent again by RTX.
    pub retransmitted: u64,
    /// Sequence numbers that viewers asked for again.
    pub nacks_received: u64,
    /// Sequence numbers that publishers were asked for again.
    pub nacks_sent: u64,
    /// Packets that came by RTX.
    pub rtx_received: u64,
    /// Key frames asked of publishers.
    pub key_frames_requested: u64,
    /// Transport-wide feedback sent to publishers.
    pub transport_feedback_sent: u64,
    /// Transport-wide feedback from receivers.
    pub transport_feedback_received: u64,
    /// REMB messages from receivers.
    pub receiver_estimates: u64,
    /// STUN checks answered.
    pub checks_answered: u64,
    /// Events that were dropped because the queue to the agent was full; DTLS not included.
    pub events_dropped: u64,
    /// Frames from other parts of rooms.
    pub link_frames_in: u64,
    /// Frames to other parts of rooms.
    pub link_frames_out: u64,
}

impl Counters {
    /// Counts a datagram that went out.
    #[inline]
    pub(crate) fn sent(&mut self, len: usize) {
        self.packets_out += 1;
        self.bytes_out += len as u64;
    }
}

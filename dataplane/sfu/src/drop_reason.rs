//! Why a datagram, or a copy of a packet for one receiver, went no further; and a counter for each
//! reason. Names are metric labels: they are never changed once released.

use std::ops::{Index, IndexMut};

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The metric label: snake case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// Longer than the engine reads.
    TooLong = "too_long",
    /// Not a protocol that is spoken here (RFC 7983).
    UnknownProtocol = "unknown_protocol",
    /// DTLS, RTP or RTCP from an address that no session has checked.
    UnknownAddress = "unknown_address",
    /// Not a STUN message, or a wrong FINGERPRINT.
    StunMalformed = "stun_malformed",
    /// A STUN message that asks nothing of us: responses, indications, other methods.
    StunUnexpected = "stun_unexpected",
    /// The USERNAME was not made by this boot of this node, or is for another worker.
    StunUnknownUfrag = "stun_unknown_ufrag",
    /// A true ufrag of a session that is not (or no more) here.
    StunUnknownSession = "stun_unknown_session",
    /// The peer's half of the USERNAME is not that of its offer.
    StunWrongRemoteUfrag = "stun_wrong_remote_ufrag",
    /// A wrong MESSAGE-INTEGRITY.
    StunIntegrity = "stun_integrity",
    /// Too many plain Binding requests from that prefix, or in all.
    StunRateLimited = "stun_rate_limited",
    /// A check from an address that another session, heard of just now, uses.
    StunAddressTaken = "stun_address_taken",
    /// DTLS for a session that has none.
    DtlsUnexpected = "dtls_unexpected",
    /// The queue to the agent is full.
    DtlsQueueFull = "dtls_queue_full",
    /// Not an RTP packet, or padding beyond its size.
    RtpMalformed = "rtp_malformed",
    /// Not an RTCP packet (RFC 3550 §A.2).
    RtcpMalformed = "rtcp_malformed",
    /// SRTP before the session has keys.
    SrtpNoKeys = "srtp_no_keys",
    /// The packet is shorter than its authentication tag.
    SrtpTooShort = "srtp_too_short",
    /// A wrong SRTP tag: forged, damaged, or of other keys.
    SrtpAuthentication = "srtp_authentication",
    /// An SRTP packet that came before.
    SrtpReplay = "srtp_replay",
    /// An SRTP packet from behind the replay window.
    SrtpTooOld = "srtp_too_old",
    /// A wrong SRTCP tag.
    SrtcpAuthentication = "srtcp_authentication",
    /// An SRTCP packet that came before, or from behind the window.
    SrtcpReplay = "srtcp_replay",
    /// More RTCP senders in one session than are remembered.
    SrtcpTooManySources = "srtcp_too_many_sources",
    /// A new SSRC without a MID that the session agreed on.
    UnknownMid = "unknown_mid",
    /// A new SSRC with a RID that its line has not.
    UnknownRid = "unknown_rid",
    /// A payload type that the session did not agree on for that line.
    UnknownPayloadType = "unknown_payload_type",
    /// More streams in one session than are remembered.
    TooManySsrcs = "too_many_ssrcs",
    /// A payload descriptor that breaks its codec's rules.
    PayloadMalformed = "payload_malformed",
    /// A retransmission of nothing that is known, or without a sequence number in it.
    RtxUnknown = "rtx_unknown",
    /// The same packet came already, by its original or by a retransmission.
    Duplicate = "duplicate",
    /// A stream that changes its SSRC or codec, or leaps, again and again within half a second.
    RestartTooSoon = "restart_too_soon",
    /// A microphone that is muted.
    Muted = "muted",
    /// Not among the loudest.
    NotSelected = "not_selected",
    /// Nobody watches that stream or layer.
    NotWatched = "not_watched",
    /// A consumer waits for a key frame.
    AwaitingKeyFrame = "awaiting_key_frame",
    /// At or before the point where a consumer switched streams.
    BehindSwitch = "behind_switch",
    /// The sequence number was used for that receiver already (RFC 3711 §9.1).
    IndexReused = "index_reused",
    /// With its new header the packet would be longer than a datagram.
    Oversize = "oversize",
    /// The receiver has no address yet.
    NoDestination = "no_destination",
    /// The transmit queue is full.
    TransmitFull = "transmit_full",
    /// From another part of a room: not a frame of this version.
    LinkMalformed = "link_malformed",
    /// A frame of a room, part, publisher or stream that is not (or no more) known here.
    LinkUnknown = "link_unknown",
    /// The link to another part is full.
    LinkFull = "link_full",
}

impl DropReason {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// A count for each reason, since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters([u64; DropReason::COUNT]);

impl Counters {
    /// Counts one drop.
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.0)
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self([0; DropReason::COUNT])
    }
}

impl Index<DropReason> for Counters {
    type Output = u64;
    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

impl IndexMut<DropReason> for Counters {
    fn index_mut(&mut self, reason: DropReason) -> &mut u64 {
        &mut self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_label() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            let same = DropReason::ALL.iter().filter(|other| other.name() == reason.name());
            assert_eq!(same.count(), 1, "{}", reason.name());
            assert!(reason.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
        let mut counters = Counters::default();
        counters.count(DropReason::Muted);
        counters[DropReason::Muted] += 2;
        assert_eq!(counters.total(), 3);
        assert_eq!(counters.iter().find(|(_, count)| *count > 0), Some((DropReason::Muted, 3)));
    }
}

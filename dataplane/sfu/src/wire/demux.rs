//! What a datagram on a media port is, told by its first bytes (RFC 7983 §7, RFC 9443 §3 for QUIC,
//! RFC 5761 §4 for RTCP). It only sorts: the parser of each protocol checks the rest.

/// The protocol that a datagram belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RFC 8489.
    Stun,
    /// RFC 6347 and RFC 9147.
    Dtls,
    /// RFC 3550, protected by RFC 3711.
    Rtp,
    /// RFC 3550, protected by RFC 3711.
    Rtcp,
    /// RFC 9000 with the QUIC bit set: a link between parts of a room.
    Quic,
    /// ZRTP, TURN channels and everything that nobody assigned.
    Other,
}

/// Sorts one datagram.
pub fn classify(datagram: &[u8]) -> Kind {
    let Some(&first) = datagram.first() else {
        return Kind::Other;
    };
    match first {
        0..=3 => Kind::Stun,
        20..=63 => Kind::Dtls,
        // RFC 9443 §3: long headers with the fixed bit lie in 192..=255, short ones in 64..=127.
        64..=127 | 192..=255 => Kind::Quic,
        128..=191 => match datagram.get(1) {
            // RFC 5761 §4: payload types 64–95 with the marker set are RTCP packet types.
            Some(192..=223) => Kind::Rtcp,
            Some(_) => Kind::Rtp,
            None => Kind::Other,
        },
        4..=19 => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_protocol() {
        let rows: [(&[u8], Kind); 16] = [
            (&[], Kind::Other),
            (&[0, 1], Kind::Stun),
            (&[3], Kind::Stun),
            (&[4], Kind::Other),
            (&[19], Kind::Other),
            (&[20], Kind::Dtls),
            (&[63], Kind::Dtls),
            (&[64], Kind::Quic),
            (&[127], Kind::Quic),
            (&[128], Kind::Other),
            (&[128, 111], Kind::Rtp),
            (&[0x80, 0x80 | 111], Kind::Rtp),
            (&[0x80, 192], Kind::Rtcp),
            (&[0xbf, 223], Kind::Rtcp),
            (&[0x80, 224], Kind::Rtp),
            (&[0xc0, 0], Kind::Quic),
        ];
        for (datagram, kind) in rows {
            assert_eq!(classify(datagram), kind, "{datagram:?}");
        }
    }
}

//! SRTP and SRTCP with webrtc-srtp as the other side, both ways, for every profile: rollover of
//! the sequence number, reordering, loss, replay and forgery.

use hype_protocol::secret::{SrtpKeying, SrtpProfile};
use hype_sfu::transport::srtp::{
    Inbound, InboundRtcp, InboundStream, Outbound, OutboundRtcp, OutboundStream, ProtectError,
    Reject, Role,
};
use hype_sfu::wire::header_extension::Element;
use hype_sfu::wire::rtp::{self, Header};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const PROFILES: [(SrtpProfile, ProtectionProfile); 3] = [
    (SrtpProfile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpProfile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
    (SrtpProfile::Aes128CmSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
];

struct Pair {
    keying: SrtpKeying,
    theirs: ProtectionProfile,
}

impl Pair {
    fn all() -> impl Iterator<Item = Self> {
        PROFILES.into_iter().map(|(profile, theirs)| {
            let material = (0..profile.keying_len()).map(|n| (n * 7 + 3) as u8).collect();
            Self { keying: SrtpKeying { profile, material }, theirs }
        })
    }

    /// The other implementation with the client's, or the server's, half of the keys.
    fn context(&self, server: bool) -> Context {
        let (key_len, salt_len) = (self.theirs.key_len(), self.theirs.salt_len());
        let (keys, salts) = self.keying.material.split_at(2 * key_len);
        let half = usize::from(server);
        let key = &keys[half * key_len..][..key_len];
        let salt = &salts[half * salt_len..][..salt_len];
        Context::new(key, salt, self.theirs, None, None).expect("the profile's lengths")
    }

    fn inbound(&self) -> Inbound {
        Inbound::new(&self.keying, Role::Server).expect("the profile's lengths")
    }

    fn outbound(&self) -> Outbound {
        Outbound::new(&self.keying, Role::Server).expect("the profile's lengths")
    }
}

fn plain(sequence_number: u16, payload: &[u8]) -> Vec<u8> {
    let fields = rtp::Outgoing {
        payload_type: 111,
        marker: false,
        sequence_number,
        timestamp: u32::from(sequence_number) * 960,
        ssrc: 0x1234_5678,
        csrc: Some(99),
    };
    let mut packet = vec![0; 64 + payload.len()];
    let elements = [Element { id: 3, data: &[0x85] }];
    let len = rtp::write(&mut packet, &fields, &elements).expect("64 bytes suffice");
    packet.truncate(len);
    packet.extend(payload);
    packet
}

fn sealed(keys: &Outbound, stream: &mut OutboundStream, index: u64, payload: &[u8]) -> Vec<u8> {
    let header = plain((index & 0xffff) as u16, &[]);
    let mut out = vec![0; header.len() + payload.len() + 16];
    out[..header.len()].copy_from_slice(&header);
    let len =
        keys.protect_rtp(stream, index, payload, &mut out, header.len()).expect("a new index");
    assert_eq!(len, header.len() + payload.len() + keys.rtp_overhead());
    out.truncate(len);
    out
}

fn opened(keys: &Inbound, stream: &mut InboundStream, protected: &[u8]) -> Result<Vec<u8>, Reject> {
    let mut packet = protected.to_vec();
    let header = Header::parse(&packet).expect("an RTP packet");
    let len = keys.unprotect_rtp(stream, &mut packet, &header)?;
    packet.truncate(len);
    Ok(packet)
}

#[test]
fn they_read_what_we_send_across_rollovers() {
    for pair in Pair::all() {
        let (keys, mut context) = (pair.outbound(), pair.context(true));
        let mut stream = OutboundStream::default();
        // Steps of 1,021 visit every alignment of the rollover within a few of them.
        for index in (65_000_u64..400_000).step_by(1_021) {
            let payload = index.to_be_bytes().repeat(20);
            let packet = sealed(&keys, &mut stream, index, &payload);
            let read = context.decrypt_rtp(&packet).expect("authentic");
            assert_eq!(read[..], plain((index & 0xffff) as u16, &payload));
        }
    }
}

#[test]
fn we_read_what_they_send_across_rollovers_reordered() {
    for pair in Pair::all() {
        let (keys, mut context) = (pair.inbound(), pair.context(false));
        let mut stream = InboundStream::default();
        let first = 65_500_u64;
        let packets: Vec<_> = (0..200)
            .map(|n| {
                let index = first + n;
                let packet = plain((index & 0xffff) as u16, &index.to_be_bytes().repeat(9));
                (index, packet.clone(), context.encrypt_rtp(&packet).expect("ROC is young"))
            })
            .collect();
        // Swapped in blocks of eight, and every thirteenth is lost.
        for block in packets.chunks(8) {
            for (index, packet, protected) in block.iter().rev() {
                if index % 13 == 0 {
                    continue;
                }
                let read = opened(&keys, &mut stream, protected);
                assert_eq!(read.as_ref(), Ok(packet), "index {index}");
                assert_eq!(opened(&keys, &mut stream, protected), Err(Reject::Replay));
            }
        }
        assert_eq!(stream.highest(), Some(first + 199));
        let (_, _, ancient) = &packets[0];
        assert_eq!(opened(&keys, &mut stream, ancient), Err(Reject::TooOld));
        let (_, packet, late) = &packets[(13 - first as usize % 13) % 13 + 13 * 8];
        assert_eq!(opened(&keys, &mut stream, late).as_ref(), Ok(packet));
    }
}

#[test]
fn forgeries_leave_no_trace() {
    for pair in Pair::all() {
        let (keys, mut context) = (pair.inbound(), pair.context(false));
        let protected = context.encrypt_rtp(&plain(7, b"some sound")).expect("a first packet");
        let mut stream = InboundStream::default();
        for bit in 8..8 * protected.len() {
            let mut forged = protected.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            let Ok(header) = Header::parse(&forged) else { continue };
            let refused = keys.unprotect_rtp(&mut stream, &mut forged, &header);
            assert!(refused.is_err(), "bit {bit}");
            assert_eq!(stream, InboundStream::default());
        }
        assert!(opened(&keys, &mut stream, &protected).is_ok());
        // What we sent ourselves must not come back as the peer's.
        let own = sealed(&pair.outbound(), &mut OutboundStream::default(), 8, b"echo");
        assert_eq!(opened(&keys, &mut stream, &own), Err(Reject::Authentication));
    }
}

#[test]
fn an_index_is_never_sealed_twice() {
    for pair in Pair::all() {
        let keys = pair.outbound();
        let mut stream = OutboundStream::default();
        sealed(&keys, &mut stream, 70_000, b"one");
        let mut out = plain((70_000_u64 & 0xffff) as u16, &[0; 64]);
        let header_len = out.len() - 64;
        let again = keys.protect_rtp(&mut stream, 70_000, b"two", &mut out, header_len);
        assert_eq!(again, Err(ProtectError::IndexReused));
        // A buffer that is too small costs no index.
        let mut out = plain((70_001_u64 & 0xffff) as u16, &[]);
        let header_len = out.len();
        let short = keys.protect_rtp(&mut stream, 70_001, b"two", &mut out, header_len);
        assert_eq!(short, Err(ProtectError::NoRoom));
        assert_eq!(stream.highest(), Some(70_000));
        sealed(&keys, &mut stream, 70_001, b"two");
    }
}

fn report(ssrc: u32, fill: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([fill; 20]);
    packet
}

#[test]
fn rtcp_both_ways() {
    for pair in Pair::all() {
        let (keys, mut context) = (pair.outbound(), pair.context(true));
        let mut state = OutboundRtcp::default();
        for n in 0..50 {
            let plain = report(u32::from(n) % 3, n);
            let mut buffer = plain.clone();
            assert_eq!(
                keys.protect_rtcp(&mut OutboundRtcp::default(), &mut buffer, plain.len()),
                Err(ProtectError::NoRoom)
            );
            buffer.resize(plain.len() + 20, 0);
            let len = keys.protect_rtcp(&mut state, &mut buffer, plain.len()).expect("room");
            let read = context.decrypt_rtcp(&buffer[..len]).expect("authentic");
            assert_eq!(read[..], plain);
        }

        let (keys, mut context) = (pair.inbound(), pair.context(false));
        let mut state = InboundRtcp::default();
        let packets: Vec<_> = (0..50)
            .map(|n| {
                let plain = report(u32::from(n) % 3, n);
                let protected = context.encrypt_rtcp(&plain).expect("a young index");
                (plain, protected.to_vec())
            })
            .collect();
        for (plain, protected) in packets.iter().rev() {
            for bit in [70, 8 * protected.len() - 1] {
                let mut forged = protected.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                let refused = keys.unprotect_rtcp(&mut state, &mut forged);
                assert!(refused.is_err(), "bit {bit}");
            }
            let mut packet = protected.clone();
            let len = keys.unprotect_rtcp(&mut state, &mut packet).expect("authentic");
            assert_eq!(packet[..len], *plain);
            let again = keys.unprotect_rtcp(&mut state, &mut protected.clone());
            assert_eq!(again, Err(Reject::Replay));
        }
    }
}

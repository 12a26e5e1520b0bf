//! The test vectors of RFC 3711, appendix B (SRTP): AES in counter mode and key derivation, and
//! the packet index of §3.3.1.

use hype_protocol::secret::{SrtpKeying, SrtpProfile};
use hype_sfu::transport::srtp::cipher::Cipher;
use hype_sfu::transport::srtp::key_derivation::{Label, SessionKeys, derive};
use hype_sfu::transport::srtp::{Inbound, InboundStream, Outbound, OutboundStream, Reject, Role};
use hype_sfu::wire::rtp::Header;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// B.2: SSRC, ROC and sequence number are 0, so that the salt alone makes the first block.
#[test]
fn counter_mode_keystream() {
    let keys = SessionKeys::from_parts(
        SrtpProfile::Aes128CmSha1_80,
        &bytes("2b7e151628aed2a6abf7158809cf4f3c"),
        &[0; 20],
        &bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfd"),
    )
    .expect("the profile's lengths");
    let cipher = Cipher::new(&keys).expect("valid keys");
    // 0xff02 blocks would be a packet of a megabyte, which no datagram holds but the cipher does.
    let payload = vec![0; 16 * 0xff02];
    let mut packet = vec![0; 12 + payload.len() + 10];
    cipher.seal_rtp(&mut packet, 12, &payload, 0).expect("room");
    let block = |index: usize| packet[12 + 16 * index..][..16].to_vec();
    for (index, keystream) in [
        (0, "e03ead0935c95e80e166b16dd92b4eb4"),
        (1, "d23513162b02d0f72a43a2fe4a5f97ab"),
        (2, "41e95b3bb0a2e8dd477901e4fca894c0"),
        (0xfeff, "ec8cdf7398607cb0f2d21675ea9ea1e4"),
        (0xff00, "362b7c3c6773516318a077d7fc5073ae"),
        (0xff01, "6a2cc3787889374fbeb4c81b17ba6c44"),
    ] {
        assert_eq!(block(index), bytes(keystream), "block {index:#x}");
    }
}

/// B.3
#[test]
fn key_derivation() {
    let key = bytes("e1f97a0d3e018be0d64fa32c06de4139");
    let salt = bytes("0ec675ad498afeebb6960b3aabe6");
    let session = SessionKeys::derive(SrtpProfile::Aes128CmSha1_80, &key, &salt, false)
        .expect("the profile's lengths");
    assert_eq!(session.key(), bytes("c61e7a93744f39ee10734afe3ff7a087"));
    assert_eq!(session.salt(), bytes("30cbbc08863d8c85d49db34a9ae1"));
    assert_eq!(session.authentication(), bytes("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    let mut long = [0; 94];
    derive(&key, &salt, Label::RtpAuthentication, &mut long).expect("the profile's lengths");
    let expected = "cebe321f6ff7716b6fd4ab49af256a15 6d38baa48f0a0acf3c34e2359e6cdbce
         e049646c43d9327ad175578ef7227098 6371c10c9a369ac2f94a8c5fbcdddc25
         6d6e919a48b610ef17c2041e47403576 6b68642c59bbfc2f34db60dbdfb2";
    assert_eq!(long[..], bytes(expected));
    assert!(derive(&key, &[0; 15], Label::RtpSalt, &mut long).is_err());
    assert!(derive(&key[..15], &salt, Label::RtpSalt, &mut long).is_err());
    assert!(SessionKeys::derive(SrtpProfile::AeadAes256Gcm, &key, &salt, false).is_err());
}

/// §3.3.1: the sequence number means the index nearest to the highest authentic one.
#[test]
fn packet_index_around_a_rollover() {
    let material = (0..SrtpProfile::Aes128CmSha1_80.keying_len()).map(|n| n as u8).collect();
    let keying = SrtpKeying { profile: SrtpProfile::Aes128CmSha1_80, material };
    let sender = Outbound::new(&keying, Role::Client).expect("the profile's lengths");
    let receiver = Inbound::new(&keying, Role::Server).expect("the profile's lengths");
    let mut received = InboundStream::default();
    let mut deliver = |index: u64| {
        let mut packet = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        packet[2..4].copy_from_slice(&((index & 0xffff) as u16).to_be_bytes());
        // The sender jumps about as no real one does, so each packet is its first.
        let mut sent = OutboundStream::default();
        let len = sender.protect_rtp(&mut sent, index, b"x", &mut packet, 12).expect("a new index");
        assert_eq!(len, packet.len());
        let header = Header::parse(&packet).expect("an RTP packet");
        // The ROC is under the tag: a wrong guess is not authentic.
        receiver.unprotect_rtp(&mut received, &mut packet, &header).map(|_| received.highest())
    };
    assert_eq!(deliver(65_534), Ok(Some(65_534)));
    assert_eq!(deliver(65_537), Ok(Some(65_537)));
    assert_eq!(deliver(65_535), Ok(Some(65_537)));
    assert_eq!(deliver(65_536), Ok(Some(65_537)));
    assert_eq!(deliver(65_537 + 32_767), Ok(Some(98_304)));
    // Further ahead than half the cycle looks like the past.
    assert_eq!(deliver(98_304 + 32_769), Err(Reject::TooOld));
    assert_eq!(deliver(98_304 + 32_767), Ok(Some(131_071)));
    // Exactly half a cycle: back from the upper half of the numbers, ahead from the lower one.
    assert_eq!(deliver(131_071 + 32_768), Err(Reject::TooOld));
    assert_eq!(deliver(131_072), Ok(Some(131_072)));
    assert_eq!(deliver(131_072 + 32_768), Ok(Some(163_840)));
}

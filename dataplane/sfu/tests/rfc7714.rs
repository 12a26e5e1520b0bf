//! The test vectors of RFC 7714, §16 and §17 (AES-GCM for SRTP and SRTCP). They begin at session
//! keys, with ROC 0 and SRTCP index 0x5d4.

use hype_protocol::secret::SrtpProfile;
use hype_sfu::transport::srtp::Reject;
use hype_sfu::transport::srtp::cipher::Cipher;
use hype_sfu::transport::srtp::key_derivation::SessionKeys;
use hype_sfu::wire::rtp::Header;

const RTP: &str = "8040f17b8041f8d35501a0b2
     47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
const RTCP: &str = "81c8000d4d6172734e5450314e545032525450200000042a
     0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
const RTCP_INDEX: u32 = 0x5d4;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn cipher(profile: SrtpProfile) -> Cipher {
    let key: Vec<u8> = (0..32).collect();
    let keys = SessionKeys::from_parts(profile, &key[..profile.key_len()], &[], b"Quid pro quo");
    Cipher::new(&keys.expect("the profile's lengths")).expect("valid keys")
}

fn check_rtp(profile: SrtpProfile, expected: &str) {
    let (cipher, plain, expected) = (cipher(profile), bytes(RTP), bytes(expected));
    let mut packet = plain.clone();
    packet.resize(plain.len() + 16, 0);
    cipher.seal_rtp(&mut packet, 12, &plain[12..], 0xf17b).expect("room");
    assert_eq!(packet, expected);

    let header = Header::parse(&packet).expect("an RTP packet");
    let len = cipher.open_rtp(&mut packet, header.header_len(), header.ssrc, 0xf17b);
    assert_eq!(len, Ok(plain.len()));
    assert_eq!(packet[..plain.len()], plain);
    for bit in 0..8 * expected.len() {
        let mut damaged = expected.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let opened = cipher.open_rtp(&mut damaged, 12, header.ssrc, 0xf17b);
        assert_eq!(opened, Err(Reject::Authentication), "bit {bit}");
    }
    for len in 0..28 {
        let opened = cipher.open_rtp(&mut expected.clone()[..len], 12, header.ssrc, 0xf17b);
        assert_eq!(opened, Err(Reject::TooShort), "{len} bytes");
    }
}

fn check_rtcp(profile: SrtpProfile, expected: &str) {
    let (cipher, plain, expected) = (cipher(profile), bytes(RTCP), bytes(expected));
    let mut packet = plain.clone();
    packet.resize(plain.len() + 20, 0);
    cipher.seal_rtcp(&mut packet, plain.len(), RTCP_INDEX).expect("room");
    assert_eq!(packet, expected);

    assert_eq!(cipher.rtcp_index(&packet), Ok((0x4d61_7273, RTCP_INDEX)));
    assert_eq!(cipher.open_rtcp(&mut packet), Ok(plain.len()));
    assert_eq!(packet[..plain.len()], plain);
    refuses_damage(&cipher, &expected);
}

fn refuses_damage(cipher: &Cipher, packet: &[u8]) {
    for bit in 0..8 * packet.len() {
        let mut damaged = packet.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(cipher.open_rtcp(&mut damaged), Err(Reject::Authentication), "bit {bit}");
    }
    for len in 0..28 {
        let opened = cipher.open_rtcp(&mut packet.to_vec()[..len]);
        assert_eq!(opened, Err(Reject::TooShort), "{len} bytes");
    }
}

/// §16.1
#[test]
fn srtp_aes_128() {
    check_rtp(
        SrtpProfile::AeadAes128Gcm,
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f
         42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
    );
}

/// §16.2
#[test]
fn srtp_aes_256() {
    check_rtp(
        SrtpProfile::AeadAes256Gcm,
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3
         b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
    );
}

/// §17.1
#[test]
fn srtcp_aes_128() {
    check_rtcp(
        SrtpProfile::AeadAes128Gcm,
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1
         730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
    );
}

/// §17.2
#[test]
fn srtcp_aes_256() {
    check_rtcp(
        SrtpProfile::AeadAes256Gcm,
        "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1
         110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
    );
}

/// §17.3: authentic, but not encrypted: the E bit is clear.
#[test]
fn srtcp_aes_128_tag_only() {
    let tagged = bytes(
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61
         deadbeefdeadbeefdeadbeefdeadbeefdeadbeef841dd9683dd78ec92ae58790125f62b3000005d4",
    );
    let cipher = cipher(SrtpProfile::AeadAes128Gcm);
    let mut packet = tagged.clone();
    assert_eq!(cipher.open_rtcp(&mut packet), Ok(bytes(RTCP).len()));
    assert_eq!(packet[..bytes(RTCP).len()], bytes(RTCP));
    refuses_damage(&cipher, &tagged);
}

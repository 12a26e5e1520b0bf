//! The test vectors of RFC 5769 (STUN), byte by byte, by our reader and our writer; and crate
//! `is`, an implementation that is not ours, as the other side of checks and responses.

use std::net::SocketAddr;

use aws_lc_rs::hmac;
use hype_sfu::DropReason;
use hype_sfu::transport::ice_lite::{self, Incoming};
use hype_sfu::wire::stun::{Class, Message, Writer, integrity_key};

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const TRANSACTION: [u8; 12] =
    [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// §2.1
fn request() -> Vec<u8> {
    bytes(
        "000100582112a442b7e7a701bc34d686fa87dfae
         802200105354554e207465737420636c69656e74
         002400046e0001ff 80290008932ff9b151263b36
         000600096576746a3a68367659202020
         000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
         80280004e57a3bcf",
    )
}

/// §2.2
fn response_v4() -> Vec<u8> {
    bytes(
        "0101003c2112a442b7e7a701bc34d686fa87dfae
         8022000b7465737420766563746f7220
         002000080001a147e112a643
         000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7
         80280004c07d4c96",
    )
}

/// §2.3
fn response_v6() -> Vec<u8> {
    bytes(
        "010100482112a442b7e7a701bc34d686fa87dfae
         8022000b7465737420766563746f7220
         002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
         00080014a382954e4be67bf11784c97c8292c275bfe3ed41
         80280004c8fb0b4c",
    )
}

#[test]
fn sample_request() {
    let request = request();
    let message = Message::parse(&request).expect("§2.1");
    assert_eq!(message.class(), Some(Class::Request));
    assert_eq!(message.transaction_id(), TRANSACTION);
    assert_eq!(message.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.unknown_attribute(), None);
    assert!(message.has_fingerprint());
    assert!(message.verify(&integrity_key(PASSWORD)));
    assert!(!message.verify(&integrity_key(b"VOkJxbRl1RmTxUk/WvJxBu")));
}

#[test]
fn sample_request_as_a_check() {
    let request = request();
    let Ok(Incoming::Check(check)) = ice_lite::read(&request) else { panic!("a check") };
    assert_eq!((check.local_ufrag(), check.remote_ufrag()), (&b"evtj"[..], &b"h6vY"[..]));
    assert_eq!(check.verify(PASSWORD, b"h6vZ").err(), Some(DropReason::StunWrongRemoteUfrag));
    let check = check.verify(PASSWORD, b"h6vY").expect("the vector's password");
    // The vector's sender says that it is controlled, as a lite agent is too: a conflict.
    let mut out = [0; 104];
    let len = check.respond(([192, 0, 2, 1], 32_853).into(), &mut out).expect("room");
    let response = Message::parse(&out[..len]).expect("what we wrote");
    assert_eq!((response.class(), response.error_code()), (Some(Class::Error), Some(487)));
}

#[test]
fn sample_responses() {
    let rows: [(Vec<u8>, SocketAddr); 2] = [
        (response_v4(), ([192, 0, 2, 1], 32_853).into()),
        (
            response_v6(),
            ([0x2001, 0xdb8, 0x1234, 0x5678, 0x11, 0x2233, 0x4455, 0x6677], 32_853).into(),
        ),
    ];
    for (response, address) in rows {
        let message = Message::parse(&response).expect("§2.2 and §2.3");
        assert_eq!(message.class(), Some(Class::Success));
        assert_eq!(message.mapped_address(), Some(address));
        assert!(message.verify(&integrity_key(PASSWORD)));
        // The vector pads SOFTWARE with spaces, we write none: the attribute must be the same.
        let mut out = [0; 64];
        let mut writer = Writer::new(&mut out, Class::Success, TRANSACTION).expect("room");
        writer.mapped_address(address).expect("room");
        let len = writer.finish_plain();
        assert!(response.windows(len - 20).any(|window| *window == out[20..len]));
        assert_eq!(ice_lite::read(&response).err(), Some(DropReason::StunUnexpected));
    }
}

#[test]
fn sample_request_with_long_term_authentication() {
    let request = bytes(
        "000100602112a44278ad3433c6ad72c029da412e
         00060012e3839ee38388e383aae38383e382afe382b90000
         0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341
         0014000b6578616d706c652e6f726700
         00080014f67024656dd64a3e02b8e0712e85c9a28ca89666",
    );
    let message = Message::parse(&request).expect("§2.4");
    assert_eq!(message.username().map(String::from_utf8_lossy).as_deref(), Some("マトリックス"));
    // MD5 of "マトリックス:example.org:TheMatrIX".
    let key = bytes("e8ca7ad59d5eb0518e312911d2dab2a9");
    assert!(message.verify(&integrity_key(&key)));
    assert!(!message.has_fingerprint());
    assert_eq!(message.unknown_attribute(), Some(0x15));
}

#[test]
fn no_damaged_vector_is_taken() {
    let key = integrity_key(PASSWORD);
    for vector in [request(), response_v4(), response_v6()] {
        for bit in 0..8 * vector.len() {
            let mut damaged = vector.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // A bit of FINGERPRINT's own type leaves a message without one.
            let taken = Message::parse(&damaged).is_ok_and(|message| message.has_fingerprint());
            assert!(!taken, "bit {bit} passes FINGERPRINT");
        }
        for len in 0..vector.len() {
            assert!(Message::parse(&vector[..len]).is_err(), "{len} bytes");
        }
        // Without FINGERPRINT, integrity alone must notice every bit that it covers.
        let mut plain = vector[..vector.len() - 8].to_vec();
        plain[3] -= 8;
        assert!(Message::parse(&plain).is_ok_and(|message| message.verify(&key)));
        for bit in 0..8 * plain.len() {
            let mut damaged = plain.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let taken = Message::parse(&damaged).is_ok_and(|message| message.verify(&key));
            assert!(!taken, "bit {bit} passes MESSAGE-INTEGRITY");
        }
    }
}

fn sha1_hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut context = hmac::Context::with_key(&integrity_key(key));
    for part in parts {
        context.update(part);
    }
    let mut mac = [0; 20];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

#[test]
fn another_implementation_checks_us_and_reads_our_answer() {
    let source: SocketAddr = "198.51.100.7:61000".parse().expect("an address");
    let id = is::stun::TransId::new();
    let check =
        is::stun::StunMessage::binding_request("ours:theirs", id, true, 42, 1_853_824_767, true);
    let mut buffer = [0; 256];
    let len = check.to_bytes(Some(PASSWORD), &mut buffer, sha1_hmac).expect("room");
    let Ok(Incoming::Check(check)) = ice_lite::read(&buffer[..len]) else { panic!("a check") };
    assert_eq!(check.local_ufrag(), b"ours");
    let check = check.verify(PASSWORD, b"theirs").expect("the same password");
    assert!(check.nominates());
    assert_eq!(check.priority, 1_853_824_767);

    let mut out = [0; 104];
    let answered = check.respond(source, &mut out).expect("room");
    assert!(answered <= len);
    let answer = is::stun::StunMessage::parse(&out[..answered]).expect("well formed");
    assert!(answer.is_successful_binding_response());
    assert_eq!(answer.trans_id(), id);
    assert_eq!(answer.mapped_address(), Some(source));
    assert!(answer.verify(PASSWORD, sha1_hmac));
}

/// RFC 8489 §6.3.1: 420, with the type that was not understood (here REALM).
#[test]
fn an_attribute_that_must_be_understood_is_refused_by_name() {
    let id = is::stun::TransId::new();
    let request = is::stun::StunMessageBuilder::new()
        .binding()
        .request()
        .username("ours:theirs")
        .prio(7)
        .use_candidate()
        .realm("example.org")
        .build(id);
    let mut buffer = [0; 256];
    let len = request.to_bytes(Some(PASSWORD), &mut buffer, sha1_hmac).expect("room");
    let Ok(Incoming::Check(check)) = ice_lite::read(&buffer[..len]) else { panic!("a check") };
    let check = check.verify(PASSWORD, b"theirs").expect("the same password");
    assert!(!check.is_accepted() && !check.nominates());
    let mut out = [0; 104];
    let answered = check.respond(([192, 0, 2, 1], 1).into(), &mut out).expect("room");
    assert!(answered <= len);
    let answer = is::stun::StunMessage::parse(&out[..answered]).expect("well formed");
    assert_eq!(answer.error_code().map(|(code, _)| code), Some(420));
    assert!(answer.verify(PASSWORD, sha1_hmac));
    assert!(out[..answered].windows(6).any(|attribute| attribute == [0, 0x0a, 0, 2, 0, 0x14]));
}

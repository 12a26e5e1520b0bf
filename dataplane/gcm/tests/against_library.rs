//! The kernel against the library (aws-lc) over random keys, nonces and lengths. Where the
//! processor lacks the instructions there is nothing to test, and each test says so.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hype_gcm::{MAX_LEN, SealingKey, WrongLength};

/// A generator of numbers that look random: the same ones in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() & 0xff) as u8).collect()
    }
}

/// Whether the kernel is there; says so on standard error where it is not.
fn is_there() -> bool {
    let there = SealingKey::new(&[0; 16]).is_some();
    if !there {
        eprintln!("this processor lacks the instructions: nothing is tested");
    }
    there
}

fn by_library(key: &[u8], nonce: [u8; 12], associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("a key's length"));
    let mut sealed = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::from(associated), &mut sealed).expect("it fits");
    sealed
}

#[track_caller]
fn check(key: &[u8], nonce: [u8; 12], associated: &[u8], plaintext: &[u8]) {
    let ours = SealingKey::new(key).expect("the instructions are there");
    // Bytes around it must stay as they are.
    let mut room = vec![0xa5; plaintext.len() + 16 + 64];
    let len = room.len();
    ours.seal(&nonce, associated, plaintext, &mut room[32..len - 32]).expect("lengths that fit");
    let expected = by_library(key, nonce, associated, plaintext);
    let what = format!("{} {} {}", key.len(), associated.len(), plaintext.len());
    assert_eq!(room[32..len - 32], expected, "{what}");
    assert!(room[..32].iter().chain(&room[len - 32..]).all(|byte| *byte == 0xa5), "{what}");
}

#[test]
fn every_length_of_a_voice_packet_is_as_the_library_seals_it() {
    if !is_there() {
        return;
    }
    let mut numbers = Numbers(1);
    for key_len in [16, 32] {
        for associated_len in (0..50).chain([64, 255, 256, 257]) {
            for plaintext_len in 0..300 {
                let key = numbers.bytes(key_len);
                let nonce = numbers.bytes(12).try_into().expect("12 bytes");
                let associated = numbers.bytes(associated_len);
                check(&key, nonce, &associated, &numbers.bytes(plaintext_len));
            }
        }
    }
}

#[test]
fn random_lengths_up_to_a_whole_datagram_are_as_the_library_seals_them() {
    if !is_there() {
        return;
    }
    let mut numbers = Numbers(2);
    for round in 0..3000 {
        let key = numbers.bytes(if round % 2 == 0 { 16 } else { 32 });
        let nonce = numbers.bytes(12).try_into().expect("12 bytes");
        let associated_len = (numbers.next() % 400) as usize;
        let associated = numbers.bytes(associated_len);
        let plaintext_len = (numbers.next() % 1600) as usize;
        check(&key, nonce, &associated, &numbers.bytes(plaintext_len));
    }
    let (associated, plaintext) = (numbers.bytes(MAX_LEN), numbers.bytes(MAX_LEN));
    check(&[1; 16], [2; 12], &associated, &plaintext);
    check(&[0xff; 32], [0xff; 12], &[0xff; 33], &[0xff; 1500]);
}

#[test]
fn lengths_that_do_not_fit_are_refused_and_nothing_is_written() {
    if !is_there() {
        return;
    }
    let key = SealingKey::new(&[3; 16]).expect("the instructions are there");
    let mut out = [7; 40];
    for len in [0, 15, 23, 25, 40] {
        assert_eq!(key.seal(&[0; 12], &[], &[1; 8], &mut out[..len]), Err(WrongLength), "{len}");
    }
    let long = vec![0; MAX_LEN + 1];
    assert_eq!(key.seal(&[0; 12], &long, &[1; 8], &mut out[..24]), Err(WrongLength));
    let mut room = vec![7; MAX_LEN + 17];
    assert_eq!(key.seal(&[0; 12], &[], &long, &mut room), Err(WrongLength));
    assert!(out.iter().chain(&room).all(|byte| *byte == 7));
    for len in [0, 15, 17, 24, 31, 33] {
        assert!(SealingKey::new(&vec![0; len]).is_none(), "{len}");
    }
}

#[test]
fn the_same_key_seals_alike_from_wherever_it_was_moved() {
    if !is_there() {
        return;
    }
    let mut keys: Vec<SealingKey> = Vec::new();
    for number in 0..40 {
        keys.push(SealingKey::new(&[number; 16]).expect("the instructions are there"));
    }
    for (number, key) in (0..).zip(keys) {
        let mut out = [0; 26];
        key.seal(&[number; 12], b"header", &[number; 10], &mut out).expect("lengths that fit");
        assert_eq!(out.to_vec(), by_library(&[number; 16], [number; 12], b"header", &[number; 10]));
    }
}

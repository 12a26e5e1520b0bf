//! The test cases of McGrew and Viega's "The Galois/Counter Mode of Operation", on which NIST
//! SP 800-38D rests: those with a 96-bit nonce and keys of 128 or 256 bits.

use hype_gcm::SealingKey;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("hexadecimal digits");
        u8::from_str_radix(text, 16).expect("hexadecimal digits")
    };
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn check(key: &str, nonce: &str, associated: &str, plaintext: &str, sealed: &str) {
    let Some(key) = SealingKey::new(&bytes(key)) else {
        eprintln!("this processor lacks the instructions: nothing is tested");
        return;
    };
    let plaintext = bytes(plaintext);
    let mut out = vec![0; plaintext.len() + 16];
    let nonce: [u8; 12] = bytes(nonce).try_into().expect("96 bits");
    key.seal(&nonce, &bytes(associated), &plaintext, &mut out).expect("lengths that fit");
    assert_eq!(out, bytes(sealed));
}

const ZERO_128: &str = "00000000000000000000000000000000";
const ZERO_256: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const ZERO_NONCE: &str = "000000000000000000000000";
const KEY_128: &str = "feffe9928665731c6d6a8f9467308308";
const KEY_256: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const NONCE: &str = "cafebabefacedbaddecaf888";
const ASSOCIATED: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const PLAINTEXT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
/// The same without its last four bytes.
const SHORT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                     1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";

#[test]
fn cases_1_to_4_are_of_128_bits() {
    check(ZERO_128, ZERO_NONCE, "", "", "58e2fccefa7e3061367f1d57a4e7455a");
    check(
        ZERO_128,
        ZERO_NONCE,
        "",
        ZERO_128,
        "0388dace60b6a392f328c2b971b2fe78 ab6e47d42cec13bdf53a67b21257bddf",
    );
    check(
        KEY_128,
        NONCE,
        "",
        PLAINTEXT,
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985
         4d5c2af327cd64a62cf35abd2ba6fab4",
    );
    check(
        KEY_128,
        NONCE,
        ASSOCIATED,
        SHORT,
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091
         5bc94fbc3221a5db94fae95ae7121a47",
    );
}

#[test]
fn cases_13_to_16_are_of_256_bits() {
    check(ZERO_256, ZERO_NONCE, "", "", "530f8afbc74536b9a963b4f1c4cb738b");
    check(
        ZERO_256,
        ZERO_NONCE,
        "",
        ZERO_128,
        "cea7403d4d606b6e074ec5d3baf39d18 d0d1c8a799996bf0265b98b5d48ab919",
    );
    check(
        KEY_256,
        NONCE,
        "",
        PLAINTEXT,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
         8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad
         b094dac5d93471bdec1a502270e3cc6c",
    );
    check(
        KEY_256,
        NONCE,
        ASSOCIATED,
        SHORT,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
         8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662
         76fc6ece0f4e1768cddf8853bb2d551b",
    );
}

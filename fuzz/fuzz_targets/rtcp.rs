//! Compound RTCP packets, decrypted (RFC 3550, RFC 4585 and others).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hype_sfu::wire::untrusted::rtcp(bytes));

//! RTP headers and header extensions (RFC 3550, RFC 8285).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hype_sfu::wire::untrusted::rtp(bytes));

//! STUN datagrams, up to the response (RFC 8489, RFC 8445).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hype_sfu::wire::untrusted::stun(bytes));

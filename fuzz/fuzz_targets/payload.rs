//! Payload descriptors of every codec, and their rewriting.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hype_sfu::wire::untrusted::payload(bytes));

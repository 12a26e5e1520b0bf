//! SRTP and SRTCP under fixed keys: no state may come of what is not authentic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hype_sfu::wire::untrusted::srtp(bytes));

//! The dependency descriptor header extension.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hype_sfu::wire::untrusted::dependency_descriptor(bytes));

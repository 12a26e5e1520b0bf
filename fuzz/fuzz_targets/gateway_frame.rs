//! Clients' frames on the gateway, and the offers in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hype_control::untrusted::gateway_frame(bytes);
});

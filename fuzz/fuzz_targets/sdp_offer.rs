//! SDP offers of browsers, up to the answer (RFC 8866, RFC 8829).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hype_control::untrusted::sdp_offer(bytes);
});

//! A whole engine under a script of datagrams, some of them authentic.
#![no_main]

#[path = "../harness/engine.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    harness::engine(script);
});

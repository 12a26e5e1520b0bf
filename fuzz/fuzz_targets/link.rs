//! An engine whose room has another part, under a script of that part's frames and of clients'
//! datagrams.
#![no_main]

#[path = "../harness/engine.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    harness::parts(script);
});

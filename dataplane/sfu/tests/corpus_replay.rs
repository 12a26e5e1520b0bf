//! Replays the fuzz corpus, and seeded mutations of it, through the same entries as the fuzz
//! targets: a parser that panics on any of them fails the ordinary test run.

use std::fs;
use std::path::Path;

use hype_sfu::wire::untrusted;

#[path = "../../../fuzz/harness/engine.rs"]
mod harness;

/// Mutations of each target's corpus.
const VARIANTS: usize = 20_000;
/// Those of scripts for a whole engine, each of which begins with three joins.
const ENGINE_VARIANTS: usize = 1_500;

/// Marsaglia's xorshift: the same bytes in every run.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One to four changes: a bit, a byte of interest, a cut, a doubled piece, two seeds joined.
fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Xorshift) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
                }
            }
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend(&other[random.below(other.len())..]);
            }
        }
    }
    bytes.truncate(1_500);
}

fn replay(target: &str, variants: usize, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    // The order of a folder is the file system's: sort, so that a seed always means the same run.
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).expect("a readable seed")).collect();
    assert!(seeds.len() >= 3, "{target} has a corpus");
    for seed in &seeds {
        entry(seed);
    }
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    for _ in 0..variants {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        mutate(&mut bytes, &seeds, &mut random);
        entry(&bytes);
    }
}

#[test]
fn stun() {
    replay("stun", VARIANTS, untrusted::stun);
}

#[test]
fn rtp() {
    replay("rtp", VARIANTS, untrusted::rtp);
}

#[test]
fn rtcp() {
    replay("rtcp", VARIANTS, untrusted::rtcp);
}

#[test]
fn payload() {
    replay("payload", VARIANTS, untrusted::payload);
}

#[test]
fn dependency_descriptor() {
    replay("dependency_descriptor", VARIANTS, untrusted::dependency_descriptor);
}

#[test]
fn srtp() {
    replay("srtp", VARIANTS, untrusted::srtp);
}

#[test]
fn engine() {
    replay("engine", ENGINE_VARIANTS, |script| {
        harness::engine(script);
    });
}

#[test]
fn link() {
    replay("link", ENGINE_VARIANTS, |script| {
        harness::parts(script);
    });
}

/// The scripts are of use only while they get through to the other clients.
#[test]
fn engine_scripts_are_forwarded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/engine");
    for (name, least) in
        [("voice", 40), ("screen_vp8", 10), ("screen_rtx", 10), ("camera_simulcast", 5)]
    {
        let script = fs::read(folder.join(name)).expect("a readable seed");
        let forwarded = harness::engine(&script);
        assert!(forwarded >= least, "{name}: {forwarded}");
    }
    let folder = folder.with_file_name("link");
    for (name, least) in [("voice_up", 8), ("voice_down", 10), ("screen", 4), ("watched", 1)] {
        let script = fs::read(folder.join(name)).expect("a readable seed");
        let forwarded = harness::parts(&script);
        assert!(forwarded >= least, "{name}: {forwarded}");
    }
}

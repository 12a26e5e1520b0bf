//! Replays the fuzz corpus, and seeded mutations of it, through the same entries as the fuzz
//! targets: a reader of clients' text that panics on any of them fails the ordinary test run.

use std::fs;
use std::path::Path;

use hype_control::untrusted;

/// Marsaglia's xorshift: the same bytes in every run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit.max(1)
    }
}

/// One to four changes: a character of the grammar or any byte, a cut, a line twice, a line
/// less, two seeds joined. `lines` ends what counts as a line.
fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], lines: u8, random: &mut Xorshift) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let line = bytes[at..].iter().position(|b| *b == lines).map_or(bytes.len(), |n| at + n + 1);
        match random.below(8) {
            0..=2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = b" :;=/\r\n09azAZ-~\0\"{},[]*"[random.below(23)];
                }
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            4 => bytes.truncate(at),
            5 => {
                let piece = bytes[at..line].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => drop(bytes.drain(at..line)),
            _ => {
                let other = &seeds[random.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend(&other[random.below(other.len())..]);
            }
        }
    }
    bytes.truncate(128 * 1024);
}

/// `answered` seeds must get through to an answer: only then do their variants reach all of it.
fn replay(target: &str, variants: usize, answered: usize, lines: u8, entry: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    // The order of a folder is the file system's: sort, so that a seed always means the same run.
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).expect("a readable seed")).collect();
    assert!(seeds.len() >= 2, "{target} has a corpus");
    assert_eq!(seeds.iter().filter(|seed| entry(seed)).count(), answered, "{target}");
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    for _ in 0..variants {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        mutate(&mut bytes, &seeds, lines, &mut random);
        entry(&bytes);
    }
}

#[test]
fn sdp_offer() {
    replay("sdp_offer", 1_000, 2, b'\n', untrusted::sdp_offer);
}

#[test]
fn gateway_frame() {
    replay("gateway_frame", 10_000, 1, b',', untrusted::gateway_frame);
}

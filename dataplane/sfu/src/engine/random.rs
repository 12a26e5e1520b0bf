//! Numbers from the seed that the caller drew: initial sequence numbers, timestamps and SSRCs, and
//! the hash of the tables. Not for keys; all of those come from elsewhere.

use std::hash::{BuildHasher, Hasher};

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// From a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 32 bits.
    pub(crate) fn next_u32(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// A first packet index: below 2^15, so that both ends begin with the same roll-over counter
    /// even when the first packets are lost (RFC 3711 §3.3.1).
    pub(crate) fn first_index(&mut self) -> u64 {
        self.next() & 0x7fff
    }
}

/// Hashes keys of a few words with a secret seed: for tables whose keys strangers choose.
#[derive(Debug, Clone)]
pub(crate) struct SeededState(u64);

impl SeededState {
    /// From a secret seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl BuildHasher for SeededState {
    type Hasher = FoldingHasher;
    fn build_hasher(&self) -> FoldingHasher {
        FoldingHasher(self.0)
    }
}

/// Folds each word in by a full multiplication.
#[derive(Debug, Clone)]
pub(crate) struct FoldingHasher(u64);

impl Hasher for FoldingHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let mixed = self.0 ^ word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let product = u128::from(mixed) * 0xbf58_476d_1ce4_e5b9_u128;
        let folded = (product as u64) ^ ((product >> 64) as u64);
        // A second round spreads to the top bits, by which the table tags its groups.
        self.0 = (folded ^ (folded >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
}

//! AES key expansion (FIPS 197 §5.2) by the processor's AESKEYGENASSIST, once a key. No `unsafe`:
//! whoever calls it has found the instructions to be there.

use std::arch::x86_64::{
    __m128i, _mm_aeskeygenassist_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_xor_si128,
    _mm256_castsi256_si128, _mm256_extracti128_si256,
};

use super::{BLOCK, load, load_pair, store};

/// FIPS 197 §5.2 for 16 bytes.
#[target_feature(enable = "aes,avx2")]
pub(super) fn expand_128(key: &[u8; 16], out: &mut [[u8; BLOCK]; 15]) {
    let mut last = load(key);
    store(&mut out[0], last);
    macro_rules! round {
        ($place:literal, $constant:literal) => {
            let assist = _mm_aeskeygenassist_si128::<$constant>(last);
            last = _mm_xor_si128(spread(last), _mm_shuffle_epi32::<0xff>(assist));
            store(&mut out[$place], last);
        };
    }
    round!(1, 0x01);
    round!(2, 0x02);
    round!(3, 0x04);
    round!(4, 0x08);
    round!(5, 0x10);
    round!(6, 0x20);
    round!(7, 0x40);
    round!(8, 0x80);
    round!(9, 0x1b);
    round!(10, 0x36);
}

/// FIPS 197 §5.2 for 32 bytes.
#[target_feature(enable = "aes,avx2")]
pub(super) fn expand_256(key: &[u8; 32], out: &mut [[u8; BLOCK]; 15]) {
    let both = load_pair(key);
    let mut even = _mm256_castsi256_si128(both);
    let mut odd = _mm256_extracti128_si256::<1>(both);
    store(&mut out[0], even);
    store(&mut out[1], odd);
    macro_rules! even {
        ($place:literal, $constant:literal) => {
            let assist = _mm_aeskeygenassist_si128::<$constant>(odd);
            even = _mm_xor_si128(spread(even), _mm_shuffle_epi32::<0xff>(assist));
            store(&mut out[$place], even);
        };
    }
    macro_rules! odd {
        ($place:literal) => {
            let assist = _mm_aeskeygenassist_si128::<0>(even);
            odd = _mm_xor_si128(spread(odd), _mm_shuffle_epi32::<0xaa>(assist));
            store(&mut out[$place], odd);
        };
    }
    even!(2, 0x01);
    odd!(3);
    even!(4, 0x02);
    odd!(5);
    even!(6, 0x04);
    odd!(7);
    even!(8, 0x08);
    odd!(9);
    even!(10, 0x10);
    odd!(11);
    even!(12, 0x20);
    odd!(13);
    even!(14, 0x40);
}

/// Each word becomes the sum of itself and all before it.
#[inline]
#[target_feature(enable = "avx2")]
fn spread(words: __m128i) -> __m128i {
    let words = _mm_xor_si128(words, _mm_slli_si128::<4>(words));
    _mm_xor_si128(words, _mm_slli_si128::<8>(words))
}

//! The kernel for x86-64 with VAES, VPCLMULQDQ and AVX2: two blocks in each 256-bit register. All
//! blocks of a short packet are encrypted side by side; GHASH (SP 800-38D §6.4) is computed as
//! POLYVAL (RFC 8452 appendix A) over up to 17 blocks with one reduction, by powers of the hash
//! key that were made beforehand. The only `unsafe` is loads, stores, and the call that the
//! check of the processor's features allows.

mod expansion;

use std::arch::x86_64::{
    __m128i, __m256i, _MM_HINT_T0, _mm_aesenc_si128, _mm_aesenclast_si128, _mm_and_si128,
    _mm_clmulepi64_si128, _mm_loadu_si128, _mm_prefetch, _mm_set_epi8, _mm_set_epi32,
    _mm_set_epi64x, _mm_setzero_si128, _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_slli_epi64,
    _mm_slli_si128, _mm_srai_epi32, _mm_srli_epi64, _mm_srli_si128, _mm_storeu_si128,
    _mm_xor_si128, _mm256_add_epi32, _mm256_aesenc_epi128, _mm256_aesenclast_epi128,
    _mm256_broadcastsi128_si256, _mm256_castsi128_si256, _mm256_castsi256_si128,
    _mm256_clmulepi64_epi128, _mm256_extracti128_si256, _mm256_inserti128_si256,
    _mm256_loadu_si256, _mm256_set_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_storeu_si256, _mm256_xor_si256, _mm256_zextsi128_si256,
};

use zeroize::Zeroize;

use crate::{NONCE_LEN, TAG_LEN};
use expansion::{expand_128, expand_256};

const BLOCK: usize = 16;
/// Blocks of a long packet's groups, which share one reduction each.
const GROUP: usize = 16;
/// The last group has the block of lengths besides: so many powers of the hash key are kept.
const POWERS: usize = GROUP + 1;

/// Calls all cache lines of a value into the nearest cache.
#[inline]
pub fn prefetch<T>(value: &T) {
    let start: *const T = value;
    for offset in (0..size_of::<T>()).step_by(64) {
        let at = start.cast::<i8>().wrapping_add(offset);
        // SAFETY: a prefetch reads nothing, whatever the address; every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
    }
}

/// What is made of a key once. Its existence proves that the processor has the instructions.
#[repr(C, align(64))]
pub struct Schedule {
    /// Powers of the hash key, the highest first, so that consecutive blocks meet consecutive
    /// powers.
    powers: [[u8; BLOCK]; POWERS],
    round_keys: [[u8; BLOCK]; 15],
}

/// How many rounds a key's length asks for (FIPS 197 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// AES-128.
    Ten = 10,
    /// AES-256.
    Fourteen = 14,
}

impl Rounds {
    /// The place of the last round's key.
    #[inline]
    fn last(self) -> usize {
        self as usize
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.round_keys.zeroize();
        self.powers.zeroize();
    }
}

fn is_supported() -> bool {
    is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
}

impl Schedule {
    /// None where the instructions are missing, and for keys that are not 16 or 32 bytes long.
    pub fn new(key: &[u8]) -> Option<(Box<Self>, Rounds)> {
        if !is_supported() {
            return None;
        }
        let rounds = match key.len() {
            16 => Rounds::Ten,
            32 => Rounds::Fourteen,
            _ => return None,
        };
        let (powers, round_keys) = ([[0; BLOCK]; POWERS], [[0; BLOCK]; 15]);
        let mut schedule = Box::new(Self { powers, round_keys });
        // SAFETY: `is_supported` has just found all features that `expand` is compiled for.
        unsafe { schedule.expand(key, rounds) };
        Some((schedule, rounds))
    }

    /// Asks the processor to bring it into its nearest cache.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self);
    }

    /// `out` is `plaintext` and a tag long.
    #[inline]
    pub fn seal(
        &self,
        rounds: Rounds,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
    ) {
        debug_assert_eq!(out.len(), plaintext.len() + TAG_LEN);
        // As numbers they can stay in registers from where the caller made them.
        let [a, b, c, d, e, f, g, h, nonce_end @ ..] = *nonce;
        let nonce = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes(nonce_end));
        // SAFETY: a schedule is only made where `is_supported` found all features that `seal_with`
        // is compiled for.
        unsafe {
            self.seal_with(rounds, nonce, associated, plaintext, out);
        }
    }

    /// FIPS 197 §5.2, then the powers of the hash key.
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn expand(&mut self, key: &[u8], rounds: Rounds) {
        let rounds = rounds.last();
        if let Some(key) = key.first_chunk::<32>() {
            expand_256(key, &mut self.round_keys);
        } else if let Some(key) = key.first_chunk::<16>() {
            expand_128(key, &mut self.round_keys);
        }
        let mut hash_key = load(&self.round_keys[0]);
        for round in 1..rounds {
            hash_key = _mm_aesenc_si128(hash_key, load(&self.round_keys[round]));
        }
        hash_key = _mm_aesenclast_si128(hash_key, load(&self.round_keys[rounds]));
        let first = times_x(reverse(hash_key));
        let mut power = first;
        for place in self.powers.iter_mut().rev() {
            store(place, power);
            power = multiply(power, first);
        }
    }

    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn seal_with(
        &self,
        rounds: Rounds,
        nonce: (u64, u32),
        associated: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
    ) {
        let bits = |bytes: usize| ((bytes as u64) << 3).cast_signed();
        let lengths = _mm_set_epi64x(bits(associated.len()), bits(plaintext.len()));
        // SP 800-38D §7.1: block 1 is for the tag, the plaintext starts with 2. The count is kept
        // little-endian here.
        let block = _mm_set_epi64x(i64::from(nonce.1), nonce.0.cast_signed());
        let nonce = _mm256_broadcastsi128_si256(block);
        let mut counter = _mm256_add_epi32(nonce, _mm256_set_epi32(3, 0, 0, 0, 2, 0, 0, 0));
        let mut run = Run { key: self, rounds, hash: _mm_setzero_si128(), nonce, lengths };
        let blocks = associated.len().div_ceil(BLOCK) + plaintext.len().div_ceil(BLOCK) + 1;
        if blocks <= POWERS {
            run.finish_any(counter, associated, plaintext, out);
            return;
        }
        for group in associated.chunks(GROUP * BLOCK) {
            run.hash_associated(group);
        }
        let mut groups = plaintext.chunks_exact(GROUP * BLOCK);
        let mut rest = out;
        for group in &mut groups {
            let (place, behind) = rest.split_at_mut(GROUP * BLOCK);
            run.whole_group(counter, group, place);
            counter = _mm256_add_epi32(counter, _mm256_set_epi32(16, 0, 0, 0, 16, 0, 0, 0));
            rest = behind;
        }
        run.finish_any(counter, &[], groups.remainder(), rest);
    }
}

/// One packet under way.
struct Run<'a> {
    key: &'a Schedule,
    rounds: Rounds,
    /// The hash of all whole groups so far.
    hash: __m128i,
    /// In both halves, with a count of 0.
    nonce: __m256i,
    /// The last block of the hash, as a POLYVAL block.
    lengths: __m128i,
}

/// Unreduced products.
struct Products {
    low: __m256i,
    middle: __m256i,
    high: __m256i,
}

impl Products {
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn new() -> Self {
        let zero = _mm256_setzero_si256();
        Self { low: zero, middle: zero, high: zero }
    }

    /// Adds two blocks times their powers.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn add(&mut self, blocks: __m256i, powers: __m256i) {
        let low = _mm256_clmulepi64_epi128::<0x00>(blocks, powers);
        let high = _mm256_clmulepi64_epi128::<0x11>(blocks, powers);
        let cross = _mm256_clmulepi64_epi128::<0x01>(blocks, powers);
        let other = _mm256_clmulepi64_epi128::<0x10>(blocks, powers);
        self.low = _mm256_xor_si256(self.low, low);
        self.high = _mm256_xor_si256(self.high, high);
        self.middle = _mm256_xor_si256(self.middle, _mm256_xor_si256(cross, other));
    }

    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn reduce(self) -> __m128i {
        reduce(halves(self.low), halves(self.middle), halves(self.high))
    }
}

impl Run<'_> {
    /// Two consecutive powers, from `place` on.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn powers(&self, place: usize) -> __m256i {
        let pair: &[[u8; BLOCK]; 2] =
            self.key.powers[place..].first_chunk().expect("there are as many powers as blocks");
        load_pair(pair.as_flattened().try_into().expect("two blocks are 32 bytes"))
    }

    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn power(&self, place: usize) -> __m128i {
        load(&self.key.powers[place])
    }

    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn round_key(&self, round: usize) -> __m256i {
        _mm256_broadcastsi128_si256(load(&self.key.round_keys[round]))
    }

    /// Up to 16 blocks of associated data of a long packet.
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn hash_associated(&mut self, group: &[u8]) {
        let mut products = Products::new();
        let places = POWERS - group.len().div_ceil(BLOCK)..;
        for (place, block) in places.zip(group.chunks(BLOCK)) {
            let block = _mm_xor_si128(reverse(load_short(block)), self.hash);
            self.hash = _mm_setzero_si128();
            products.add(_mm256_zextsi128_si256(block), _mm256_zextsi128_si256(self.power(place)));
        }
        self.hash = products.reduce();
    }

    /// 16 blocks of a long packet.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn whole_group(&mut self, counter: __m256i, plaintext: &[u8], out: &mut [u8]) {
        let (stream, _) = self.keystream::<8>(counter);
        let mut products = Products::new();
        let mut hash = _mm256_zextsi128_si256(self.hash);
        let pairs = plaintext.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<32>().0);
        for (index, (from, to)) in pairs.enumerate().take(8) {
            let sealed = _mm256_xor_si256(load_pair(from), stream[index]);
            store_pair(to, sealed);
            let blocks = _mm256_xor_si256(reverse_pair(sealed), hash);
            hash = _mm256_setzero_si256();
            products.add(blocks, self.powers(POWERS - GROUP + 2 * index));
        }
        self.hash = products.reduce();
    }

    /// The key stream of so many pairs of blocks from `counter` on, and the tag's block. All go
    /// through the rounds side by side, which is what the processor is fast at.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn keystream<const PAIRS: usize>(&self, mut counter: __m256i) -> ([__m256i; PAIRS], __m256i) {
        // The count's four bytes become big-endian; the nonce stays.
        let swap = _mm_set_epi8(12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        let swap = _mm256_broadcastsi128_si256(swap);
        let two = _mm256_set_epi32(2, 0, 0, 0, 2, 0, 0, 0);
        let round_key = self.round_key(0);
        let one = _mm256_add_epi32(self.nonce, _mm256_set_epi32(1, 0, 0, 0, 1, 0, 0, 0));
        let mut tag = _mm256_xor_si256(_mm256_shuffle_epi8(one, swap), round_key);
        let mut stream = [_mm256_setzero_si256(); PAIRS];
        for pair in &mut stream {
            *pair = _mm256_xor_si256(_mm256_shuffle_epi8(counter, swap), round_key);
            counter = _mm256_add_epi32(counter, two);
        }
        // A loop, so that the compiler keeps the pairs in registers and not the round keys.
        let last = self.rounds.last();
        for round_key in &self.key.round_keys[1..last] {
            let round_key = _mm256_broadcastsi128_si256(load(round_key));
            tag = _mm256_aesenc_epi128(tag, round_key);
            for pair in &mut stream {
                *pair = _mm256_aesenc_epi128(*pair, round_key);
            }
        }
        let round_key = self.round_key(last);
        tag = _mm256_aesenclast_epi128(tag, round_key);
        for pair in &mut stream {
            *pair = _mm256_aesenclast_epi128(*pair, round_key);
        }
        (stream, tag)
    }

    /// The last group, of a short packet the only one; 17 blocks at most, lengths included.
    #[inline]
    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn finish_any(&self, counter: __m256i, associated: &[u8], plaintext: &[u8], out: &mut [u8]) {
        match plaintext.len().div_ceil(2 * BLOCK) {
            0 => self.finish::<0>(counter, associated, plaintext, out),
            1 => self.finish::<1>(counter, associated, plaintext, out),
            2 => self.finish::<2>(counter, associated, plaintext, out),
            3 => self.finish::<3>(counter, associated, plaintext, out),
            4 => self.finish::<4>(counter, associated, plaintext, out),
            5 => self.finish::<5>(counter, associated, plaintext, out),
            6 => self.finish::<6>(counter, associated, plaintext, out),
            7 => self.finish::<7>(counter, associated, plaintext, out),
            _ => self.finish::<8>(counter, associated, plaintext, out),
        }
    }

    #[target_feature(enable = "aes,pclmulqdq,avx2,vaes,vpclmulqdq")]
    fn finish<const PAIRS: usize>(
        &self,
        counter: __m256i,
        associated: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
    ) {
        let (stream, tag) = self.keystream::<PAIRS>(counter);
        let mut products = Products::new();
        let blocks = associated.len().div_ceil(BLOCK) + plaintext.len().div_ceil(BLOCK) + 1;
        let mut place = POWERS - blocks;
        // Blocks without a neighbour, each with its power.
        let mut single: Option<(__m128i, __m128i)> = None;
        let (pairs, rest) = associated.as_chunks::<{ 2 * BLOCK }>();
        for pair in pairs {
            products.add(reverse_pair(load_pair(pair)), self.powers(place));
            place += 2;
        }
        if let Some((whole, rest)) = rest.split_first_chunk::<BLOCK>()
            && !rest.is_empty()
        {
            let block = pair_of(load(whole), load_tail(associated, rest));
            products.add(reverse_pair(block), self.powers(place));
            place += 2;
        } else if !rest.is_empty() {
            single = Some((reverse(load_tail(associated, rest)), self.power(place)));
            place += 1;
        }
        // Of a packet with several groups the hash so far goes into the first block; of one with
        // associated data here it is 0.
        let mut hash = _mm256_zextsi128_si256(self.hash);
        let (pairs, rest) = plaintext.as_chunks::<{ 2 * BLOCK }>();
        for (index, pair) in stream.iter().enumerate() {
            let to = &mut out[2 * BLOCK * index..];
            if let (Some(from), Some(to)) = (pairs.get(index), to.first_chunk_mut()) {
                let sealed = _mm256_xor_si256(load_pair(from), *pair);
                store_pair(to, sealed);
                products.add(_mm256_xor_si256(reverse_pair(sealed), hash), self.powers(place));
                place += 2;
            } else if let Some((whole, rest)) = rest.split_first_chunk::<BLOCK>()
                && !rest.is_empty()
            {
                // What is written too much is where the tag goes.
                let from = pair_of(load(whole), load_tail(plaintext, rest));
                let sealed = _mm256_xor_si256(from, *pair);
                if let Some(to) = to.first_chunk_mut() {
                    store_pair(to, sealed);
                }
                let last = keep(_mm256_extracti128_si256::<1>(sealed), rest.len());
                let sealed = _mm256_inserti128_si256::<1>(sealed, last);
                products.add(_mm256_xor_si256(reverse_pair(sealed), hash), self.powers(place));
                place += 2;
            } else {
                let from = load_tail(plaintext, rest);
                let sealed = _mm_xor_si128(from, _mm256_castsi256_si128(*pair));
                if let Some(to) = to.first_chunk_mut() {
                    store(to, sealed);
                }
                let block = reverse(keep(sealed, rest.len()));
                let block = _mm_xor_si128(block, _mm256_castsi256_si128(hash));
                let power = self.power(place);
                place += 1;
                single = Some(match single {
                    None => (block, power),
                    Some((other, its)) => {
                        products.add(pair_of(other, block), pair_of(its, power));
                        (_mm_setzero_si128(), power)
                    }
                });
            }
            hash = _mm256_setzero_si256();
        }
        let lengths = _mm_xor_si128(self.lengths, _mm256_castsi256_si128(hash));
        let power = self.power(place);
        match single {
            None => products.add(_mm256_zextsi128_si256(lengths), _mm256_zextsi128_si256(power)),
            Some((other, its)) => products.add(pair_of(other, lengths), pair_of(its, power)),
        }
        let tag = _mm_xor_si128(reverse(products.reduce()), _mm256_castsi256_si128(tag));
        if let Some(place) = out.last_chunk_mut() {
            store(place, tag);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; BLOCK]) -> __m128i {
    // SAFETY: 16 readable bytes; the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_pair(bytes: &[u8; 2 * BLOCK]) -> __m256i {
    // SAFETY: 32 readable bytes; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; BLOCK], value: __m128i) {
    // SAFETY: 16 writable bytes; the store asks for no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_pair(bytes: &mut [u8; 2 * BLOCK], value: __m256i) {
    // SAFETY: 32 writable bytes; the store asks for no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) };
}

/// A block of at most 16 bytes, with zeros behind it.
#[inline]
#[target_feature(enable = "avx2")]
fn load_short(bytes: &[u8]) -> __m128i {
    let mut block = [0; BLOCK];
    block[..bytes.len()].copy_from_slice(bytes);
    load(&block)
}

/// 16 bytes that keep a shuffle's place as it is, then 16 that make it zero.
static SHIFT: [u8; 2 * BLOCK] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
];

/// The last 1–16 bytes of `whole`, which are `tail`, with zeros behind them: by one load where
/// `whole` is long enough.
#[inline]
#[target_feature(enable = "avx2")]
fn load_tail(whole: &[u8], tail: &[u8]) -> __m128i {
    let shift = SHIFT.get(BLOCK - tail.len().min(BLOCK)..).and_then(<[u8]>::first_chunk);
    match (whole.last_chunk(), shift) {
        (Some(last), Some(shift)) => _mm_shuffle_epi8(load(last), load(shift)),
        _ => load_short(tail),
    }
}

/// Zeros behind the first `len` bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn keep(block: __m128i, len: usize) -> __m128i {
    static KEEP: [u8; 2 * BLOCK] = [
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    match KEEP.get(BLOCK - len.min(BLOCK)..).and_then(<[u8]>::first_chunk) {
        Some(mask) => _mm_and_si128(block, load(mask)),
        None => block,
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn pair_of(low: __m128i, high: __m128i) -> __m256i {
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
}

/// The sum of both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(value: __m256i) -> __m128i {
    _mm_xor_si128(_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value))
}

/// RFC 8452 appendix A: a block of GHASH is one of POLYVAL with its bytes reversed.
#[inline]
#[target_feature(enable = "avx2")]
fn reverse(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
}

#[inline]
#[target_feature(enable = "avx2")]
fn reverse_pair(blocks: __m256i) -> __m256i {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm256_shuffle_epi8(blocks, _mm256_broadcastsi128_si256(order))
}

/// RFC 8452 appendix A: mulX_POLYVAL.
#[target_feature(enable = "avx2")]
fn times_x(value: __m128i) -> __m128i {
    let top = _mm_srai_epi32::<31>(_mm_shuffle_epi32::<0xff>(value));
    let carry = _mm_slli_si128::<8>(_mm_srli_epi64::<63>(value));
    let doubled = _mm_xor_si128(_mm_slli_epi64::<1>(value), carry);
    let polynomial = _mm_set_epi32(0xc200_0000_u32.cast_signed(), 0, 0, 1);
    _mm_xor_si128(doubled, _mm_and_si128(top, polynomial))
}

/// RFC 8452 §3: dot(a, b) = a · b · x^-128.
#[target_feature(enable = "pclmulqdq,avx2")]
fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    let cross = _mm_clmulepi64_si128::<0x01>(a, b);
    let middle = _mm_xor_si128(cross, _mm_clmulepi64_si128::<0x10>(a, b));
    reduce(low, middle, high)
}

/// Montgomery's reduction of low + middle · x^64 + high · x^128, by x^-128.
#[inline]
#[target_feature(enable = "pclmulqdq,avx2")]
fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let polynomial = _mm_set_epi64x(0, 0xc200_0000_0000_0000_u64.cast_signed());
    let low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
    let fold = |value: __m128i| {
        let product = _mm_clmulepi64_si128::<0x00>(value, polynomial);
        _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(value), product)
    };
    _mm_xor_si128(fold(fold(low)), high)
}

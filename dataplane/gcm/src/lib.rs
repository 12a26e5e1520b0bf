//! AES-GCM (NIST SP 800-38D) for what a media forwarder does most: sealing short packets out of
//! place, each under another key. It uses the 256-bit forms of the AES and carry-less
//! multiplication instructions, and is there only where the processor has them: whoever uses it
//! keeps a library at hand, which is also what its tests compare it with.
//! It never decrypts, never looks at a nonce's history, and runs in time that depends on lengths
//! alone: no table is indexed and no branch taken by a secret.

#[cfg(target_arch = "x86_64")]
mod vaes;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;
/// The most plaintext, and the most associated data, in bytes: far beyond any datagram, far below
/// the limits of the cipher.
pub const MAX_LEN: usize = 65_535;

/// Lengths that do not fit: `out` is not plaintext and tag long, or something exceeds [`MAX_LEN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongLength;

impl std::fmt::Display for WrongLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lengths of plaintext and output do not fit")
    }
}

impl std::error::Error for WrongLength {}

/// Asks the processor to bring a value near that is soon needed: many such waits overlap, where reading
/// waits for each by itself. Never needed, and nothing on other processors.
#[inline]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    vaes::prefetch(value);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// An AES key made ready for sealing, about 0.5 KiB on the heap; wiped when it is dropped.
pub struct SealingKey {
    #[cfg(target_arch = "x86_64")]
    schedule: Box<vaes::Schedule>,
    #[cfg(target_arch = "x86_64")]
    rounds: vaes::Rounds,
    #[cfg(not(target_arch = "x86_64"))]
    never: std::convert::Infallible,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

impl SealingKey {
    /// From 16 or 32 bytes of key. None for another length, and where the processor lacks the
    /// instructions.
    pub fn new(key: &[u8]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let (schedule, rounds) = vaes::Schedule::new(key)?;
            Some(Self { schedule, rounds })
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = key;
            None
        }
    }

    /// Asks the processor to bring the key near, where another one is used before it: with many
    /// receivers each key has left the nearest cache when its turn comes again.
    #[inline]
    pub fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        self.schedule.prefetch();
    }

    /// Encrypts `plaintext` into the front of `out`, and writes the tag behind it: `out` is
    /// exactly [`TAG_LEN`] longer. The caller answers for the nonce: never twice with one key.
    ///
    /// # Errors
    /// [`WrongLength`], by which nothing was written.
    #[inline]
    pub fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<(), WrongLength> {
        if plaintext.len() > MAX_LEN
            || associated.len() > MAX_LEN
            || out.len() != plaintext.len() + TAG_LEN
        {
            return Err(WrongLength);
        }
        #[cfg(target_arch = "x86_64")]
        {
            self.schedule.seal(self.rounds, nonce, associated, plaintext, out);
            Ok(())
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = nonce;
            match self.never {}
        }
    }
}

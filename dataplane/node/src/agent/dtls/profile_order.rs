//! Makes a DTLS 1.3 server choose AES-GCM. The library takes the first SRTP profile of the
//! client's list, and clients list AES_CM_128_HMAC_SHA1_80 first (three times the CPU). The server
//! is free in its choice (RFC 5764 §4.1.1), so the library is shown the list with the GCM profiles
//! first, and the transcript hash, through the library's own seam for hash providers, still covers
//! the ClientHello as the client sent it. If the two ever differed, the client's Finished would
//! not verify: the handshake fails, it never gets weaker.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use dimpl::crypto::{Buf, CryptoProvider, HashAlgorithm, HashContext, HashProvider};

use super::client_hello::{self, ClientHello};

/// AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714 §14.2).
const GCM: [u16; 2] = [7, 8];
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// The client's list of profiles as it came, and as the library shall see it. Both begin with the
/// extension's header and the list's length, so that nothing else is taken for them.
#[derive(Debug, PartialEq, Eq)]
struct Lists {
    original: Vec<u8>,
    preferred: Vec<u8>,
}

/// What is done with one client's ClientHello.
#[derive(Debug)]
pub struct Rewrite {
    lists: Arc<Lists>,
    /// Length of the first ClientHello's body, and where the list's pattern begins in it.
    hello_len: usize,
    at: usize,
}

impl Rewrite {
    /// None when a GCM profile comes first already, or is not offered at all.
    pub fn new(body: &[u8], hello: &ClientHello) -> Option<Self> {
        let profiles = &hello.srtp_profiles;
        let is_gcm = |profile: &u16| GCM.contains(profile);
        if !profiles.iter().any(is_gcm) || profiles.first().is_some_and(is_gcm) {
            return None;
        }
        // Extension type, extension length, list length: two bytes each.
        let at = hello.srtp_profiles_at.checked_sub(6)?;
        let original = body.get(at..hello.srtp_profiles_at + 2 * profiles.len())?.to_vec();
        let mut preferred = original[..6].to_vec();
        let (gcm, others): (Vec<u16>, Vec<u16>) = profiles.iter().partition(|p| is_gcm(p));
        gcm.iter().chain(&others).for_each(|profile| preferred.extend(profile.to_be_bytes()));
        let lists = Arc::new(Lists { original, preferred });
        Some(Self { lists, hello_len: body.len(), at })
    }

    /// The datagram as the library shall see it.
    pub fn apply(&self, datagram: &[u8]) -> Vec<u8> {
        self.replace_in(datagram, &self.lists.original, &self.lists.preferred)
    }

    /// The opposite of [`Self::apply`].
    #[cfg(test)]
    pub fn undo(&self, datagram: &[u8]) -> Vec<u8> {
        self.replace_in(datagram, &self.lists.preferred, &self.lists.original)
    }

    fn replace_in(&self, datagram: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut datagram = datagram.to_vec();
        client_hello::for_each_fragment(&mut datagram, |total, offset, data| {
            if total == self.hello_len {
                // A part of the list may stand in this fragment and the rest in the next.
                for (index, byte) in to.iter().enumerate() {
                    if let Some(place) =
                        (self.at + index).checked_sub(offset).and_then(|place| data.get_mut(place))
                    {
                        *place = *byte;
                    }
                }
            } else {
                // A second ClientHello, after a HelloRetryRequest, is laid out differently.
                replace(data, from, to);
            }
        });
        datagram
    }
}

/// Overwrites the first `from` by `to`, which is as long.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    if let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

thread_local! {
    /// Whose transcripts are hashed on this thread at this moment.
    static CURRENT: RefCell<Option<Arc<Lists>>> = const { RefCell::new(None) };
}

/// Runs `step`, in which transcripts of that client are hashed.
pub fn with_transcript_of<R>(rewrite: Option<&Rewrite>, step: impl FnOnce() -> R) -> R {
    CURRENT.set(rewrite.map(|rewrite| Arc::clone(&rewrite.lists)));
    let result = step();
    CURRENT.set(None);
    result
}

/// The library's own provider but for transcript hashes.
pub fn provider() -> CryptoProvider {
    CryptoProvider { hash_provider: &RestoringHash, ..INNER.clone() }
}

static INNER: LazyLock<CryptoProvider> = LazyLock::new(dimpl::crypto::aws_lc_rs::default_provider);

#[derive(Debug)]
struct RestoringHash;

impl HashProvider for RestoringHash {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(RestoringContext(INNER.hash_provider.create_hash(algorithm)))
    }
}

#[derive(Debug)]
struct RestoringContext(Box<dyn HashContext>);

impl HashContext for RestoringContext {
    fn update(&mut self, data: &[u8]) {
        CURRENT.with_borrow(|lists| match lists {
            Some(lists) => self.0.update(&restore(data, lists)),
            None => self.0.update(data),
        });
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.0.clone_and_finalize(out);
    }
}

/// A transcript (RFC 8446 §4.4.1: messages with four-byte headers) with each ClientHello as the
/// client sent it.
fn restore(transcript: &[u8], lists: &Lists) -> Vec<u8> {
    let mut transcript = transcript.to_vec();
    let mut rest = &mut transcript[..];
    while let [kind, a, b, c, ..] = *rest {
        let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if rest.len() < MESSAGE_HEADER + len {
            break;
        }
        let (message, tail) = rest.split_at_mut(MESSAGE_HEADER + len);
        if kind == CLIENT_HELLO {
            replace(&mut message[MESSAGE_HEADER..], &lists.preferred, &lists.original);
        }
        rest = tail;
    }
    transcript
}

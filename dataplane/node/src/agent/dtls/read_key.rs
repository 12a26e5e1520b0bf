//! The key by which a DTLS 1.2 client seals its records (RFC 5288, AES-GCM), noted while the library
//! opens the first of them, through the library's own seam for cipher suites. With it a record can
//! still be opened when the library's session, a hundred times as large, is gone.
//! It never opens anything for the handshake itself, and seals nothing.

use std::cell::RefCell;
use std::sync::LazyLock;

use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, LessSafeKey, UnboundKey};
use dimpl::CryptoError;
use dimpl::crypto::{
    Aad, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, HashAlgorithm, Nonce,
    SupportedDtls12CipherSuite, TmpBuf,
};

const HEADER: usize = 13;
const EXPLICIT_NONCE: usize = 8;
const TAG: usize = 16;
/// DTLS 1.2 as it stands in a record's header.
const VERSION: [u8; 2] = [0xfe, 0xfd];
/// The epoch after the one and only ChangeCipherSpec.
const EPOCH: [u8; 2] = [0, 1];

/// A record's content type: an alert (RFC 5246 §6.2.1).
pub const ALERT: u8 = 21;
/// A record's content type: a handshake message.
pub const HANDSHAKE: u8 = 22;

/// The client's write key and salt.
#[derive(Clone)]
pub struct ReadKey {
    key: [u8; 32],
    /// 16 or 32.
    len: u8,
    salt: [u8; 4],
}

impl std::fmt::Debug for ReadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadKey(..)")
    }
}

impl ReadKey {
    /// Opens one record of the client's: its content type and content; none when it is not
    /// authentic, or was sent before the keys.
    pub fn open(&self, record: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (header, body) = record.split_at_checked(HEADER)?;
        let content_type = header[0];
        if header[1..3] != VERSION || header[3..5] != EPOCH {
            return None;
        }
        let (explicit, sealed) = body.split_at_checked(EXPLICIT_NONCE)?;
        let len = u16::try_from(sealed.len().checked_sub(TAG)?).ok()?;
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(explicit);
        // RFC 5246 §6.2.3.3: epoch and sequence number, type, version, length of the content.
        let mut additional = [0; 13];
        additional[..8].copy_from_slice(&header[3..11]);
        additional[8] = content_type;
        additional[9..11].copy_from_slice(&VERSION);
        additional[11..].copy_from_slice(&len.to_be_bytes());
        let algorithm = if self.len == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = UnboundKey::new(algorithm, &self.key[..usize::from(self.len)]).ok()?;
        let mut content = sealed.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let additional = aead::Aad::from(additional);
        LessSafeKey::new(key).open_in_place(nonce, additional, &mut content).ok()?;
        content.truncate(usize::from(len));
        Some((content_type, content))
    }
}

/// The DTLS 1.2 records of a datagram, headers included; ends at the first that is cut off.
pub fn records(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = datagram.get(..HEADER)?;
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (record, rest) = datagram.split_at_checked(HEADER + len)?;
        datagram = rest;
        Some(record)
    })
}

thread_local! {
    /// The key that opened a record on this thread last.
    static NOTED: RefCell<Option<ReadKey>> = const { RefCell::new(None) };
}

/// Runs `step` of one session; returns also the key by which records were opened in it, if any.
pub fn noted_in<R>(step: impl FnOnce() -> R) -> (R, Option<ReadKey>) {
    NOTED.set(None);
    let result = step();
    (result, NOTED.take())
}

/// The library's own provider, whose AES-GCM suites of DTLS 1.2 note what they open by.
pub fn provider() -> CryptoProvider {
    CryptoProvider { cipher_suites: &SUITES, ..dimpl::crypto::aws_lc_rs::default_provider() }
}

static SUITES: LazyLock<Vec<&'static dyn SupportedDtls12CipherSuite>> = LazyLock::new(|| {
    let suites = dimpl::crypto::aws_lc_rs::default_provider().cipher_suites.iter();
    suites
        .map(|&suite| match suite.suite() {
            // Once in the life of the process, and as long.
            Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256
            | Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384 => {
                &*Box::leak(Box::new(NotingSuite(suite)))
            }
            _ => suite,
        })
        .collect()
});

#[derive(Debug)]
struct NotingSuite(&'static dyn SupportedDtls12CipherSuite);

impl SupportedDtls12CipherSuite for NotingSuite {
    fn suite(&self) -> Dtls12CipherSuite {
        self.0.suite()
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.0.hash_algorithm()
    }

    fn key_lengths(&self) -> (usize, usize, usize) {
        self.0.key_lengths()
    }

    fn explicit_nonce_len(&self) -> usize {
        self.0.explicit_nonce_len()
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn min_protected_fragment_len(&self) -> usize {
        self.0.min_protected_fragment_len()
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        let inner = self.0.create_cipher(key)?;
        let mut noting = NotingCipher { inner, key: [0; 32], len: 0 };
        if let Some(place) = noting.key.get_mut(..key.len()) {
            place.copy_from_slice(key);
            noting.len = (key.len() & 0xff) as u8;
        }
        Ok(Box::new(noting))
    }
}

struct NotingCipher {
    inner: Box<dyn Cipher>,
    key: [u8; 32],
    len: u8,
}

impl std::fmt::Debug for NotingCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Cipher for NotingCipher {
    fn encrypt(&mut self, plaintext: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        self.inner.encrypt(plaintext, aad, nonce)
    }

    fn decrypt(&mut self, sealed: &mut TmpBuf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let [a, b, c, d, ..] = nonce.0;
        self.inner.decrypt(sealed, aad, nonce)?;
        NOTED.set(Some(ReadKey { key: self.key, len: self.len, salt: [a, b, c, d] }));
        Ok(())
    }
}

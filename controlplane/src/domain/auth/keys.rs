//! The keys of access tokens: Ed25519 (RFC 8032), kept in the accounts database with the private half
//! sealed by AES-256-GCM, so that all replicas share them and a copy of the database signs nothing.
//! A new one is made every 30 days; old ones verify until the last token of theirs has expired.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::SealingKey;
use crate::error::Error;
use crate::store::Store;
use crate::store::signing_key::StoredKey;
use crate::store::snowflake::unix_ms;

/// How often all keys are read again.
pub const PERIOD: Duration = Duration::from_secs(60);
/// How soon they are read again when a token names an unknown one: anybody can make such a token.
const PATIENCE: Duration = Duration::from_secs(5);
/// How old a key becomes before there is a new one.
const ROTATION_MS: u64 = 30 * 86_400_000;
/// How old a key must be before it signs, if there is an older one: all replicas know it by then.
const HEARD_OF_MS: u64 = 3 * 60_000;

/// A public key as others read it (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Jwk {
    /// `OKP`.
    pub kty: &'static str,
    /// `Ed25519`.
    pub crv: &'static str,
    /// `EdDSA`.
    pub alg: &'static str,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Its name in the header of tokens.
    pub kid: String,
    /// The key, base64url.
    pub x: String,
}

#[derive(Default)]
struct Keys {
    signer: Option<(String, EncodingKey)>,
    verifiers: HashMap<String, DecodingKey>,
    public: Vec<Jwk>,
}

struct Inner {
    store: Store,
    sealing: SealingKey,
    /// For how long a key that signs no more is still needed, in milliseconds.
    tokens_live_ms: u64,
    keys: RwLock<Arc<Keys>>,
    read_at: Mutex<Instant>,
}

/// The keys of this replica. Clones share them.
#[derive(Clone)]
pub struct KeyRing {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("public", &self.public()).finish_non_exhaustive()
    }
}

fn cipher(sealing: &SealingKey) -> Result<RandomizedNonceKey, Error> {
    RandomizedNonceKey::new(&AES_256_GCM, sealing.bytes()).map_err(Error::internal)
}

/// A new key.
fn make(sealing: &SealingKey, now_ms: u64) -> Result<StoredKey, Error> {
    let rng = aws_lc_rs::rand::SystemRandom::new();
    let document = Ed25519KeyPair::generate_pkcs8(&rng).map_err(Error::internal)?;
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(Error::internal)?;
    let kid = BASE64.encode(rand::random::<[u8; 9]>());
    let mut sealed = document.as_ref().to_vec();
    // Bound to its name, so that nobody can put one key's private half under another's.
    let nonce = cipher(sealing)?
        .seal_in_place_append_tag(Aad::from(kid.as_bytes()), &mut sealed)
        .map_err(Error::internal)?;
    let sealed = [nonce.as_ref().as_slice(), &sealed].concat();
    Ok(StoredKey {
        public_key: BASE64.encode(pair.public_key().as_ref()),
        sealed_key: BASE64.encode(sealed),
        created_at_ms: now_ms,
        kid,
    })
}

/// The private half, as PKCS #8.
fn unseal(sealing: &SealingKey, key: &StoredKey) -> Result<Vec<u8>, Error> {
    let refused = || {
        let text = "the signing keys in the accounts database are sealed by another key: give all \
                    replicas the same secrets.sealing_key (or sealing.key in data_dir)";
        Error::internal(text)
    };
    let mut sealed = BASE64.decode(&key.sealed_key).map_err(|_| refused())?;
    if sealed.len() < NONCE_LEN {
        return Err(refused());
    }
    let mut body = sealed.split_off(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(&sealed).map_err(|_| refused())?;
    let aad = Aad::from(key.kid.as_bytes());
    let opened = cipher(sealing)?.open_in_place(nonce, aad, &mut body).map_err(|_| refused())?;
    Ok(opened.to_vec())
}

impl KeyRing {
    /// Reads the keys, and makes the first. `tokens_live` is for how long a token is good.
    ///
    /// # Errors
    /// When the store fails, or the keys there are sealed by another key.
    pub async fn open(
        store: Store,
        sealing: SealingKey,
        tokens_live: Duration,
    ) -> Result<Self, Error> {
        let inner = Inner {
            store,
            sealing,
            tokens_live_ms: u64::try_from(tokens_live.as_millis()).unwrap_or(u64::MAX),
            keys: RwLock::default(),
            read_at: Mutex::new(Instant::now()),
        };
        let ring = Self { inner: Arc::new(inner) };
        ring.tend(unix_ms()).await?;
        Ok(ring)
    }

    /// Reads the keys again, makes a new one when it is time, and forgets what has no more use.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn tend(&self, now_ms: u64) -> Result<(), Error> {
        let store = &self.inner.store;
        let mut keys = store.signing_keys().await?;
        let rotate_before_ms = now_ms.saturating_sub(ROTATION_MS);
        if keys.last().is_none_or(|newest| newest.created_at_ms <= rotate_before_ms) {
            let key = make(&self.inner.sealing, now_ms)?;
            store.add_signing_key(&key, rotate_before_ms).await?;
            // Another replica may have been quicker.
            keys = store.signing_keys().await?;
            tracing::info!(keys = keys.len(), "a new key signs access tokens from now on");
        }
        // A key's last token is made when its successor begins to sign, and a little later.
        let margin_ms = self.inner.tokens_live_ms.saturating_add(2 * HEARD_OF_MS);
        let useless =
            keys.windows(2).filter(|pair| pair[1].created_at_ms.saturating_add(margin_ms) < now_ms);
        let useless: Vec<String> = useless.map(|pair| pair[0].kid.clone()).collect();
        for kid in &useless {
            store.forget_signing_key(kid).await?;
        }
        keys.retain(|key| !useless.contains(&key.kid));
        self.use_keys(&keys, now_ms)
    }

    fn use_keys(&self, stored: &[StoredKey], now_ms: u64) -> Result<(), Error> {
        let mut keys = Keys::default();
        let known = |key: &&StoredKey| key.created_at_ms.saturating_add(HEARD_OF_MS) <= now_ms;
        let signer = stored.iter().rev().find(known).or(stored.first());
        if let Some(key) = signer {
            let private = unseal(&self.inner.sealing, key)?;
            keys.signer = Some((key.kid.clone(), EncodingKey::from_ed_der(&private)));
        }
        for key in stored {
            let verifier =
                DecodingKey::from_ed_components(&key.public_key).map_err(Error::internal)?;
            keys.verifiers.insert(key.kid.clone(), verifier);
            keys.public.push(Jwk {
                kty: "OKP",
                crv: "Ed25519",
                alg: "EdDSA",
                usage: "sig",
                kid: key.kid.clone(),
                x: key.public_key.clone(),
            });
        }
        *self.inner.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.inner.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key that signs now, with its name.
    ///
    /// # Errors
    /// When there is none, which would be a defect.
    pub fn signer(&self) -> Result<(String, EncodingKey), Error> {
        self.keys().signer.clone().ok_or_else(|| Error::internal("no key signs"))
    }

    /// The key of this name. Another replica may have just made it: then the keys are read again,
    /// but not for everybody who invents a name.
    pub async fn verifier(&self, kid: &str) -> Option<DecodingKey> {
        if let Some(key) = self.keys().verifiers.get(kid) {
            return Some(key.clone());
        }
        {
            let mut read_at = self.inner.read_at.lock().unwrap_or_else(PoisonError::into_inner);
            if read_at.elapsed() < PATIENCE {
                return None;
            }
            *read_at = Instant::now();
        }
        if let Err(cause) = self.tend(unix_ms()).await {
            tracing::warn!(%cause, "signing keys could not be read");
        }
        self.keys().verifiers.get(kid).cloned()
    }

    /// The public keys, the oldest first.
    pub fn public(&self) -> Vec<Jwk> {
        self.keys().public.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(byte: u8) -> SealingKey {
        format!("{byte:02x}").repeat(32).parse().expect("64 digits")
    }

    #[test]
    fn a_private_key_opens_only_by_its_seal_and_under_its_name() {
        let key = make(&sealing(1), 5).expect("made");
        let private = unseal(&sealing(1), &key).expect("ours");
        assert!(Ed25519KeyPair::from_pkcs8(&private).is_ok());
        assert!(unseal(&sealing(2), &key).is_err());
        let renamed = StoredKey { kid: "other".into(), ..key.clone() };
        assert!(unseal(&sealing(1), &renamed).is_err());
        for damaged in ["", "AAAA", "!", &key.sealed_key[1..]] {
            let damaged = StoredKey { sealed_key: damaged.into(), ..key.clone() };
            assert!(unseal(&sealing(1), &damaged).is_err());
        }
    }

    #[tokio::test]
    async fn keys_rotate_and_old_ones_verify_while_their_tokens_live() {
        let name = format!("hype-keys-{}-{:x}", std::process::id(), rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a fresh folder");
        let store = Store::open_sqlite(&folder.join("keys.sqlite"), 1).await.expect("opens");
        let live = Duration::from_secs(600);
        let ring = KeyRing::open(store.clone(), sealing(1), live).await.expect("opens");
        let signer = || ring.signer().expect("one signs").0;
        let kids = || ring.public().into_iter().map(|key| key.kid).collect::<Vec<_>>();
        let (first, start_ms) = (signer(), unix_ms());
        ring.tend(start_ms + ROTATION_MS - 60_000).await.expect("read");
        assert_eq!(kids(), std::slice::from_ref(&first));
        // A new one is made; it signs once everybody has heard of it.
        let made_ms = start_ms + ROTATION_MS + 60_000;
        ring.tend(made_ms).await.expect("rotated");
        assert_eq!((kids().len(), signer()), (2, first.clone()));
        ring.tend(made_ms + HEARD_OF_MS).await.expect("read");
        let second = signer();
        assert_ne!(second, first);
        assert!(ring.verifier(&first).await.is_some(), "tokens of the old one are good");
        ring.tend(made_ms + 600_000 + 2 * HEARD_OF_MS + 1).await.expect("read");
        assert_eq!(kids(), std::slice::from_ref(&second));
        // Another replica has the same; one with another seal does not start.
        let other = KeyRing::open(store.clone(), sealing(1), live).await.expect("opens");
        assert_eq!(other.public(), ring.public());
        assert!(KeyRing::open(store.clone(), sealing(2), live).await.is_err());
        store.close().await;
        std::fs::remove_dir_all(&folder).expect("it was made");
    }
}

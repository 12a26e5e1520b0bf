//! Access tokens (JWT, RFC 7519, signed by Ed25519) and refresh tokens (a family and a 256-bit secret).
//! The first refresh secret of a sign-in is random and each next one an HMAC of the one before,
//! so that a repeated request, whose first answer was lost, gets the same successor.

use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hype_protocol::id::UserId;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::keys::KeyRing;
use crate::config::{SealingKey, TokenLifetimes};
use crate::error::Error;
use crate::store::snowflake::unix_ms;

const KEY_LEN: usize = 32;
const FAMILY_LEN: usize = 16;
const SECRET_LEN: usize = 32;
const ISSUER: &str = "hype";
/// Nothing that we sign is longer.
const MAX_ACCESS_CHARS: usize = 512;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    /// The sign-in.
    sid: String,
    iat: u64,
    exp: u64,
}

/// Who showed an access token, and by which sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The person.
    pub user: UserId,
    /// The family of the sign-in's refresh tokens.
    pub family: String,
}

/// A refresh token, apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Refresh {
    family: String,
    secret: [u8; SECRET_LEN],
}

impl std::fmt::Debug for Refresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresh").field("family", &self.family).finish_non_exhaustive()
    }
}

impl Refresh {
    /// Reads what a client shows; none when we never made such a text.
    pub fn parse(text: &str) -> Option<Self> {
        let (family, secret) = text.split_once('.')?;
        let mut family_bytes = [0; FAMILY_LEN];
        let mut secret_bytes = [0; SECRET_LEN];
        let family_len = BASE64.decode_slice(family, &mut family_bytes).ok()?;
        let secret_len = BASE64.decode_slice(secret, &mut secret_bytes).ok()?;
        (family_len == FAMILY_LEN && secret_len == SECRET_LEN)
            .then(|| Self { family: family.to_owned(), secret: secret_bytes })
    }

    /// As clients keep it.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.family, BASE64.encode(self.secret))
    }

    /// The sign-in that it belongs to.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// What the store keeps of the secret. It has 256 random bits, so a plain hash is enough.
    pub fn secret_hash(&self) -> String {
        digest::digest(&digest::SHA256, &self.secret)
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Signs and checks tokens.
#[derive(Clone)]
pub struct Tokens {
    keys: KeyRing,
    validation: Validation,
    succession: hmac::Key,
    lifetimes: TokenLifetimes,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("lifetimes", &self.lifetimes).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Tokens by these keys. Replicas must share the sealing key.
    pub fn new(keys: KeyRing, sealing: &SealingKey, lifetimes: TokenLifetimes) -> Self {
        let mut succession = [0; KEY_LEN];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"hype tokens 1")
            .extract(sealing.bytes())
            .expand(&[b"refresh succession"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut succession))
            .expect("32 bytes are within HKDF's limit");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.leeway = 0;
        let succession = hmac::Key::new(hmac::HMAC_SHA256, &succession);
        Self { keys, validation, succession, lifetimes }
    }

    /// The keys.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// A new access token of a sign-in.
    ///
    /// # Errors
    /// When it cannot be encoded, which would be a defect.
    pub fn access(&self, user: UserId, family: &str) -> Result<String, Error> {
        let now_s = unix_ms() / 1000;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: user.to_string(),
            sid: family.to_owned(),
            iat: now_s,
            exp: now_s + self.access_lifetime_s(),
        };
        let (kid, key) = self.keys.signer()?;
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &key).map_err(Error::internal)
    }

    /// Whose access token this is.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it is forged or expired.
    pub async fn verify_access(&self, token: &str) -> Result<Bearer, Error> {
        if token.len() > MAX_ACCESS_CHARS {
            return Err(Error::Unauthenticated);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::Unauthenticated)?;
        let kid = header.kid.ok_or(Error::Unauthenticated)?;
        let key = self.keys.verifier(&kid).await.ok_or(Error::Unauthenticated)?;
        let data = jsonwebtoken::decode::<Claims>(token, &key, &self.validation)
            .map_err(|_| Error::Unauthenticated)?;
        let user = data.claims.sub.parse().map_err(|_| Error::Unauthenticated)?;
        Ok(Bearer { user, family: data.claims.sid })
    }

    /// The first refresh token of a sign-in.
    pub fn new_refresh(&self) -> Refresh {
        Refresh {
            family: BASE64.encode(rand::random::<[u8; FAMILY_LEN]>()),
            secret: rand::random(),
        }
    }

    /// The one and only refresh token that follows another.
    pub fn next_refresh(&self, shown: &Refresh) -> Refresh {
        let mut context = hmac::Context::with_key(&self.succession);
        context.update(shown.family.as_bytes());
        context.update(&shown.secret);
        let mut secret = [0; SECRET_LEN];
        secret.copy_from_slice(context.sign().as_ref());
        Refresh { family: shown.family.clone(), secret }
    }

    /// For how long an access token is good, in seconds.
    pub fn access_lifetime_s(&self) -> u64 {
        self.lifetimes.access.as_secs()
    }

    /// For how long a refresh token is good, in milliseconds.
    pub fn refresh_lifetime_ms(&self) -> u64 {
        self.lifetimes.refresh.as_secs() * 1000
    }

    /// For how long a used refresh token is answered again, in milliseconds.
    pub fn refresh_grace_ms(&self) -> u64 {
        u64::try_from(self.lifetimes.refresh_grace.as_millis()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;

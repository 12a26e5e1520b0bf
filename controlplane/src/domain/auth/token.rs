//! Access tokens (JWT, RFC 7519, HMAC-SHA-256) and refresh tokens (a family and a 256-bit secret).
//! The first refresh secret of a sign-in is random and each next one an HMAC of the one before,
//! so that a repeated request, whose first answer was lost, gets the same successor.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hype_protocol::id::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::config::TokenLifetimes;
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
    iat: u64,
    exp: u64,
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

/// Signs and checks tokens by one key.
#[derive(Clone)]
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
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
    /// Tokens by the key in a file, which is made (readable by its owner only) when it is missing.
    /// Replicas must share it.
    ///
    /// # Errors
    /// When the file cannot be read or made, or has not 32 bytes.
    pub fn open(path: &Path, lifetimes: TokenLifetimes) -> std::io::Result<Self> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(mut file) => {
                let key: [u8; KEY_LEN] = rand::random();
                file.write_all(&key)?;
                // A key that power loss takes back would sign everybody out.
                file.sync_all()?;
                Ok(Self::new(&key, lifetimes))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let mut key = Vec::with_capacity(KEY_LEN + 1);
                File::open(path)?.take(KEY_LEN as u64 + 1).read_to_end(&mut key)?;
                let key: [u8; KEY_LEN] = key.try_into().map_err(|_| {
                    let text =
                        format!("{} is damaged: it must have {KEY_LEN} bytes", path.display());
                    std::io::Error::new(ErrorKind::InvalidData, text)
                })?;
                Ok(Self::new(&key, lifetimes))
            }
            Err(error) => Err(error),
        }
    }

    /// Tokens by a given key.
    pub fn new(key: &[u8; KEY_LEN], lifetimes: TokenLifetimes) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"hype tokens 1").extract(key);
        let subkey = |label: &'static [u8]| {
            let mut key = [0; KEY_LEN];
            prk.expand(&[label], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut key))
                .expect("32 bytes are within HKDF's limit");
            key
        };
        let access = subkey(b"access");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.leeway = 0;
        Self {
            encoding: EncodingKey::from_secret(&access),
            decoding: DecodingKey::from_secret(&access),
            validation,
            succession: hmac::Key::new(hmac::HMAC_SHA256, &subkey(b"refresh succession")),
            lifetimes,
        }
    }

    /// A new access token.
    ///
    /// # Errors
    /// When it cannot be encoded, which would be a defect.
    pub fn access(&self, user: UserId) -> Result<String, Error> {
        let now_s = unix_ms() / 1000;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: user.to_string(),
            iat: now_s,
            exp: now_s + self.access_lifetime_s(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(Error::internal)
    }

    /// Whose access token this is.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it is forged or expired.
    pub fn verify_access(&self, token: &str) -> Result<UserId, Error> {
        if token.len() > MAX_ACCESS_CHARS {
            return Err(Error::Unauthenticated);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| Error::Unauthenticated)?;
        data.claims.sub.parse().map_err(|_| Error::Unauthenticated)
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
mod tests {
    use super::*;

    fn tokens(key: u8) -> Tokens {
        Tokens::new(&[key; KEY_LEN], TokenLifetimes::default())
    }

    fn forged(tokens: &Tokens, header: &Header, change: impl FnOnce(&mut Claims)) -> String {
        let now_s = unix_ms() / 1000;
        let mut claims =
            Claims { iss: ISSUER.into(), sub: "7".into(), iat: now_s, exp: now_s + 60 };
        change(&mut claims);
        jsonwebtoken::encode(header, &claims, &tokens.encoding).expect("encodes")
    }

    #[test]
    fn only_our_own_unexpired_tokens_are_good() {
        let ours = tokens(1);
        let header = Header::new(Algorithm::HS256);
        let good = ours.access(UserId(7)).expect("signed");
        assert_eq!(ours.verify_access(&good).expect("ours"), UserId(7));
        assert_eq!(ours.verify_access(&forged(&ours, &header, |_| {})).expect("ours"), UserId(7));
        let (head, signature) = good.rsplit_once('.').expect("three parts");
        let (start, body) = head.split_once('.').expect("three parts");
        let unsigned = format!("{}.{body}.", BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#));
        for wrong in [
            tokens(2).access(UserId(7)).expect("signed"),
            forged(&ours, &header, |claims| claims.exp = claims.iat - 1),
            forged(&ours, &header, |claims| claims.iss = "other".into()),
            forged(&ours, &header, |claims| claims.sub = "root".into()),
            forged(&ours, &Header::new(Algorithm::HS512), |_| {}),
            format!(
                "{start}.{}.{signature}",
                BASE64.encode(r#"{"sub":"8","exp":99999999999,"iss":"hype","iat":0}"#)
            ),
            unsigned,
            "x".repeat(100_000),
            String::new(),
        ] {
            let error = ours.verify_access(&wrong).expect_err("must not be accepted");
            assert_eq!(error.code(), "unauthenticated", "{wrong:.80}");
        }
    }

    #[test]
    fn refresh_tokens_come_back_and_have_one_successor() {
        let tokens = tokens(1);
        let first = tokens.new_refresh();
        assert_eq!(Refresh::parse(&first.to_text()), Some(first.clone()));
        let next = tokens.next_refresh(&first);
        assert_eq!(next, tokens.next_refresh(&first));
        assert_eq!(next.family(), first.family());
        assert_ne!(next.secret_hash(), first.secret_hash());
        assert_ne!(tokens.new_refresh().family(), first.family());
        for wrong in ["", ".", "a.b", &first.to_text()[1..], &format!("{}x", first.to_text())] {
            assert_eq!(Refresh::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("hype-token-{}", rand::random::<u64>()));
        std::fs::create_dir(&folder).expect("a fresh folder");
        let path = folder.join("token.key");
        let lifetimes = TokenLifetimes::default();
        let token =
            Tokens::open(&path, lifetimes).expect("made").access(UserId(3)).expect("signed");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Tokens::open(&path, lifetimes).expect("read");
        assert_eq!(again.verify_access(&token).expect("the same key"), UserId(3));
        std::fs::write(&path, b"short").expect("written");
        assert!(Tokens::open(&path, lifetimes).is_err());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

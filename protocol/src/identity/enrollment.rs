//! How a new node gets its certificate: an operator makes a token, the node sends it with a
//! certificate request, and trusts the answer only from the authority whose SHA-256 stands in the
//! token. The token is a bearer secret until it expires: give it over a channel you trust.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};

use super::authority::{certificate_der, public_key_of, sha256};
use super::{Error, Identity, Issued, Subject};
use crate::id::NodeId;

/// Longer texts are no token of ours.
const MAX_TOKEN: usize = 512;

/// What an enrollment token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Which node it enrolls.
    pub node: NodeId,
    /// Until when, in Unix seconds.
    pub expires: u64,
    /// SHA-256 of the authority's certificate.
    pub authority: [u8; 32],
}

impl Token {
    pub(super) fn new(node: NodeId, expires: SystemTime, authority: [u8; 32]) -> Self {
        let expires = expires.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        Self { node, expires, authority }
    }

    pub(super) fn expired(&self, now: SystemTime) -> bool {
        now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() >= self.expires
    }

    /// `BODY.MAC`, both base64url.
    pub(super) fn sign(&self, key: &hmac::Key) -> String {
        let fields = (&self.node, self.expires, BASE64.encode(self.authority));
        let body = serde_json::to_vec(&fields).expect("three plain fields encode");
        let mac = hmac::sign(key, &body);
        format!("{}.{}", BASE64.encode(body), BASE64.encode(mac))
    }

    pub(super) fn verify(text: &str, key: &hmac::Key) -> Result<Self, Error> {
        let (body, mac) = split(text)?;
        hmac::verify(key, &body, &mac).map_err(|_| Error::InvalidToken)?;
        parse(&body)
    }

    /// Reads a token without checking its signature, which only the authority can.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] when it is none.
    pub fn read(text: &str) -> Result<Self, Error> {
        parse(&split(text)?.0)
    }
}

fn split(text: &str) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let text = text.trim();
    let (body, mac) =
        text.split_once('.').filter(|_| text.len() <= MAX_TOKEN).ok_or(Error::InvalidToken)?;
    let decode = |part: &str| BASE64.decode(part).map_err(|_| Error::InvalidToken);
    Ok((decode(body)?, decode(mac)?))
}

fn parse(body: &[u8]) -> Result<Token, Error> {
    let (node, expires, authority): (NodeId, u64, String) =
        serde_json::from_slice(body).map_err(|_| Error::InvalidToken)?;
    let authority = BASE64.decode(authority).ok().and_then(|bytes| bytes.try_into().ok());
    Ok(Token { node, expires, authority: authority.ok_or(Error::InvalidToken)? })
}

/// The node's side of an enrollment: a fresh key and the request to send.
pub struct Enrollment {
    token: Token,
    key: KeyPair,
    request: String,
}

impl std::fmt::Debug for Enrollment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrollment").field("node", &self.token.node).finish_non_exhaustive()
    }
}

impl Enrollment {
    /// Makes a key and a request for it.
    ///
    /// # Errors
    /// [`Error::InvalidToken`], or [`Error::ExpiredToken`] by this machine's clock.
    pub fn begin(token: &str) -> Result<Self, Error> {
        let token = Token::read(token)?;
        if token.expired(SystemTime::now()) {
            return Err(Error::ExpiredToken);
        }
        let key = KeyPair::generate()?;
        let name = Subject::Node(token.node.clone()).dns_name();
        let request = CertificateParams::new(vec![name])?.serialize_request(&key)?.pem()?;
        Ok(Self { token, key, request })
    }

    /// The certificate request (PKCS #10, PEM) to send with the token.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Which node the token is for.
    pub fn node(&self) -> &NodeId {
        &self.token.node
    }

    /// Checks the answer and writes `node.pem`, `node.key` and `ca.pem` to `directory`.
    ///
    /// # Errors
    /// [`Error::WrongAuthority`], [`Error::WrongKey`] or [`Error::WrongName`] when the answer is
    /// not for this enrollment; [`Error::File`] when it cannot be written.
    pub fn finish(self, answer: &Issued, directory: &Path) -> Result<Identity, Error> {
        if sha256(&certificate_der(&answer.authority)?) != self.token.authority {
            return Err(Error::WrongAuthority);
        }
        if public_key_of(&certificate_der(&answer.certificate)?)? != self.key.der_bytes() {
            return Err(Error::WrongKey);
        }
        let expected = Subject::Node(self.token.node);
        Identity::check(&self.key.serialize_pem(), answer, Some(&expected))?;
        Identity::save(directory, &self.key.serialize_pem(), answer)
    }
}

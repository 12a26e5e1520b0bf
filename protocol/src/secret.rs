//! What is derived from a node's boot secret: ICE credentials and native clients' SRTP keys.
//! Both planes derive them alone, so an answer needs no round trip to the node and the store
//! holds no secret. A new boot has a new secret; with random session ids no key comes twice.

use std::fmt;

use aws_lc_rs::{constant_time, hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use crate::id::{NodeId, SessionId, WorkerId};

/// 32 random bytes, made by a node at each boot and given only to control replicas over mTLS.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSecret(pub [u8; 32]);

impl fmt::Debug for BootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootSecret(..)")
    }
}

/// An SRTP protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SrtpProfile {
    /// AES-128 in GCM with a 16-byte tag.
    AeadAes128Gcm,
    /// AES-256 in GCM with a 16-byte tag.
    AeadAes256Gcm,
    /// AES-128 in counter mode with HMAC-SHA1 cut to 80 bits.
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// Length of a master key in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of a master salt in bytes.
    pub fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Length of the keying material that RFC 5764 §4.2 exports: both sides' keys, then salts.
    pub fn keying_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

/// Keying material laid out as by RFC 5764 §4.2: client key, server key, client salt, server salt.
/// The node is always the server.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeying {
    /// The profile that the material is for.
    pub profile: SrtpProfile,
    /// [`SrtpProfile::keying_len`] bytes.
    pub material: Vec<u8>,
}

impl fmt::Debug for SrtpKeying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKeying({:?}, ..)", self.profile)
    }
}

/// Bytes of a local ufrag before base64: node, worker, session, MAC.
const UFRAG_LEN: usize = 2 + 2 + 8 + 6;
const UFRAG_MAC_LEN: usize = 6;
/// Length of a ufrag in characters.
pub const UFRAG_CHARS: usize = UFRAG_LEN / 3 * 4;

/// The keys of one boot of one node, made once from its secret.
#[derive(Clone)]
pub struct BootKeys {
    node: [u8; 2],
    ufrag: hmac::Key,
    password: hmac::Key,
    srtp: hkdf::Prk,
}

impl fmt::Debug for BootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootKeys(..)")
    }
}

impl BootKeys {
    /// Derives a boot's keys.
    pub fn new(node: &NodeId, secret: &BootSecret) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"hype boot 1").extract(&secret.0);
        let subkey = |label: &'static [u8]| {
            let mut key = [0; 32];
            prk.expand(&[label], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut key))
                .expect("32 bytes are within HKDF's limit");
            hmac::Key::new(hmac::HMAC_SHA256, &key)
        };
        let name = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, node.as_str().as_bytes());
        Self {
            node: [name.as_ref()[0], name.as_ref()[1]],
            ufrag: subkey(b"ufrag"),
            password: subkey(b"password"),
            srtp: prk.clone(),
        }
    }

    /// The node's ICE ufrag for a session: 24 characters that carry node, worker and session
    /// under a short MAC, so that a stray packet is rejected without a table.
    pub fn ufrag(&self, worker: WorkerId, session: SessionId) -> String {
        BASE64.encode(self.ufrag_bytes(worker, session))
    }

    fn ufrag_bytes(&self, worker: WorkerId, session: SessionId) -> [u8; UFRAG_LEN] {
        let mut bytes = [0; UFRAG_LEN];
        bytes[..2].copy_from_slice(&self.node);
        bytes[2..4].copy_from_slice(&worker.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&session.0.to_be_bytes());
        let mac = hmac::sign(&self.ufrag, &bytes[..12]);
        bytes[12..].copy_from_slice(&mac.as_ref()[..UFRAG_MAC_LEN]);
        bytes
    }

    /// Whose ufrag this is; none when this boot did not make it.
    pub fn open_ufrag(&self, ufrag: &[u8]) -> Option<(WorkerId, SessionId)> {
        if ufrag.len() != UFRAG_CHARS {
            return None;
        }
        let mut bytes = [0; UFRAG_LEN];
        let len = BASE64.decode_slice(ufrag, &mut bytes).ok()?;
        if len != UFRAG_LEN {
            return None;
        }
        let worker = WorkerId(u16::from_be_bytes([bytes[2], bytes[3]]));
        let session = SessionId(u64::from_be_bytes(bytes[4..12].try_into().ok()?));
        let expected = self.ufrag_bytes(worker, session);
        constant_time::verify_slices_are_equal(&expected, &bytes).ok()?;
        Some((worker, session))
    }

    /// The node's ICE password for a session: 24 characters, 144 bits.
    pub fn ice_password(&self, session: SessionId) -> String {
        let mac = hmac::sign(&self.password, &session.0.to_be_bytes());
        BASE64.encode(&mac.as_ref()[..18])
    }

    /// The SRTP keys of a native client's session. They are the worker's own: each worker refuses
    /// a session id that it has seen, so no two can ever seal with the same key.
    pub fn native_keying(
        &self,
        worker: WorkerId,
        session: SessionId,
        profile: SrtpProfile,
    ) -> SrtpKeying {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut material = vec![0; profile.keying_len()];
        let session = session.0.to_be_bytes();
        let worker = worker.0.to_be_bytes();
        let info: [&[u8]; 4] = [b"native srtp", &[profile as u8], &worker, &session];
        self.srtp
            .expand(&info, Length(material.len()))
            .and_then(|okm| okm.fill(&mut material))
            .expect("keying material is within HKDF's limit");
        SrtpKeying { profile, material }
    }
}

/// HMAC-SHA1 over the concatenated parts: STUN's MESSAGE-INTEGRITY (RFC 8489 §14.5) asks for it.
pub fn sha1_hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut context =
        hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("SHA-1 makes 20 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(node: &str, secret: u8) -> BootKeys {
        BootKeys::new(&node.parse().expect("a valid name"), &BootSecret([secret; 32]))
    }

    #[test]
    fn only_the_boot_that_made_a_ufrag_opens_it() {
        let ufrag = keys("a", 1).ufrag(WorkerId(3), SessionId(42));
        assert_eq!(ufrag.len(), UFRAG_CHARS);
        assert_eq!(keys("a", 1).open_ufrag(ufrag.as_bytes()), Some((WorkerId(3), SessionId(42))));
        assert_eq!(keys("a", 2).open_ufrag(ufrag.as_bytes()), None);
        assert_eq!(keys("b", 1).open_ufrag(ufrag.as_bytes()), None);
        let mut forged = ufrag.into_bytes();
        forged[8] ^= 1;
        assert_eq!(keys("a", 1).open_ufrag(&forged), None);
        assert_eq!(keys("a", 1).open_ufrag(b"short"), None);
    }

    #[test]
    fn every_session_and_profile_has_its_own_keys() {
        let keys = keys("a", 1);
        let gcm = SrtpProfile::AeadAes128Gcm;
        let one = keys.native_keying(WorkerId(0), SessionId(1), gcm);
        assert_eq!(one.material.len(), gcm.keying_len());
        assert_eq!(one, keys.native_keying(WorkerId(0), SessionId(1), gcm));
        assert_ne!(one, keys.native_keying(WorkerId(0), SessionId(2), gcm));
        assert_ne!(one, keys.native_keying(WorkerId(1), SessionId(1), gcm));
        assert_ne!(keys.ice_password(SessionId(1)), keys.ice_password(SessionId(2)));
    }
}

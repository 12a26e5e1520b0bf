//! Session keys from master keys (RFC 3711 §4.3, key derivation rate 0; RFC 7714 §11 for the
//! shorter salt of the AEAD profiles).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use hype_protocol::secret::SrtpProfile;

/// What a session key is for (RFC 3711 §4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// SRTP encryption.
    RtpKey = 0,
    /// SRTP authentication.
    RtpAuthentication = 1,
    /// SRTP salt.
    RtpSalt = 2,
    /// SRTCP encryption.
    RtcpKey = 3,
    /// SRTCP authentication.
    RtcpAuthentication = 4,
    /// SRTCP salt.
    RtcpSalt = 5,
}

/// Fills `out` with the session key of the label: the keystream of AES in counter mode under the
/// master key, from the master salt with the label in its place.
///
/// # Errors
/// [`super::InvalidKeying`] when a length is not one of the profile's.
pub fn derive(
    master_key: &[u8],
    master_salt: &[u8],
    label: Label,
    out: &mut [u8],
) -> Result<(), super::InvalidKeying> {
    let algorithm = if master_key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, master_key)
        .and_then(EncryptingKey::ctr)
        .map_err(|_| super::InvalidKeying)?;
    let mut iv = [0; 16];
    iv.get_mut(..master_salt.len().min(14))
        .filter(|field| field.len() == master_salt.len())
        .ok_or(super::InvalidKeying)?
        .copy_from_slice(master_salt);
    // RFC 3711 §4.3.1: the label stands left of the 48-bit index, which is 0 here.
    iv[7] ^= label as u8;
    out.fill(0);
    key.less_safe_encrypt(out, EncryptionContext::Iv128((&iv).into()))
        .map_err(|_| super::InvalidKeying)?;
    Ok(())
}

/// The session keys of one direction, for RTP or for RTCP.
pub struct SessionKeys {
    bytes: [u8; 32 + 20 + 14],
    profile: SrtpProfile,
}

impl SessionKeys {
    /// Derives the keys for RTP, or for RTCP.
    ///
    /// # Errors
    /// [`super::InvalidKeying`] when a length is not the profile's.
    pub fn derive(
        profile: SrtpProfile,
        master_key: &[u8],
        master_salt: &[u8],
        rtcp: bool,
    ) -> Result<Self, super::InvalidKeying> {
        if master_key.len() != profile.key_len() || master_salt.len() != profile.salt_len() {
            return Err(super::InvalidKeying);
        }
        let labels = if rtcp {
            [Label::RtcpKey, Label::RtcpAuthentication, Label::RtcpSalt]
        } else {
            [Label::RtpKey, Label::RtpAuthentication, Label::RtpSalt]
        };
        let mut bytes = [0; 66];
        derive(master_key, master_salt, labels[0], &mut bytes[..profile.key_len()])?;
        derive(master_key, master_salt, labels[1], &mut bytes[32..52])?;
        derive(master_key, master_salt, labels[2], &mut bytes[52..52 + profile.salt_len()])?;
        Ok(Self { bytes, profile })
    }

    /// Takes session keys as they are: for the vectors of RFC 7714, which begin there.
    ///
    /// # Errors
    /// [`super::InvalidKeying`] when a length is not the profile's; `authentication` is 20 bytes,
    /// or empty for the AEAD profiles.
    pub fn from_parts(
        profile: SrtpProfile,
        key: &[u8],
        authentication: &[u8],
        salt: &[u8],
    ) -> Result<Self, super::InvalidKeying> {
        let expected = if profile == SrtpProfile::Aes128CmSha1_80 { 20 } else { 0 };
        if key.len() != profile.key_len()
            || salt.len() != profile.salt_len()
            || authentication.len() != expected
        {
            return Err(super::InvalidKeying);
        }
        let mut bytes = [0; 66];
        bytes[..key.len()].copy_from_slice(key);
        bytes[32..32 + expected].copy_from_slice(authentication);
        bytes[52..52 + salt.len()].copy_from_slice(salt);
        Ok(Self { bytes, profile })
    }

    /// What they are for.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// The encryption key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..self.profile.key_len()]
    }

    /// The HMAC-SHA1 key; unused by the AEAD profiles.
    pub fn authentication(&self) -> &[u8] {
        &self.bytes[32..52]
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.bytes[52..52 + self.profile.salt_len()]
    }
}

impl Drop for SessionKeys {
    fn drop(&mut self) {
        // The ciphers hold their own copies by now; without unsafe code this is best effort.
        self.bytes = [0; 66];
        std::hint::black_box(&self.bytes);
    }
}

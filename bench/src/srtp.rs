//! SRTP contexts of a client from keying material (RFC 5764 §4.2), by webrtc-srtp.

use anyhow::ensure;
use hype_protocol::secret::SrtpProfile;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

/// What the client seals with, and two to open with: one for RTP, one for RTCP.
///
/// # Errors
/// When the material does not fit the profile.
pub fn contexts(profile: SrtpProfile, material: &[u8]) -> anyhow::Result<[Context; 3]> {
    let (key, salt) = (profile.key_len(), profile.salt_len());
    ensure!(
        material.len() == profile.keying_len(),
        "keying material of {} bytes does not fit {profile:?}",
        material.len()
    );
    let profile = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let (keys, salts) = material.split_at(2 * key);
    let outbound = Context::new(&keys[..key], &salts[..salt], profile, None, None)?;
    let inbound = || Context::new(&keys[key..], &salts[salt..], profile, None, None);
    Ok([outbound, inbound()?, inbound()?])
}

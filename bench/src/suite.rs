//! SRTP suites as benchmarks call them on the command line and in their results.

use hype_protocol::secret::SrtpProfile;

/// From its name on the command line.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<SrtpProfile, String> {
    match text {
        "gcm" => Ok(SrtpProfile::AeadAes128Gcm),
        "gcm256" => Ok(SrtpProfile::AeadAes256Gcm),
        "cm" => Ok(SrtpProfile::Aes128CmSha1_80),
        _ => Err("expected gcm, gcm256 or cm".into()),
    }
}

/// Its name.
pub fn name(profile: SrtpProfile) -> &'static str {
    match profile {
        SrtpProfile::AeadAes128Gcm => "gcm",
        SrtpProfile::AeadAes256Gcm => "gcm256",
        SrtpProfile::Aes128CmSha1_80 => "cm",
    }
}

//! What seals a peer's outgoing RTP: the vector kernel for AES-GCM where the processor has it, else
//! the library. Both give the same bytes; RTCP and all that comes in goes by the library alone.
//! Keeps no state: whether an index may be used is decided by the caller.

use hype_gcm::SealingKey;
use hype_protocol::secret::SrtpProfile;

use super::cipher::{Cipher, GCM_TAG, gcm_rtp_nonce};
use super::key_derivation::SessionKeys;
use super::{InvalidKeying, ProtectError};

/// One session key with its salt, for sealing RTP.
pub(super) enum Sealer {
    /// AES-GCM (RFC 7714).
    Kernel { key: SealingKey, salt: [u8; 12] },
    /// Any profile, on any processor.
    Library(Box<Cipher>),
}

impl Sealer {
    /// Makes ready the session keys, for the kernel where it is there.
    ///
    /// # Errors
    /// [`InvalidKeying`] when the keys are not accepted.
    pub(super) fn new(keys: &SessionKeys) -> Result<Self, InvalidKeying> {
        let is_gcm = match keys.profile() {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => true,
            SrtpProfile::Aes128CmSha1_80 => false,
        };
        match SealingKey::new(keys.key()) {
            Some(key) if is_gcm => {
                let salt = keys.salt().try_into().map_err(|_| InvalidKeying)?;
                Ok(Self::Kernel { key, salt })
            }
            _ => Ok(Self::Library(Box::new(Cipher::new(keys)?))),
        }
    }

    /// Bytes of an authentication tag.
    #[inline]
    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Kernel { .. } => GCM_TAG,
            Self::Library(cipher) => cipher.tag_len(),
        }
    }

    /// Brings the kernel's key near; the library's are its own business.
    #[inline]
    pub(super) fn prefetch(&self) {
        match self {
            Self::Kernel { key, .. } => key.prefetch(),
            Self::Library(_) => {}
        }
    }

    /// Seals `payload` behind the header in `packet[..header_len]`. `packet` is exactly header,
    /// payload and tag long.
    ///
    /// # Errors
    /// [`ProtectError::NoRoom`] when it is not.
    #[inline]
    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        payload: &[u8],
        index: u64,
    ) -> Result<(), ProtectError> {
        match self {
            Self::Kernel { key, salt } => {
                let (header, body) =
                    packet.split_at_mut_checked(header_len).ok_or(ProtectError::NoRoom)?;
                seal_by_kernel(key, salt, header, payload, index, body)
            }
            Self::Library(cipher) => cipher.seal_rtp(packet, header_len, payload, index),
        }
    }

    /// The same, with a copy of the header to be read instead of the one in `packet`.
    ///
    /// # Errors
    /// [`ProtectError::NoRoom`] when the lengths do not fit.
    #[inline]
    pub(super) fn seal_beside(
        &self,
        packet: &mut [u8],
        header: &[u8],
        payload: &[u8],
        index: u64,
    ) -> Result<(), ProtectError> {
        match self {
            Self::Kernel { key, salt } => {
                let body = packet.get_mut(header.len()..).ok_or(ProtectError::NoRoom)?;
                seal_by_kernel(key, salt, header, payload, index, body)
            }
            Self::Library(cipher) => cipher.seal_rtp(packet, header.len(), payload, index),
        }
    }
}

#[inline]
fn seal_by_kernel(
    key: &SealingKey,
    salt: &[u8; 12],
    header: &[u8],
    payload: &[u8],
    index: u64,
    body: &mut [u8],
) -> Result<(), ProtectError> {
    let ssrc = crate::wire::u32_at(header, 8).ok_or(ProtectError::NoRoom)?;
    let nonce = gcm_rtp_nonce(salt, ssrc, index);
    key.seal(&nonce, header, payload, body).map_err(|_| ProtectError::NoRoom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_and_library_seal_alike() {
        for (profile, key_len) in
            [(SrtpProfile::AeadAes128Gcm, 16), (SrtpProfile::AeadAes256Gcm, 32)]
        {
            let master: Vec<u8> = (0..key_len).collect();
            let keys = SessionKeys::derive(profile, &master, &[3; 12], false).expect("lengths fit");
            let sealer = Sealer::new(&keys).expect("lengths fit");
            let library = Sealer::Library(Box::new(Cipher::new(&keys).expect("lengths fit")));
            for (payload, index) in [(0, 1), (3, 0xffff_ffff_ffff), (160, 0x1_0000), (1100, 77)] {
                let payload = vec![7; payload];
                let [ours, theirs] = [&sealer, &library].map(|sealer| {
                    let mut packet = vec![0x90; 28 + payload.len() + 16];
                    sealer.seal_rtp(&mut packet, 28, &payload, index).expect("it fits");
                    packet
                });
                assert_eq!(ours, theirs, "{profile:?} {}", payload.len());
            }
            let mut short = [0; 40];
            for header_len in [0, 11, 12, 28, 41] {
                let sealed = sealer.seal_rtp(&mut short, header_len, &[0; 13], 1);
                assert_eq!(sealed, Err(ProtectError::NoRoom), "{header_len}");
            }
        }
    }
}

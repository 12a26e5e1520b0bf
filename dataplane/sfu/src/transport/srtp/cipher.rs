//! The transforms themselves, for given session keys and indices: AES-GCM (RFC 7714) and AES in
//! counter mode with HMAC-SHA1 cut to 80 bits (RFC 3711 §4). They keep no state: whether an index
//! may be used is decided by the caller.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac};
use hype_protocol::secret::SrtpProfile;

use super::key_derivation::SessionKeys;
use super::{InvalidKeying, ProtectError, Reject};

/// Bytes of a tag of the AEAD profiles (RFC 7714 §13).
pub(super) const GCM_TAG: usize = 16;
const SHA1_80_TAG: usize = 10;
/// The part of an RTCP packet that is never encrypted (RFC 3711 §3.4).
const RTCP_CLEAR: usize = 8;
/// The E bit and the SRTCP index.
const RTCP_TRAILER: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// One session key with its salt, for RTP or for RTCP.
pub struct Cipher {
    kind: Kind,
}

enum Kind {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    CounterSha1 { key: Box<EncryptingKey>, authentication: Box<hmac::Key>, salt: [u8; 14] },
}

impl Cipher {
    /// Makes ready the session keys.
    ///
    /// # Errors
    /// [`InvalidKeying`] when the keys are not accepted.
    pub fn new(keys: &SessionKeys) -> Result<Self, InvalidKeying> {
        let gcm = |algorithm| -> Result<Kind, InvalidKeying> {
            let key = UnboundKey::new(algorithm, keys.key()).map_err(|_| InvalidKeying)?;
            let salt = keys.salt().try_into().map_err(|_| InvalidKeying)?;
            Ok(Kind::Gcm { key: LessSafeKey::new(key), salt })
        };
        let kind = match keys.profile() {
            SrtpProfile::AeadAes128Gcm => gcm(&AES_128_GCM)?,
            SrtpProfile::AeadAes256Gcm => gcm(&AES_256_GCM)?,
            SrtpProfile::Aes128CmSha1_80 => {
                let key = UnboundCipherKey::new(&AES_128, keys.key())
                    .and_then(EncryptingKey::ctr)
                    .map_err(|_| InvalidKeying)?;
                let authentication =
                    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, keys.authentication());
                let salt = keys.salt().try_into().map_err(|_| InvalidKeying)?;
                Kind::CounterSha1 {
                    key: Box::new(key),
                    authentication: Box::new(authentication),
                    salt,
                }
            }
        };
        Ok(Self { kind })
    }

    /// Bytes of an authentication tag.
    #[inline]
    pub fn tag_len(&self) -> usize {
        match self.kind {
            Kind::Gcm { .. } => GCM_TAG,
            Kind::CounterSha1 { .. } => SHA1_80_TAG,
        }
    }

    /// Seals `payload` behind the header in `packet[..header_len]`. `packet` is exactly header,
    /// payload and tag long.
    ///
    /// # Errors
    /// [`ProtectError::NoRoom`] when it is not.
    #[inline]
    pub fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        payload: &[u8],
        index: u64,
    ) -> Result<(), ProtectError> {
        if header_len < 12 || packet.len() != header_len + payload.len() + self.tag_len() {
            return Err(ProtectError::NoRoom);
        }
        let (header, body) = packet.split_at_mut(header_len);
        let (body, tag) = body.split_at_mut(payload.len());
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        match &self.kind {
            Kind::Gcm { key, salt } => {
                let nonce = Nonce::assume_unique_for_key(gcm_rtp_nonce(salt, ssrc, index));
                key.seal_out_of_place_scatter(nonce, Aad::from(&*header), payload, body, &[], tag)
                    .map_err(|_| ProtectError::NoRoom)
            }
            Kind::CounterSha1 { key, authentication, salt } => {
                body.copy_from_slice(payload);
                apply_keystream(key, salt, ssrc, index, body).map_err(|_| ProtectError::NoRoom)?;
                let signature = rtp_signature(authentication, header, body, index);
                tag.copy_from_slice(&signature.as_ref()[..SHA1_80_TAG]);
                Ok(())
            }
        }
    }

    /// Checks the tag of a packet and decrypts it in place; returns its length without the tag.
    ///
    /// # Errors
    /// [`Reject::TooShort`] or [`Reject::Authentication`].
    #[inline]
    pub fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, Reject> {
        let len = packet.len().checked_sub(self.tag_len()).ok_or(Reject::TooShort)?;
        let (header, body) = packet.split_at_mut_checked(header_len).ok_or(Reject::TooShort)?;
        let body_len = len.checked_sub(header_len).ok_or(Reject::TooShort)?;
        match &self.kind {
            Kind::Gcm { key, salt } => {
                let nonce = Nonce::assume_unique_for_key(gcm_rtp_nonce(salt, ssrc, index));
                key.open_in_place(nonce, Aad::from(&*header), body)
                    .map_err(|_| Reject::Authentication)?;
            }
            Kind::CounterSha1 { key, authentication, salt } => {
                let (body, tag) = body.split_at_mut(body_len);
                let signature = rtp_signature(authentication, header, body, index);
                verify(&signature, tag)?;
                apply_keystream(key, salt, ssrc, index, body)
                    .map_err(|_| Reject::Authentication)?;
            }
        }
        Ok(len)
    }

    /// The sender and the index of an SRTCP packet, unchecked.
    ///
    /// # Errors
    /// [`Reject::TooShort`].
    pub fn rtcp_index(&self, packet: &[u8]) -> Result<(u32, u32), Reject> {
        if packet.len() < RTCP_CLEAR + self.tag_len() + RTCP_TRAILER {
            return Err(Reject::TooShort);
        }
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let trailer = self.rtcp_trailer_at(packet.len());
        let word = crate::wire::u32_at(packet, trailer).ok_or(Reject::TooShort)?;
        Ok((ssrc, word & !ENCRYPTED))
    }

    /// Where the E bit and index stand. RFC 3711 §3.4 puts the tag last, RFC 7714 §9.2 the index.
    fn rtcp_trailer_at(&self, packet_len: usize) -> usize {
        match self.kind {
            Kind::Gcm { .. } => packet_len - RTCP_TRAILER,
            Kind::CounterSha1 { .. } => packet_len - SHA1_80_TAG - RTCP_TRAILER,
        }
    }

    /// Encrypts the RTCP packet in `packet[..len]` in place; `packet` is exactly `len`, tag and
    /// trailer long, and `index` below 2^31.
    ///
    /// # Errors
    /// [`ProtectError::NoRoom`] when it is not.
    pub fn seal_rtcp(&self, packet: &mut [u8], len: usize, index: u32) -> Result<(), ProtectError> {
        if len < RTCP_CLEAR || packet.len() != len + self.tag_len() + RTCP_TRAILER {
            return Err(ProtectError::NoRoom);
        }
        let word = (ENCRYPTED | index).to_be_bytes();
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        match &self.kind {
            Kind::Gcm { key, salt } => {
                let (clear, body) = packet.split_at_mut(RTCP_CLEAR);
                let (body, trailer) = body.split_at_mut(len - RTCP_CLEAR);
                let tag = key
                    .seal_in_place_separate_tag(
                        gcm_rtcp_nonce(salt, ssrc, index),
                        Aad::from(rtcp_associated_data(clear, word)),
                        body,
                    )
                    .map_err(|_| ProtectError::NoRoom)?;
                trailer[..GCM_TAG].copy_from_slice(tag.as_ref());
                trailer[GCM_TAG..].copy_from_slice(&word);
            }
            Kind::CounterSha1 { key, authentication, salt } => {
                apply_keystream(key, salt, ssrc, u64::from(index), &mut packet[RTCP_CLEAR..len])
                    .map_err(|_| ProtectError::NoRoom)?;
                packet[len..len + RTCP_TRAILER].copy_from_slice(&word);
                let (signed, tag) = packet.split_at_mut(len + RTCP_TRAILER);
                let signature = hmac::sign(authentication, signed);
                tag.copy_from_slice(&signature.as_ref()[..SHA1_80_TAG]);
            }
        }
        Ok(())
    }

    /// Checks and decrypts an SRTCP packet in place; returns its length without tag and trailer.
    /// A packet without the E bit is authentic but was never encrypted.
    ///
    /// # Errors
    /// [`Reject::TooShort`] or [`Reject::Authentication`].
    pub fn open_rtcp(&self, packet: &mut [u8]) -> Result<usize, Reject> {
        let (ssrc, index) = self.rtcp_index(packet)?;
        let trailer_at = self.rtcp_trailer_at(packet.len());
        let encrypted = packet[trailer_at] & 0x80 != 0;
        let len = packet.len() - self.tag_len() - RTCP_TRAILER;
        match &self.kind {
            Kind::Gcm { key, salt } => {
                let nonce = gcm_rtcp_nonce(salt, ssrc, index);
                let (sealed, word) = packet.split_at_mut(trailer_at);
                let word = [word[0], word[1], word[2], word[3]];
                if encrypted {
                    let (clear, body) = sealed.split_at_mut(RTCP_CLEAR);
                    let associated = Aad::from(rtcp_associated_data(clear, word));
                    key.open_in_place(nonce, associated, body)
                        .map_err(|_| Reject::Authentication)?;
                } else {
                    // RFC 7714 §9.3: the whole packet and the trailer are associated data. The
                    // trailer moves next to the packet, over the tag, which is copied out.
                    let tag: [u8; GCM_TAG] =
                        sealed[len..].try_into().map_err(|_| Reject::TooShort)?;
                    packet[len..len + RTCP_TRAILER].copy_from_slice(&word);
                    let (associated, rest) = packet.split_at_mut(len + RTCP_TRAILER);
                    rest.copy_from_slice(&tag);
                    key.open_in_place(nonce, Aad::from(&*associated), rest)
                        .map_err(|_| Reject::Authentication)?;
                }
            }
            Kind::CounterSha1 { key, authentication, salt } => {
                let (signed, tag) = packet.split_at_mut(len + RTCP_TRAILER);
                verify(&hmac::sign(authentication, signed), tag)?;
                if encrypted {
                    let body = &mut signed[RTCP_CLEAR..len];
                    apply_keystream(key, salt, ssrc, u64::from(index), body)
                        .map_err(|_| Reject::Authentication)?;
                }
            }
        }
        Ok(len)
    }
}

fn verify(signature: &hmac::Tag, tag: &[u8]) -> Result<(), Reject> {
    constant_time::verify_slices_are_equal(&signature.as_ref()[..SHA1_80_TAG], tag)
        .map_err(|_| Reject::Authentication)
}

/// RFC 7714 §8.1: two zero bytes, SSRC, ROC and SEQ, with the salt added to them.
#[inline]
pub(super) fn gcm_rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut nonce = *salt;
    let position = (u128::from(ssrc) << 48 | u128::from(index)).to_be_bytes();
    for (byte, add) in nonce.iter_mut().zip(&position[4..]) {
        *byte ^= add;
    }
    nonce
}

/// RFC 7714 §9.1: two zero bytes, SSRC, two zero bytes and the index, with the salt added.
fn gcm_rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    Nonce::assume_unique_for_key(gcm_rtp_nonce(salt, ssrc, u64::from(index)))
}

/// RFC 7714 §9.2: the clear header, then the E bit and index.
fn rtcp_associated_data(clear: &[u8], word: [u8; 4]) -> [u8; RTCP_CLEAR + RTCP_TRAILER] {
    let mut data = [0; RTCP_CLEAR + RTCP_TRAILER];
    data[..RTCP_CLEAR].copy_from_slice(clear);
    data[RTCP_CLEAR..].copy_from_slice(&word);
    data
}

/// RFC 3711 §4.1.1: salt · 2^16 ⊕ SSRC · 2^64 ⊕ index · 2^16 is the first counter block.
#[inline]
fn apply_keystream(
    key: &EncryptingKey,
    salt: &[u8; 14],
    ssrc: u32,
    index: u64,
    data: &mut [u8],
) -> Result<(), aws_lc_rs::error::Unspecified> {
    let mut iv = (u128::from(ssrc) << 64 | u128::from(index) << 16).to_be_bytes();
    for (byte, add) in iv.iter_mut().zip(salt) {
        *byte ^= add;
    }
    key.less_safe_encrypt(data, EncryptionContext::Iv128((&iv).into()))?;
    Ok(())
}

/// RFC 3711 §4.2: over header, ciphertext and ROC.
#[inline]
fn rtp_signature(key: &hmac::Key, header: &[u8], body: &[u8], index: u64) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(header);
    context.update(body);
    context.update(&((index >> 16) as u32).to_be_bytes());
    context.sign()
}

//! The bare seals: what the crypto alone needs for the same work. For each incoming packet one open
//! in place, then one seal for each listener under his own key, out of place into the same kind of
//! buffers, over headers and payloads of the same lengths. Nothing else. They are sealed by the
//! library, or by the kernel that the engine uses where it can.

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hype_gcm::SealingKey;
use hype_protocol::secret::SrtpProfile;
use hype_sfu::transmit::MAX_DATAGRAM;
use hype_sfu::transport::srtp::cipher::Cipher;
use hype_sfu::transport::srtp::key_derivation::SessionKeys;

use super::ring::Ring;
use super::stage::BATCH;

/// What seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// aws-lc, by its call for sealing out of place.
    Library,
    /// The vector kernel.
    Kernel,
}

enum Key {
    Gcm(LessSafeKey),
    Kernel(SealingKey),
    /// The library has no such call as a whole: AES-CTR, then HMAC-SHA1 over header and body.
    Counter(Box<Cipher>),
}

/// Keys, buffers and packets for bare seals.
pub struct Bare {
    listeners: Vec<Key>,
    incoming: Key,
    header: Vec<u8>,
    payload: Vec<u8>,
    tag: usize,
    ring: Ring,
    batch: Vec<([u8; MAX_DATAGRAM], u64)>,
    next: u64,
}

impl Bare {
    /// For packets with this header and so much payload; none where there is no kernel, or none
    /// for this profile.
    pub fn new(
        by: By,
        profile: SrtpProfile,
        listeners: usize,
        header: Vec<u8>,
        payload: usize,
    ) -> anyhow::Result<Option<Self>> {
        let keys = (0..listeners).map(|_| match by {
            By::Library => key(profile).map(Some),
            By::Kernel => Ok(kernel_key(profile)),
        });
        let Some(listeners) = keys.collect::<anyhow::Result<Option<_>>>()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            listeners,
            incoming: key(profile)?,
            header,
            payload: vec![9; payload],
            tag: if profile == SrtpProfile::Aes128CmSha1_80 { 10 } else { 16 },
            ring: Ring::new(),
            batch: Vec::with_capacity(BATCH),
            next: 0,
        }))
    }

    /// Seals what the next turn opens. Not part of what is measured.
    pub fn prepare(&mut self) -> anyhow::Result<()> {
        self.batch.clear();
        for _ in 0..BATCH {
            let mut bytes = [0; MAX_DATAGRAM];
            bytes[..self.header.len()].copy_from_slice(&self.header);
            let len = self.header.len() + self.payload.len() + self.tag;
            let packet = &mut bytes[..len];
            seal(&self.incoming, packet, &self.header, &self.payload, self.next)?;
            self.batch.push((bytes, self.next));
            self.next += 1;
        }
        Ok(())
    }

    /// Opens the batch and seals each packet for everybody.
    #[inline]
    pub fn turn(&mut self) -> anyhow::Result<()> {
        let head = self.header.len();
        let len = head + self.payload.len() + self.tag;
        for (bytes, index) in &mut self.batch {
            let packet = &mut bytes[..len];
            match &self.incoming {
                Key::Gcm(key) => {
                    let (header, body) = packet.split_at_mut(head);
                    let nonce = Nonce::assume_unique_for_key(nonce(*index));
                    key.open_in_place(nonce, Aad::from(header), body)
                        .map_err(|_| anyhow!("a packet of our own does not open"))?;
                }
                Key::Counter(cipher) => {
                    cipher.open_rtp(packet, head, 1, *index)?;
                }
                Key::Kernel(_) => bail!("the kernel opens nothing"),
            }
            let payload = &packet[head..head + self.payload.len()];
            for key in &self.listeners {
                seal(key, &mut self.ring.buffer()[..len], &self.header, payload, *index)?;
                self.ring.advance();
            }
        }
        Ok(())
    }
}

fn key(profile: SrtpProfile) -> anyhow::Result<Key> {
    let bytes: [u8; 32] = rand::random();
    let bytes = &bytes[..profile.key_len()];
    let algorithm = match profile {
        SrtpProfile::AeadAes128Gcm => &AES_128_GCM,
        SrtpProfile::AeadAes256Gcm => &AES_256_GCM,
        SrtpProfile::Aes128CmSha1_80 => {
            let keys = SessionKeys::from_parts(profile, bytes, &[7; 20], &[5; 14])?;
            return Ok(Key::Counter(Box::new(Cipher::new(&keys)?)));
        }
    };
    let key = UnboundKey::new(algorithm, bytes).map_err(|_| anyhow!("a key's length"))?;
    Ok(Key::Gcm(LessSafeKey::new(key)))
}

fn kernel_key(profile: SrtpProfile) -> Option<Key> {
    let bytes: [u8; 32] = rand::random();
    let is_gcm = profile != SrtpProfile::Aes128CmSha1_80;
    SealingKey::new(&bytes[..profile.key_len()]).filter(|_| is_gcm).map(Key::Kernel)
}

#[inline]
fn nonce(index: u64) -> [u8; 12] {
    let mut bytes = [7; 12];
    bytes[4..].copy_from_slice(&index.to_be_bytes());
    bytes
}

#[inline]
fn seal(
    key: &Key,
    packet: &mut [u8],
    header: &[u8],
    payload: &[u8],
    index: u64,
) -> anyhow::Result<()> {
    match key {
        Key::Gcm(key) => {
            let (body, tag) = packet[header.len()..].split_at_mut(payload.len());
            let nonce = Nonce::assume_unique_for_key(nonce(index));
            key.seal_out_of_place_scatter(nonce, Aad::from(header), payload, body, &[], tag)
                .ok()
                .context("lengths that fit")
        }
        Key::Kernel(key) => {
            Ok(key.seal(&nonce(index), header, payload, &mut packet[header.len()..])?)
        }
        Key::Counter(cipher) => {
            // Here the header is part of the buffer; its SSRC is 1, as `turn` opens it.
            packet[..header.len()].copy_from_slice(header);
            packet[8..12].copy_from_slice(&1_u32.to_be_bytes());
            Ok(cipher.seal_rtp(packet, header.len(), payload, index)?)
        }
    }
}

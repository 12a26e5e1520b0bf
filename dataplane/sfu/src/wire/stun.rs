//! STUN messages (RFC 8489) as far as ICE needs them: a checked view that borrows from the
//! datagram, and a writer. Only RFC 8489 messages are taken (with the magic cookie); integrity is
//! HMAC-SHA1 by short-term credentials, as RFC 8445 uses it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

use super::{Malformed, NoRoom, u16_at, u32_at};

const MAGIC_COOKIE: u32 = 0x2112_a442;
const HEADER_LEN: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Of MESSAGE-INTEGRITY, with its type and length.
const INTEGRITY_LEN: usize = 4 + 20;
/// Of FINGERPRINT, with its type and length.
const FINGERPRINT_LEN: usize = 4 + 4;

/// Attribute types that are read or written here.
mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802a;
}

/// A Binding message's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Asks for nothing.
    Indication,
    /// A success response.
    Success,
    /// An error response.
    Error,
}

/// A checked view of one message. Attributes behind MESSAGE-INTEGRITY other than FINGERPRINT are
/// ignored, of repeated ones the first counts (RFC 8489 §14).
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// None when the method is not Binding.
    class: Option<Class>,
    username: Option<&'a [u8]>,
    priority: Option<u32>,
    use_candidate: bool,
    controlling: Option<u64>,
    controlled: Option<u64>,
    mapped: Option<SocketAddr>,
    error_code: Option<u16>,
    unknown: Option<u16>,
    integrity_at: Option<usize>,
    fingerprint: bool,
}

impl<'a> Message<'a> {
    /// Reads a whole datagram. A FINGERPRINT, where there is one, is checked.
    ///
    /// # Errors
    /// [`Malformed`] when lengths do not add up, the cookie or FINGERPRINT is wrong, or an
    /// attribute has not its type's length.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let kind = u16_at(bytes, 0).ok_or(Malformed)?;
        let len = usize::from(u16_at(bytes, 2).ok_or(Malformed)?);
        if kind >> 14 != 0
            || len % 4 != 0
            || bytes.len() != HEADER_LEN + len
            || u32_at(bytes, 4) != Some(MAGIC_COOKIE)
        {
            return Err(Malformed);
        }
        let mut message = Self {
            bytes,
            class: class_of(kind),
            username: None,
            priority: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            mapped: None,
            error_code: None,
            unknown: None,
            integrity_at: None,
            fingerprint: false,
        };
        let mut at = HEADER_LEN;
        while at < bytes.len() {
            // RFC 8489 §14.7: FINGERPRINT is the last one.
            if message.fingerprint {
                return Err(Malformed);
            }
            let kind = u16_at(bytes, at).ok_or(Malformed)?;
            let len = usize::from(u16_at(bytes, at + 2).ok_or(Malformed)?);
            let value = bytes.get(at + 4..at + 4 + len).ok_or(Malformed)?;
            message.take_attribute(at, kind, value)?;
            at += 4 + len.next_multiple_of(4);
        }
        Ok(message)
    }

    fn take_attribute(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Result<(), Malformed> {
        if kind == attribute::FINGERPRINT {
            let sum = crc32(&self.bytes[..at]) ^ FINGERPRINT_XOR;
            self.fingerprint = true;
            return if value == sum.to_be_bytes() { Ok(()) } else { Err(Malformed) };
        }
        if self.integrity_at.is_some() {
            return Ok(());
        }
        match kind {
            attribute::MESSAGE_INTEGRITY => {
                if value.len() != 20 {
                    return Err(Malformed);
                }
                self.integrity_at = Some(at);
            }
            attribute::USERNAME => {
                // RFC 8489 §14.3: fewer than 509 bytes.
                if value.len() > 508 {
                    return Err(Malformed);
                }
                self.username.get_or_insert(value);
            }
            attribute::PRIORITY => {
                self.priority.get_or_insert(u32::from_be_bytes(array(value)?));
            }
            attribute::USE_CANDIDATE => {
                if !value.is_empty() {
                    return Err(Malformed);
                }
                self.use_candidate = true;
            }
            attribute::ICE_CONTROLLING => {
                self.controlling.get_or_insert(u64::from_be_bytes(array(value)?));
            }
            attribute::ICE_CONTROLLED => {
                self.controlled.get_or_insert(u64::from_be_bytes(array(value)?));
            }
            attribute::XOR_MAPPED_ADDRESS => {
                let mapped = self.read_address(value)?;
                self.mapped.get_or_insert(mapped);
            }
            attribute::ERROR_CODE => {
                let [_, _, class, number, ..] = *value else { return Err(Malformed) };
                self.error_code.get_or_insert(u16::from(class & 7) * 100 + u16::from(number));
            }
            attribute::UNKNOWN_ATTRIBUTES | attribute::MESSAGE_INTEGRITY_SHA256 => {}
            // RFC 8489 §14: types below 0x8000 must be understood, or refused with 420.
            0..0x8000 => {
                self.unknown.get_or_insert(kind);
            }
            0x8000.. => {}
        }
        Ok(())
    }

    fn read_address(&self, value: &[u8]) -> Result<SocketAddr, Malformed> {
        let port = u16_at(value, 2).ok_or(Malformed)? ^ (MAGIC_COOKIE >> 16) as u16;
        let ip = match (value.get(1), value.len()) {
            (Some(1), 8) => {
                let bits = u32_at(value, 4).ok_or(Malformed)? ^ MAGIC_COOKIE;
                IpAddr::V4(Ipv4Addr::from_bits(bits))
            }
            (Some(2), 20) => {
                let bits = u128::from_be_bytes(array(&value[4..])?);
                IpAddr::V6(Ipv6Addr::from_bits(bits ^ self.address_mask()))
            }
            _ => return Err(Malformed),
        };
        Ok(SocketAddr::new(ip, port))
    }

    /// RFC 8489 §14.2: the cookie and the transaction id.
    fn address_mask(&self) -> u128 {
        let mut mask = [0; 16];
        mask.copy_from_slice(&self.bytes[4..HEADER_LEN]);
        u128::from_be_bytes(mask)
    }

    /// The class of a Binding message; none for other methods.
    pub fn class(&self) -> Option<Class> {
        self.class
    }

    /// The 96 bits that a response repeats.
    pub fn transaction_id(&self) -> [u8; 12] {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_LEN]);
        id
    }

    /// USERNAME.
    pub fn username(&self) -> Option<&'a [u8]> {
        self.username
    }

    /// PRIORITY (RFC 8445 §16.1).
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// USE-CANDIDATE (RFC 8445 §16.1).
    pub fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// The tie breaker of ICE-CONTROLLING.
    pub fn controlling(&self) -> Option<u64> {
        self.controlling
    }

    /// The tie breaker of ICE-CONTROLLED.
    pub fn controlled(&self) -> Option<u64> {
        self.controlled
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// ERROR-CODE: 300–699.
    pub fn error_code(&self) -> Option<u16> {
        self.error_code
    }

    /// The first attribute that must be understood and is not.
    pub fn unknown_attribute(&self) -> Option<u16> {
        self.unknown
    }

    /// True when there is a FINGERPRINT (it is right then).
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint
    }

    /// True when there is a MESSAGE-INTEGRITY.
    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Checks MESSAGE-INTEGRITY (RFC 8489 §14.5); false without one.
    pub fn verify(&self, key: &hmac::Key) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let signature = sign(key, &self.bytes[..at]);
        let claimed = &self.bytes[at + 4..at + INTEGRITY_LEN];
        constant_time::verify_slices_are_equal(signature.as_ref(), claimed).is_ok()
    }
}

fn class_of(kind: u16) -> Option<Class> {
    match kind {
        0x0001 => Some(Class::Request),
        0x0011 => Some(Class::Indication),
        0x0101 => Some(Class::Success),
        0x0111 => Some(Class::Error),
        _ => None,
    }
}

fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed)
}

/// The HMAC over a message up to MESSAGE-INTEGRITY, whose header counts that attribute as the last.
fn sign(key: &hmac::Key, covered: &[u8]) -> hmac::Tag {
    let len = (covered.len() - HEADER_LEN + INTEGRITY_LEN) as u16;
    let mut context = hmac::Context::with_key(key);
    context.update(&covered[..2]);
    context.update(&len.to_be_bytes());
    context.update(&covered[4..]);
    context.sign()
}

/// An ICE password as a key (RFC 8489 §9.1.1). Making one costs about a microsecond.
pub fn integrity_key(password: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password)
}

/// Writes one Binding message into a caller's buffer.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Begins a Binding message.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn new(
        buffer: &'a mut [u8],
        class: Class,
        transaction_id: [u8; 12],
    ) -> Result<Self, NoRoom> {
        let header = buffer.get_mut(..HEADER_LEN).ok_or(NoRoom)?;
        let kind: u16 = match class {
            Class::Request => 0x0001,
            Class::Indication => 0x0011,
            Class::Success => 0x0101,
            Class::Error => 0x0111,
        };
        header[..2].copy_from_slice(&kind.to_be_bytes());
        header[2..4].fill(0);
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&transaction_id);
        Ok(Self { buffer, len: HEADER_LEN })
    }

    fn attribute(&mut self, kind: u16, parts: &[&[u8]]) -> Result<(), NoRoom> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let padded = len.next_multiple_of(4);
        let wire_len = u16::try_from(len).map_err(|_| NoRoom)?;
        let room = self.buffer.get_mut(self.len..self.len + 4 + padded).ok_or(NoRoom)?;
        room[..2].copy_from_slice(&kind.to_be_bytes());
        room[2..4].copy_from_slice(&wire_len.to_be_bytes());
        let mut at = 4;
        for part in parts {
            room[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        room[at..].fill(0);
        self.len += 4 + padded;
        let body = u16::try_from(self.len - HEADER_LEN).map_err(|_| NoRoom)?;
        self.buffer[2..4].copy_from_slice(&body.to_be_bytes());
        Ok(())
    }

    /// Adds XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn mapped_address(&mut self, address: SocketAddr) -> Result<(), NoRoom> {
        let port = (address.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes();
        let mut mask = [0; 16];
        mask.copy_from_slice(&self.buffer[4..HEADER_LEN]);
        let kind = attribute::XOR_MAPPED_ADDRESS;
        // An IPv4 address that a dual-stack socket shows as IPv6 is still IPv4 to the peer.
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let bits = (ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes();
                self.attribute(kind, &[&[0, 1], &port, &bits])
            }
            IpAddr::V6(ip) => {
                let bits = (ip.to_bits() ^ u128::from_be_bytes(mask)).to_be_bytes();
                self.attribute(kind, &[&[0, 2], &port, &bits])
            }
        }
    }

    /// Adds USERNAME.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn username(&mut self, local: &[u8], remote: &[u8]) -> Result<(), NoRoom> {
        self.attribute(attribute::USERNAME, &[local, b":", remote])
    }

    /// Adds PRIORITY.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn priority(&mut self, priority: u32) -> Result<(), NoRoom> {
        self.attribute(attribute::PRIORITY, &[&priority.to_be_bytes()])
    }

    /// Adds USE-CANDIDATE.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn use_candidate(&mut self) -> Result<(), NoRoom> {
        self.attribute(attribute::USE_CANDIDATE, &[])
    }

    /// Adds ICE-CONTROLLING.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn controlling(&mut self, tie_breaker: u64) -> Result<(), NoRoom> {
        self.attribute(attribute::ICE_CONTROLLING, &[&tie_breaker.to_be_bytes()])
    }

    /// Adds ICE-CONTROLLED.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn controlled(&mut self, tie_breaker: u64) -> Result<(), NoRoom> {
        self.attribute(attribute::ICE_CONTROLLED, &[&tie_breaker.to_be_bytes()])
    }

    /// Adds ERROR-CODE (300–699) with a reason.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn error_code(&mut self, code: u16, reason: &str) -> Result<(), NoRoom> {
        let number = [0, 0, (code / 100) as u8 & 7, (code % 100) as u8];
        self.attribute(attribute::ERROR_CODE, &[&number, reason.as_bytes()])
    }

    /// Adds UNKNOWN-ATTRIBUTES with one type.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn unknown_attribute(&mut self, kind: u16) -> Result<(), NoRoom> {
        self.attribute(attribute::UNKNOWN_ATTRIBUTES, &[&kind.to_be_bytes()])
    }

    /// Adds MESSAGE-INTEGRITY over what was written so far.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn integrity(&mut self, key: &hmac::Key) -> Result<(), NoRoom> {
        let signature = sign(key, &self.buffer[..self.len]);
        self.attribute(attribute::MESSAGE_INTEGRITY, &[signature.as_ref()])
    }

    /// Adds FINGERPRINT and returns the message's length.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn finish(mut self) -> Result<usize, NoRoom> {
        // RFC 8489 §14.7: the header counts the FINGERPRINT already when it is computed.
        let at = self.len;
        self.attribute(attribute::FINGERPRINT, &[&[0; 4]])?;
        let sum = crc32(&self.buffer[..at]) ^ FINGERPRINT_XOR;
        self.buffer[at + 4..at + FINGERPRINT_LEN].copy_from_slice(&sum.to_be_bytes());
        Ok(self.len)
    }

    /// Returns the message's length, without a FINGERPRINT.
    pub fn finish_plain(self) -> usize {
        self.len
    }
}

/// The CRC of ITU-T V.42, by one table of 256 words.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut sum = index as u32;
            let mut bit = 0;
            while bit < 8 {
                sum = if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
                bit += 1;
            }
            table[index] = sum;
            index += 1;
        }
        table
    };
    let step = |sum: u32, byte: &u8| TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

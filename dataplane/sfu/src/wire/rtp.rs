//! RTP headers (RFC 3550 §5.1): a checked view of an incoming one, and a writer for the one that
//! each forwarded packet gets. The payload stays opaque. The view is a `Copy` struct of numbers,
//! so that the packet's bytes stay free to be decrypted in place.

use super::{Malformed, NoRoom, header_extension, u16_at, u32_at};
use header_extension::Element;

/// Bytes of the fixed part.
pub const FIXED_LEN: usize = 12;

/// What an RTP header says, with every offset checked against the packet it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 0–127.
    pub payload_type: u8,
    /// The M bit.
    pub marker: bool,
    /// The P bit: padding ends the (decrypted) payload.
    pub padding: bool,
    /// As on the wire.
    pub sequence_number: u16,
    /// In units of the codec's clock.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: u32,
    /// 0–15.
    pub csrc_count: u8,
    /// The extension's "defined by profile" word, where there is an extension.
    extension_profile: Option<u16>,
    extension_start: u16,
    extension_len: u16,
    header_len: u16,
}

impl Header {
    /// Reads the header of a packet that may still be encrypted. Padding is not looked at.
    ///
    /// # Errors
    /// [`Malformed`] when the version is not 2, or the header does not end within the packet.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let fixed: &[u8; FIXED_LEN] = packet.first_chunk().ok_or(Malformed)?;
        if fixed[0] >> 6 != 2 || packet.len() > usize::from(u16::MAX) {
            return Err(Malformed);
        }
        let csrc_count = fixed[0] & 0x0f;
        let mut header_len = FIXED_LEN + 4 * usize::from(csrc_count);
        let mut extension_profile = None;
        let (mut extension_start, mut extension_len) = (0, 0);
        if fixed[0] & 0x10 != 0 {
            extension_profile = Some(u16_at(packet, header_len).ok_or(Malformed)?);
            extension_len = 4 * usize::from(u16_at(packet, header_len + 2).ok_or(Malformed)?);
            extension_start = header_len + 4;
            header_len = extension_start + extension_len;
        }
        if header_len > packet.len() {
            return Err(Malformed);
        }
        let short = |len: usize| u16::try_from(len).map_err(|_| Malformed);
        Ok(Self {
            payload_type: fixed[1] & 0x7f,
            marker: fixed[1] & 0x80 != 0,
            padding: fixed[0] & 0x20 != 0,
            sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            csrc_count,
            extension_profile,
            extension_start: short(extension_start)?,
            extension_len: short(extension_len)?,
            header_len: short(header_len)?,
        })
    }

    /// Where the payload begins, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// The extension elements of the packet that this header was read from; none without any.
    #[inline]
    pub fn elements<'a>(&self, packet: &'a [u8]) -> header_extension::Elements<'a> {
        let start = usize::from(self.extension_start);
        let block = packet.get(start..start + usize::from(self.extension_len)).unwrap_or_default();
        header_extension::Elements::new(self.extension_profile.unwrap_or_default(), block)
    }

    /// The contributing sources.
    pub fn csrcs<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
        let count = usize::from(self.csrc_count);
        (0..count).filter_map(move |index| u32_at(packet, FIXED_LEN + 4 * index))
    }

    /// The payload of the decrypted packet, without padding (RFC 3550 §5.1).
    ///
    /// # Errors
    /// [`Malformed`] when the padding count is zero or reaches into the header.
    #[inline]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let payload = packet.get(self.header_len()..).ok_or(Malformed)?;
        if !self.padding {
            return Ok(payload);
        }
        let count = usize::from(*payload.last().ok_or(Malformed)?);
        if count == 0 {
            return Err(Malformed);
        }
        let len = payload.len().checked_sub(count).ok_or(Malformed)?;
        Ok(&payload[..len])
    }
}

/// The fields of a header to write. Version is 2; padding is not set, see [`set_padding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// 0–127.
    pub payload_type: u8,
    /// The M bit.
    pub marker: bool,
    /// As on the wire.
    pub sequence_number: u16,
    /// In units of the codec's clock.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: u32,
    /// Whose media it is, where that is told.
    pub csrc: Option<u32>,
}

/// Writes a header with its extension block (RFC 8285; none when `elements` is empty), and
/// returns its length: where the payload goes.
///
/// # Errors
/// [`NoRoom`] when `out` is too short, or an element cannot be expressed (id 0, over 255 bytes).
#[inline]
pub fn write(out: &mut [u8], fields: &Outgoing, elements: &[Element<'_>]) -> Result<usize, NoRoom> {
    let extended = if elements.is_empty() { 0 } else { 0x10 };
    let fixed: &mut [u8; FIXED_LEN] = out.first_chunk_mut().ok_or(NoRoom)?;
    fixed[0] = 0x80 | extended | u8::from(fields.csrc.is_some());
    fixed[1] = (u8::from(fields.marker) << 7) | (fields.payload_type & 0x7f);
    fixed[2..4].copy_from_slice(&fields.sequence_number.to_be_bytes());
    fixed[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
    fixed[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
    let mut len = FIXED_LEN;
    if let Some(csrc) = fields.csrc {
        let field: &mut [u8; 4] = out[len..].first_chunk_mut().ok_or(NoRoom)?;
        *field = csrc.to_be_bytes();
        len += 4;
    }
    if extended != 0 {
        len += header_extension::write(&mut out[len..], elements)?;
    }
    Ok(len)
}

/// Sets the P bit of a header that was written: the payload ends with padding, whose last byte
/// says how much it is (RFC 3550 §5.1).
#[inline]
pub fn set_padding(packet: &mut [u8]) {
    if let Some(first) = packet.first_mut() {
        *first |= 0x20;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Outgoing = Outgoing {
        payload_type: 111,
        marker: true,
        sequence_number: 0xfffe,
        timestamp: 0x0102_0304,
        ssrc: 0xdead_beef,
        csrc: Some(7),
    };

    #[test]
    fn what_is_written_is_read_back() {
        let elements =
            [Element { id: 1, data: &[0x85] }, Element { id: 14, data: b"0123456789abcdef" }];
        let mut packet = [0; 64];
        let len = write(&mut packet, &FIELDS, &elements).expect("64 bytes suffice");
        let packet = &packet[..len + 3];
        let header = Header::parse(packet).expect("what we wrote");
        assert_eq!(header.header_len(), len);
        assert_eq!((header.payload_type, header.marker), (111, true));
        assert_eq!((header.sequence_number, header.timestamp), (0xfffe, 0x0102_0304));
        assert_eq!(header.ssrc, 0xdead_beef);
        assert_eq!(header.csrcs(packet).collect::<Vec<_>>(), [7]);
        assert_eq!(header.elements(packet).collect::<Vec<_>>(), elements);
        assert_eq!(header.payload(packet), Ok(&[0; 3][..]));
    }

    #[test]
    fn padding_is_not_payload() {
        let mut packet = [0; 32];
        let len = write(&mut packet, &FIELDS, &[]).expect("32 bytes suffice");
        packet[len..len + 3].copy_from_slice(&[9, 0, 2]);
        set_padding(&mut packet);
        let packet = &packet[..len + 3];
        let header = Header::parse(packet).expect("what we wrote");
        assert!(header.padding);
        assert_eq!(header.payload(packet), Ok(&[9][..]));
        assert_eq!((header.ssrc, header.marker), (FIELDS.ssrc, FIELDS.marker));
    }

    #[test]
    fn every_shorter_buffer_is_refused() {
        let elements = [Element { id: 20, data: b"video" }];
        let mut packet = [0; 64];
        let len = write(&mut packet, &FIELDS, &elements).expect("64 bytes suffice");
        for short in 0..len {
            assert_eq!(write(&mut packet[..short], &FIELDS, &elements), Err(NoRoom), "{short}");
        }
        assert_eq!(write(&mut packet[..len], &FIELDS, &elements), Ok(len));
    }

    #[test]
    fn a_truncated_header_is_malformed() {
        let mut packet = [0; 64];
        let len = write(&mut packet, &FIELDS, &[Element { id: 1, data: &[1] }]).expect("room");
        for short in 0..len {
            assert_eq!(Header::parse(&packet[..short]), Err(Malformed), "{short}");
        }
        packet[0] = 0x40;
        assert_eq!(Header::parse(&packet), Err(Malformed));
    }
}

//! What the engine must see of payloads: where key frames begin, which layer a packet is of, and
//! which numbers have to be rewritten when streams are switched. The rest stays opaque, so that
//! end-to-end encryption can pass through.

use hype_protocol::media::Codec;

pub mod av1;
pub mod dependency_descriptor;
pub mod h264;
pub mod vp8;
pub mod vp9;

/// True when a decoder can begin with this packet: it is the first one of a key frame. For AV1
/// (and any codec with one) the dependency descriptor, where it comes, is the better witness: see
/// [`dependency_descriptor::Descriptor::is_key_frame`]. Audio can begin anywhere.
pub fn begins_key_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => vp8::Descriptor::parse(payload).is_ok_and(|it| it.begins_key_frame()),
        Codec::Vp9 => vp9::Descriptor::parse(payload).is_ok_and(|it| it.begins_key_frame()),
        Codec::H264 => h264::begins_key_frame(payload),
        Codec::Av1 => av1::begins_key_frame(payload),
    }
}

/// A picture id and its place in a payload (RFC 7741 §4.2, RFC 9628 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// 7 or 15 bits.
    pub value: u16,
    /// True for 15 bits, in two bytes.
    pub long: bool,
    /// Offset of its first byte in the payload.
    pub offset: u8,
}

impl PictureId {
    fn read(payload: &[u8], at: usize) -> Result<Self, super::Malformed> {
        let first = *payload.get(at).ok_or(super::Malformed)?;
        let offset = u8::try_from(at).map_err(|_| super::Malformed)?;
        if first & 0x80 == 0 {
            return Ok(Self { value: u16::from(first), long: false, offset });
        }
        let value = super::u16_at(payload, at).ok_or(super::Malformed)? & 0x7fff;
        Ok(Self { value, long: true, offset })
    }

    /// Bytes that it takes.
    pub fn width(&self) -> usize {
        if self.long { 2 } else { 1 }
    }

    /// Writes another value of the same width in its place; higher bits are cut off.
    pub fn rewrite(&self, payload: &mut [u8], value: u16) {
        let at = usize::from(self.offset);
        match payload.get_mut(at..at + self.width()) {
            Some([high, low]) => [*high, *low] = (value | 0x8000).to_be_bytes(),
            Some([byte]) => *byte = (value & 0x7f) as u8,
            _ => debug_assert!(false, "a picture id is rewritten where it was read"),
        }
    }
}

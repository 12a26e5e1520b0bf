//! The VP8 payload descriptor (RFC 7741 §4.2).

use super::PictureId;
use crate::wire::Malformed;

/// What stands before a packet's VP8 data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// S with partition 0: the packet begins a frame.
    pub begins_frame: bool,
    /// Set on the first packet of a frame that refers to no other.
    pub key_frame: bool,
    /// N: no other frame refers to this one.
    pub non_reference: bool,
    /// I.
    pub picture_id: Option<PictureId>,
    /// L: TL0PICIDX and its offset in the payload.
    pub tl0_picture_index: Option<(u8, u8)>,
    /// T: the temporal layer, 0–3.
    pub temporal_id: Option<u8>,
    /// Y: the frame refers to the base layer only.
    pub layer_sync: bool,
    /// Bytes of the descriptor.
    pub len: u8,
}

impl Descriptor {
    /// Reads a payload's descriptor, and the first bit of the frame behind it.
    ///
    /// # Errors
    /// [`Malformed`] when it does not end before the payload does.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let byte = |at: usize| payload.get(at).copied().ok_or(Malformed);
        let first = byte(0)?;
        let begins_frame = first & 0x10 != 0 && first & 0x07 == 0;
        let mut descriptor = Self {
            begins_frame,
            key_frame: false,
            non_reference: first & 0x20 != 0,
            picture_id: None,
            tl0_picture_index: None,
            temporal_id: None,
            layer_sync: false,
            len: 0,
        };
        let mut at = 1;
        if first & 0x80 != 0 {
            let flags = byte(1)?;
            at = 2;
            if flags & 0x80 != 0 {
                let picture_id = PictureId::read(payload, at)?;
                at += picture_id.width();
                descriptor.picture_id = Some(picture_id);
            }
            if flags & 0x40 != 0 {
                descriptor.tl0_picture_index = Some((byte(at)?, at as u8));
                at += 1;
            }
            if flags & 0x30 != 0 {
                let layers = byte(at)?;
                if flags & 0x20 != 0 {
                    descriptor.temporal_id = Some(layers >> 6);
                    descriptor.layer_sync = layers & 0x20 != 0;
                }
                at += 1;
            }
        }
        // RFC 7741 §4.3: the P bit of the frame header, 0 for a key frame.
        descriptor.key_frame = begins_frame && byte(at)? & 1 == 0;
        if at >= payload.len() {
            return Err(Malformed);
        }
        descriptor.len = at as u8;
        Ok(descriptor)
    }

    /// True when a decoder can begin here.
    pub fn begins_key_frame(&self) -> bool {
        self.key_frame
    }

    /// Writes other numbers in the places of those that were read.
    pub fn rewrite(&self, payload: &mut [u8], picture_id: u16, tl0_picture_index: u8) {
        if let Some(place) = self.picture_id {
            place.rewrite(payload, picture_id);
        }
        if let Some((_, offset)) = self.tl0_picture_index
            && let Some(byte) = payload.get_mut(usize::from(offset))
        {
            *byte = tl0_picture_index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_read_and_rewritten_in_place() {
        // X, S; I L T K; 15-bit id 0x1234; TL0 9; TID 2, Y; then a key frame.
        let mut payload = [0x90, 0xf0, 0x92, 0x34, 9, 0xa0, 0x10, 0xff];
        let read = Descriptor::parse(&payload).expect("well formed");
        assert!(read.begins_key_frame());
        assert_eq!(read.picture_id, Some(PictureId { value: 0x1234, long: true, offset: 2 }));
        assert_eq!(read.tl0_picture_index, Some((9, 4)));
        assert_eq!((read.temporal_id, read.layer_sync, read.len), (Some(2), true, 6));
        read.rewrite(&mut payload, 0x8abc, 77);
        assert_eq!(payload, [0x90, 0xf0, 0x8a, 0xbc, 77, 0xa0, 0x10, 0xff]);
    }

    #[test]
    fn short_forms_and_truncation() {
        let plain = Descriptor::parse(&[0x10, 0x01]).expect("an inter frame");
        assert!(!plain.key_frame && plain.begins_frame && plain.picture_id.is_none());
        let second = Descriptor::parse(&[0x00, 0x00]).expect("a later packet");
        assert!(!second.key_frame && !second.begins_frame);
        let mut seven = [0x90, 0x80, 0x7f, 0x00];
        let read = Descriptor::parse(&seven).expect("a 7-bit id");
        read.rewrite(&mut seven, 0x1ff, 0);
        assert_eq!(seven, [0x90, 0x80, 0x7f, 0x00]);
        let full = [0x90, 0xf0, 0x92, 0x34, 9, 0xa0, 0x10];
        for short in 0..full.len() {
            assert_eq!(Descriptor::parse(&full[..short]), Err(Malformed), "{short}");
        }
    }
}

//! The VP9 payload descriptor (RFC 9628 §4.2).

use super::PictureId;
use crate::wire::Malformed;

/// What stands before a packet's VP9 data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// P: the frame refers to earlier pictures.
    pub inter_picture: bool,
    /// F: references are told one by one.
    pub flexible: bool,
    /// B: the packet begins a layer's frame.
    pub begins_frame: bool,
    /// E: the packet ends a layer's frame.
    pub ends_frame: bool,
    /// I.
    pub picture_id: Option<PictureId>,
    /// TL0PICIDX (non-flexible mode only) and its offset in the payload.
    pub tl0_picture_index: Option<(u8, u8)>,
    /// L: the layers.
    pub layers: Option<Layers>,
    /// V: a scalability structure comes along.
    pub scalability_structure: bool,
    /// Bytes of the descriptor.
    pub len: u8,
}

/// The layer indices of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// TID, 0–7.
    pub temporal_id: u8,
    /// U: a receiver may switch up to this temporal layer here.
    pub switching_up: bool,
    /// SID, 0–7.
    pub spatial_id: u8,
    /// D: the frame refers to the next lower spatial layer of the same picture.
    pub inter_layer: bool,
}

impl Descriptor {
    /// Reads a payload's descriptor.
    ///
    /// # Errors
    /// [`Malformed`] when it does not end before the payload does.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let byte = |at: usize| payload.get(at).copied().ok_or(Malformed);
        let flags = byte(0)?;
        let mut descriptor = Self {
            inter_picture: flags & 0x40 != 0,
            flexible: flags & 0x10 != 0,
            begins_frame: flags & 0x08 != 0,
            ends_frame: flags & 0x04 != 0,
            picture_id: None,
            tl0_picture_index: None,
            layers: None,
            scalability_structure: flags & 0x02 != 0,
            len: 0,
        };
        let mut at = 1;
        if flags & 0x80 != 0 {
            let picture_id = PictureId::read(payload, at)?;
            at += picture_id.width();
            descriptor.picture_id = Some(picture_id);
        }
        if flags & 0x20 != 0 {
            let bits = byte(at)?;
            at += 1;
            descriptor.layers = Some(Layers {
                temporal_id: bits >> 5,
                switching_up: bits & 0x10 != 0,
                spatial_id: bits >> 1 & 7,
                inter_layer: bits & 1 != 0,
            });
            if !descriptor.flexible {
                descriptor.tl0_picture_index = Some((byte(at)?, at as u8));
                at += 1;
            }
        }
        if descriptor.flexible && descriptor.inter_picture {
            // Up to three references, each of which tells whether another follows.
            for count in 1.. {
                let reference = byte(at)?;
                at += 1;
                if reference & 1 == 0 {
                    break;
                }
                if count == 3 {
                    return Err(Malformed);
                }
            }
        }
        if descriptor.scalability_structure {
            at += structure_len(payload.get(at..).ok_or(Malformed)?)?;
        }
        if at >= payload.len() {
            return Err(Malformed);
        }
        descriptor.len = u8::try_from(at).map_err(|_| Malformed)?;
        Ok(descriptor)
    }

    /// True when a decoder can begin here: the first packet of a picture without references, in
    /// its lowest spatial layer.
    pub fn begins_key_frame(&self) -> bool {
        let lowest = self.layers.is_none_or(|layers| layers.spatial_id == 0);
        !self.inter_picture && self.begins_frame && lowest
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

/// Bytes of a scalability structure (RFC 9628 §4.2.1).
fn structure_len(bytes: &[u8]) -> Result<usize, Malformed> {
    let head = *bytes.first().ok_or(Malformed)?;
    let mut len = 1;
    if head & 0x10 != 0 {
        len += 4 * (usize::from(head >> 5) + 1);
    }
    if head & 0x08 != 0 {
        let pictures = *bytes.get(len).ok_or(Malformed)?;
        len += 1;
        for _ in 0..pictures {
            let references = *bytes.get(len).ok_or(Malformed)? >> 2 & 3;
            len += 1 + usize::from(references);
        }
    }
    if len > bytes.len() { Err(Malformed) } else { Ok(len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_picture_with_its_structure() {
        // I, L, B, V; id 0x0105; TID 0, SID 0; TL0 3; one layer with size, one picture group.
        let mut payload =
            vec![0xaa, 0x81, 0x05, 0x00, 3, 0x18, 2, 0x80, 1, 0xe0, 1, 0x04, 0x00, 0xff];
        let read = Descriptor::parse(&payload).expect("well formed");
        assert!(read.begins_key_frame() && read.scalability_structure && !read.ends_frame);
        assert_eq!(read.picture_id, Some(PictureId { value: 0x105, long: true, offset: 1 }));
        assert_eq!(read.tl0_picture_index, Some((3, 4)));
        assert_eq!(usize::from(read.len), payload.len() - 1);
        read.rewrite(&mut payload, 0x7ffe, 8);
        assert_eq!(payload[1..5], [0xff, 0xfe, 0, 8]);
        for short in 0..payload.len() {
            assert_eq!(Descriptor::parse(&payload[..short]), Err(Malformed), "{short}");
        }
    }

    #[test]
    fn flexible_references_and_upper_layers() {
        // P, L, F, B; TID 1, U, SID 2, D; three references.
        let read = Descriptor::parse(&[0x78, 0x35, 3, 5, 2, 0xff]).expect("well formed");
        let layers = read.layers.expect("L is set");
        assert_eq!((layers.temporal_id, layers.spatial_id), (1, 2));
        assert!(layers.switching_up && layers.inter_layer && !read.begins_key_frame());
        assert_eq!((read.tl0_picture_index, read.len), (None, 5));
        assert_eq!(Descriptor::parse(&[0x78, 0x35, 3, 5, 3, 2, 0xff]), Err(Malformed));
        let upper = Descriptor::parse(&[0x28, 0x02, 9, 0xff]).expect("a key picture's layer 1");
        assert!(!upper.begins_key_frame());
    }
}

//! The dependency descriptor header extension (RTP Payload Format For AV1, appendix A): its
//! mandatory fields, and whether a template structure comes along. Layers are looked up by template
//! in the structure that the last key frame brought, see [`Templates`].

use crate::wire::{Malformed, u16_at};

/// The most templates in a structure: ids have six bits.
const MAX_TEMPLATES: usize = 64;
/// Where the frame number stands.
const FRAME_NUMBER_AT: usize = 1;

/// The mandatory fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The packet is the first of its frame.
    pub start_of_frame: bool,
    /// The packet is the last of its frame.
    pub end_of_frame: bool,
    /// Six bits: see [`Templates::layers`].
    pub template_id: u8,
    /// Grows by one with each frame, wraps at 2^16.
    pub frame_number: u16,
    /// A template structure comes along: the frame is the first of a coded video sequence.
    pub has_structure: bool,
}

impl Descriptor {
    /// Reads the mandatory fields.
    ///
    /// # Errors
    /// [`Malformed`] when there are fewer than three bytes.
    pub fn parse(element: &[u8]) -> Result<Self, Malformed> {
        let first = *element.first().ok_or(Malformed)?;
        let frame_number = u16_at(element, FRAME_NUMBER_AT).ok_or(Malformed)?;
        Ok(Self {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template_id: first & 0x3f,
            frame_number,
            has_structure: element.get(3).is_some_and(|flags| flags & 0x80 != 0),
        })
    }

    /// True when a decoder can begin here: the first packet of a frame that brings its structure.
    pub fn is_key_frame(&self) -> bool {
        self.has_structure && self.start_of_frame
    }

    /// Writes another frame number into a copy of the element.
    pub fn rewrite(element: &mut [u8], frame_number: u16) {
        if let Some(field) = element.get_mut(FRAME_NUMBER_AT..FRAME_NUMBER_AT + 2) {
            field.copy_from_slice(&frame_number.to_be_bytes());
        }
    }
}

/// The layers of each template, from the structure of a key frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    id_offset: u8,
    count: u8,
    decode_targets: u8,
    /// Spatial id in the high half, temporal id in the low one.
    layers: [u8; MAX_TEMPLATES],
}

impl Templates {
    /// Reads the beginning of an element's template structure; none when it has none.
    ///
    /// # Errors
    /// [`Malformed`] when it ends too early or has too many templates.
    pub fn parse(element: &[u8]) -> Result<Option<Self>, Malformed> {
        if !Descriptor::parse(element)?.has_structure {
            return Ok(None);
        }
        // Behind the mandatory fields stand five flags, the first for the structure.
        let mut bits = Bits { bytes: element, at: 24 + 5 };
        let id_offset = bits.read(6)? as u8;
        let decode_targets = bits.read(5)? as u8 + 1;
        let mut templates =
            Self { id_offset, count: 0, decode_targets, layers: [0; MAX_TEMPLATES] };
        let (mut spatial, mut temporal) = (0_u8, 0_u8);
        loop {
            let place = templates.layers.get_mut(usize::from(templates.count)).ok_or(Malformed)?;
            *place = spatial << 4 | temporal;
            templates.count += 1;
            match bits.read(2)? {
                0 => {}
                1 => temporal += 1,
                2 => {
                    temporal = 0;
                    spatial += 1;
                }
                _ => return Ok(Some(templates)),
            }
            // The format knows 4 spatial and 8 temporal layers.
            if spatial > 3 || temporal > 7 {
                return Err(Malformed);
            }
        }
    }

    /// The spatial and the temporal layer of a template; none when it is not of this structure.
    pub fn layers(&self, template_id: u8) -> Option<(u8, u8)> {
        let index = (template_id + 64 - self.id_offset) & 63;
        (index < self.count).then(|| {
            let pair = self.layers[usize::from(index)];
            (pair >> 4, pair & 0x0f)
        })
    }

    /// How many decode targets the stream has.
    pub fn decode_targets(&self) -> u8 {
        self.decode_targets
    }
}

/// Reads bits from the highest on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn read(&mut self, count: usize) -> Result<u32, Malformed> {
        let mut value = 0;
        for at in self.at..self.at + count {
            let byte = *self.bytes.get(at / 8).ok_or(Malformed)?;
            value = value << 1 | u32::from(byte >> (7 - at % 8) & 1);
        }
        self.at += count;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mandatory_fields_and_their_rewriting() {
        let mut element = [0xc5, 0x12, 0x34];
        let read = Descriptor::parse(&element).expect("three bytes");
        assert!(read.start_of_frame && read.end_of_frame && !read.is_key_frame());
        assert_eq!((read.template_id, read.frame_number), (5, 0x1234));
        Descriptor::rewrite(&mut element, 0xfffe);
        assert_eq!(element, [0xc5, 0xff, 0xfe]);
        assert_eq!(Descriptor::parse(&element[..2]), Err(Malformed));
        assert_eq!(Templates::parse(&element), Ok(None));
    }

    #[test]
    fn layers_come_from_the_structure() {
        // Flags 10000, offset 62 (111110), 2 decode targets (00001); then the steps between
        // templates: same layer, next temporal, next spatial, end: 00 01 10 11.
        let element = [0x80 | 62, 0, 1, 0b1000_0111, 0b1100_0001, 0b0001_1011];
        let read = Descriptor::parse(&element).expect("enough bytes");
        assert!(read.is_key_frame());
        let templates = Templates::parse(&element).expect("well formed").expect("a structure");
        assert_eq!(templates.decode_targets(), 2);
        let layers = [62, 63, 0, 1, 2, 61].map(|id| templates.layers(id));
        let expected = [Some((0, 0)), Some((0, 0)), Some((0, 1)), Some((1, 0)), None, None];
        assert_eq!(layers, expected);
        assert_eq!(Templates::parse(&element[..5]), Err(Malformed));
    }
}

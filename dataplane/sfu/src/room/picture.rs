//! The numbers by which decoders join frames: picture id and TL0PICIDX of VP8 and VP9, and the
//! dependency descriptor's frame number. Across a switch of streams each goes on by one; within a
//! run all are shifted by the same amounts, so order and gaps stay as they came.

use hype_protocol::media::Codec;

use crate::wire::Malformed;
use crate::wire::payload::dependency_descriptor;
use crate::wire::payload::{PictureId, av1, h264, vp8, vp9};

/// What a consumer must know of one video packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Picture {
    /// A decoder can begin with this packet.
    pub(crate) key_frame_start: bool,
    picture_id: Option<PictureId>,
    /// TL0PICIDX and its offset in the payload.
    tl0: Option<(u8, u8)>,
    frame_number: Option<u16>,
}

impl Picture {
    /// Reads a decrypted packet.
    ///
    /// # Errors
    /// [`Malformed`] when the codec's payload descriptor is.
    pub(crate) fn read(
        codec: Codec,
        payload: &[u8],
        descriptor: Option<&[u8]>,
    ) -> Result<Self, Malformed> {
        let mut picture = match codec {
            Codec::Opus => Self { key_frame_start: true, ..Self::default() },
            Codec::Vp8 => {
                let read = vp8::Descriptor::parse(payload)?;
                Self {
                    key_frame_start: read.begins_key_frame(),
                    picture_id: read.picture_id,
                    tl0: read.tl0_picture_index,
                    frame_number: None,
                }
            }
            Codec::Vp9 => {
                let read = vp9::Descriptor::parse(payload)?;
                Self {
                    key_frame_start: read.begins_key_frame(),
                    picture_id: read.picture_id,
                    tl0: read.tl0_picture_index,
                    frame_number: None,
                }
            }
            Codec::H264 => {
                Self { key_frame_start: h264::begins_key_frame(payload), ..Self::default() }
            }
            Codec::Av1 => {
                Self { key_frame_start: av1::begins_key_frame(payload), ..Self::default() }
            }
        };
        if let Some(descriptor) = descriptor {
            let read = dependency_descriptor::Descriptor::parse(descriptor)?;
            picture.frame_number = Some(read.frame_number);
            if codec == Codec::Av1 {
                // It tells even when the payload is encrypted end to end.
                picture.key_frame_start = read.is_key_frame();
            }
        }
        Ok(picture)
    }

    /// Writes the shifted numbers into the payload. The numbers read stay the basis, so this may
    /// be done again for the next consumer.
    pub(crate) fn write(&self, payload: &mut [u8], offsets: &Offsets) {
        if let Some(place) = &self.picture_id {
            place.rewrite(payload, offsets.picture_id(place));
        }
        if let Some((value, at)) = self.tl0
            && let Some(byte) = payload.get_mut(usize::from(at))
        {
            *byte = value.wrapping_add(offsets.tl0);
        }
    }
}

/// What one run of one consumer adds to the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offsets {
    picture: u16,
    tl0: u8,
    frame: u16,
}

impl Offsets {
    fn picture_id(&self, place: &PictureId) -> u16 {
        let mask = if place.long { 0x7fff } else { 0x7f };
        place.value.wrapping_add(self.picture) & mask
    }

    /// Shifts the frame number in a copy of a dependency descriptor.
    pub(crate) fn write_frame_number(&self, descriptor: &mut [u8]) {
        if let Ok(read) = dependency_descriptor::Descriptor::parse(descriptor) {
            let shifted = read.frame_number.wrapping_add(self.frame);
            dependency_descriptor::Descriptor::rewrite(descriptor, shifted);
        }
    }
}

/// One consumer's state: where its numbers stand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PictureNumbers {
    offsets: Offsets,
    /// Of the newest packet sent, as sent.
    picture: Option<u16>,
    tl0: Option<u8>,
    frame: Option<u16>,
}

impl PictureNumbers {
    /// The offsets for a packet; `first` starts a new run, `newest` moves the state on.
    pub(crate) fn place(&mut self, picture: &Picture, first: bool, newest: bool) -> Offsets {
        if first {
            // Each number goes on by one after what was sent last, or starts as it came.
            let picture_id = picture.picture_id.map(|id| id.value);
            self.offsets = Offsets {
                picture: advance(self.picture, picture_id),
                tl0: match (self.tl0, picture.tl0) {
                    (Some(last), Some((value, _))) => last.wrapping_add(1).wrapping_sub(value),
                    _ => 0,
                },
                frame: advance(self.frame, picture.frame_number),
            };
        }
        if newest {
            if let Some(place) = &picture.picture_id {
                self.picture = Some(self.offsets.picture_id(place));
            }
            if let Some((value, _)) = picture.tl0 {
                self.tl0 = Some(value.wrapping_add(self.offsets.tl0));
            }
            if let Some(number) = picture.frame_number {
                self.frame = Some(number.wrapping_add(self.offsets.frame));
            }
        }
        self.offsets
    }
}

fn advance(last: Option<u16>, value: Option<u16>) -> u16 {
    match (last, value) {
        (Some(last), Some(value)) => last.wrapping_add(1).wrapping_sub(value),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VP8 payload with 15-bit picture id and TL0PICIDX; the first packet of a frame.
    fn vp8(picture: u16, tl0: u8, key: bool) -> [u8; 8] {
        let [high, low] = (picture | 0x8000).to_be_bytes();
        [0x90, 0xc0, high, low, tl0, u8::from(!key), 0xaa, 0xbb]
    }

    #[test]
    fn numbers_go_on_across_switches_and_keep_their_gaps() {
        let mut numbers = PictureNumbers::default();
        let mut send = |picture, tl0, key, first| {
            let mut payload = vp8(picture, tl0, key);
            let read = Picture::read(Codec::Vp8, &payload, None).expect("well formed");
            assert_eq!(read.key_frame_start, key);
            let offsets = numbers.place(&read, first, true);
            read.write(&mut payload, &offsets);
            let id = u16::from_be_bytes([payload[2], payload[3]]);
            assert!(id & 0x8000 != 0, "still the long form");
            (id & 0x7fff, payload[4])
        };
        assert_eq!(send(0x7ffe, 200, true, true), (0x7ffe, 200));
        assert_eq!(send(0x7fff, 201, false, false), (0x7fff, 201));
        assert_eq!(send(1, 203, false, false), (1, 203), "the sender left out 0");
        assert_eq!(send(500, 9, true, true), (2, 204));
        assert_eq!(send(502, 11, false, false), (4, 206));
    }

    #[test]
    fn the_frame_number_of_a_descriptor_is_shifted() {
        let key = [0x80, 0, 9, 0x80];
        let mut delta = [0x80, 0, 10];
        let mut numbers = PictureNumbers { frame: Some(99), ..PictureNumbers::default() };
        let payload = [0x08, 1, 2];
        let read = Picture::read(Codec::Av1, &payload, Some(&key)).expect("well formed");
        assert!(read.key_frame_start);
        numbers.place(&read, true, true);
        let read = Picture::read(Codec::Av1, &payload, Some(&delta)).expect("well formed");
        assert!(!read.key_frame_start, "the descriptor is the better witness");
        numbers.place(&read, false, true).write_frame_number(&mut delta);
        assert_eq!(delta, [0x80, 0, 101]);
    }
}

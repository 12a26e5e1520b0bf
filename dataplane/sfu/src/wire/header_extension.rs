//! RTP header extensions (RFC 8285), one- and two-byte forms: an iterator over the elements of an
//! incoming block, typed readers for those that the engine knows, and a writer.
//! A broken block ends where it breaks; what stood before it counts (RFC 8285 §4.1.2).

use hype_protocol::media::HeaderExtensions;

use super::NoRoom;

const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Local identifier, 1–255.
    pub id: u8,
    /// 0–255 bytes; the one-byte form carries 1–16.
    pub data: &'a [u8],
}

/// Iterates over the elements of a block.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    two_byte: bool,
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Over a block of the given "defined by profile" word. Unknown profiles have no elements.
    #[inline]
    pub fn new(profile: u16, block: &'a [u8]) -> Self {
        // RFC 8285 §4.3: the low four bits of the two-byte form are for the application.
        let two_byte = profile & 0xfff0 == TWO_BYTE_PROFILE;
        let known = two_byte || profile == ONE_BYTE_PROFILE;
        Self { two_byte, rest: if known { block } else { &[] } }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            if first == 0 {
                self.rest = rest;
                continue;
            }
            let (id, len, rest) = if self.two_byte {
                let (&len, rest) = rest.split_first()?;
                (first, usize::from(len), rest)
            } else {
                (first >> 4, usize::from(first & 0x0f) + 1, rest)
            };
            // RFC 8285 §4.2: one-byte ids 15 and (0 with a length) end the block.
            let ends = !self.two_byte && (id == 15 || id == 0);
            let Some((data, rest)) = rest.split_at_checked(len).filter(|_| !ends) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            return Some(Element { id, data });
        }
    }
}

/// RFC 6464: how loud a packet's sound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// 0 (loudest) to 127 (silent), in −dBov.
    pub level: u8,
    /// The sender's voice activity bit. False also means "not told".
    pub voice: bool,
}

impl AudioLevel {
    /// The element's one byte.
    pub fn to_byte(self) -> u8 {
        (u8::from(self.voice) << 7) | (self.level & 0x7f)
    }
}

/// The extensions that the engine reads, found in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions<'a> {
    /// RFC 9143: which m-line.
    pub mid: Option<&'a [u8]>,
    /// RFC 8852: which simulcast stream.
    pub rid: Option<&'a [u8]>,
    /// RFC 8852: which simulcast stream this one repairs.
    pub repaired_rid: Option<&'a [u8]>,
    /// RFC 6464.
    pub audio_level: Option<AudioLevel>,
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 §2.
    pub transport_sequence_number: Option<u16>,
    /// 24 bits: 6 of seconds, 18 of their fraction.
    pub abs_send_time: Option<u32>,
    /// The raw descriptor, see [`super::payload::dependency_descriptor`].
    pub dependency_descriptor: Option<&'a [u8]>,
    /// 3GPP coordination of video orientation: one byte, passed on as it is.
    pub video_orientation: Option<u8>,
    /// 12 bits of least and 12 of greatest delay in 10 ms, passed on as they are.
    pub playout_delay: Option<[u8; 3]>,
}

impl<'a> Extensions<'a> {
    /// Reads those that the session agreed on. One of a wrong length is taken as absent; of
    /// several with one id the last counts.
    #[inline]
    pub fn read(elements: Elements<'a>, ids: &HeaderExtensions) -> Self {
        let mut found = Self::default();
        for Element { id, data } in elements {
            let id = Some(id);
            if id == ids.audio_level {
                if let [byte, ..] = *data {
                    found.audio_level =
                        Some(AudioLevel { level: byte & 0x7f, voice: byte & 0x80 != 0 });
                }
            } else if id == ids.transport_cc {
                if let [high, low, ..] = *data {
                    found.transport_sequence_number = Some(u16::from_be_bytes([high, low]));
                }
            } else if id == ids.abs_send_time {
                if let [a, b, c] = *data {
                    found.abs_send_time = Some(u32::from_be_bytes([0, a, b, c]));
                }
            } else if id == ids.dependency_descriptor {
                found.dependency_descriptor = Some(data);
            } else if id == ids.mid {
                found.mid = tag(data);
            } else if id == ids.rid {
                found.rid = tag(data);
            } else if id == ids.repaired_rid {
                found.repaired_rid = tag(data);
            } else if id == ids.video_orientation {
                if let [byte] = *data {
                    found.video_orientation = Some(byte);
                }
            } else if id == ids.playout_delay {
                found.playout_delay = data.try_into().ok();
            }
        }
        found
    }
}

/// SDES items in header extensions are UTF-8 text (RFC 7941 §4.1); ours are 1–16 characters.
/// Some senders pad them with zero bytes.
#[inline]
fn tag(data: &[u8]) -> Option<&[u8]> {
    let end = data.iter().rposition(|&byte| byte != 0)? + 1;
    (end <= 16).then(|| &data[..end])
}

/// Writes a block with its four-byte head, padded to a multiple of four, and returns its length.
/// The two-byte form is used when an id is above 14 or a length is not in 1–16 (RFC 8285 §4.1.2).
///
/// # Errors
/// [`NoRoom`] when `out` is too short, or an element has id 0 or more than 255 bytes.
#[inline]
pub fn write(out: &mut [u8], elements: &[Element<'_>]) -> Result<usize, NoRoom> {
    let mut two_byte = false;
    let mut data_len = 0;
    for element in elements {
        if element.id == 0 || element.data.len() > 255 {
            return Err(NoRoom);
        }
        two_byte |= element.id > 14 || element.data.is_empty() || element.data.len() > 16;
        data_len += element.data.len();
    }
    let head = if two_byte { 2 } else { 1 };
    let unpadded = data_len + head * elements.len();
    let padded = unpadded.next_multiple_of(4);
    let words = u16::try_from(padded / 4).map_err(|_| NoRoom)?;
    let block = out.get_mut(..4 + padded).ok_or(NoRoom)?;
    let profile = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
    block[..2].copy_from_slice(&profile.to_be_bytes());
    block[2..4].copy_from_slice(&words.to_be_bytes());
    let mut at = 4;
    for Element { id, data } in elements {
        let len = (data.len() & 0xff) as u8;
        if two_byte {
            block[at] = *id;
            block[at + 1] = len;
        } else {
            block[at] = (id << 4) | (len - 1);
        }
        at += head;
        block[at..at + data.len()].copy_from_slice(data);
        at += data.len();
    }
    block[at..].fill(0);
    Ok(4 + padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_found_by_their_ids() {
        let ids = HeaderExtensions {
            mid: Some(1),
            rid: Some(2),
            repaired_rid: Some(3),
            audio_level: Some(4),
            transport_cc: Some(5),
            abs_send_time: Some(6),
            dependency_descriptor: Some(7),
            video_orientation: Some(8),
            playout_delay: Some(9),
        };
        let elements = [
            Element { id: 1, data: b"v0\0\0" },
            Element { id: 2, data: b"hi" },
            Element { id: 4, data: &[0x80 | 30] },
            Element { id: 5, data: &[0x12, 0x34] },
            Element { id: 6, data: &[1, 2, 3] },
            Element { id: 7, data: &[0x80, 0, 1] },
            Element { id: 8, data: &[3] },
            Element { id: 9, data: &[0, 0, 10] },
            Element { id: 12, data: &[9; 9] },
        ];
        let mut block = [0; 64];
        let len = write(&mut block, &elements).expect("64 bytes suffice");
        let read = Extensions::read(Elements::new(0xbede, &block[4..len]), &ids);
        assert_eq!(read.mid, Some(&b"v0"[..]));
        assert_eq!(read.rid, Some(&b"hi"[..]));
        assert_eq!(read.repaired_rid, None);
        assert_eq!(read.audio_level, Some(AudioLevel { level: 30, voice: true }));
        assert_eq!(read.audio_level.map(AudioLevel::to_byte), Some(0x9e));
        assert_eq!(read.transport_sequence_number, Some(0x1234));
        assert_eq!(read.abs_send_time, Some(0x01_0203));
        assert_eq!(read.dependency_descriptor, Some(&[0x80, 0, 1][..]));
        assert_eq!(read.video_orientation, Some(3));
        assert_eq!(read.playout_delay, Some([0, 0, 10]));
    }

    #[test]
    fn a_broken_element_ends_the_block() {
        let count = |profile, block: &[u8]| Elements::new(profile, block).count();
        assert_eq!(count(0xbede, &[0x10, 7, 0x2f, 1]), 1);
        assert_eq!(count(0xbede, &[0x10, 7, 0xf0, 1, 0x20, 9]), 1);
        assert_eq!(count(0xbede, &[0x10, 7, 0x03, 1, 0x20, 9]), 1);
        assert_eq!(count(0x100a, &[1, 0, 0, 0, 2, 1, 9]), 2);
        assert_eq!(count(0x1000, &[1, 2, 0]), 0);
        assert_eq!(count(0x1000, &[1]), 0);
        assert_eq!(count(0x1234, &[0x10, 7]), 0);
    }
}

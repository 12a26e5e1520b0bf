//! A prepared RTP header for an outgoing audio line: SSRC, MID and extension ids are the
//! receiver's own and stay the same, so a packet's header is one short copy and a few patches.

use hype_protocol::media::HeaderExtensions;

use crate::wire::header_extension::Element;
use crate::wire::rtp;

/// The longest prepared header: fixed part, one CSRC, MID of 16, level, transport-wide number.
const CAPACITY: usize = 64;
/// Where the extension block's elements begin: after the fixed part, one CSRC, the block's head.
const ELEMENTS: usize = rtp::FIXED_LEN + 4 + 4;

/// A header whose changing fields are patched for each packet.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct AudioHeader {
    len: u8,
    /// 0 where the element is not sent; it never stands there.
    level_at: u8,
    transport_at: u8,
    bytes: [u8; CAPACITY],
}

/// What changes from packet to packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AudioFields {
    pub(crate) marker: bool,
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) csrc: u32,
    /// The byte of RFC 6464.
    pub(crate) level: u8,
}

impl AudioHeader {
    /// Prepares a header; none when the tags do not fit, which limits on their length rule out.
    pub(crate) fn new(
        ssrc: u32,
        payload_type: u8,
        mid: &[u8],
        ids: &HeaderExtensions,
        with_level: bool,
    ) -> Option<Self> {
        let fields = rtp::Outgoing {
            payload_type,
            marker: false,
            sequence_number: 0,
            timestamp: 0,
            ssrc,
            csrc: Some(0),
        };
        let level = ids.audio_level.filter(|_| with_level);
        let candidates = [(ids.mid, mid), (level, &[127][..]), (ids.transport_cc, &[0, 0][..])];
        let mut elements = [Element { id: 0, data: &[] }; 3];
        let mut count = 0;
        for (id, data) in candidates {
            if let Some(id) = id {
                elements[count] = Element { id, data };
                count += 1;
            }
        }
        let elements = &elements[..count];
        let mut header = Self { bytes: [0; CAPACITY], len: 0, level_at: 0, transport_at: 0 };
        header.len = u8::try_from(rtp::write(&mut header.bytes, &fields, elements).ok()?).ok()?;
        let two_byte = elements
            .iter()
            .any(|element| element.id > 14 || element.data.is_empty() || element.data.len() > 16);
        let mut at = ELEMENTS;
        for element in elements {
            at += if two_byte { 2 } else { 1 };
            let place = u8::try_from(at).ok()?;
            if Some(element.id) == level {
                header.level_at = place;
            } else if Some(element.id) == ids.transport_cc {
                header.transport_at = place;
            }
            at += element.data.len();
        }
        Some(header)
    }

    /// Writes what changes into the prepared header. Takes the next transport-wide sequence number
    /// where the receiver wants one.
    #[inline]
    pub(crate) fn patch(&mut self, fields: &AudioFields, transport_sequence: &mut u16) {
        let header = &mut self.bytes;
        header[1] = header[1] & 0x7f | u8::from(fields.marker) << 7;
        header[2..4].copy_from_slice(&((fields.index & 0xffff) as u16).to_be_bytes());
        header[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        header[12..16].copy_from_slice(&fields.csrc.to_be_bytes());
        if self.level_at != 0 {
            header[usize::from(self.level_at)] = fields.level;
        }
        if self.transport_at != 0 {
            let at = usize::from(self.transport_at);
            header[at..at + 2].copy_from_slice(&transport_sequence.to_be_bytes());
            *transport_sequence = transport_sequence.wrapping_add(1);
        }
    }

    /// Copies the header as it was patched last to the front of `out`, and returns it; none when
    /// `out` is too short. It is copied whole, by a length that the compiler knows.
    #[inline]
    pub(crate) fn copy_to(&self, out: &mut [u8]) -> Option<&[u8]> {
        let front: &mut [u8; CAPACITY] = out.first_chunk_mut()?;
        *front = self.bytes;
        self.bytes.get(..usize::from(self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::header_extension::Extensions;

    #[test]
    fn patched_fields_are_read_back_in_both_extension_forms() {
        for (mid_id, level_id, transport_id) in
            [(Some(1), Some(2), Some(3)), (Some(1), Some(200), Some(3)), (None, Some(14), None)]
        {
            let ids = HeaderExtensions {
                mid: mid_id,
                audio_level: level_id,
                transport_cc: transport_id,
                ..HeaderExtensions::default()
            };
            let mut header =
                AudioHeader::new(7, 111, b"0123456789abcdef", &ids, true).expect("all fits");
            let fields = AudioFields {
                marker: true,
                index: 0x3_fffe,
                timestamp: 960,
                csrc: 99,
                level: 0x85,
            };
            let mut transport = 0xffff;
            let mut out = [0xaa; 100];
            header.patch(&fields, &mut transport);
            let len = header.copy_to(&mut out).expect("100 bytes suffice").len();
            let packet = &out[..len];
            let read = rtp::Header::parse(packet).expect("a valid header");
            assert_eq!(read.header_len(), len);
            assert_eq!((read.sequence_number, read.timestamp), (0xfffe, 960));
            assert_eq!((read.ssrc, read.payload_type, read.marker), (7, 111, true));
            assert_eq!(read.csrcs(packet).collect::<Vec<_>>(), [99]);
            let extensions = Extensions::read(read.elements(packet), &ids);
            assert_eq!(extensions.mid, mid_id.map(|_| &b"0123456789abcdef"[..]));
            assert_eq!(extensions.audio_level.map(|level| level.to_byte()), Some(0x85));
            assert_eq!(extensions.transport_sequence_number, transport_id.map(|_| 0xffff));
            assert_eq!(transport, if transport_id.is_some() { 0 } else { 0xffff });
            // Nothing of one packet stays in the next.
            let next = AudioFields { marker: false, index: 1, timestamp: 0, csrc: 0, level: 0 };
            header.patch(&next, &mut transport);
            let len = header.copy_to(&mut out).expect("100 bytes suffice").len();
            let read = rtp::Header::parse(&out[..len]).expect("a valid header");
            assert_eq!((read.sequence_number, read.timestamp, read.marker), (1, 0, false));
            assert_eq!(read.csrcs(&out[..len]).collect::<Vec<_>>(), [0]);
            let extensions = Extensions::read(read.elements(&out[..len]), &ids);
            assert_eq!(extensions.audio_level.map(|level| level.to_byte()), Some(0));
        }
    }

    #[test]
    fn without_extensions_there_is_no_block() {
        let mut header = AudioHeader::new(7, 0, b"a", &HeaderExtensions::default(), true)
            .expect("nothing to fit");
        let fields = AudioFields { marker: false, index: 1, timestamp: 2, csrc: 3, level: 0 };
        let mut out = [0; 100];
        header.patch(&fields, &mut 0);
        assert_eq!(header.copy_to(&mut out).map(<[u8]>::len), Some(16));
        assert_eq!(out[0], 0x81);
        assert_eq!(header.copy_to(&mut out[..20]), None);
    }
}

//! One peer's copy of a video packet: his own header, the shared payload with his own picture
//! numbers, and padding (RFC 3550 §5.1). Browsers cut a picture into packets whose sizes differ by
//! a byte; padded to a multiple of 16 those of one viewer are equal, and leave in one system call.

use hype_protocol::media::HeaderExtensions;

use crate::drop_reason::DropReason;
use crate::transmit::MAX_DATAGRAM;
use crate::transport::srtp::{Outbound, UsedIndices};
use crate::wire::header_extension::Element;
use crate::wire::rtp;

use super::picture::{Offsets, Picture};
use super::viewer::Extra;

/// Datagrams are padded to a multiple of this many bytes.
const STEP: usize = 16;
/// Nothing is padded to more than this, in bytes of UDP payload: it still fits into Ethernet's MTU
/// by IPv6. What fits into IPv6's least MTU (1232 bytes, which are 77 steps) still does when padded.
const LARGEST: usize = 1440;

/// What all copies of one packet are sealed from, with room for padding: only a viewer's own numbers
/// and padding are written anew for each of them.
pub(crate) struct Plaintext {
    bytes: [u8; MAX_DATAGRAM],
    /// Without padding.
    len: usize,
    /// Where the payload begins: behind the original sequence number of a retransmission.
    start: usize,
}

impl Plaintext {
    /// Of a packet, or of its retransmission if it has an `original` sequence number, which stands
    /// before the payload (RFC 4588 §4).
    ///
    /// # Errors
    /// [`DropReason::Oversize`] when it cannot fit into a datagram.
    pub(crate) fn new(original: Option<u16>, payload: &[u8]) -> Result<Self, DropReason> {
        let original = original.map(u16::to_be_bytes);
        let original = original.as_ref().map_or(&[][..], |number| &number[..]);
        let (start, len) = (original.len(), original.len() + payload.len());
        let mut bytes = [0; MAX_DATAGRAM];
        let place = bytes.get_mut(..len).ok_or(DropReason::Oversize)?;
        let (number, rest) = place.split_at_mut(start);
        number.copy_from_slice(original);
        rest.copy_from_slice(payload);
        Ok(Self { bytes, len, start })
    }

    /// Bytes of the payload itself.
    pub(crate) fn payload_len(&self) -> usize {
        self.len - self.start
    }
}

/// What a copy is made of.
pub(super) struct PictureCopy<'a> {
    pub(super) fields: rtp::Outgoing,
    /// The receiver's own ids.
    pub(super) ids: &'a HeaderExtensions,
    pub(super) mid: &'a [u8],
    pub(super) extra: &'a Extra<'a>,
    pub(super) plaintext: &'a mut Plaintext,
    pub(super) picture: &'a Picture,
    pub(super) offsets: &'a Offsets,
}

impl PictureCopy<'_> {
    /// Writes and seals it into `out`, and returns its length. Takes the next transport-wide
    /// sequence number where the receiver wants one.
    ///
    /// # Errors
    /// Why it cannot be sent.
    pub(super) fn seal(
        self,
        outbound: &Outbound,
        stream: &mut impl UsedIndices,
        index: u64,
        transport_sequence: &mut u16,
        out: &mut [u8],
    ) -> Result<usize, DropReason> {
        let header = self.write_header(transport_sequence, out).ok_or(DropReason::Oversize)?;
        let Self { plaintext, picture, offsets, .. } = self;
        let (start, end) = (plaintext.start, plaintext.len);
        let padding =
            if start == end { 0 } else { padding(header + end + outbound.rtp_overhead()) };
        let plaintext = plaintext.bytes.get_mut(..end + padding).ok_or(DropReason::Oversize)?;
        picture.write(&mut plaintext[start..end], offsets);
        if let Some((last, zeros)) = plaintext[end..].split_last_mut() {
            // The copy before may have had less of it.
            zeros.fill(0);
            *last = (padding & 0xff) as u8;
            rtp::set_padding(out);
        }
        outbound
            .protect_rtp(stream, index, plaintext, out, header)
            .map_err(|error| error.drop_reason())
    }

    fn write_header(&self, transport_sequence: &mut u16, out: &mut [u8]) -> Option<usize> {
        let Self { ids, extra, .. } = self;
        let number = transport_sequence.to_be_bytes();
        let orientation = extra.orientation.map(|byte| [byte]);
        let mut descriptor = [0; 255];
        let descriptor = extra.dependency_descriptor.and_then(|bytes| {
            let copy = descriptor.get_mut(..bytes.len())?;
            copy.copy_from_slice(bytes);
            self.offsets.write_frame_number(copy);
            Some(&*copy)
        });
        let candidates = [
            (ids.mid, Some(self.mid)),
            (ids.transport_cc, Some(&number[..])),
            (ids.video_orientation, orientation.as_ref().map(<[u8; 1]>::as_slice)),
            (ids.playout_delay, extra.playout_delay.as_ref().map(<[u8; 3]>::as_slice)),
            (ids.dependency_descriptor, descriptor),
        ];
        let mut elements = [Element { id: 0, data: &[] }; 5];
        let mut count = 0;
        for (id, data) in candidates {
            if let (Some(id), Some(data)) = (id, data) {
                elements[count] = Element { id, data };
                count += 1;
            }
        }
        let len = rtp::write(out, &self.fields, &elements[..count]).ok()?;
        if ids.transport_cc.is_some() {
            *transport_sequence = transport_sequence.wrapping_add(1);
        }
        Some(len)
    }
}

/// How much padding a datagram of `len` bytes gets: 0–15 bytes.
fn padding(len: usize) -> usize {
    let padded = len.next_multiple_of(STEP);
    if padded <= LARGEST { padded - len } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_become_multiples_and_never_too_large() {
        for len in 1..=MAX_DATAGRAM {
            let padded = len + padding(len);
            assert!(padded - len < STEP, "{len}");
            assert!(padded.is_multiple_of(STEP) || len > LARGEST, "{len}");
            assert!(padded <= LARGEST.max(len), "{len}");
            // IPv6's least MTU, less the headers of IPv6 and UDP.
            assert!(len > 1280 - 48 || padded <= 1280 - 48, "{len}");
        }
        // What differs by a byte mostly becomes equal.
        assert_eq!([1101, 1100].map(|len| len + padding(len)), [1104, 1104]);
    }
}

//! RTCP: compound packets (RFC 3550 §6.1, reduced size by RFC 5506) as checked views, and a
//! writer. A datagram is taken as a whole or not at all: every part of it is checked before the
//! first is shown. Unknown packet types and feedback formats are shown as such and skipped.

use super::{Malformed, u16_at, u32_at};

pub mod feedback;
pub mod report;
pub mod source;
pub mod transport_cc;
pub mod writer;

pub use feedback::{FullIntraRequest, Nack, PictureLoss, ReceiverEstimate};
pub use report::{ReceiverReport, ReportBlock, SenderReport};
pub use source::{Goodbye, SourceDescription};
pub use transport_cc::TransportFeedback;
pub use writer::Writer;

/// RTCP packet types (RFC 3550 §12.1, RFC 4585 §6.1).
pub(crate) mod packet_type {
    pub const SENDER_REPORT: u8 = 200;
    pub const RECEIVER_REPORT: u8 = 201;
    pub const SOURCE_DESCRIPTION: u8 = 202;
    pub const GOODBYE: u8 = 203;
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    pub const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Feedback message types (RFC 4585 §6.2 and §6.3, RFC 5104 §4.3.1).
pub(crate) mod format {
    pub const NACK: u8 = 1;
    pub const TRANSPORT_CC: u8 = 15;
    pub const PICTURE_LOSS: u8 = 1;
    pub const FULL_INTRA: u8 = 4;
    pub const APPLICATION: u8 = 15;
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy)]
pub enum Packet<'a> {
    /// RFC 3550 §6.4.1.
    SenderReport(SenderReport<'a>),
    /// RFC 3550 §6.4.2.
    ReceiverReport(ReceiverReport<'a>),
    /// RFC 3550 §6.5.
    SourceDescription(SourceDescription<'a>),
    /// RFC 3550 §6.6.
    Goodbye(Goodbye<'a>),
    /// RFC 4585 §6.2.1.
    Nack(Nack<'a>),
    /// RFC 4585 §6.3.1.
    PictureLoss(PictureLoss),
    /// RFC 5104 §4.3.1.
    FullIntraRequest(FullIntraRequest<'a>),
    /// draft-alvestrand-rmcat-remb §2.2.
    ReceiverEstimate(ReceiverEstimate<'a>),
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
    TransportFeedback(TransportFeedback<'a>),
    /// A packet type or feedback format that is not known here.
    Other,
}

/// A checked compound packet.
#[derive(Debug, Clone, Copy)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks a decrypted datagram, every packet of it. A compound that begins with neither SR
    /// nor RR is taken as reduced size (RFC 5506 §3.4).
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        if rest.is_empty() {
            return Err(Malformed);
        }
        while !rest.is_empty() {
            let (frame, after) = Frame::split(rest)?;
            // RFC 3550 §6.4.1: only the last packet may be padded.
            if frame.padded && !after.is_empty() {
                return Err(Malformed);
            }
            frame.read()?;
            rest = after;
        }
        Ok(Self { bytes })
    }

    /// The packets, in order.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            // Checked by `parse`: neither fails before the end.
            let (frame, after) = Frame::split(rest).ok()?;
            rest = after;
            frame.read().ok()
        })
    }
}

/// One packet by its common header, without padding.
struct Frame<'a> {
    /// The report count or feedback format: five bits.
    count: u8,
    packet_type: u8,
    padded: bool,
    /// All behind the first word.
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// RFC 3550 §A.2.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let head = bytes.first_chunk::<4>().ok_or(Malformed)?;
        let words = usize::from(u16_at(head, 2).ok_or(Malformed)?);
        if head[0] >> 6 != 2 {
            return Err(Malformed);
        }
        let (packet, rest) = bytes.split_at_checked(4 * (words + 1)).ok_or(Malformed)?;
        let padded = head[0] & 0x20 != 0;
        let mut body = &packet[4..];
        if padded {
            // RFC 3550 §6.4.1: a multiple of four, counting itself.
            let count = usize::from(*body.last().ok_or(Malformed)?);
            if count == 0 || count % 4 != 0 {
                return Err(Malformed);
            }
            body = &body[..body.len().checked_sub(count).ok_or(Malformed)?];
        }
        Ok((Self { count: head[0] & 0x1f, packet_type: head[1], padded, body }, rest))
    }

    fn read(&self) -> Result<Packet<'a>, Malformed> {
        let Self { count, body, .. } = *self;
        Ok(match (self.packet_type, count) {
            (packet_type::SENDER_REPORT, _) => {
                Packet::SenderReport(SenderReport::read(count, body)?)
            }
            (packet_type::RECEIVER_REPORT, _) => {
                Packet::ReceiverReport(ReceiverReport::read(count, body)?)
            }
            (packet_type::SOURCE_DESCRIPTION, _) => {
                Packet::SourceDescription(SourceDescription::read(count, body)?)
            }
            (packet_type::GOODBYE, _) => Packet::Goodbye(Goodbye::read(count, body)?),
            (packet_type::TRANSPORT_FEEDBACK, format::NACK) => Packet::Nack(Nack::read(body)?),
            (packet_type::TRANSPORT_FEEDBACK, format::TRANSPORT_CC) => {
                Packet::TransportFeedback(TransportFeedback::read(body)?)
            }
            (packet_type::PAYLOAD_FEEDBACK, format::PICTURE_LOSS) => {
                Packet::PictureLoss(PictureLoss::read(body)?)
            }
            (packet_type::PAYLOAD_FEEDBACK, format::FULL_INTRA) => {
                Packet::FullIntraRequest(FullIntraRequest::read(body)?)
            }
            (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION) => {
                ReceiverEstimate::read(body)?.map_or(Packet::Other, Packet::ReceiverEstimate)
            }
            _ => Packet::Other,
        })
    }
}

/// The sender and media SSRC with which every feedback message begins (RFC 4585 §6.1).
fn feedback_ssrcs(body: &[u8]) -> Result<(u32, u32), Malformed> {
    Ok((u32_at(body, 0).ok_or(Malformed)?, u32_at(body, 4).ok_or(Malformed)?))
}

#[cfg(test)]
mod tests;

//! Writes compound RTCP packets into a caller's buffer, packet by packet. What does not fit is
//! not written at all, so the compound stays whole.

use super::report::{BLOCK_LEN, ReportBlock};
use super::{format, packet_type, transport_cc};
use crate::time::Timestamp;
use crate::wire::NoRoom;

/// A stream's own part of a sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// The stream.
    pub ssrc: u32,
    /// Our wall clock: seconds since 1900 and their 2^-32 parts.
    pub ntp_time: u64,
    /// The same moment on the stream's clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packet_count: u32,
    /// Payload bytes sent.
    pub octet_count: u32,
}

/// The most blocks in one report.
pub const MAX_BLOCKS: usize = 31;

/// One compound in the making.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Begins a compound.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Bytes written so far: the compound's length.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True before the first packet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Room for one packet's body of a multiple of four bytes, behind its header.
    fn packet(&mut self, count: u8, kind: u8, body_len: usize) -> Result<&mut [u8], NoRoom> {
        let end = self.len + 4 + body_len;
        let packet = self.buffer.get_mut(self.len..end).ok_or(NoRoom)?;
        let words = u16::try_from(body_len / 4).map_err(|_| NoRoom)?;
        packet[0] = 0x80 | count & 0x1f;
        packet[1] = kind;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        self.len = end;
        Ok(&mut packet[4..])
    }

    /// Adds a sender report with blocks on streams that come in; at most [`MAX_BLOCKS`].
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn sender_report(
        &mut self,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Result<(), NoRoom> {
        let count = block_count(blocks)?;
        let len = 24 + BLOCK_LEN * blocks.len();
        let body = self.packet(count, packet_type::SENDER_REPORT, len)?;
        body[..4].copy_from_slice(&info.ssrc.to_be_bytes());
        body[4..12].copy_from_slice(&info.ntp_time.to_be_bytes());
        body[12..16].copy_from_slice(&info.rtp_timestamp.to_be_bytes());
        body[16..20].copy_from_slice(&info.packet_count.to_be_bytes());
        body[20..24].copy_from_slice(&info.octet_count.to_be_bytes());
        write_blocks(&mut body[24..], blocks);
        Ok(())
    }

    /// Adds a receiver report; at most [`MAX_BLOCKS`] blocks.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn receiver_report(
        &mut self,
        sender_ssrc: u32,
        blocks: &[ReportBlock],
    ) -> Result<(), NoRoom> {
        let count = block_count(blocks)?;
        let len = 4 + BLOCK_LEN * blocks.len();
        let body = self.packet(count, packet_type::RECEIVER_REPORT, len)?;
        body[..4].copy_from_slice(&sender_ssrc.to_be_bytes());
        write_blocks(&mut body[4..], blocks);
        Ok(())
    }

    /// Adds a source description with one canonical name of 1–255 bytes (RFC 3550 §6.5.1).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn canonical_name(&mut self, ssrc: u32, name: &[u8]) -> Result<(), NoRoom> {
        let name_len = u8::try_from(name.len()).map_err(|_| NoRoom)?;
        // An SSRC, the item, and at least one zero byte.
        let len = (4 + 2 + name.len() + 1).next_multiple_of(4);
        let body = self.packet(1, packet_type::SOURCE_DESCRIPTION, len)?;
        body[..4].copy_from_slice(&ssrc.to_be_bytes());
        body[4] = 1;
        body[5] = name_len;
        body[6..6 + name.len()].copy_from_slice(name);
        body[6 + name.len()..].fill(0);
        Ok(())
    }

    /// Adds a goodbye of one stream (RFC 3550 §6.6).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn goodbye(&mut self, ssrc: u32) -> Result<(), NoRoom> {
        let body = self.packet(1, packet_type::GOODBYE, 4)?;
        body.copy_from_slice(&ssrc.to_be_bytes());
        Ok(())
    }

    /// Adds a generic NACK (RFC 4585 §6.2.1) for sequence numbers in ascending order (wrapping).
    /// Of those that do not fit, none is written.
    ///
    /// # Errors
    /// [`NoRoom`]; also when there are none.
    pub fn nack(
        &mut self,
        sender_ssrc: u32,
        media_ssrc: u32,
        sequence_numbers: &[u16],
    ) -> Result<(), NoRoom> {
        let pairs = nack_pairs(sequence_numbers).count();
        if pairs == 0 {
            return Err(NoRoom);
        }
        let body = self.packet(format::NACK, packet_type::TRANSPORT_FEEDBACK, 8 + 4 * pairs)?;
        body[..4].copy_from_slice(&sender_ssrc.to_be_bytes());
        body[4..8].copy_from_slice(&media_ssrc.to_be_bytes());
        for (field, (first, following)) in
            body[8..].chunks_exact_mut(4).zip(nack_pairs(sequence_numbers))
        {
            field[..2].copy_from_slice(&first.to_be_bytes());
            field[2..].copy_from_slice(&following.to_be_bytes());
        }
        Ok(())
    }

    /// Adds a picture loss indication (RFC 4585 §6.3.1).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn picture_loss(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Result<(), NoRoom> {
        let body = self.packet(format::PICTURE_LOSS, packet_type::PAYLOAD_FEEDBACK, 8)?;
        body[..4].copy_from_slice(&sender_ssrc.to_be_bytes());
        body[4..].copy_from_slice(&media_ssrc.to_be_bytes());
        Ok(())
    }

    /// Adds a full intra request of one stream (RFC 5104 §4.3.1); `number` grows by one with each
    /// new request.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn full_intra_request(
        &mut self,
        sender_ssrc: u32,
        media_ssrc: u32,
        number: u8,
    ) -> Result<(), NoRoom> {
        let body = self.packet(format::FULL_INTRA, packet_type::PAYLOAD_FEEDBACK, 16)?;
        body.fill(0);
        body[..4].copy_from_slice(&sender_ssrc.to_be_bytes());
        body[8..12].copy_from_slice(&media_ssrc.to_be_bytes());
        body[12] = number;
        Ok(())
    }

    /// Adds transport-wide feedback (see [`transport_cc::write`]) and returns how many arrivals
    /// it tells of, from the first on.
    ///
    /// # Errors
    /// [`NoRoom`] when not even one fits, or nothing arrived.
    pub fn transport_feedback(
        &mut self,
        base: &transport_cc::Base,
        arrivals: &[Timestamp],
    ) -> Result<usize, NoRoom> {
        let room = self.buffer.get_mut(self.len + 4..).ok_or(NoRoom)?;
        let written = transport_cc::write(base, arrivals, room)?;
        self.packet(format::TRANSPORT_CC, packet_type::TRANSPORT_FEEDBACK, written.len)?;
        Ok(written.told)
    }
}

fn block_count(blocks: &[ReportBlock]) -> Result<u8, NoRoom> {
    u8::try_from(blocks.len()).ok().filter(|count| *count <= 31).ok_or(NoRoom)
}

fn write_blocks(out: &mut [u8], blocks: &[ReportBlock]) {
    for (field, block) in out.chunks_exact_mut(BLOCK_LEN).zip(blocks) {
        field.copy_from_slice(&block.to_bytes());
    }
}

/// Joins each sequence number with those among the 16 that follow it.
fn nack_pairs(sequence_numbers: &[u16]) -> impl Iterator<Item = (u16, u16)> {
    let mut rest = sequence_numbers;
    std::iter::from_fn(move || {
        let (&first, mut after) = rest.split_first()?;
        let mut following = 0;
        while let Some((&next, more)) = after.split_first() {
            let distance = next.wrapping_sub(first);
            if distance > 16 {
                break;
            }
            if distance > 0 {
                following |= 1 << (distance - 1);
            }
            after = more;
        }
        rest = after;
        Some((first, following))
    })
}

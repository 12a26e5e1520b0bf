//! Sender and receiver reports (RFC 3550 §6.4).

use crate::wire::{Malformed, u32_at};

/// Bytes of one report block.
pub const BLOCK_LEN: usize = 24;

/// How one stream arrives (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The stream that is reported on.
    pub ssrc: u32,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost in all: 24 bits, negative where duplicates came.
    pub cumulative_lost: i32,
    /// The highest sequence number, extended by its cycles.
    pub highest_sequence_number: u32,
    /// Interarrival jitter, in units of the stream's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last SR; 0 without one.
    pub last_sender_report: u32,
    /// From that SR to this report, in 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    fn read(block: &[u8; BLOCK_LEN]) -> Self {
        let word = |index: usize| {
            let at = 4 * index;
            u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        Self {
            ssrc: word(0),
            fraction_lost: block[4],
            // The sign of 24 bits, carried over by an arithmetic shift.
            cumulative_lost: (word(1) << 8).cast_signed() >> 8,
            highest_sequence_number: word(2),
            jitter: word(3),
            last_sender_report: word(4),
            delay_since_last_sender_report: word(5),
        }
    }

    /// As on the wire; losses are clamped to 24 bits (RFC 3550 §6.4.1).
    pub fn to_bytes(&self) -> [u8; BLOCK_LEN] {
        let lost = self.cumulative_lost.clamp(-(1 << 23), (1 << 23) - 1).cast_unsigned();
        let words = [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost & 0x00ff_ffff,
            self.highest_sequence_number,
            self.jitter,
            self.last_sender_report,
            self.delay_since_last_sender_report,
        ];
        let mut bytes = [0; BLOCK_LEN];
        for (field, word) in bytes.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

fn blocks(body: &[u8], at: usize, count: u8) -> Result<&[[u8; BLOCK_LEN]], Malformed> {
    // What lies behind the blocks is a profile's extension, and ignored.
    let bytes = body.get(at..at + BLOCK_LEN * usize::from(count)).ok_or(Malformed)?;
    Ok(bytes.as_chunks().0)
}

/// What a stream's sender tells of it.
#[derive(Debug, Clone, Copy)]
pub struct SenderReport<'a> {
    /// The stream.
    pub ssrc: u32,
    /// The sender's wall clock: seconds since 1900 and their 2^-32 parts.
    pub ntp_time: u64,
    /// The same moment on the stream's clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packet_count: u32,
    /// Payload bytes sent.
    pub octet_count: u32,
    blocks: &'a [[u8; BLOCK_LEN]],
}

impl<'a> SenderReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let word = |index: usize| u32_at(body, 4 * index).ok_or(Malformed);
        Ok(Self {
            ssrc: word(0)?,
            ntp_time: u64::from(word(1)?) << 32 | u64::from(word(2)?),
            rtp_timestamp: word(3)?,
            packet_count: word(4)?,
            octet_count: word(5)?,
            blocks: blocks(body, 24, count)?,
        })
    }

    /// What comes with it on streams that its sender receives.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.blocks.iter().map(ReportBlock::read)
    }
}

/// What one who sends nothing tells of the streams that it receives.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverReport<'a> {
    /// Who tells.
    pub ssrc: u32,
    blocks: &'a [[u8; BLOCK_LEN]],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { ssrc: u32_at(body, 0).ok_or(Malformed)?, blocks: blocks(body, 4, count)? })
    }

    /// Its blocks.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.blocks.iter().map(ReportBlock::read)
    }
}

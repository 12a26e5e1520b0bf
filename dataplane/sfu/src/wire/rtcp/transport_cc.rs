//! Transport-wide congestion control feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): which packets of a transport arrived
//! and when, in steps of 250 µs from a reference time in steps of 64 ms.

use super::feedback_ssrcs;
use crate::time::Timestamp;
use crate::wire::{Malformed, NoRoom, u16_at};

/// One unit of a delta, in µs.
pub const DELTA_UNIT_US: u64 = 250;
/// One unit of the reference time, in µs.
pub const REFERENCE_UNIT_US: u64 = 64_000;
/// SSRCs, base, count, reference time, feedback number.
const FIXED_LEN: usize = 16;
const MAX_RUN: usize = 0x1fff;

/// The feedback of one receiver.
#[derive(Debug, Clone, Copy)]
pub struct TransportFeedback<'a> {
    /// Who tells.
    pub sender_ssrc: u32,
    /// Any stream of the transport.
    pub media_ssrc: u32,
    /// The first transport-wide sequence number told of.
    pub base_sequence_number: u16,
    /// How many are told of.
    pub status_count: u16,
    /// In units of 64 ms; 24 bits, signed by the draft, wrapping.
    pub reference_time: u32,
    /// Counts feedback messages; tells when one was lost.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// The two-bit status of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Missing,
    Small,
    Large,
}

impl Status {
    fn from_bits(bits: u16) -> Result<Self, Malformed> {
        match bits & 3 {
            0 => Ok(Self::Missing),
            1 => Ok(Self::Small),
            2 => Ok(Self::Large),
            _ => Err(Malformed),
        }
    }

    fn bits(self) -> u16 {
        match self {
            Self::Missing => 0,
            Self::Small => 1,
            Self::Large => 2,
        }
    }

    fn delta_len(self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Small => 1,
            Self::Large => 2,
        }
    }
}

/// How many statuses a chunk holds, and the n-th of them.
fn chunk_len(chunk: u16) -> usize {
    match chunk >> 14 {
        0 | 1 => usize::from(chunk & 0x1fff),
        2 => 14,
        _ => 7,
    }
}

fn chunk_status(chunk: u16, index: usize) -> Result<Status, Malformed> {
    match chunk >> 14 {
        0 | 1 => Status::from_bits(chunk >> 13),
        2 => Status::from_bits(chunk >> (13 - index) & 1),
        _ => Status::from_bits(chunk >> (12 - 2 * index)),
    }
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc) = feedback_ssrcs(body)?;
        let base_sequence_number = u16_at(body, 8).ok_or(Malformed)?;
        let status_count = u16_at(body, 10).ok_or(Malformed)?;
        let &[a, b, c, feedback_count] =
            body.get(12..).and_then(|rest| rest.first_chunk()).ok_or(Malformed)?;
        let rest = &body[FIXED_LEN..];
        let (mut told, mut chunks_len, mut deltas_len) = (0, 0, 0);
        while told < usize::from(status_count) {
            let chunk = u16_at(rest, chunks_len).ok_or(Malformed)?;
            chunks_len += 2;
            let here = chunk_len(chunk).min(usize::from(status_count) - told);
            // A run of none would never come to an end.
            if here == 0 {
                return Err(Malformed);
            }
            if chunk >> 15 == 0 {
                deltas_len += here * chunk_status(chunk, 0)?.delta_len();
            } else {
                for index in 0..here {
                    deltas_len += chunk_status(chunk, index)?.delta_len();
                }
            }
            told += here;
        }
        let (chunks, rest) = rest.split_at(chunks_len);
        let deltas = rest.get(..deltas_len).ok_or(Malformed)?;
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            base_sequence_number,
            status_count,
            reference_time: u32::from_be_bytes([0, a, b, c]),
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// Each sequence number, with its arrival in µs after the reference time where it arrived.
    pub fn arrivals(&self) -> impl Iterator<Item = (u16, Option<i64>)> + use<'a> {
        let Self { chunks, deltas, base_sequence_number, .. } = *self;
        let mut deltas = deltas;
        let mut elapsed_us = 0_i64;
        let statuses = chunks.as_chunks::<2>().0.iter().flat_map(|bytes| {
            let chunk = u16::from_be_bytes(*bytes);
            (0..chunk_len(chunk)).map_while(move |index| chunk_status(chunk, index).ok())
        });
        statuses.take(usize::from(self.status_count)).zip(0_u16..).map(move |(status, index)| {
            // The lengths were checked by `read`: a missing byte cannot happen.
            let delta = match status {
                Status::Missing => None,
                Status::Small => deltas.split_off_first().map(|byte| i64::from(*byte)),
                Status::Large => deltas
                    .split_off(..2)
                    .and_then(|bytes| u16_at(bytes, 0))
                    .map(|bits| i64::from(bits.cast_signed())),
            };
            let arrival = delta.map(|units| {
                elapsed_us += units * DELTA_UNIT_US.cast_signed();
                elapsed_us
            });
            (base_sequence_number.wrapping_add(index), arrival)
        })
    }
}

/// Where a feedback message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Any SSRC of ours.
    pub sender_ssrc: u32,
    /// Any stream of the transport.
    pub media_ssrc: u32,
    /// The sequence number of the first arrival.
    pub sequence_number: u16,
    /// Counts feedback messages of this transport.
    pub feedback_count: u8,
}

/// What was written of a list of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the body, a multiple of four.
    pub len: usize,
    /// How many arrivals were told of, from the first on; the rest is for the next message.
    pub told: usize,
}

/// The status and delta of each arrival that fits one message.
struct Plan<'a> {
    arrivals: &'a [Timestamp],
    /// The last arrival told of, in units of 250 µs.
    last: u64,
}

impl Plan<'_> {
    /// The next status with its delta; none when its delta cannot be expressed.
    fn next(&mut self) -> Option<(Status, i16)> {
        let (&arrival, rest) = self.arrivals.split_first()?;
        if arrival == Timestamp::NEVER {
            self.arrivals = rest;
            return Some((Status::Missing, 0));
        }
        let units = arrival.as_micros() / DELTA_UNIT_US;
        let delta = i16::try_from(units.checked_signed_diff(self.last)?).ok()?;
        self.last = units;
        self.arrivals = rest;
        let small = (0..=255).contains(&delta);
        Some((if small { Status::Small } else { Status::Large }, delta))
    }
}

/// Writes the body of a feedback message (all behind the common header) on arrivals that follow
/// each other from the base on; `Timestamp::NEVER` stands for one that did not arrive. Tells of as
/// many as fit `out` and can be expressed: deltas reach about ±8.19 s.
///
/// # Errors
/// [`NoRoom`] when not even one fits, or none of `arrivals` arrived.
pub fn write(base: &Base, arrivals: &[Timestamp], out: &mut [u8]) -> Result<Written, NoRoom> {
    let arrivals = &arrivals[..arrivals.len().min(usize::from(u16::MAX))];
    let first = arrivals.iter().find(|time| **time != Timestamp::NEVER).ok_or(NoRoom)?;
    let reference = first.as_micros() / REFERENCE_UNIT_US;
    let start = reference * (REFERENCE_UNIT_US / DELTA_UNIT_US);
    // Chunks are written from the front, then deltas behind them: so plan how many fit first.
    // Two bytes of chunk for seven statuses is the dearest encoding that is chosen below.
    let room = (out.len() & !3).checked_sub(FIXED_LEN).ok_or(NoRoom)?;
    let mut plan = Plan { arrivals, last: start };
    let (mut told, mut deltas_len) = (0_usize, 0);
    while let Some((status, _)) = plan.next() {
        let needed = 2 * (told + 1).div_ceil(7) + deltas_len + status.delta_len();
        if needed > room {
            break;
        }
        deltas_len += status.delta_len();
        told += 1;
    }
    if told == 0 {
        return Err(NoRoom);
    }
    let arrivals = &arrivals[..told];
    out[..4].copy_from_slice(&base.sender_ssrc.to_be_bytes());
    out[4..8].copy_from_slice(&base.media_ssrc.to_be_bytes());
    out[8..10].copy_from_slice(&base.sequence_number.to_be_bytes());
    out[10..12].copy_from_slice(&(told as u16).to_be_bytes());
    out[12..16].copy_from_slice(&((reference as u32) << 8).to_be_bytes());
    out[15] = base.feedback_count;
    let mut at = FIXED_LEN;
    write_chunks(arrivals, start, |chunk| {
        out[at..at + 2].copy_from_slice(&chunk.to_be_bytes());
        at += 2;
    });
    let mut plan = Plan { arrivals, last: start };
    while let Some((status, delta)) = plan.next() {
        let bytes = delta.to_be_bytes();
        let field = &bytes[2 - status.delta_len()..];
        out[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    let len = at.next_multiple_of(4);
    out[at..len].fill(0);
    Ok(Written { len, told })
}

/// Chooses chunks: a run where one pays, else 14 statuses of one bit where they can be, else 7 of
/// two bits.
fn write_chunks(arrivals: &[Timestamp], start: u64, mut emit: impl FnMut(u16)) {
    let mut plan = Plan { arrivals, last: start };
    let mut window = [Status::Missing; 14];
    let mut held = 0;
    loop {
        while held < window.len() {
            let Some((status, _)) = plan.next() else { break };
            window[held] = status;
            held += 1;
        }
        if held == 0 {
            return;
        }
        let first = window[0];
        let same = window[..held].iter().take_while(|status| **status == first).count();
        let run_pays =
            same == window.len() || same == held || (same >= 7 && first == Status::Large);
        let taken = if run_pays {
            let mut run = same;
            // The window holds no other status now: the run may go on beyond it.
            while same == held && run < MAX_RUN {
                let mut ahead = Plan { arrivals: plan.arrivals, last: plan.last };
                match ahead.next() {
                    Some((status, _)) if status == first => {
                        plan = ahead;
                        run += 1;
                    }
                    _ => break,
                }
            }
            emit(first.bits() << 13 | run as u16);
            same
        } else {
            let one_bit = !window[..held].contains(&Status::Large);
            let (taken, width) = if one_bit { (held, 1) } else { (held.min(7), 2) };
            let mut chunk = if one_bit { 0x8000 } else { 0xc000 };
            for (index, status) in window[..taken].iter().enumerate() {
                chunk |= status.bits() << (14 - width * (index + 1));
            }
            emit(chunk);
            taken
        };
        window.copy_within(taken..held, 0);
        held -= taken;
    }
}

//! Feedback on lost packets and pictures: generic NACK and PLI (RFC 4585), FIR (RFC 5104), and the
//! receiver's estimate REMB (draft-alvestrand-rmcat-remb), which is read but not acted on.

use super::feedback_ssrcs;
use crate::wire::Malformed;

/// Asks for lost packets again (RFC 4585 §6.2.1).
#[derive(Debug, Clone, Copy)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The stream that lost them.
    pub media_ssrc: u32,
    pairs: &'a [[u8; 4]],
}

impl<'a> Nack<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc) = feedback_ssrcs(body)?;
        let pairs = body[8..].as_chunks().0;
        if pairs.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { sender_ssrc, media_ssrc, pairs })
    }

    /// The sequence numbers asked for; up to 17 for every 4 bytes.
    pub fn sequence_numbers(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs.iter().flat_map(|&[a, b, c, d]| {
            let first = u16::from_be_bytes([a, b]);
            let following = u16::from_be_bytes([c, d]);
            let more = (0..16).filter(move |bit| following >> bit & 1 != 0);
            std::iter::once(first).chain(more.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// Asks for a key frame (RFC 4585 §6.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureLoss {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The stream that shall send one.
    pub media_ssrc: u32,
}

impl PictureLoss {
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, media_ssrc) = feedback_ssrcs(body)?;
        Ok(Self { sender_ssrc, media_ssrc })
    }
}

/// Asks for key frames of several streams (RFC 5104 §4.3.1).
#[derive(Debug, Clone, Copy)]
pub struct FullIntraRequest<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    entries: &'a [[u8; 8]],
}

impl<'a> FullIntraRequest<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let (sender_ssrc, _) = feedback_ssrcs(body)?;
        Ok(Self { sender_ssrc, entries: body[8..].as_chunks().0 })
    }

    /// Each stream with the number of the request, which repeats while it is the same one.
    pub fn entries(&self) -> impl Iterator<Item = (u32, u8)> + use<'a> {
        self.entries
            .iter()
            .map(|&[a, b, c, d, number, ..]| (u32::from_be_bytes([a, b, c, d]), number))
    }
}

/// How much a receiver thinks it can take (draft-alvestrand-rmcat-remb §2.2).
#[derive(Debug, Clone, Copy)]
pub struct ReceiverEstimate<'a> {
    /// Who tells.
    pub sender_ssrc: u32,
    /// Bits a second over all streams named.
    pub bits_per_second: u64,
    ssrcs: &'a [[u8; 4]],
}

impl<'a> ReceiverEstimate<'a> {
    /// None for other application-layer feedback.
    pub(super) fn read(body: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let (sender_ssrc, _) = feedback_ssrcs(body)?;
        let Some((b"REMB", rest)) = body[8..].split_first_chunk() else {
            return Ok(None);
        };
        let (&[count, high, middle, low], rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let mantissa = u64::from(high & 3) << 16 | u64::from(middle) << 8 | u64::from(low);
        let exponent = u32::from(high >> 2);
        // 18 bits shifted by up to 63 may not fit: then it is as good as unlimited.
        let fits = exponent <= mantissa.leading_zeros();
        let bits_per_second = if fits { mantissa << exponent } else { u64::MAX };
        let ssrcs = rest.get(..4 * usize::from(count)).ok_or(Malformed)?;
        Ok(Some(Self { sender_ssrc, bits_per_second, ssrcs: ssrcs.as_chunks().0 }))
    }

    /// The streams meant.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

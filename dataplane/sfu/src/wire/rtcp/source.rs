//! Source descriptions and goodbyes (RFC 3550 §6.5, §6.6).

use crate::wire::{Malformed, u32_at};

const CNAME: u8 = 1;

/// Names of sources.
#[derive(Debug, Clone, Copy)]
pub struct SourceDescription<'a> {
    count: u8,
    body: &'a [u8],
}

impl<'a> SourceDescription<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = body;
        for _ in 0..count {
            (_, rest) = chunk(rest)?;
        }
        Ok(Self { count, body })
    }

    /// Each source with its canonical name, where it tells one.
    pub fn names(&self) -> impl Iterator<Item = (u32, Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.body;
        (0..self.count).map_while(move |_| {
            let (named, after) = chunk(rest).ok()?;
            rest = after;
            Some(named)
        })
    }
}

type Named<'a> = (u32, Option<&'a [u8]>);

/// One chunk: an SSRC and its items, up to a zero byte and the next 32-bit boundary.
fn chunk(bytes: &[u8]) -> Result<(Named<'_>, &[u8]), Malformed> {
    let ssrc = u32_at(bytes, 0).ok_or(Malformed)?;
    let mut name = None;
    let mut at = 4;
    loop {
        let item = *bytes.get(at).ok_or(Malformed)?;
        if item == 0 {
            let end = (at + 1).next_multiple_of(4);
            return Ok(((ssrc, name), bytes.get(end..).ok_or(Malformed)?));
        }
        let len = usize::from(*bytes.get(at + 1).ok_or(Malformed)?);
        let text = bytes.get(at + 2..at + 2 + len).ok_or(Malformed)?;
        if item == CNAME {
            name = Some(text);
        }
        at += 2 + len;
    }
}

/// Streams that end.
#[derive(Debug, Clone, Copy)]
pub struct Goodbye<'a> {
    ssrcs: &'a [[u8; 4]],
}

impl<'a> Goodbye<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let bytes = body.get(..4 * usize::from(count)).ok_or(Malformed)?;
        Ok(Self { ssrcs: bytes.as_chunks().0 })
    }

    /// Which.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

//! Checked views over bytes from the network, and writers of the same formats. Nothing here
//! allocates, keeps state between packets or panics on any input; a parser says [`Malformed`].

pub mod demux;
pub mod header_extension;
pub mod payload;
pub mod rtcp;
pub mod rtp;
pub mod stun;
pub mod untrusted;

/// The bytes break the format's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed")]
pub struct Malformed;

/// The caller's buffer is too small for what should be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room in the buffer")]
pub struct NoRoom;

/// Two big-endian bytes at an offset; none beyond the end.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_be_bytes(*field))
}

/// Four big-endian bytes at an offset; none beyond the end.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_be_bytes(*field))
}

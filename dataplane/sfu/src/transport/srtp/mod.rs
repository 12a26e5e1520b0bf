//! SRTP and SRTCP (RFC 3711, RFC 7714): one peer's keys of each direction, and per-SSRC state
//! that the caller keeps. Nothing is committed before a packet's tag was checked, so forged SSRCs
//! leave no trace. Nothing allocates per packet.

use hype_protocol::secret::{SrtpKeying, SrtpProfile};

use crate::drop_reason::DropReason;
use crate::wire::rtp::Header;

pub mod cipher;
pub mod key_derivation;
mod replay;
mod sealer;

use cipher::Cipher;
use key_derivation::SessionKeys;
pub use replay::{
    INDEX_LIMIT, InboundRtcp, InboundStream, MAX_RTCP_SOURCES, OutboundRtcp, OutboundStream,
    ReplayWindow, UsedIndices, WideOutboundStream,
};
use sealer::Sealer;

/// Keying material of a wrong length for its profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SRTP keying material does not fit its profile")]
pub struct InvalidKeying;

/// Why an incoming packet was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Shorter than header and tag.
    #[error("too short for its tag")]
    TooShort,
    /// The tag is wrong.
    #[error("not authentic")]
    Authentication,
    /// It came before.
    #[error("replayed")]
    Replay,
    /// From behind the window, or beyond the life of the key.
    #[error("too old to tell whether it is new")]
    TooOld,
    /// More RTCP senders than are remembered.
    #[error("too many RTCP sources")]
    TooManySources,
}

impl Reject {
    /// How a dropped SRTP packet is counted.
    pub fn rtp_drop_reason(self) -> DropReason {
        match self {
            Self::TooShort => DropReason::SrtpTooShort,
            Self::Authentication => DropReason::SrtpAuthentication,
            Self::Replay => DropReason::SrtpReplay,
            Self::TooOld | Self::TooManySources => DropReason::SrtpTooOld,
        }
    }

    /// How a dropped SRTCP packet is counted.
    pub fn rtcp_drop_reason(self) -> DropReason {
        match self {
            Self::TooShort => DropReason::SrtpTooShort,
            Self::Authentication => DropReason::SrtcpAuthentication,
            Self::Replay | Self::TooOld => DropReason::SrtcpReplay,
            Self::TooManySources => DropReason::SrtcpTooManySources,
        }
    }
}

/// Why a packet was not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// The index was used under this key before, or may have been.
    #[error("the packet index was used before")]
    IndexReused,
    /// The buffer cannot hold packet and tag.
    #[error("no room in the buffer")]
    NoRoom,
}

impl ProtectError {
    /// How the drop is counted.
    pub fn drop_reason(self) -> DropReason {
        match self {
            Self::IndexReused => DropReason::IndexReused,
            Self::NoRoom => DropReason::Oversize,
        }
    }
}

/// Which end of the connection we are. A node is always the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends with the client's keys, receives with the server's.
    Client,
    /// Sends with the server's keys, receives with the client's.
    Server,
}

/// The most that protection adds to an RTP packet, in bytes.
pub const MAX_RTP_OVERHEAD: usize = 16;
/// The most that protection adds to an RTCP packet, in bytes.
pub const MAX_RTCP_OVERHEAD: usize = 20;

/// The session keys that one end writes with: for RTP and for RTCP.
fn session_keys(keying: &SrtpKeying, writer: Role) -> Result<[SessionKeys; 2], InvalidKeying> {
    let SrtpKeying { profile, material } = keying;
    if material.len() != profile.keying_len() {
        return Err(InvalidKeying);
    }
    // RFC 5764 §4.2.
    let (keys, salts) = material.split_at(2 * profile.key_len());
    let (client_key, server_key) = keys.split_at(profile.key_len());
    let (client_salt, server_salt) = salts.split_at(profile.salt_len());
    let (key, salt) = match writer {
        Role::Client => (client_key, client_salt),
        Role::Server => (server_key, server_salt),
    };
    Ok([
        SessionKeys::derive(*profile, key, salt, false)?,
        SessionKeys::derive(*profile, key, salt, true)?,
    ])
}

/// One peer's keys for what comes in.
pub struct Inbound {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
}

impl Inbound {
    /// Keys for what the other end sends, when we are `role`.
    ///
    /// # Errors
    /// [`InvalidKeying`] when the material has not the profile's length.
    pub fn new(keying: &SrtpKeying, role: Role) -> Result<Self, InvalidKeying> {
        let writer = match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let [rtp, rtcp] = session_keys(keying, writer)?;
        Ok(Self { profile: keying.profile, rtp: Cipher::new(&rtp)?, rtcp: Cipher::new(&rtcp)? })
    }

    /// The profile in use.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Checks and decrypts a packet in place, and returns the plaintext packet's length; its
    /// header (`header` was read from it) stays as it is. `stream` changes only on success; for an
    /// SSRC that is not known yet pass a fresh one. After an error the payload is spoilt.
    ///
    /// # Errors
    /// [`Reject`], by which nothing was committed.
    #[inline]
    pub fn unprotect_rtp(
        &self,
        stream: &mut InboundStream,
        packet: &mut [u8],
        header: &Header,
    ) -> Result<usize, Reject> {
        let index = stream.estimate(header.sequence_number)?;
        stream.check(index)?;
        let len = self.rtp.open_rtp(packet, header.header_len(), header.ssrc, index)?;
        stream.commit(index);
        Ok(len)
    }

    /// Checks and decrypts a compound RTCP packet in place, and returns its plaintext length.
    /// `state` changes only on success.
    ///
    /// # Errors
    /// [`Reject`], by which nothing was committed.
    pub fn unprotect_rtcp(
        &self,
        state: &mut InboundRtcp,
        packet: &mut [u8],
    ) -> Result<usize, Reject> {
        let (ssrc, index) = self.rtcp.rtcp_index(packet)?;
        state.check(ssrc, index)?;
        let len = self.rtcp.open_rtcp(packet)?;
        state.commit(ssrc, index);
        Ok(len)
    }
}

/// One peer's keys for what goes out.
pub struct Outbound {
    rtp: Sealer,
    rtcp: Cipher,
    profile: SrtpProfile,
}

impl Outbound {
    /// Keys for what we send, when we are `role`.
    ///
    /// # Errors
    /// [`InvalidKeying`] when the material has not the profile's length.
    pub fn new(keying: &SrtpKeying, role: Role) -> Result<Self, InvalidKeying> {
        let [rtp, rtcp] = session_keys(keying, role)?;
        Ok(Self { rtp: Sealer::new(&rtp)?, rtcp: Cipher::new(&rtcp)?, profile: keying.profile })
    }

    /// The profile in use.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Bytes that [`Self::protect_rtp`] adds.
    #[inline]
    pub fn rtp_overhead(&self) -> usize {
        self.rtp.tag_len()
    }

    /// Seals a shared plaintext payload into a receiver's buffer, in which the first `header_len`
    /// bytes are the header already. `index` is ROC · 2^16 + sequence number, and must fit the
    /// header. Returns the packet's length.
    ///
    /// # Errors
    /// [`ProtectError::NoRoom`] (nothing was taken), or [`ProtectError::IndexReused`].
    #[inline]
    pub fn protect_rtp(
        &self,
        stream: &mut impl UsedIndices,
        index: u64,
        payload: &[u8],
        out: &mut [u8],
        header_len: usize,
    ) -> Result<usize, ProtectError> {
        let len = header_len + payload.len() + self.rtp.tag_len();
        let packet = out.get_mut(..len).ok_or(ProtectError::NoRoom)?;
        debug_assert_eq!(packet[2..4], ((index & 0xffff) as u16).to_be_bytes());
        stream.take(index)?;
        self.rtp.seal_rtp(packet, header_len, payload, index)?;
        Ok(len)
    }

    /// The same, where the header in front of `out` has a copy elsewhere: reading that one need
    /// not wait until the one in `out` is written.
    ///
    /// # Errors
    /// [`ProtectError::NoRoom`] (nothing was taken), or [`ProtectError::IndexReused`].
    #[inline]
    pub fn protect_beside(
        &self,
        stream: &mut impl UsedIndices,
        index: u64,
        header: &[u8],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, ProtectError> {
        let len = header.len() + payload.len() + self.rtp.tag_len();
        let packet = out.get_mut(..len).ok_or(ProtectError::NoRoom)?;
        debug_assert_eq!(&packet[..header.len()], header);
        debug_assert_eq!(packet[2..4], ((index & 0xffff) as u16).to_be_bytes());
        stream.take(index)?;
        self.rtp.seal_beside(packet, header, payload, index)?;
        Ok(len)
    }

    /// Brings the key for RTP near, where others are used before it.
    #[inline]
    pub fn prefetch(&self) {
        self.rtp.prefetch();
    }

    /// Encrypts the compound RTCP packet in `buffer[..len]` in place, and returns the protected
    /// length. One `state` serves all SSRCs of the peer.
    ///
    /// # Errors
    /// [`ProtectError::NoRoom`], or [`ProtectError::IndexReused`] after 2^31 packets.
    pub fn protect_rtcp(
        &self,
        state: &mut OutboundRtcp,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<usize, ProtectError> {
        let protected = len + self.rtcp.tag_len() + 4;
        if len < 8 || buffer.len() < protected {
            return Err(ProtectError::NoRoom);
        }
        let index = state.take()?;
        self.rtcp.seal_rtcp(&mut buffer[..protected], len, index)?;
        Ok(protected)
    }
}

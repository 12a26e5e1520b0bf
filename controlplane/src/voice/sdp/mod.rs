//! Session descriptions (RFC 8866, RFC 8829): a client's one offer in, our one answer out.
//! `offer` is a strict reader of the part of SDP that browsers write and we use; `negotiate` is
//! the pure decision; `answer` writes it. Nothing here waits, draws entropy or knows a room.
//! Candidates of the client are ignored: our ICE is lite, and it comes to us.

mod answer;
mod codec;
mod draft;
mod extension;
mod negotiate;
mod offer;
mod slot;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use answer::write as answer;
pub use negotiate::{Agreement, negotiate};
pub use offer::Offer;
pub use slot::native_media;

/// The longest offer that is read, in bytes. Chromium's with 20 lines has 42 KB.
pub const MAX_OFFER: usize = 64 * 1024;
/// The most m-lines in an offer.
pub const MAX_MEDIA_LINES: usize = 64;

/// Why an offer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not SDP as RFC 8866 and its extensions write it.
    #[error("line {line} of the offer is malformed: {what}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What was wrong with it.
        what: &'static str,
    },
    /// It is SDP, but contradicts itself or the purposes named for its lines.
    #[error("the offer does not fit: {0}")]
    Inconsistent(&'static str),
    /// It lacks something that every supported client offers.
    #[error("the offer cannot be answered: {0}")]
    Unsupported(&'static str),
}

impl Error {
    /// The stable code that clients see.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::Inconsistent(_) => "sdp_invalid",
            Self::Unsupported(_) => "sdp_unsupported",
        }
    }
}

/// Our side of the transport, for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Our ICE ufrag.
    pub ufrag: String,
    /// Our ICE password.
    pub password: String,
    /// SHA-256 of our DTLS certificate, `AB:CD:…`.
    pub fingerprint: String,
    /// Where we are reached over UDP, in order of preference.
    pub addresses: Vec<SocketAddr>,
    /// The number in the answer's `o=` line; below 2^63 (RFC 8829 §5.2.1).
    pub origin: u64,
}

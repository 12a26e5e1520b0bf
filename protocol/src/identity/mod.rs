//! The fleet's certificates: one authority, a certificate for each node and control replica.
//! A certificate's one DNS name says who its owner is and in which role, `node-1.node.hype` or
//! `c1.control.hype`, so a node can never pass for a control replica. Every connection inside the
//! fleet is TLS 1.3 with certificates on both sides, under this authority only.

mod authority;
mod certificate;
mod enrollment;
mod files;
mod subject;
mod tls;

pub use authority::{Authority, Issued};
pub use certificate::Identity;
pub use enrollment::{Enrollment, Token};
pub use subject::{Role, Subject};
pub use tls::{ALPN, peer};

/// Something about a certificate or an enrollment was wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The enrollment token is no token, or was changed.
    #[error("the enrollment token is not valid; ask for a new one")]
    InvalidToken,
    /// The enrollment token was signed by this authority, but too long ago.
    #[error("the enrollment token has expired; ask for a new one")]
    ExpiredToken,
    /// The answer to an enrollment came from another authority than the token names.
    #[error("the answer comes from another authority than the token names")]
    WrongAuthority,
    /// A certificate names somebody else than expected.
    #[error("the certificate names {found}, expected {expected}")]
    WrongName {
        /// Who it should have been.
        expected: String,
        /// Who it is.
        found: String,
    },
    /// The peer showed no certificate, or one without a name of the fleet.
    #[error("the certificate names nobody of this fleet")]
    NoName,
    /// The certificate was made for another key.
    #[error("the certificate is not for this key")]
    WrongKey,
    /// A certificate, key or request could not be read, made or verified.
    #[error("certificate: {0}")]
    Certificate(String),
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

#[cfg(test)]
mod tests;

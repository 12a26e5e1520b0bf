//! TLS for QUIC inside the fleet: TLS 1.3, certificates on both sides, our authority alone.
//! The dialing side checks the name it dialed; the accepting side reads the name with [`peer`].

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;

use super::{Error, Identity, Subject, certificate};

/// The application protocol of observation connections.
pub const ALPN: &[u8] = b"hype-observation/1";
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const IDLE_TIMEOUT: VarInt = VarInt::from_u32(6_000);

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(super) fn roots(authority: &CertificateDer<'static>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    Ok(roots)
}

/// Both ends notice a dead peer within 6 s; one bidirectional stream is all there is.
fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(IDLE_TIMEOUT)))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

impl Identity {
    /// For a listener: whoever connects must show a certificate of this authority.
    ///
    /// # Errors
    /// When the key does not fit the certificate.
    pub fn server_config(&self) -> Result<quinn::ServerConfig, Error> {
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots(&self.authority)?),
            provider(),
        )
        .build()
        .map_err(|error| Error::Certificate(error.to_string()))?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicServerConfig::try_from(tls)
            .map_err(|error| Error::Certificate(error.to_string()))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(transport());
        Ok(config)
    }

    /// For dialing: pass [`Subject::dns_name`] of the one dialed as the server name, and the
    /// handshake fails with anybody else.
    ///
    /// # Errors
    /// When the key does not fit the certificate.
    pub fn client_config(&self) -> Result<quinn::ClientConfig, Error> {
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots(&self.authority)?)
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicClientConfig::try_from(tls)
            .map_err(|error| Error::Certificate(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport());
        Ok(config)
    }
}

/// Who the other side of an established connection is.
///
/// # Errors
/// [`Error::NoName`] when its certificate names nobody of the fleet.
pub fn peer(connection: &quinn::Connection) -> Result<Subject, Error> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .ok_or(Error::NoName)?;
    certificate::subject_of(chain.first().ok_or(Error::NoName)?)
}

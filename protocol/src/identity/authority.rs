//! The certificate authority: `ca.pem` and `ca.key` in one directory of one control replica.
//! It signs certificates for fleet names only, and only from the public key of a request: nothing
//! else that a request asks for ends up in a certificate.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{hkdf, hmac};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::enrollment::Token;
use super::{Error, Subject, files};

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key";
/// Clocks of the fleet may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
const CERTIFICATE_LIFE: Duration = Duration::from_secs(2 * 365 * 86_400);

/// A certificate and its authority's, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The certificate of the authority that signed it.
    pub authority: String,
}

/// The fleet's certificate authority.
pub struct Authority {
    certificate: String,
    fingerprint: [u8; 32],
    issuer: Issuer<'static, KeyPair>,
    tokens: hmac::Key,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl Authority {
    /// Loads the authority from `directory`, or makes a new one where there is none.
    ///
    /// # Errors
    /// When its files cannot be read or written, or one of the two is missing or malformed.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        if !directory.join(KEY_FILE).exists() && !directory.join(CERTIFICATE_FILE).exists() {
            Self::create(directory)?;
        }
        Self::load(directory)
    }

    /// Loads an existing authority from `directory`.
    ///
    /// # Errors
    /// When its files are missing or malformed.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let key = KeyPair::from_pem(&files::read(&directory.join(KEY_FILE))?)?;
        let certificate = files::read(&directory.join(CERTIFICATE_FILE))?;
        let der = certificate_der(&certificate)?;
        if !public_key_of(&der)?.ends_with(key.der_bytes()) {
            return Err(Error::WrongKey);
        }
        let tokens = token_key(&key);
        Ok(Self {
            fingerprint: sha256(&der),
            issuer: Issuer::from_ca_cert_pem(&certificate, key)?,
            certificate,
            tokens,
        })
    }

    fn create(directory: &Path) -> Result<(), Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Hype fleet authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + AUTHORITY_LIFE).into();
        let certificate = params.self_signed(&key)?;
        files::create_directory(directory)?;
        files::write(&directory.join(KEY_FILE), &key.serialize_pem())?;
        files::write(&directory.join(CERTIFICATE_FILE), &certificate.pem())
    }

    /// The authority's certificate as PEM: what everybody in the fleet trusts.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// SHA-256 of its certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Makes a key and a certificate and writes them, with the authority's, to `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn issue(&self, subject: &Subject, directory: &Path) -> Result<super::Identity, Error> {
        let key = KeyPair::generate()?;
        let issued = self.certify(subject, &key)?;
        super::Identity::save(directory, &key.serialize_pem(), &issued)
    }

    /// A token by which whoever holds it can get the certificate of `node`, for `life`.
    pub fn token(&self, node: &crate::id::NodeId, life: Duration) -> String {
        Token::new(node.clone(), SystemTime::now() + life, self.fingerprint).sign(&self.tokens)
    }

    /// Answers an enrollment: a certificate for the node that the token names and the key that
    /// signed the request (a PKCS #10 request as PEM).
    ///
    /// # Errors
    /// [`Error::InvalidToken`], [`Error::ExpiredToken`], or [`Error::Certificate`] for a
    /// malformed request.
    pub fn enroll(&self, token: &str, request: &str) -> Result<Issued, Error> {
        let token = Token::verify(token, &self.tokens)?;
        if token.authority != self.fingerprint {
            return Err(Error::InvalidToken);
        }
        if token.expired(SystemTime::now()) {
            return Err(Error::ExpiredToken);
        }
        // Parsing also verifies that the requester holds the key (RFC 2986 §4.2).
        let request = CertificateSigningRequestParams::from_pem(request)?;
        self.certify(&Subject::Node(token.node), &request.public_key)
    }

    fn certify(&self, subject: &Subject, key: &impl PublicKeyData) -> Result<Issued, Error> {
        let mut params = CertificateParams::new(vec![subject.dns_name()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject.dns_name());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Nodes dial the control plane and each other: both sides need both. The role is in the
        // name, which every verifier checks.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + CERTIFICATE_LIFE).into();
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), authority: self.certificate.clone() })
    }
}

/// The key under which tokens are signed, bound to the authority's private key.
fn token_key(key: &KeyPair) -> hmac::Key {
    let mut bytes = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"hype enrollment 1")
        .extract(key.serialized_der())
        .expand(&[b"token"], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut bytes))
        .expect("32 bytes are within HKDF's limit");
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

pub(super) fn certificate_der(pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| Error::Certificate(error.to_string()))
}

/// The subject's public key, as its bit string's bytes.
pub(super) fn public_key_of(certificate: &[u8]) -> Result<Vec<u8>, Error> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| Error::Certificate(error.to_string()))?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}

//! One member's certificate with its key and the authority that it trusts: `node.pem`, `node.key`
//! and `ca.pem` of a node, `control.pem`, `control.key` and `ca.pem` of a control replica.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use super::authority::certificate_der;
use super::{Error, Issued, Role, Subject, files};

/// A member of the fleet, with what it needs to prove it and to check the others.
pub struct Identity {
    subject: Subject,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authority: CertificateDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.subject)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            authority: self.authority.clone(),
        }
    }
}

fn paths(directory: &Path, role: Role) -> [PathBuf; 3] {
    let (certificate, key) = match role {
        Role::Node => ("node.pem", "node.key"),
        Role::Control => ("control.pem", "control.key"),
    };
    [directory.join(certificate), directory.join(key), directory.join("ca.pem")]
}

impl Identity {
    /// True when `directory` holds the certificate of a member in this role.
    pub fn exists(directory: &Path, role: Role) -> bool {
        paths(directory, role).iter().all(|path| path.exists())
    }

    /// Reads a member's files.
    ///
    /// # Errors
    /// When a file is missing or malformed, when they do not belong together, or when the
    /// certificate is not (any more) valid or names no member in this role.
    pub fn load(directory: &Path, role: Role) -> Result<Self, Error> {
        let [certificate, key, authority] = paths(directory, role);
        let issued =
            Issued { certificate: files::read(&certificate)?, authority: files::read(&authority)? };
        let identity = Self::check(&files::read(&key)?, &issued, None)?;
        if identity.subject.role() != role {
            return Err(Error::WrongName {
                expected: format!("a certificate for a {role:?}").to_lowercase(),
                found: identity.subject.to_string(),
            });
        }
        Ok(identity)
    }

    /// Who this is.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(super) fn save(directory: &Path, key_pem: &str, issued: &Issued) -> Result<Self, Error> {
        let identity = Self::check(key_pem, issued, None)?;
        let [certificate, key, authority] = paths(directory, identity.subject.role());
        files::create_directory(directory)?;
        files::write(&key, key_pem)?;
        files::write(&authority, &issued.authority)?;
        files::write(&certificate, &issued.certificate)?;
        Ok(identity)
    }

    /// Verifies that the certificate is valid now under that authority, and for whom.
    pub(super) fn check(
        key_pem: &str,
        issued: &Issued,
        expected: Option<&Subject>,
    ) -> Result<Self, Error> {
        let certificate = certificate_der(&issued.certificate)?;
        let authority = certificate_der(&issued.authority)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| Error::Certificate(error.to_string()))?;
        let subject = subject_of(&certificate)?;
        if let Some(expected) = expected.filter(|expected| **expected != subject) {
            return Err(Error::WrongName {
                expected: expected.to_string(),
                found: subject.to_string(),
            });
        }
        let parsed = ParsedCertificate::try_from(&certificate)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &super::tls::roots(&authority)?,
            &[],
            UnixTime::now(),
            super::tls::provider().signature_verification_algorithms.all,
        )?;
        let name = ServerName::try_from(subject.dns_name()).map_err(|_| Error::NoName)?;
        rustls::client::verify_server_name(&parsed, &name)?;
        Ok(Self { subject, certificate, key, authority })
    }
}

/// Whose certificate this is: its only DNS name. It must have been verified before.
pub(super) fn subject_of(certificate: &[u8]) -> Result<Subject, Error> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| Error::Certificate(error.to_string()))?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| Error::Certificate(error.to_string()))?
        .ok_or(Error::NoName)?;
    match names.value.general_names.as_slice() {
        [x509_parser::extensions::GeneralName::DNSName(name)] => {
            Subject::from_dns_name(name).ok_or(Error::NoName)
        }
        _ => Err(Error::NoName),
    }
}

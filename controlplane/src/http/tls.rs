//! TLS for the page and the API: browsers give no microphone to plain HTTP away from localhost.
//! Certificates come from files, or a self-signed one is made once and kept in the data directory.
//! When their files change, new connections use the new ones; a broken file changes nothing.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

/// How often files are looked at for a renewed certificate.
const FOLLOW_PERIOD: Duration = Duration::from_secs(10);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path}: {reason}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate could not be made or kept.
    #[error("cannot make a self-signed certificate: {0}")]
    Made(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Certificate and key do not fit, or TLS refuses them.
    #[error("TLS refuses the certificate or its key: {0}")]
    Refused(#[from] rustls::Error),
}

/// A certificate and key from files, in use by the listening socket and followed on the disk.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    /// What the files were like when they were last read.
    seen: [Option<Stamp>; 2],
    config: RustlsConfig,
}

/// By what a changed file is known, without reading it. A renewal may rename a new file over the
/// old one or write into it.
type Stamp = (SystemTime, u64, u64);

fn stamps(paths: [&Path; 2]) -> [Option<Stamp>; 2] {
    paths.map(|path| {
        let of = |file: Metadata| Some((file.modified().ok()?, file.len(), file.ino()));
        std::fs::metadata(path).ok().and_then(of)
    })
}

/// The TLS certificate; none for plain HTTP.
///
/// # Errors
/// When certificate or key cannot be read, made or used.
pub fn open(tls: &Tls, data_dir: &Path) -> Result<Option<Certificate>, Error> {
    let (certificate, key) = match tls {
        Tls::Off => return Ok(None),
        Tls::Files { certificate, key } => (certificate.clone(), key.clone()),
        Tls::SelfSigned => self_signed(data_dir)?,
    };
    // Before reading: a change in between is seen at the next look, not missed.
    let seen = stamps([&certificate, &key]);
    let config = RustlsConfig::from_config(load(&certificate, &key)?);
    Ok(Some(Certificate { certificate, key, seen, config }))
}

impl Certificate {
    /// What the listening socket uses; it changes by itself when the files do.
    pub fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Takes the files' new content for new connections, once they have changed. True when it did.
    ///
    /// # Errors
    /// When the new files cannot be read or used, once for each change; the old certificate stays.
    fn refresh(&mut self) -> Result<bool, Error> {
        let now = stamps([&self.certificate, &self.key]);
        if now == self.seen {
            return Ok(false);
        }
        self.seen = now;
        self.config.reload_from_config(load(&self.certificate, &self.key)?);
        Ok(true)
    }

    /// Looks every ten seconds whether the files have changed, until aborted.
    pub async fn follow(mut self) {
        let mut period = tokio::time::interval(FOLLOW_PERIOD);
        loop {
            period.tick().await;
            let path = self.certificate.display().to_string();
            match self.refresh() {
                Ok(false) => {}
                Ok(true) => tracing::info!(path, "a new certificate is in use"),
                // Between two renames the files do not fit each other; the next look mends that.
                Err(error) => {
                    tracing::warn!(%error, path, "the new certificate is not used; the old one is");
                }
            }
        }
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let unreadable = |path: &Path, reason: &dyn std::fmt::Display| Error::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, &error))?;
    if chain.is_empty() {
        return Err(unreadable(certificate, &"it holds no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The address from which this machine reaches others; nothing is sent to find it.
fn own_address(any: IpAddr, other: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(other, 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

/// The addresses by which people can reach this machine: loopback, and the primary ones.
pub fn local_addresses() -> Vec<IpAddr> {
    let v6_any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    // Documentation prefixes (RFC 5737, RFC 3849): the default route decides.
    let others = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        (v6_any, IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
    ];
    addresses.extend(interface_addresses());
    addresses.extend(others.into_iter().filter_map(|(any, other)| own_address(any, other)));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// IPv4 addresses of all interfaces as the kernel's routing table lists them, and global IPv6 ones.
fn interface_addresses() -> Vec<IpAddr> {
    let mut found = Vec::new();
    // In fib_trie each own address is a leaf `|-- ADDRESS` followed by `/32 host LOCAL`.
    if let Ok(trie) = std::fs::read_to_string("/proc/net/fib_trie") {
        let mut leaf: Option<Ipv4Addr> = None;
        for line in trie.lines().map(str::trim) {
            if let Some(address) = line.strip_prefix("|-- ") {
                leaf = address.parse().ok();
            } else if line.starts_with("/32 host LOCAL") {
                found.extend(leaf.take().filter(|leaf| !leaf.is_loopback()).map(IpAddr::V4));
            }
        }
    }
    if let Ok(list) = std::fs::read_to_string("/proc/net/if_inet6") {
        for line in list.lines() {
            let mut fields = line.split_whitespace();
            let address = fields.next().and_then(|hex| u128::from_str_radix(hex, 16).ok());
            // Columns: address, index, prefix length, scope (00 is global).
            let is_global = fields.nth(2) == Some("00");
            found
                .extend(address.filter(|_| is_global).map(|bits| IpAddr::V6(Ipv6Addr::from(bits))));
        }
    }
    found
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The paths of the kept certificate and key, which are made when they are missing.
fn self_signed(data_dir: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let certificate_path = data_dir.join("tls-certificate.pem");
    let key_path = data_dir.join("tls-key.pem");
    if certificate_path.exists() && key_path.exists() {
        return Ok((certificate_path, key_path));
    }
    let make = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.extend(local_addresses().into_iter().map(SanType::IpAddress));
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Hype, self-signed");
        params.distinguished_name = name;
        let now = std::time::SystemTime::now();
        params.not_before = (now - std::time::Duration::from_secs(86_400)).into();
        // Apple's systems refuse server certificates that are good for more than 825 days.
        params.not_after = (now + std::time::Duration::from_secs(800 * 86_400)).into();
        let certificate = params.self_signed(&key)?;
        write_private(&key_path, &key.serialize_pem())?;
        write_private(&certificate_path, &certificate.pem())?;
        Ok(())
    };
    make().map_err(Error::Made)?;
    Ok((certificate_path, key_path))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    /// A fresh certificate for `localhost`: its PEM and that of its key.
    fn made() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// True when somebody who trusts nothing but `pem` gets a connection.
    fn serves(config: &RustlsConfig, pem: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("a root");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trusting = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::new(trusting), name).expect("a client");
        let mut server = ServerConnection::new(config.get_inner()).expect("a server");
        while client.is_handshaking() || server.is_handshaking() {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).expect("into memory");
            }
            server.read_tls(&mut sent.as_slice()).expect("from memory");
            if server.process_new_packets().is_err() {
                return false;
            }
            let mut answered = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answered).expect("into memory");
            }
            let mut answered = answered.as_slice();
            while !answered.is_empty() {
                client.read_tls(&mut answered).expect("from memory");
                if client.process_new_packets().is_err() {
                    return false;
                }
            }
        }
        true
    }

    #[test]
    fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
        let name = format!("hype-tls-{}-{:x}", std::process::id(), rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a fresh folder");
        let (certificate, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        // As renewals do it: aside, then renamed over the old one.
        let put = |path: &Path, text: &str| {
            let aside = folder.join("aside");
            std::fs::write(&aside, text).expect("written");
            std::fs::rename(&aside, path).expect("renamed");
        };
        let (first, second) = (made(), made());
        put(&certificate, &first.0);
        put(&key, &first.1);
        let files = Tls::Files { certificate: certificate.clone(), key: key.clone() };
        let mut open = open(&files, &folder).expect("good files").expect("TLS is on");
        let config = open.config();
        assert!(serves(&config, &first.0) && !serves(&config, &second.0));
        assert!(!open.refresh().expect("nothing changed"));

        put(&certificate, "no certificate");
        assert!(matches!(open.refresh(), Err(Error::File { .. })));
        assert!(serves(&config, &first.0), "the old one stays");
        assert!(!open.refresh().expect("told once"));
        put(&certificate, &second.0);
        assert!(matches!(open.refresh(), Err(Error::Refused(_))), "the key is another one's");
        assert!(serves(&config, &first.0), "the old one stays");
        std::fs::remove_file(&key).expect("there");
        assert!(open.refresh().is_err());
        put(&key, &second.1);
        assert!(open.refresh().expect("good files"));
        assert!(serves(&config, &second.0) && !serves(&config, &first.0));
        std::fs::remove_dir_all(&folder).expect("it was made");
    }
}

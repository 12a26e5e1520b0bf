//! Clients' DTLS handshakes, on threads of their own and never on a forwarding core (DESIGN rule
//! 6). A session belongs to one thread, chosen by its id; what comes out of it goes straight into
//! its worker's mailbox, keys before the datagrams that follow them.

mod client_hello;
mod driver;
mod farewell;
mod profile_order;
mod read_key;
mod session;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use dimpl::DtlsCertificate;
use hype_protocol::id::{SessionId, WorkerId};
use hype_protocol::observation::CloseReason;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::workers::Mailboxes;
use driver::Input;

/// Datagrams that may wait for one thread; more are dropped, and clients retransmit.
const MAX_QUEUED: usize = 4096;
const MAX_THREADS: usize = 4;

/// A certificate for one run of a node: clients know it by the fingerprint in their answer.
#[derive(Debug, Clone)]
pub struct Certificate {
    dtls: DtlsCertificate,
    /// SHA-256 of the certificate, as in SDP: `AB:CD:…` (RFC 8122 §5).
    pub fingerprint: String,
}

impl Certificate {
    /// A fresh key (ECDSA P-256) and a self-signed certificate.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "hype");
        // RFC 8827 §6.5 asks nothing of the dates; some clients look at them all the same.
        let now = std::time::SystemTime::now();
        params.not_before = (now - std::time::Duration::from_secs(86_400)).into();
        params.not_after = (now + std::time::Duration::from_secs(10 * 365 * 86_400)).into();
        let certificate = params.self_signed(&key)?.der().to_vec();
        let octets = fingerprint(&certificate).map(|octet| format!("{octet:02X}"));
        Ok(Self {
            dtls: DtlsCertificate { certificate, private_key: key.serialize_der() },
            fingerprint: octets.join(":"),
        })
    }
}

/// SHA-256 of a certificate.
fn fingerprint(der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

struct Thread {
    inputs: mpsc::Sender<Input>,
    /// Datagrams in the queue. Other inputs are as few as sessions, which are limited.
    queued: Arc<AtomicUsize>,
    handle: JoinHandle<()>,
}

/// The threads. Dropping it ends them.
pub(super) struct Pool {
    threads: Vec<Thread>,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be made or the certificate is beyond use.
    pub fn start(certificate: &Certificate, mailboxes: Mailboxes) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = session::Shared::new(certificate.dtls.clone()).map_err(io::Error::other)?;
        let shared = Arc::new(shared);
        let threads = (0..cores.div_ceil(2).min(MAX_THREADS)).map(|number| {
            let (inputs, queue) = mpsc::channel();
            let queued = Arc::new(AtomicUsize::new(0));
            let driver =
                driver::Driver::new(Arc::clone(&shared), mailboxes.clone(), Arc::clone(&queued));
            let handle = std::thread::Builder::new()
                .name(format!("dtls-{number}"))
                .spawn(move || driver.run(&queue))?;
            Ok(Thread { inputs, queued, handle })
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()? })
    }

    fn send(&self, session: SessionId, input: Input) {
        // The high half: the low one is the source id, which somebody might choose by design.
        let index = (session.0 >> 32) as usize % self.threads.len();
        // The thread lives as long as this end: what a session does to it is contained.
        let _ = self.threads[index].inputs.send(input);
    }

    /// Makes a session known, before its first datagram can come.
    pub fn expect(&self, session: SessionId, worker: WorkerId, fingerprint: [u8; 32]) {
        self.send(session, Input::Expect { session, worker, fingerprint });
    }

    /// Hands over a datagram; drops and counts it when too many wait.
    pub fn datagram(&self, session: SessionId, datagram: Vec<u8>) {
        let index = (session.0 >> 32) as usize % self.threads.len();
        if self.threads[index].queued.fetch_add(1, Ordering::Relaxed) >= MAX_QUEUED {
            self.threads[index].queued.fetch_sub(1, Ordering::Relaxed);
            driver::count_dropped();
            return;
        }
        self.send(session, Input::Datagram { session, datagram });
    }

    /// Says `close_notify` where possible, then closes the session on its worker.
    pub fn close(&self, session: SessionId, worker: WorkerId, reason: CloseReason) {
        self.send(session, Input::Close { session, worker, reason });
    }

    /// The session is gone.
    pub fn forget(&self, session: SessionId) {
        self.send(session, Input::Forget { session });
    }
}

impl Drop for Pool {
    /// Ends the threads after what they were told already.
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            drop(thread.inputs);
            if thread.handle.join().is_err() {
                tracing::error!("a DTLS thread had panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;

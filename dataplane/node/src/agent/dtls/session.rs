//! One client's DTLS, sans-IO: we are the server (RFC 5763 §5, `a=setup:passive`), the client's
//! certificate must be the one of its offer, and SRTP keys come out of it (RFC 5764).
//! The library's state is made with the first whole ClientHello; before that there is only its
//! assembly. By DTLS 1.2 it is dropped with the handshake's end, but for a [`Farewell`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, Output};
use hype_protocol::secret::{SrtpKeying, SrtpProfile};

use super::client_hello::{Assembly, ClientHello, Version};
use super::farewell::{Farewell, Said};
use super::profile_order;
use super::read_key::{self, ReadKey};

/// From the first ClientHello fragment to the keys.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Datagrams that may wait for the rest of a ClientHello.
const MAX_EARLY: usize = 16;
/// Datagrams that one session may bring at once, and how many more a second: a handshake needs
/// about ten, and nothing is due after it but `close_notify`.
const BURST: f64 = 64.0;
const PER_SECOND: f64 = 20.0;
/// What DTLS datagrams we make at most, in bytes.
const MTU: usize = 1200;

/// What a session wants done, in this order.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// The handshake is done: these keys, before anything that follows.
    Install(SrtpKeying),
    /// Send a datagram to the client.
    Send(Vec<u8>),
    /// The handshake failed; the session is beyond use.
    Failed(Failure),
    /// The client said `close_notify`.
    ClosedByPeer,
}

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It broke the protocol, or nothing that we have was offered.
    Protocol,
    /// Another certificate than the offer named.
    Fingerprint,
    /// No SRTP profile in common.
    Profile,
    /// It took longer than [`HANDSHAKE_TIMEOUT`].
    Timeout,
}

impl Failure {
    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Fingerprint => "fingerprint",
            Self::Profile => "profile",
            Self::Timeout => "timeout",
        }
    }
}

/// What all sessions of a node share.
#[derive(Debug, Clone)]
pub struct Shared {
    config: Arc<dimpl::Config>,
    config_13: Arc<dimpl::Config>,
    certificate: DtlsCertificate,
}

impl Shared {
    /// With the node's certificate and its key, both DER (the key as PKCS #8).
    pub fn new(certificate: DtlsCertificate) -> Result<Self, dimpl::Error> {
        // No cookie exchange: only datagrams from an address that passed an ICE check get here.
        let builder = || {
            dimpl::Config::builder()
                .mtu(MTU)
                .use_server_cookie(false)
                .handshake_timeout(HANDSHAKE_TIMEOUT)
                .flight_start_rto(Duration::from_millis(400))
        };
        Ok(Self {
            config: Arc::new(builder().with_crypto_provider(read_key::provider()).build()?),
            config_13: Arc::new(builder().with_crypto_provider(profile_order::provider()).build()?),
            certificate,
        })
    }
}

/// Boxed, as most of a session's life is none of these but the third.
enum State {
    /// No whole ClientHello yet.
    Assembling(Box<Assembling>),
    /// The handshake runs, or is done and the library's state is still of use.
    Running(Box<Running>),
    /// The handshake is done.
    Connected(Box<Farewell>),
    /// Failed or closed.
    Over,
}

#[derive(Default)]
struct Assembling {
    assembly: Assembly,
    /// What came so far, for the library to read when there is one.
    early: Vec<Vec<u8>>,
}

struct Running {
    dtls: Dtls,
    rewrite: Option<profile_order::Rewrite>,
    /// Known once a record of the client was opened; never by DTLS 1.3.
    read_key: Option<ReadKey>,
}

/// One client's DTLS.
pub struct Session {
    shared: Arc<Shared>,
    /// SHA-256 of the certificate that the client must show.
    fingerprint: [u8; 32],
    verified: bool,
    connected: bool,
    state: State,
    timeout: Option<Instant>,
    deadline: Option<Instant>,
    allowance: f64,
    allowance_at: Instant,
}

impl Session {
    /// Expects a client with that certificate.
    pub fn new(shared: Arc<Shared>, fingerprint: [u8; 32], now: Instant) -> Self {
        Self {
            shared,
            fingerprint,
            verified: false,
            connected: false,
            state: State::Assembling(Box::default()),
            timeout: None,
            deadline: None,
            allowance: BURST,
            allowance_at: now,
        }
    }

    /// True once keys were handed out.
    #[cfg(test)]
    pub fn connected(&self) -> bool {
        self.connected
    }

    /// True once only a [`Farewell`] is left.
    #[cfg(test)]
    pub fn library_state_is_gone(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.timeout, self.deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes a datagram; false when it was dropped because there are too many of them.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        actions: &mut Vec<Action>,
    ) -> bool {
        if !self.allow(now) {
            return false;
        }
        match &mut self.state {
            State::Assembling(assembling) => {
                let Assembling { assembly, early } = &mut **assembling;
                self.deadline.get_or_insert(now + HANDSHAKE_TIMEOUT);
                let hello = assembly.handle_datagram(datagram).map(<[u8]>::to_vec);
                if early.len() < MAX_EARLY {
                    early.push(datagram.to_vec());
                }
                if let Some(hello) = hello {
                    let early = std::mem::take(early);
                    self.start(now, &hello, &early, actions);
                }
            }
            State::Running(_) => self.feed(now, datagram, actions),
            State::Connected(farewell) => match farewell.read(datagram) {
                Some(Said::Again) => actions.extend(farewell.last_flight().map(Action::Send)),
                Some(Said::Goodbye) => {
                    actions.extend(farewell.close_notify().map(Action::Send));
                    self.state = State::Over;
                    actions.push(Action::ClosedByPeer);
                }
                None => {}
            },
            State::Over => {}
        }
        true
    }

    fn start(&mut self, now: Instant, hello: &[u8], early: &[Vec<u8>], actions: &mut Vec<Action>) {
        let Some(parsed) = ClientHello::parse(hello) else {
            return self.fail(Failure::Protocol, actions);
        };
        let certificate = self.shared.certificate.clone();
        let (dtls, rewrite) = match parsed.version() {
            Version::Dtls12 => {
                (Dtls::new_12(Arc::clone(&self.shared.config), certificate, now), None)
            }
            Version::Dtls13 => (
                Dtls::new_13(Arc::clone(&self.shared.config_13), certificate, now),
                profile_order::Rewrite::new(hello, &parsed),
            ),
        };
        self.state = State::Running(Box::new(Running { dtls, rewrite, read_key: None }));
        for datagram in early {
            self.feed(now, datagram, actions);
        }
    }

    fn feed(&mut self, now: Instant, datagram: &[u8], actions: &mut Vec<Action>) {
        self.drive(actions, |dtls, rewrite| {
            dtls.handle_timeout(now)?;
            match rewrite {
                Some(rewrite) => dtls.handle_packet(&rewrite.apply(datagram)),
                None => dtls.handle_packet(datagram),
            }
        });
    }

    /// Retransmits, or gives up.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return self.fail(Failure::Timeout, actions);
        }
        if self.timeout.is_some_and(|timeout| now >= timeout) {
            self.drive(actions, |dtls, _| dtls.handle_timeout(now));
        }
    }

    /// Says `close_notify` where there is somebody to say it to.
    pub fn close(&mut self, actions: &mut Vec<Action>) {
        match &self.state {
            State::Running(_) if self.connected => self.drive(actions, |dtls, _| dtls.close()),
            State::Connected(farewell) => {
                actions.extend(farewell.close_notify().map(Action::Send));
            }
            State::Assembling(_) | State::Running(_) | State::Over => {}
        }
        self.state = State::Over;
        (self.timeout, self.deadline) = (None, None);
    }

    fn fail(&mut self, failure: Failure, actions: &mut Vec<Action>) {
        self.state = State::Over;
        (self.timeout, self.deadline) = (None, None);
        actions.push(Action::Failed(failure));
    }

    /// Does `step`, then carries out what came of it.
    fn drive(
        &mut self,
        actions: &mut Vec<Action>,
        step: impl FnOnce(&mut Dtls, Option<&profile_order::Rewrite>) -> Result<(), dimpl::Error>,
    ) {
        let State::Running(running) = &mut self.state else { return };
        let Running { dtls, rewrite, read_key } = &mut **running;
        let rewrite = rewrite.as_ref();
        let ((outcome, polled), noted) = read_key::noted_in(|| {
            profile_order::with_transcript_of(rewrite, || {
                let outcome = step(dtls, rewrite);
                (outcome, Polled::collect(dtls))
            })
        });
        *read_key = noted.or(read_key.take());
        self.timeout = polled.timeout;
        if let Some(certificate) = polled.certificate {
            self.verified = certificate == self.fingerprint;
            if !self.verified {
                return self.fail(Failure::Fingerprint, actions);
            }
        }
        let ended = polled.connected && !self.connected;
        if ended {
            let Some(keying) = polled.keying else {
                return self.fail(Failure::Profile, actions);
            };
            if !self.verified {
                return self.fail(Failure::Fingerprint, actions);
            }
            self.connected = true;
            self.deadline = None;
            // Before the final flight: once the client has that, its SRTP comes.
            actions.push(Action::Install(keying));
        }
        actions.extend(polled.packets.iter().cloned().map(Action::Send));
        if polled.closed {
            (self.timeout, self.deadline) = (None, None);
            self.state = State::Over;
            return actions.push(Action::ClosedByPeer);
        }
        if outcome.is_err() {
            if self.connected {
                // It says nothing about the media, which goes on; only `close_notify` can no
                // longer be told.
                self.state = State::Over;
                self.timeout = None;
            } else {
                self.fail(Failure::Protocol, actions);
            }
        } else if ended {
            self.part(polled.packets);
        }
    }

    /// The handshake is done: drops the library's state where the client's `close_notify` is
    /// understood without it. That is so by DTLS 1.2, which every browser speaks with us.
    fn part(&mut self, last_flight: Vec<Vec<u8>>) {
        let State::Running(running) = &mut self.state else { return };
        let Some(key) = running.read_key.take() else { return };
        // Sealed now, with the number after the last flight's, and sent when the time has come.
        // Should it fail, the session ends without a word, by the client's own timers.
        let _ = running.dtls.close();
        let close_notify = Polled::collect(&mut running.dtls).packets;
        self.state = State::Connected(Box::new(Farewell::new(key, last_flight, close_notify)));
        self.timeout = None;
    }

    fn allow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.allowance_at).as_secs_f64();
        self.allowance = (self.allowance + passed * PER_SECOND).min(BURST);
        self.allowance_at = now;
        let allowed = self.allowance >= 1.0;
        if allowed {
            self.allowance -= 1.0;
        }
        allowed
    }
}

/// Everything that one step brought out.
#[derive(Default)]
struct Polled {
    packets: Vec<Vec<u8>>,
    /// SHA-256 of the certificate that the client showed.
    certificate: Option<[u8; 32]>,
    keying: Option<SrtpKeying>,
    connected: bool,
    closed: bool,
    timeout: Option<Instant>,
}

impl Polled {
    fn collect(dtls: &mut Dtls) -> Self {
        let mut polled = Self::default();
        let mut buffer = vec![0; 2048];
        loop {
            match dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => polled.packets.push(packet.to_vec()),
                Output::BufferTooSmall { needed } => {
                    // Certificates are the longest output; nothing needs more than a record.
                    if needed <= buffer.len() || needed > 1 << 17 {
                        return polled;
                    }
                    buffer.resize(needed, 0);
                }
                Output::Timeout(at) => {
                    polled.timeout = Some(at);
                    return polled;
                }
                Output::Connected => polled.connected = true,
                Output::PeerCert(der) => polled.certificate = Some(super::fingerprint(der)),
                Output::KeyingMaterial(material, profile) => {
                    polled.keying = profile_of(profile)
                        .map(|profile| SrtpKeying { profile, material: material.to_vec() })
                        .filter(|keying| keying.material.len() == keying.profile.keying_len());
                }
                Output::CloseNotify => polled.closed = true,
                // We speak no data channel.
                Output::ApplicationData(_) => {}
                // The enum may grow; what we do not know of, we do not need.
                _ => {}
            }
        }
    }
}

fn profile_of(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmSha1_80),
        _ => None,
    }
}

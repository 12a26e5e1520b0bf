//! Clients on loopback: one by derived keys, one by DTLS. Both pass an ICE check first.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, Output};
use hype_protocol::observation::OpenSession;
use hype_protocol::secret::{BootKeys, SrtpProfile};
use hype_sfu::wire::{demux, stun};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket that has passed an ICE check for a session.
pub struct Native {
    socket: UdpSocket,
    ufrag: String,
    remote_ufrag: String,
    password: String,
}

impl Native {
    pub fn new(keys: &BootKeys, open: &OpenSession, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((super::loopback(), 0)).expect("a free port");
        socket.connect(server).expect("loopback");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        Self {
            socket,
            ufrag: keys.ufrag(open.worker, open.session),
            remote_ufrag: open.remote_ufrag.clone(),
            password: keys.ice_password(open.session),
        }
    }

    /// Sends one check that nominates and waits for its answer.
    pub fn check(&mut self) {
        let integrity = stun::integrity_key(self.password.as_bytes());
        let mut buffer = [0; 1500];
        let mut request = stun::Writer::new(&mut buffer, stun::Class::Request, [3; 12])
            .expect("the buffer is large");
        let len = request
            .username(self.ufrag.as_bytes(), self.remote_ufrag.as_bytes())
            .and_then(|()| request.priority(1))
            .and_then(|()| request.controlling(1))
            .and_then(|()| request.use_candidate())
            .and_then(|()| request.integrity(&integrity))
            .and_then(|()| request.finish())
            .expect("the buffer is large");
        self.socket.send(&buffer[..len]).expect("loopback takes it");
        loop {
            let len = self.socket.recv(&mut buffer).expect("the check is answered");
            if demux::classify(&buffer[..len]) == demux::Kind::Stun {
                let answer = stun::Message::parse(&buffer[..len]).expect("a STUN message");
                assert_eq!(answer.class(), Some(stun::Class::Success));
                return;
            }
        }
    }
}

/// A client by DTLS, as browsers are.
pub struct Browser {
    dtls: Dtls,
    pub fingerprint: [u8; 32],
    pub profile: Option<SrtpProfile>,
    server_fingerprint: Option<String>,
    closed: bool,
    native: Option<Native>,
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

impl Browser {
    /// With `newest` it speaks DTLS 1.3 only.
    pub fn new(newest: bool) -> Self {
        let key = rcgen::KeyPair::generate().expect("the system has entropy");
        let params = rcgen::CertificateParams::default();
        let certificate = params.self_signed(&key).expect("valid parameters").der().to_vec();
        let fingerprint = sha256(&certificate);
        let private_key = key.serialize_der();
        let config = Arc::new(dimpl::Config::default());
        let new = if newest { Dtls::new_13 } else { Dtls::new_auto };
        let certificate = DtlsCertificate { certificate, private_key };
        let mut dtls = new(config, certificate, Instant::now());
        dtls.set_active(true);
        let (profile, server_fingerprint, native) = (None, None, None);
        Self { dtls, fingerprint, profile, server_fingerprint, closed: false, native }
    }

    /// ICE, then DTLS until keys are there.
    pub fn connect(
        &mut self,
        keys: &BootKeys,
        open: &OpenSession,
        server: SocketAddr,
        expected: &str,
    ) {
        self.try_connect(keys, open, server, PATIENCE);
        assert_eq!(self.server_fingerprint.as_deref(), Some(expected));
    }

    pub fn try_connect(
        &mut self,
        keys: &BootKeys,
        open: &OpenSession,
        server: SocketAddr,
        patience: Duration,
    ) {
        let mut native = Native::new(keys, open, server);
        native.check();
        self.native = Some(native);
        self.run(patience, |browser| browser.profile.is_some());
    }

    pub fn close(&mut self) {
        self.dtls.close().expect("it is connected");
        self.run(Duration::from_millis(50), |_| true);
    }

    /// Until the server says `close_notify`.
    pub fn until_closed(&mut self) {
        self.run(PATIENCE, |browser| browser.closed);
        assert!(self.closed);
    }

    fn run(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 2048];
        loop {
            // An error means that a failed handshake is over.
            if self.dtls.handle_timeout(Instant::now()).is_err() {
                return;
            }
            self.drain();
            if done(self) || Instant::now() >= deadline {
                return;
            }
            let socket = &self.native.as_ref().expect("it is connecting").socket;
            socket.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
            if let Ok(len) = socket.recv(&mut buffer)
                && demux::classify(&buffer[..len]) == demux::Kind::Dtls
                && self.dtls.handle_packet(&buffer[..len]).is_err()
            {
                return;
            }
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    let native = self.native.as_ref().expect("it is connecting");
                    native.socket.send(packet).expect("loopback takes it");
                }
                Output::Timeout(_) => return,
                Output::PeerCert(der) => {
                    let octets = sha256(der).map(|octet| format!("{octet:02X}"));
                    self.server_fingerprint = Some(octets.join(":"));
                }
                Output::KeyingMaterial(_, profile) => {
                    self.profile = Some(match profile {
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
                        _ => SrtpProfile::Aes128CmSha1_80,
                    });
                }
                Output::CloseNotify => self.closed = true,
                _ => {}
            }
        }
    }
}

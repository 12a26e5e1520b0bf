//! Handshakes against the library's client: both versions, whole and fragmented ClientHellos, lost
//! datagrams; which SRTP profile is chosen, and what must fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, Output};
use hype_protocol::secret::{SrtpKeying, SrtpProfile};

use super::client_hello::{Assembly, ClientHello};
use super::profile_order::{self, Rewrite};
use super::session::{Action, Failure, Session, Shared};
use super::{Certificate, fingerprint};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaks {
    Only12,
    Both,
    Only13,
}

/// The library's client, which can be made to list AES-CM first as browsers do.
struct Client {
    dtls: Dtls,
    certificate: Certificate,
    cm_first: bool,
    rewrite: Option<Rewrite>,
    keying: Option<SrtpKeying>,
    server_fingerprint: Option<[u8; 32]>,
    closed: bool,
    timeout: Option<Instant>,
}

impl Client {
    fn new(speaks: Speaks, cm_first: bool, mtu: usize, now: Instant) -> Self {
        let certificate = Certificate::generate().expect("the system has entropy");
        let config = dimpl::Config::builder()
            .mtu(mtu)
            .with_crypto_provider(profile_order::provider())
            .build()
            .expect("a valid configuration");
        let new = match speaks {
            Speaks::Only12 => Dtls::new_12,
            Speaks::Both => Dtls::new_auto,
            Speaks::Only13 => Dtls::new_13,
        };
        let mut dtls = new(Arc::new(config), certificate.dtls.clone(), now);
        dtls.set_active(true);
        Self {
            dtls,
            certificate,
            cm_first,
            rewrite: None,
            keying: None,
            server_fingerprint: None,
            closed: false,
            timeout: None,
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate.dtls.certificate)
    }

    /// Does a step and returns what it sends.
    fn step(&mut self, step: impl FnOnce(&mut Dtls)) -> Vec<Vec<u8>> {
        let Self { dtls, rewrite, .. } = self;
        let mut sent = Vec::new();
        let mut buffer = vec![0; 4096];
        profile_order::with_transcript_of(rewrite.as_ref(), || {
            step(dtls);
            loop {
                match dtls.poll_output(&mut buffer) {
                    Output::Packet(packet) => sent.push(packet.to_vec()),
                    Output::Timeout(at) => {
                        self.timeout = Some(at);
                        break;
                    }
                    Output::PeerCert(der) => self.server_fingerprint = Some(fingerprint(der)),
                    Output::KeyingMaterial(material, profile) => {
                        let profile = match profile {
                            dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
                            dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
                            _ => SrtpProfile::Aes128CmSha1_80,
                        };
                        self.keying = Some(SrtpKeying { profile, material: material.to_vec() });
                    }
                    Output::CloseNotify => self.closed = true,
                    Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                    _ => {}
                }
            }
        });
        if self.cm_first && self.keying.is_none() {
            self.put_cm_first(&mut sent);
        }
        sent
    }

    /// What goes over the wire lists AES-CM first; the client's transcript hash is made to agree,
    /// by the same seam that the server uses the other way round.
    fn put_cm_first(&mut self, sent: &mut [Vec<u8>]) {
        if self.rewrite.is_none() {
            let mut assembly = Assembly::default();
            let body = sent
                .iter()
                .find_map(|datagram| assembly.handle_datagram(datagram).map(<[u8]>::to_vec));
            let mut body = body.expect("the first flight is a ClientHello");
            let hello = ClientHello::parse(&body).expect("well formed");
            let mut profiles = hello.srtp_profiles.clone();
            profiles.rotate_right(1);
            assert_eq!(profiles[0], 1, "AES-CM came last, now it is first");
            for (index, profile) in profiles.iter().enumerate() {
                let at = hello.srtp_profiles_at + 2 * index;
                body[at..at + 2].copy_from_slice(&profile.to_be_bytes());
            }
            let hello = ClientHello::parse(&body).expect("well formed");
            self.rewrite = Some(Rewrite::new(&body, &hello).expect("GCM is offered, but second"));
        }
        let rewrite = self.rewrite.as_ref().expect("just made");
        for datagram in sent {
            *datagram = rewrite.undo(datagram);
        }
    }
}

struct Pair {
    now: Instant,
    client: Client,
    server: Session,
    actions: Vec<Action>,
    to_server: Vec<Vec<u8>>,
    /// Everything that reached the server.
    arrived: Vec<Vec<u8>>,
    /// This one of all datagrams, counted both ways, is lost.
    lose: Option<usize>,
    datagrams: usize,
}

impl Pair {
    fn new(speaks: Speaks, cm_first: bool, mtu: usize) -> Self {
        let now = Instant::now();
        let client = Client::new(speaks, cm_first, mtu, now);
        let fingerprint = client.fingerprint();
        Self::with_fingerprint(client, fingerprint, now)
    }

    fn with_fingerprint(client: Client, fingerprint: [u8; 32], now: Instant) -> Self {
        let certificate = Certificate::generate().expect("the system has entropy");
        let shared = Arc::new(Shared::new(certificate.dtls).expect("a valid configuration"));
        let server = Session::new(shared, fingerprint, now);
        Self {
            now,
            client,
            server,
            actions: Vec::new(),
            to_server: Vec::new(),
            arrived: Vec::new(),
            lose: None,
            datagrams: 0,
        }
    }

    fn lost(&mut self) -> bool {
        self.datagrams += 1;
        self.lose == Some(self.datagrams)
    }

    /// Passes datagrams to and fro until both are silent; returns everything that the server did.
    fn exchange(&mut self) -> Vec<Action> {
        let mut done = Vec::new();
        loop {
            let mut to_client = Vec::new();
            for datagram in std::mem::take(&mut self.to_server) {
                if !self.lost() {
                    self.server.handle_datagram(self.now, &datagram, &mut self.actions);
                    self.arrived.push(datagram);
                }
            }
            for action in self.actions.drain(..) {
                if let Action::Send(datagram) = &action {
                    to_client.push(datagram.clone());
                }
                done.push(action);
            }
            if to_client.is_empty() {
                return done;
            }
            let now = self.now;
            for datagram in to_client {
                if !self.lost() {
                    let sent = self.client.step(|dtls| {
                        dtls.handle_timeout(now).expect("in time");
                        dtls.handle_packet(&datagram).expect("a valid answer");
                    });
                    self.to_server.extend(sent);
                }
            }
        }
    }

    /// Runs the handshake, timers included.
    fn run(&mut self) -> Vec<Action> {
        let now = self.now;
        self.to_server = self.client.step(|dtls| dtls.handle_timeout(now).expect("in time"));
        let mut done = self.exchange();
        for _ in 0..50 {
            if self.server.connected() && self.client.keying.is_some() {
                break;
            }
            if done.iter().any(|action| matches!(action, Action::Failed(_))) {
                break;
            }
            self.now += Duration::from_millis(100);
            let now = self.now;
            self.server.handle_timeout(now, &mut self.actions);
            if self.client.timeout.is_some_and(|timeout| timeout <= now) {
                let sent = self.client.step(|dtls| dtls.handle_timeout(now).expect("in time"));
                self.to_server.extend(sent);
            }
            // What the server's timer sent goes out by `exchange`, too.
            done.extend(self.exchange());
        }
        done
    }
}

fn installed(actions: &[Action]) -> Vec<&SrtpKeying> {
    let mut installed = Vec::new();
    for action in actions {
        if let Action::Install(keying) = action {
            installed.push(keying);
        }
    }
    installed
}

#[test]
fn a_gcm_profile_is_chosen_by_every_way_in() {
    for speaks in [Speaks::Only12, Speaks::Both, Speaks::Only13] {
        // Reordering is only built for the 1.3 transcript; our 1.2 side has its own preference.
        for cm_first in [false, true].into_iter().filter(|cm| !cm || speaks == Speaks::Only13) {
            for mtu in [1150, 100] {
                let case = format!("{speaks:?}, AES-CM first: {cm_first}, MTU {mtu}");
                let mut pair = Pair::new(speaks, cm_first, mtu);
                let actions = pair.run();
                let keys = installed(&actions);
                assert_eq!(keys.len(), 1, "{case}: {actions:?}");
                assert_eq!(pair.client.keying.as_ref(), Some(keys[0]), "{case}");
                let expected = SrtpProfile::AeadAes256Gcm;
                assert_eq!(keys[0].profile, expected, "{case}");
                let own = pair.client.server_fingerprint.map(|octets| octets.len());
                assert_eq!(own, Some(32), "{case}: the client saw our certificate");
                assert!(pair.server.poll_timeout().is_none_or(|at| at > pair.now), "{case}");
            }
        }
    }
}

#[test]
fn the_version_is_1_2_unless_the_client_only_speaks_1_3() {
    for (speaks, version) in [
        (Speaks::Only12, dimpl::ProtocolVersion::DTLS1_2),
        (Speaks::Both, dimpl::ProtocolVersion::DTLS1_2),
        (Speaks::Only13, dimpl::ProtocolVersion::DTLS1_3),
    ] {
        let mut pair = Pair::new(speaks, false, 1150);
        pair.run();
        assert_eq!(pair.client.dtls.protocol_version(), Some(version), "{speaks:?}");
    }
}

#[test]
fn keys_come_before_the_datagrams_that_end_the_handshake() {
    for speaks in [Speaks::Only12, Speaks::Only13] {
        let mut pair = Pair::new(speaks, false, 1150);
        let actions = pair.run();
        let at = actions.iter().position(|action| matches!(action, Action::Install(_)));
        let at = at.expect("the handshake ends");
        assert!(
            actions[at + 1..].iter().any(|action| matches!(action, Action::Send(_))),
            "{speaks:?}: the final flight follows the keys"
        );
    }
}

#[test]
fn a_lost_datagram_only_takes_longer() {
    for speaks in [Speaks::Only12, Speaks::Only13] {
        for lost in 1..16 {
            let mut pair = Pair::new(speaks, false, 300);
            pair.lose = Some(lost);
            let actions = pair.run();
            assert_eq!(installed(&actions).len(), 1, "{speaks:?}, datagram {lost} lost");
            assert_eq!(pair.client.keying.as_ref(), Some(installed(&actions)[0]));
        }
    }
}

#[test]
fn another_certificate_than_the_offers_gets_no_keys() {
    for speaks in [Speaks::Only12, Speaks::Only13] {
        let now = Instant::now();
        let client = Client::new(speaks, false, 1150, now);
        let mut wrong = client.fingerprint();
        wrong[31] ^= 1;
        let mut pair = Pair::with_fingerprint(client, wrong, now);
        let actions = pair.run();
        assert_eq!(actions.last(), Some(&Action::Failed(Failure::Fingerprint)), "{speaks:?}");
        assert!(installed(&actions).is_empty());
        // Nothing brings it back.
        let sent = pair.client.step(|_| {});
        for datagram in sent {
            pair.server.handle_datagram(pair.now, &datagram, &mut pair.actions);
        }
        assert!(pair.actions.is_empty());
        assert_eq!(pair.server.poll_timeout(), None);
    }
}

#[test]
fn either_side_can_close() {
    for speaks in [Speaks::Only12, Speaks::Only13] {
        let mut pair = Pair::new(speaks, false, 1150);
        pair.run();
        pair.to_server = pair.client.step(|dtls| dtls.close().expect("it is connected"));
        let actions = pair.exchange();
        assert_eq!(actions.last(), Some(&Action::ClosedByPeer), "{speaks:?}: {actions:?}");

        let mut pair = Pair::new(speaks, false, 1150);
        pair.run();
        pair.server.close(&mut pair.actions);
        pair.exchange();
        assert!(pair.client.closed, "{speaks:?}");
    }
}

#[test]
fn what_is_left_of_a_session_answers_only_what_is_authentic() {
    let mut pair = Pair::new(Speaks::Both, false, 1150);
    let actions = pair.run();
    assert!(pair.server.library_state_is_gone(), "1.2 is what browsers speak with us");
    let keys = actions.iter().position(|action| matches!(action, Action::Install(_)));
    let last_flight = &actions[keys.expect("the handshake ends") + 1..];

    // The client's last flight comes again: ours goes again, byte for byte.
    let again = pair.arrived.last().expect("the client spoke").clone();
    let mut said = Vec::new();
    pair.server.handle_datagram(pair.now, &again, &mut said);
    assert_eq!(said, last_flight);

    let goodbye = pair.client.step(|dtls| dtls.close().expect("it is connected"));
    let [goodbye] = &goodbye[..] else { panic!("one alert: {goodbye:?}") };
    said.clear();
    for place in 0..goodbye.len() {
        let mut forged = goodbye.clone();
        forged[place] ^= 1;
        pair.now += Duration::from_millis(100);
        pair.server.handle_datagram(pair.now, &forged, &mut said);
        pair.server.handle_datagram(pair.now, &goodbye[..place], &mut said);
    }
    let plain = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 1, 0];
    pair.server.handle_datagram(pair.now, &plain, &mut said);
    assert_eq!((said.as_slice(), pair.server.poll_timeout()), ([].as_slice(), None));

    pair.server.handle_datagram(pair.now, goodbye, &mut said);
    let [Action::Send(farewell), Action::ClosedByPeer] = &said[..] else { panic!("{said:?}") };
    assert_eq!(farewell[0], 21, "our own close_notify");
    let said = said.len();
    pair.server.close(&mut pair.actions);
    pair.server.handle_datagram(pair.now, goodbye, &mut pair.actions);
    assert_eq!((said, pair.actions.len()), (2, 0), "and nothing after it");
}

#[test]
fn a_handshake_that_stalls_ends() {
    let mut pair = Pair::new(Speaks::Only12, false, 100);
    let now = pair.now;
    let hello = pair.client.step(|dtls| dtls.handle_timeout(now).expect("in time"));
    assert!(hello.len() > 1, "the ClientHello is fragmented");
    pair.server.handle_datagram(now, &hello[0], &mut pair.actions);
    let due = pair.server.poll_timeout().expect("a deadline");
    pair.server.handle_timeout(due - Duration::from_millis(1), &mut pair.actions);
    assert!(pair.actions.is_empty());
    pair.server.handle_timeout(due, &mut pair.actions);
    assert_eq!(pair.actions, [Action::Failed(Failure::Timeout)]);
}

#[test]
fn floods_are_dropped_and_garbage_changes_nothing() {
    let mut pair = Pair::new(Speaks::Both, false, 1150);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut taken = 0;
    for length in 0..1000usize {
        let garbage: Vec<u8> = (0..length % 200)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        taken += usize::from(pair.server.handle_datagram(pair.now, &garbage, &mut pair.actions));
    }
    assert!((1..100).contains(&taken), "{taken} datagrams at once were taken");
    assert!(pair.actions.is_empty());
    pair.now += Duration::from_secs(3);
    let actions = pair.run();
    assert_eq!(installed(&actions).len(), 1);
}

#[test]
fn lists_are_left_alone_where_there_is_nothing_to_gain() {
    let mut pair = Pair::new(Speaks::Only13, false, 1150);
    let now = pair.now;
    let sent = pair.client.step(|dtls| dtls.handle_timeout(now).expect("in time"));
    let mut assembly = Assembly::default();
    let body = assembly.handle_datagram(&sent[0]).expect("one datagram").to_vec();
    let mut hello = ClientHello::parse(&body).expect("well formed");
    assert!(Rewrite::new(&body, &hello).is_none(), "GCM comes first");
    hello.srtp_profiles = vec![1];
    assert!(Rewrite::new(&body, &hello).is_none(), "GCM is not offered");
    hello.srtp_profiles.clear();
    assert!(Rewrite::new(&body, &hello).is_none(), "no SRTP is offered");
}

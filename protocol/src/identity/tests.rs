//! Enrollment end to end, what must be refused, and real QUIC handshakes between members.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::id::NodeId;

const HOUR: Duration = Duration::from_secs(3600);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of this test alone, removed afterwards.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("hype-identity-{}-{number}", std::process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a valid name")
}

fn control(name: &str) -> Subject {
    Subject::Control(name.parse().expect("a valid name"))
}

#[test]
fn a_node_enrolls_and_finds_its_identity_again() {
    let (fleet, own) = (Directory::new(), Directory::new());
    let authority = Authority::open(&fleet.0).expect("a new authority");
    let token = authority.token(&node("n1"), HOUR);
    let enrollment = Enrollment::begin(&token).expect("a fresh token");
    assert_eq!(enrollment.node(), &node("n1"));
    // Another process of the same authority answers.
    let again = Authority::open(&fleet.0).expect("the same authority");
    assert_eq!(again.fingerprint(), authority.fingerprint());
    let answer = again.enroll(&token, enrollment.request()).expect("a valid request");
    let identity = enrollment.finish(&answer, &own.0).expect("the right answer");
    assert_eq!(identity.subject(), &Subject::Node(node("n1")));
    let loaded = Identity::load(&own.0, Role::Node).expect("what was written");
    assert_eq!(loaded.subject(), identity.subject());
    assert!(!Identity::exists(&own.0, Role::Control));
    assert!(Identity::load(&own.0, Role::Control).is_err());
    for file in [fleet.0.join("ca.key"), own.0.join("node.key")] {
        let mode = std::fs::metadata(&file).expect("it was written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn bad_tokens_and_requests_are_refused() {
    let (one, other) = (Directory::new(), Directory::new());
    let authority = Authority::open(&one.0).expect("a new authority");
    let stranger = Authority::open(&other.0).expect("another authority");
    let token = authority.token(&node("n1"), HOUR);
    let enrollment = Enrollment::begin(&token).expect("a fresh token");
    let request = enrollment.request();

    let expired = authority.token(&node("n1"), Duration::ZERO);
    assert!(matches!(authority.enroll(&expired, request), Err(Error::ExpiredToken)));
    assert!(matches!(Enrollment::begin(&expired), Err(Error::ExpiredToken)));
    assert!(matches!(stranger.enroll(&token, request), Err(Error::InvalidToken)));
    let (body, mac) = token.split_once('.').expect("two parts");
    let forged_body = authority.token(&node("n2"), HOUR);
    let forged_body = forged_body.split_once('.').expect("two parts").0;
    for forged in [
        "",
        ".",
        body,
        &format!("{body}."),
        &format!("{forged_body}.{mac}"),
        &format!("{body}.{mac}x"),
        &"a".repeat(5000),
    ] {
        assert!(matches!(authority.enroll(forged, request), Err(Error::InvalidToken)), "{forged}");
    }
    for request in ["", "-----BEGIN X-----", authority.certificate_pem()] {
        assert!(matches!(authority.enroll(&token, request), Err(Error::Certificate(_))));
    }
    // A request whose signature does not fit its key.
    let lines: Vec<&str> = request.lines().collect();
    let body = lines.len() - 2;
    let mut broken: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let tail = broken[body].clone();
    broken[body] = tail.chars().rev().filter(|c| *c != '=').collect();
    assert!(authority.enroll(&token, &broken.join("\n")).is_err());
}

#[test]
fn only_the_right_answer_finishes_an_enrollment() {
    let (one, other, own) = (Directory::new(), Directory::new(), Directory::new());
    let authority = Authority::open(&one.0).expect("a new authority");
    let stranger = Authority::open(&other.0).expect("another authority");
    let token = authority.token(&node("n1"), HOUR);
    let begin = || Enrollment::begin(&token).expect("a fresh token");

    let enrollment = begin();
    let foreign = stranger
        .enroll(&stranger.token(&node("n1"), HOUR), enrollment.request())
        .expect("valid over there");
    assert!(matches!(enrollment.finish(&foreign, &own.0), Err(Error::WrongAuthority)));
    // A foreign certificate beside the right authority.
    let enrollment = begin();
    let mut mixed = stranger
        .enroll(&stranger.token(&node("n1"), HOUR), enrollment.request())
        .expect("valid over there");
    mixed.authority = authority.certificate_pem().to_owned();
    assert!(matches!(enrollment.finish(&mixed, &own.0), Err(Error::Certificate(_))));
    // Somebody else's name, somebody else's key.
    let enrollment = begin();
    let renamed = authority
        .enroll(&authority.token(&node("n2"), HOUR), enrollment.request())
        .expect("valid for n2");
    assert!(matches!(enrollment.finish(&renamed, &own.0), Err(Error::WrongName { .. })));
    let answer = authority.enroll(&token, begin().request()).expect("valid for another key");
    assert!(matches!(begin().finish(&answer, &own.0), Err(Error::WrongKey)));
    assert!(!own.0.exists());
}

fn server(identity: &Identity) -> quinn::Endpoint {
    let pid = std::process::id().to_be_bytes();
    let address = SocketAddr::from((Ipv4Addr::new(127, pid[1] | 1, pid[2], pid[3] | 1), 0));
    let config = identity.server_config().expect("a whole identity");
    quinn::Endpoint::server(config, address).expect("a loopback port")
}

/// What each side makes of the other: the client's connection result, the server's view of it.
async fn meet(server_side: &Identity, client: &Identity, name: &str) -> (bool, Option<Subject>) {
    let listener = server(server_side);
    let address = listener.local_addr().expect("it is bound");
    let accept = tokio::spawn(async move {
        let connection = listener.accept().await?.await.ok()?;
        let subject = peer(&connection).ok();
        // Tells the client that it was let in, and waits until it has seen that.
        if let Ok((mut send, _receive)) = connection.open_bi().await {
            let _ = send.write_all(b"in").await;
            let _ = connection.closed().await;
        }
        subject
    });
    let mut endpoint =
        quinn::Endpoint::client(SocketAddr::from((address.ip(), 0))).expect("a loopback port");
    endpoint.set_default_client_config(client.client_config().expect("a whole identity"));
    let outcome = endpoint.connect(address, name).expect("a valid name").await;
    let connected = match &outcome {
        // In TLS 1.3 the server's refusal of our certificate comes after our own completion.
        Ok(connection) => {
            let told = tokio::time::timeout(PATIENCE, connection.accept_bi()).await;
            told.expect("it is let in or refused").is_ok()
        }
        Err(_) => false,
    };
    drop(outcome);
    endpoint.close(0u32.into(), b"");
    let seen = tokio::time::timeout(PATIENCE, accept).await;
    (connected, seen.ok().and_then(Result::ok).flatten())
}

#[tokio::test]
async fn members_meet_and_nobody_passes_for_another() {
    let fleet = Directory::new();
    let authority = Authority::open(&fleet.0.join("ca")).expect("a new authority");
    let issue = |subject: &Subject, place: &str| {
        authority.issue(subject, &fleet.0.join(place)).expect("a writable directory")
    };
    let c1 = issue(&control("c1"), "c1");
    let c2 = issue(&control("c2"), "c2");
    let n1 = issue(&Subject::Node(node("n1")), "n1");
    let n2 = issue(&Subject::Node(node("c1")), "a node called like the replica");
    let stranger = Authority::open(&fleet.0.join("other")).expect("another authority");
    let foreign_node = stranger.issue(n1.subject(), &fleet.0.join("x")).expect("writable");
    let foreign_control = stranger.issue(c1.subject(), &fleet.0.join("y")).expect("writable");

    let (connected, seen) = meet(&c1, &n1, "c1.control.hype").await;
    assert!(connected);
    assert_eq!(seen, Some(Subject::Node(node("n1"))));
    // Another replica, and a node that plays one.
    assert!(!meet(&c2, &n1, "c1.control.hype").await.0);
    assert!(!meet(&n2, &n1, "c1.control.hype").await.0);
    // Other authorities on either side.
    assert!(!meet(&foreign_control, &n1, "c1.control.hype").await.0);
    let (connected, seen) = meet(&c1, &foreign_node, "c1.control.hype").await;
    assert!(!connected);
    assert_eq!(seen, None);
    // Without any certificate.
    let mut anonymous = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a supported version")
        .with_root_certificates(tls::roots(&c1.authority).expect("a valid authority"))
        .with_no_client_auth();
    anonymous.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(anonymous).expect("TLS 1.3");
    let listener = server(&c1);
    let address = listener.local_addr().expect("it is bound");
    let accept = tokio::spawn(async move { listener.accept().await?.await.ok() });
    let endpoint = quinn::Endpoint::client(SocketAddr::from((address.ip(), 0))).expect("a port");
    let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
    if let Ok(connection) =
        endpoint.connect_with(config, address, "c1.control.hype").expect("a valid name").await
    {
        let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
        assert!(closed.is_ok(), "a client without a certificate stayed connected");
    }
    assert!(accept.await.expect("no panic").is_none());
}

#[test]
fn names_tell_the_role() {
    for (name, subject) in [
        ("n1.node.hype", Some(Subject::Node(node("n1")))),
        ("c1.control.hype", Some(control("c1"))),
        ("n1.node.hype.example", None),
        ("a.b.node.hype", None),
        (".node.hype", None),
        ("hype", None),
    ] {
        assert_eq!(Subject::from_dns_name(name), subject, "{name}");
        if let Some(subject) = subject {
            assert_eq!(subject.dns_name(), name);
        }
    }
}

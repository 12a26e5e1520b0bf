//! Starting, stopping, health, metrics, headers, TLS.

use hype_control::config::Tls;
use hype_protocol::id::NodeId;
use hype_protocol::identity::{Authority, Enrollment, Issued, Subject};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::server::{Folder, Server, assert_error, config};

#[tokio::test]
async fn every_answer_carries_its_headers() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let mut ids = std::collections::HashSet::new();
    for (path, caching) in
        [("/", "no-cache"), ("/api/v1/auth/me", "no-store"), ("/none", "no-store")]
    {
        let response = server.request(Method::GET, path).send().await.expect("an answer");
        let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("cache-control"), caching, "{path}");
        assert!(ids.insert(header("x-request-id")), "{path}");
    }
    for (given, kept) in [("trace-1.a_B", true), ("with space", false), (&"x".repeat(65), false)] {
        let request = server.request(Method::GET, "/api/v1/auth/me").header("x-request-id", given);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.headers()["x-request-id"] == given, kept, "{given}");
    }
    let response = server
        .request(Method::GET, "/")
        .header("accept-encoding", "gzip")
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_route_is_refused_in_the_one_shape() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    for (method, path, status, code) in [
        (Method::GET, "/api/v1/none", 404, "not_found"),
        (Method::POST, "/api/v1/none", 404, "not_found"),
        (Method::GET, "/api", 404, "not_found"),
        (Method::GET, "/api/v1/invites/%ff", 404, "not_found"),
        (Method::DELETE, "/api/v1/guilds", 405, "method_not_allowed"),
        (Method::PUT, "/api/v1/auth/login", 405, "method_not_allowed"),
        (Method::POST, "/api/v1/openapi.json", 405, "method_not_allowed"),
    ] {
        assert_error(&server.call(method, path, None, None).await, status, code);
    }
    let response = server.request(Method::DELETE, "/api/v1/guilds").send().await.expect("answers");
    let allow = response.headers()["allow"].to_str().expect("text");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    server.stop().await;
}

#[tokio::test]
async fn it_is_not_healthy_without_a_node_and_shows_metrics() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let response = server.request(Method::GET, "/healthz").send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.text().await.expect("text"), "no media node is connected");
    let response = server.request(Method::GET, "/metrics").send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    server.stop().await;
}

#[tokio::test]
async fn one_data_directory_serves_one_process() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let second = Server::try_start(config(&folder)).await.err().expect("refused");
    assert!(matches!(second, hype_control::Error::InUse(_)), "{second}");
    server.stop().await;
    Server::start(config(&folder)).await.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_told_clearly() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let other = Folder::new();
    let mut config = config(&other);
    config.http = server.address;
    let second = Server::try_start(config).await.err().expect("refused");
    assert!(matches!(second, hype_control::Error::Bind { .. }), "{second}");
    assert!(second.to_string().contains("--http"), "{second}");
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_setting_is_told_before_anything_is_made() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.id_worker = 5000;
    let error = Server::try_start(config).await.err().expect("refused");
    assert_eq!(error.to_string(), "setting `id_worker`: 5000 is not within 0 to 1023");
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn a_self_signed_certificate_is_made_once_and_names_this_machine() {
    let folder = Folder::new();
    let pem_path = folder.path().join("data/tls-certificate.pem");
    let mut first_pem = Vec::new();
    for _ in 0..2 {
        let mut config = config(&folder);
        config.http = "127.0.0.1:0".parse().expect("an address");
        config.tls = Tls::SelfSigned;
        let mut server = Server::start(config).await;
        let pem = std::fs::read(&pem_path).expect("made at the start");
        let certificate = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        server.client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([certificate])
            .build()
            .expect("a client");
        server.scheme = "https";
        // Both names of this machine verify: its address and `localhost`.
        let port = server.address.port();
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("https://{host}:{port}/api/v1/auth/me");
            let response = server.client.get(url).send().await.expect("a verified connection");
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
        if !first_pem.is_empty() {
            assert_eq!(first_pem, pem, "a restart keeps it");
        }
        first_pem = pem;
        server.stop().await;
    }
    use std::os::unix::fs::PermissionsExt;
    let key = std::fs::metadata(folder.path().join("data/tls-key.pem")).expect("there");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_missing_certificate_is_told_clearly() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.tls = "/nowhere/cert.pem,/nowhere/key.pem".parse().expect("two paths");
    let error = Server::try_start(config).await.err().expect("refused");
    assert!(error.to_string().contains("/nowhere/cert.pem"), "{error}");
}

#[tokio::test]
async fn hype_up_enrolls_no_node() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let body = json!({ "token": "x", "csr": "y" });
    let answer = server.call(Method::POST, "/api/v1/nodes/enroll", None, Some(body)).await;
    assert_error(&answer, 403, "enrollment_refused");
    server.stop().await;
}

#[tokio::test]
async fn a_node_enrolls_by_its_token_and_by_nothing_else() {
    let folder = Folder::new();
    let pki = folder.path().join("pki");
    let server = Server::start_with_link(config(&folder), &pki).await;
    let node: NodeId = "node-7".parse().expect("a valid name");
    let hour = std::time::Duration::from_secs(3600);
    let token = Authority::load(&pki).expect("made at the start").token(&node, hour);
    let enroll = async |token: &str, csr: &str| {
        let body = json!({ "token": token, "csr": csr });
        server.call(Method::POST, "/api/v1/nodes/enroll", None, Some(body)).await
    };
    let enrollment = Enrollment::begin(&token).expect("a good token");
    let foreign = Authority::open(&folder.path().join("other")).expect("made").token(&node, hour);
    for (token, csr) in [
        ("", enrollment.request()),
        (&foreign, enrollment.request()),
        (&token, ""),
        (&token, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
    ] {
        assert_error(&enroll(token, csr).await, 403, "enrollment_refused");
    }
    let (status, answer) = enroll(&token, enrollment.request()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let text = |name: &str| answer[name].as_str().expect("PEM").to_owned();
    let issued = Issued { certificate: text("certificate"), authority: text("authority") };
    let identity = enrollment.finish(&issued, &folder.path().join("node")).expect("for this node");
    assert_eq!(identity.subject(), &Subject::Node(node));
    server.stop().await;
    // The replica's own certificate and the authority are found again.
    let before = std::fs::read(pki.join("control.pem")).expect("there");
    Server::start_with_link(config(&folder), &pki).await.stop().await;
    assert_eq!(before, std::fs::read(pki.join("control.pem")).expect("there"));
}

//! What a replica shows to whom: the routes of its roles, other pages by CORS, and who asks behind
//! a proxy.

use hype_control::Config;
use hype_control::config::Rate;
use reqwest::{Method, Response, StatusCode};

use super::server::{Folder, Server, config};

/// A server whose configuration was changed.
async fn changed(folder: &Folder, change: impl FnOnce(&mut Config)) -> Server {
    let mut config = config(folder);
    change(&mut config);
    Server::start(config).await
}

#[tokio::test]
async fn a_replica_has_the_routes_of_its_roles() {
    for (roles, api, gateway, health) in [
        ("api,gateway,voice,events", true, true, 503),
        ("api", true, false, 503),
        ("gateway", false, true, 503),
        ("voice", false, false, 503),
        // It takes no nodes' links and needs no node.
        ("events", false, false, 200),
    ] {
        let folder = Folder::new();
        let roles_of = |config: &mut Config| config.roles = roles.parse().expect("roles");
        let server = changed(&folder, roles_of).await;
        let status = async |path: &str| {
            server.request(Method::GET, path).send().await.expect("an answer").status().as_u16()
        };
        assert_eq!(status("/metrics").await, 200, "{roles}");
        assert_eq!(status("/healthz").await, health, "{roles}");
        assert_eq!(status("/").await, if api { 200 } else { 404 }, "{roles}");
        assert_eq!(status("/api/v1/auth/me").await, if api { 401 } else { 404 }, "{roles}");
        // What is no upgrade is refused by the gateway itself.
        assert_eq!(status("/gateway").await == 404, !gateway, "{roles}");
        server.stop().await;
    }
}

async fn ask(server: &Server, method: Method, origin: &str) -> Response {
    let request = server
        .request(method, "/api/v1/guilds")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    request.send().await.expect("an answer")
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

#[tokio::test]
async fn only_the_named_pages_may_use_the_api() {
    let folder = Folder::new();
    let server = changed(&folder, |config| {
        config.cors_origins = vec!["https://chat.example".into(), "http://localhost:3000".into()];
    })
    .await;
    for (origin, allowed) in [
        ("https://chat.example", true),
        ("http://localhost:3000", true),
        ("https://evil.example", false),
        ("https://chat.example.evil.example", false),
        ("null", false),
    ] {
        let allowed = allowed.then_some(origin);
        let preflight = ask(&server, Method::OPTIONS, origin).await;
        assert_eq!(preflight.status(), StatusCode::OK, "{origin}");
        assert_eq!(header(&preflight, "access-control-allow-origin"), allowed);
        let headers = header(&preflight, "access-control-allow-headers").unwrap_or_default();
        assert!(headers.contains("authorization"), "{headers}");
        let answer = ask(&server, Method::GET, origin).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{origin}");
        assert_eq!(header(&answer, "access-control-allow-origin"), allowed);
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
        // A cache must not give one page's answer to another.
        let vary = answer.headers().get_all("vary").iter().filter_map(|value| value.to_str().ok());
        assert!(vary.flat_map(|list| list.split(',')).any(|name| name.trim() == "origin"));
    }
    server.stop().await;
}

#[tokio::test]
async fn no_other_page_may_use_the_api_by_default() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let preflight = ask(&server, Method::OPTIONS, "https://chat.example").await;
    assert_eq!(preflight.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header(&preflight, "access-control-allow-origin"), None);
    server.stop().await;
}

#[tokio::test]
async fn limits_count_the_proxys_clients_where_there_is_a_proxy() {
    for behind_proxy in [true, false] {
        let folder = Folder::new();
        let server = changed(&folder, |config| {
            config.behind_proxy = behind_proxy;
            config.limits.address = Rate::new(1, 2);
            config.limits.loopback_factor = 1;
        })
        .await;
        let mut refused = 0;
        for client in 0..6 {
            let request = server
                .request(Method::GET, "/api/v1/auth/me")
                .header("x-forwarded-for", format!("203.0.113.{client}"));
            let status = request.send().await.expect("an answer").status();
            refused += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
        }
        assert_eq!(refused, if behind_proxy { 0 } else { 4 });
        server.stop().await;
    }
}

//! Register, log in, refresh, log out, me: what is accepted, what is refused, and what lasts.

use std::time::Duration;

use hype_control::config::Rate;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Folder, PASSWORD, Person, Server, assert_error, config};

async fn auth(server: &Server, what: &str, body: Value) -> (StatusCode, Value) {
    server.call(Method::POST, &format!("/api/v1/auth/{what}"), None, Some(body)).await
}

#[tokio::test]
async fn an_account_is_made_used_and_left() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (status, session) =
        auth(&server, "register", json!({ "name": " Ada ", "password": PASSWORD })).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(session["user"]["name"], "Ada");
    assert_eq!(session["expires_in_s"], 600);
    let ada = Person::from(session);
    assert_eq!(server.get("/api/v1/auth/me", &ada).await.1, json!({ "id": ada.id, "name": "Ada" }));

    let (status, session) =
        auth(&server, "login", json!({ "name": "ADA", "password": PASSWORD })).await;
    assert_eq!(status, StatusCode::OK);
    let again = Person::from(session);
    assert_eq!(again.id, ada.id);
    assert_ne!(again.refresh, ada.refresh);

    let (status, _) = auth(&server, "logout", json!({ "refresh_token": again.refresh })).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let gone = auth(&server, "refresh", json!({ "refresh_token": again.refresh })).await;
    assert_error(&gone, 401, "invalid_refresh_token");
    let (status, _) = auth(&server, "refresh", json!({ "refresh_token": ada.refresh })).await;
    assert_eq!(status, StatusCode::OK, "the other sign-in goes on");
    server.stop().await;
}

#[tokio::test]
async fn wrong_credentials_are_answered_alike_whether_the_account_exists_or_not() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    server.register("Ada").await;
    let wrong = auth(&server, "login", json!({ "name": "Ada", "password": "wrong horse" })).await;
    let nobody = auth(&server, "login", json!({ "name": "Bob", "password": "wrong horse" })).await;
    assert_error(&wrong, 401, "wrong_credentials");
    assert_eq!(wrong, nobody);
    // Nor does a name that nobody has get in by the password of the one next to it.
    for name in ["Ac", "Adam"] {
        let neighbour = auth(&server, "login", json!({ "name": name, "password": PASSWORD })).await;
        assert_eq!(neighbour, nobody, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    server.register("Ada").await;
    for (name, password, status, code) in [
        ("aDA", PASSWORD, 409, "name_taken"),
        ("  ada  ", PASSWORD, 409, "name_taken"),
        ("a", PASSWORD, 400, "invalid_request"),
        ("a<script>", PASSWORD, 400, "invalid_request"),
        ("Bob", "short", 400, "invalid_request"),
        ("Bob", &"x".repeat(129), 400, "invalid_request"),
    ] {
        let answer = auth(&server, "register", json!({ "name": name, "password": password })).await;
        assert_error(&answer, status, code);
    }
    server.stop().await;
}

#[tokio::test]
async fn two_who_register_one_name_at_once_get_one_account() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let body = json!({ "name": "Ada", "password": PASSWORD });
    let tries = (0..8).map(|_| auth(&server, "register", body.clone()));
    let answers = futures_util::future::join_all(tries).await;
    let made = answers.iter().filter(|answer| answer.0 == StatusCode::CREATED).count();
    assert_eq!(made, 1);
    for answer in answers.iter().filter(|answer| answer.0 != StatusCode::CREATED) {
        assert_error(answer, 409, "name_taken");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_sign_in() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.tokens.refresh_grace = Duration::ZERO;
    let server = Server::start(config).await;
    let ada = server.register("Ada").await;
    let (status, next) = auth(&server, "refresh", json!({ "refresh_token": ada.refresh })).await;
    assert_eq!(status, StatusCode::OK);
    let next = Person::from(next);
    assert_eq!(server.get("/api/v1/auth/me", &next).await.0, StatusCode::OK);
    assert_ne!(next.refresh, ada.refresh);
    let reused = auth(&server, "refresh", json!({ "refresh_token": ada.refresh })).await;
    assert_error(&reused, 401, "invalid_refresh_token");
    let ended = auth(&server, "refresh", json!({ "refresh_token": next.refresh })).await;
    assert_error(&ended, 401, "invalid_refresh_token");
    for forged in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let answer = auth(&server, "refresh", json!({ "refresh_token": forged })).await;
        assert_error(&answer, 401, "invalid_refresh_token");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_can_be_asked_for_again() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let body = json!({ "refresh_token": ada.refresh });
    let one = Person::from(auth(&server, "refresh", body.clone()).await.1);
    let two = Person::from(auth(&server, "refresh", body).await.1);
    assert_eq!(one.refresh, two.refresh);
    let (status, _) = auth(&server, "refresh", json!({ "refresh_token": two.refresh })).await;
    assert_eq!(status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_restart_finds_accounts_guilds_and_sign_ins_again() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (guild, text, _) = server.guild(&ada).await;
    let path = format!("/api/v1/channels/{text}/messages");
    server.post(&path, &ada, json!({ "content": "still here?" })).await;
    server.stop().await;

    let server = Server::start(config(&folder)).await;
    assert_eq!(server.get("/api/v1/auth/me", &ada).await.0, StatusCode::OK, "the token is good");
    assert_eq!(server.get("/api/v1/guilds", &ada).await.1[0]["id"], guild);
    assert_eq!(server.get(&path, &ada).await.1[0]["content"], "still here?");
    let (status, _) = auth(&server, "refresh", json!({ "refresh_token": ada.refresh })).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = auth(&server, "login", json!({ "name": "Ada", "password": PASSWORD })).await;
    assert_eq!(status, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.limits.loopback_factor = 1;
    config.limits.credentials = Rate::new(6, 4);
    let server = Server::start(config).await;
    let body = json!({ "name": "Ada", "password": "guess number 1" });
    for _ in 0..4 {
        assert_error(&auth(&server, "login", body.clone()).await, 401, "wrong_credentials");
    }
    let response = server
        .request(Method::POST, "/api/v1/auth/login")
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 =
        response.headers()["retry-after"].to_str().expect("text").parse().expect("a number");
    assert!((1..=10).contains(&seconds), "{seconds}");
    let error: Value = response.json().await.expect("JSON");
    assert_eq!(error["error"]["code"], "rate_limited");
    assert!(
        error["error"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0 && wait <= 10_000)
    );
    server.stop().await;
}

#[tokio::test]
async fn guessing_one_account_from_many_places_is_slowed_down() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.limits.loopback_factor = 1;
    config.limits.credentials = Rate::new(10_000, 10_000);
    config.limits.account = Rate::new(1, 3);
    let server = Server::start(config).await;
    for _ in 0..3 {
        let body = json!({ "name": "ada", "password": "guess number 1" });
        assert_error(&auth(&server, "login", body).await, 401, "wrong_credentials");
    }
    let body = json!({ "name": " ADA ", "password": "guess number 2" });
    assert_error(&auth(&server, "login", body).await, 429, "rate_limited");
    let body = json!({ "name": "bob", "password": "guess number 2" });
    assert_error(&auth(&server, "login", body).await, 401, "wrong_credentials");
    server.stop().await;
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_sign_ins() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let again = sign_in(&server, "Ada", PASSWORD).await;
    let (status, _) =
        server.call(Method::POST, "/api/v1/auth/logout-all", Some(&ada.token), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for refresh in [&ada.refresh, &again.refresh] {
        assert_error(&refreshed(&server, refresh).await, 401, "invalid_refresh_token");
    }
    assert_eq!(refreshed(&server, &bob.refresh).await.0, StatusCode::OK);
    server.stop().await;
}

async fn sign_in(server: &Server, name: &str, password: &str) -> Person {
    let body = json!({ "name": name, "password": password });
    let (status, session) = server.call(Method::POST, "/api/v1/auth/login", None, Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{session}");
    Person::from(session)
}

async fn refreshed(server: &Server, token: &str) -> (StatusCode, Value) {
    let body = json!({ "refresh_token": token });
    server.call(Method::POST, "/api/v1/auth/refresh", None, Some(body)).await
}

#[tokio::test]
async fn a_new_password_ends_all_other_sign_ins() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let other = sign_in(&server, "Ada", PASSWORD).await;
    let change = async |current: &str, new: &str| {
        let body = json!({ "current": current, "new": new });
        server.call(Method::PATCH, "/api/v1/auth/me/password", Some(&ada.token), Some(body)).await
    };
    assert_error(&change("wrong horse", "new password").await, 401, "wrong_credentials");
    assert_error(&change("short", "new password").await, 401, "wrong_credentials");
    assert_error(&change(PASSWORD, "short").await, 400, "invalid_request");
    assert_eq!(change(PASSWORD, "new password").await.0, StatusCode::NO_CONTENT);
    assert_error(&refreshed(&server, &other.refresh).await, 401, "invalid_refresh_token");
    assert_eq!(refreshed(&server, &ada.refresh).await.0, StatusCode::OK);
    sign_in(&server, "Ada", "new password").await;
    let body = json!({ "name": "Ada", "password": PASSWORD });
    let old = server.call(Method::POST, "/api/v1/auth/login", None, Some(body)).await;
    assert_error(&old, 401, "wrong_credentials");
    server.stop().await;
}

#[tokio::test]
async fn anybody_can_read_the_keys_and_none_is_secret() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (status, keys) = server.call(Method::GET, "/.well-known/jwks.json", None, None).await;
    assert_eq!(status, StatusCode::OK);
    let again = server.call(Method::GET, "/api/v1/auth/jwks", None, None).await;
    assert_eq!(again, (StatusCode::OK, keys.clone()));
    let key = keys["keys"][0].as_object().expect("one key");
    assert_eq!(key.len(), 6, "{keys}");
    for (name, value) in [("kty", "OKP"), ("crv", "Ed25519"), ("alg", "EdDSA"), ("use", "sig")] {
        assert_eq!(key[name], value);
    }
    let text = |name: &str| key[name].as_str().expect("text").to_owned();
    let header = jsonwebtoken::decode_header(&ada.token).expect("a JWT");
    assert_eq!(header.kid, Some(text("kid")));
    // Whoever has the public key can check a token.
    let verifier = jsonwebtoken::DecodingKey::from_ed_components(&text("x")).expect("a key");
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    rules.set_issuer(&["hype"]);
    let token = jsonwebtoken::decode::<Value>(&ada.token, &verifier, &rules).expect("ours");
    assert_eq!(token.claims["sub"], json!(ada.id));
    server.stop().await;
}

//! Who may do what: every path for an anonymous caller, a stranger, a member and the owner.

use hype_control::config::Rate;
use reqwest::Method;
use serde_json::{Value, json};

use super::server::{Folder, Server, assert_error, config};

/// The answers that a path gives to an anonymous caller, a stranger, a member, the owner.
type Expected = [u16; 4];
const MEMBERS: Expected = [401, 404, 200, 200];
const MEMBERS_MAKE: Expected = [401, 404, 201, 201];

#[tokio::test]
async fn the_matrix() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let owner = server.register("Owner").await;
    let member = server.register("Member").await;
    let stranger = server.register("Stranger").await;
    let (guild, text, voice) = server.guild(&owner).await;
    server.invite(&owner, &guild, &member).await;

    let none = Value::Null;
    let message = json!({ "content": "hi" });
    let table: Vec<(Method, String, Value, Expected)> = vec![
        (Method::GET, "/api/v1/auth/me".into(), none.clone(), [401, 200, 200, 200]),
        (Method::GET, "/api/v1/guilds".into(), none.clone(), [401, 200, 200, 200]),
        (Method::GET, format!("/api/v1/guilds/{guild}"), none.clone(), MEMBERS),
        (
            Method::POST,
            format!("/api/v1/guilds/{guild}/channels"),
            json!({ "name": "more", "kind": "text" }),
            [401, 404, 403, 201],
        ),
        (Method::POST, format!("/api/v1/guilds/{guild}/invites"), none.clone(), MEMBERS_MAKE),
        (Method::GET, format!("/api/v1/channels/{text}/messages"), none.clone(), MEMBERS),
        (Method::POST, format!("/api/v1/channels/{text}/messages"), message.clone(), MEMBERS_MAKE),
        (Method::POST, format!("/api/v1/channels/{voice}/messages"), message, [401, 404, 400, 400]),
        (
            Method::PATCH,
            format!("/api/v1/channels/{text}/messages/1"),
            json!({ "content": "hi" }),
            [401, 404, 404, 404],
        ),
        (
            Method::DELETE,
            format!("/api/v1/channels/{text}/messages/1"),
            none.clone(),
            [401, 404, 404, 404],
        ),
        (
            Method::POST,
            format!("/api/v1/channels/{text}/read"),
            json!({ "message_id": "1" }),
            [401, 404, 204, 204],
        ),
        (
            Method::GET,
            format!("/api/v1/guilds/{guild}/messages/search?q=hi"),
            none.clone(),
            MEMBERS,
        ),
        (Method::GET, format!("/api/v1/channels/{voice}/voice"), none.clone(), MEMBERS),
        (Method::GET, format!("/api/v1/channels/{text}/voice"), none.clone(), [401, 404, 400, 400]),
        (
            Method::PATCH,
            format!("/api/v1/guilds/{guild}/members/{}/voice", member.id),
            json!({ "server_mute": true }),
            [401, 404, 403, 204],
        ),
        (
            Method::PATCH,
            format!("/api/v1/guilds/{guild}/members/{}/voice", stranger.id),
            json!({ "disconnect": true }),
            [401, 404, 403, 404],
        ),
        (Method::GET, "/api/v1/invites/unknown".into(), none.clone(), [404, 404, 404, 404]),
        (Method::POST, "/api/v1/invites/unknown/accept".into(), none.clone(), [401, 404, 404, 404]),
    ];
    for (method, path, body, expected) in &table {
        let callers = [None, Some(&stranger), Some(&member), Some(&owner)];
        for (caller, status) in callers.into_iter().zip(expected) {
            let token = caller.map(|person| person.token.as_str());
            let body = (!body.is_null()).then(|| body.clone());
            let answer = server.call(method.clone(), path, token, body).await;
            assert_eq!(answer.0.as_u16(), *status, "{method} {path} {caller:?}: {}", answer.1);
            match status {
                401 => assert_error(&answer, 401, "unauthenticated"),
                403 => assert_error(&answer, 403, "forbidden"),
                404 => assert_error(&answer, 404, "not_found"),
                _ => {}
            }
        }
    }
    // A stranger cannot tell a foreign id from one that nothing has.
    let foreign = server.get(&format!("/api/v1/guilds/{guild}"), &stranger).await;
    let absent = server.get("/api/v1/guilds/12345", &stranger).await;
    assert_eq!(foreign, absent);
    assert_eq!(server.get("/api/v1/guilds", &stranger).await.1, json!([]));
    server.stop().await;
}

#[tokio::test]
async fn tokens_of_any_other_kind_are_refused() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    for value in [
        ada.token.clone(),
        format!("Basic {}", ada.token),
        format!("Bearer {}x", ada.token),
        format!("Bearer {}", ada.refresh),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
    ] {
        let response = server
            .request(Method::GET, "/api/v1/auth/me")
            .header("authorization", &value)
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status().as_u16(), 401, "{value}");
    }
    let lower = format!("bearer {}", ada.token);
    let response =
        server.request(Method::GET, "/api/v1/auth/me").header("authorization", lower).send().await;
    assert_eq!(response.expect("an answer").status().as_u16(), 200);
    server.stop().await;
}

#[tokio::test]
async fn one_person_cannot_use_up_the_server() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.limits.user = Rate::new(1, 5);
    config.limits.message = Rate::new(1, 2);
    let server = Server::start(config).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (_, text, _) = server.guild(&ada).await;
    let path = format!("/api/v1/channels/{text}/messages");
    for expected in [201, 201, 429] {
        let (status, _) = server.post(&path, &ada, json!({ "content": "hi" })).await;
        assert_eq!(status.as_u16(), expected);
    }
    assert_eq!(server.get("/api/v1/auth/me", &ada).await.0.as_u16(), 200);
    assert_error(&server.get("/api/v1/auth/me", &ada).await, 429, "rate_limited");
    assert_eq!(
        server.get("/api/v1/auth/me", &bob).await.0.as_u16(),
        200,
        "others are not affected"
    );
    server.stop().await;
}

//! Guilds, channels and invites: what they look like, and what cannot be made.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Folder, Server, assert_error, config};

#[tokio::test]
async fn a_guild_comes_with_its_channels() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (status, guild) = server.post("/api/v1/guilds", &ada, json!({ "name": " Home " })).await;
    assert_eq!(status, StatusCode::CREATED);
    let (id, channels) = (&guild["id"], &guild["channels"]);
    let channel = |index: usize, name: &str, kind: &str| {
        json!({
            "id": channels[index]["id"], "guild_id": id, "parent_id": null, "name": name,
            "kind": kind, "topic": "", "position": 0, "user_limit": 0, "bitrate": 0,
            "voice_mode": "auto", "overwrites": [], "last_message_id": null,
        })
    };
    let expected = json!({
        "id": id,
        "name": "Home",
        "owner_id": ada.id,
        "sequence": 0,
        "roles": [{
            "id": id, "guild_id": id, "name": "everyone", "color": 0, "position": 0,
            "permissions": "3214849",
        }],
        "channels": [channel(0, "general", "text"), channel(1, "Lounge", "voice")],
        "members": [{
            "id": ada.id, "name": "Ada", "roles": [], "server_mute": false, "server_deaf": false,
            "joined_at_ms": guild["members"][0]["joined_at_ms"],
        }],
        "voice_states": [],
        "presences": [],
    });
    assert_eq!(guild, expected);
    let path = format!("/api/v1/guilds/{}", id.as_str().expect("an id is a string"));
    assert_eq!(server.get(&path, &ada).await, (StatusCode::OK, expected.clone()));
    assert_eq!(server.get("/api/v1/guilds", &ada).await.1, json!([expected]));
    server.stop().await;
}

#[tokio::test]
async fn channels_have_rules() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.quotas.channels_per_guild = 4;
    let server = Server::start(config).await;
    let ada = server.register("Ada").await;
    let (guild, _, _) = server.guild(&ada).await;
    let path = format!("/api/v1/guilds/{guild}/channels");
    for (body, status) in [
        (json!({ "name": "Hall", "kind": "voice", "user_limit": 1000 }), 201),
        (json!({ "name": "Hall", "kind": "voice", "user_limit": 1001 }), 400),
        (json!({ "name": "Hall", "kind": "voice", "user_limit": -1 }), 400),
        (json!({ "name": "news", "kind": "text", "user_limit": 5 }), 400),
        (json!({ "name": "news", "kind": "stage" }), 400),
        (json!({ "name": "", "kind": "text" }), 400),
        (json!({ "name": "a\u{0}b", "kind": "text" }), 400),
        (json!({ "name": "x".repeat(65), "kind": "text" }), 400),
        (json!({ "name": "news", "kind": "text", "colour": "?" }), 400),
        (json!({ "kind": "text" }), 400),
        (json!({ "name": "news", "kind": "text" }), 201),
    ] {
        let answer = server.post(&path, &ada, body.clone()).await;
        assert_eq!(answer.0.as_u16(), status, "{body}: {}", answer.1);
        if status == 400 {
            assert_error(&answer, 400, "invalid_request");
        }
    }
    let surplus = server.post(&path, &ada, json!({ "name": "fifth", "kind": "text" })).await;
    assert_error(&surplus, 409, "limit_reached");
    let guild = server.get(&format!("/api/v1/guilds/{guild}"), &ada).await.1;
    let names: Vec<&str> = guild["channels"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|channel| channel["name"].as_str())
        .collect();
    assert_eq!(names, ["general", "Lounge", "Hall", "news"]);
    assert_eq!(guild["channels"][2]["user_limit"], 1000);
    server.stop().await;
}

#[tokio::test]
async fn an_invite_leads_into_the_guild() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, _, _) = server.guild(&ada).await;
    let (_, invite) =
        server.post(&format!("/api/v1/guilds/{guild}/invites"), &ada, json!({})).await;
    let code = invite["code"].as_str().expect("a code").to_owned();
    assert!(code.len() >= 10 && code.bytes().all(|b| b.is_ascii_alphanumeric()), "{code}");
    let preview =
        async || server.call(Method::GET, &format!("/api/v1/invites/{code}"), None, None).await;
    let expected =
        |members: u32| json!({ "code": code, "guild_name": "Home", "member_count": members });
    assert_eq!(preview().await, (StatusCode::OK, expected(1)));
    let accept = format!("/api/v1/invites/{code}/accept");
    for _ in 0..2 {
        let (status, joined) = server.call(Method::POST, &accept, Some(&bob.token), None).await;
        assert_eq!(status, StatusCode::OK, "accepting again changes nothing");
        let member = &joined["members"][1];
        assert_eq!((&member["id"], &member["name"]), (&json!(bob.id), &json!("Bob")));
        assert_eq!(joined["members"].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(preview().await.1, expected(2));
    server.stop().await;
}

#[tokio::test]
async fn a_full_guild_takes_nobody_and_a_person_only_so_many_guilds() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.quotas.members_per_guild = 2;
    config.quotas.guilds_per_user = 2;
    let server = Server::start(config).await;
    let ada = server.register("Ada").await;
    let (guild, _, _) = server.guild(&ada).await;
    let (_, invite) =
        server.post(&format!("/api/v1/guilds/{guild}/invites"), &ada, json!({})).await;
    let accept = format!("/api/v1/invites/{}/accept", invite["code"].as_str().expect("a code"));
    let (bob, eve) = (server.register("Bob").await, server.register("Eve").await);
    assert_eq!(server.post(&accept, &bob, json!({})).await.0, StatusCode::OK);
    assert_error(&server.post(&accept, &eve, json!({})).await, 409, "limit_reached");
    server.guild(&ada).await;
    let third = server.post("/api/v1/guilds", &ada, json!({ "name": "third" })).await;
    assert_error(&third, 409, "limit_reached");
    server.stop().await;
}

#[tokio::test]
async fn wrong_ids_are_not_found() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    for id in
        ["0", "-1", "x", "1.5", "18446744073709551615", "99999999999999999999999", "%00", "1%2f2"]
    {
        for path in [
            format!("/api/v1/guilds/{id}"),
            format!("/api/v1/channels/{id}/messages"),
            format!("/api/v1/channels/{id}/voice"),
        ] {
            let answer = server.get(&path, &ada).await;
            assert_error(&answer, 404, "not_found");
        }
    }
    for (method, path, code, status) in [
        (Method::DELETE, "/api/v1/guilds", "method_not_allowed", 405),
        (Method::GET, "/api/v1/auth/login", "method_not_allowed", 405),
        (Method::GET, "/api/v1/unknown", "not_found", 404),
        (Method::GET, "/api/v2/guilds", "not_found", 404),
    ] {
        let answer: (StatusCode, Value) = server.call(method, path, Some(&ada.token), None).await;
        assert_error(&answer, status, code);
    }
    server.stop().await;
}

//! Roles and their order, who may give what to whom, and what the audit log tells of it.

use hype_protocol::permission::Permissions;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::server::{Folder, Person, Server, assert_error, config};

const OK: (u16, &str) = (200, "");
const OUTRANKED: (u16, &str) = (403, "outranked");
const MISSING: (u16, &str) = (403, "missing_permission");

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

async fn role(server: &Server, owner: &Person, guild: &str, body: Value) -> String {
    let path = format!("/api/v1/guilds/{guild}/roles");
    let (status, role) = server.post(&path, owner, body).await;
    assert_eq!(status, StatusCode::CREATED, "{role}");
    id(&role)
}

async fn patch(server: &Server, who: &Person, path: &str, body: Value) -> (StatusCode, Value) {
    server.call(Method::PATCH, path, Some(&who.token), Some(body)).await
}

fn check(what: &str, answer: &(StatusCode, Value), expected: (u16, &str)) {
    let code = answer.1["error"]["code"].as_str().unwrap_or_default();
    assert_eq!((answer.0.as_u16(), code), expected, "{what}: {}", answer.1);
}

#[tokio::test]
async fn roles_stand_in_order() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (guild, _, _) = server.guild(&ada).await;
    let path = format!("/api/v1/guilds/{guild}/roles");
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(role(&server, &ada, &guild, json!({ "name": name })).await);
    }
    let order = async || {
        let roles = server.get(&path, &ada).await.1;
        let roles = roles.as_array().expect("a list");
        let name = |role: &Value| {
            let name = role["name"].as_str().expect("a name");
            format!("{name}{}", role["position"])
        };
        roles.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order().await, "a3 b2 c1 everyone0", "a new one stands lowest");
    for (role, position, expected) in [
        (&ids[2], 3, "c3 a2 b1 everyone0"),
        (&ids[0], 1, "c3 b2 a1 everyone0"),
        (&ids[1], 99, "b3 c2 a1 everyone0"),
    ] {
        let answer =
            patch(&server, &ada, &format!("{path}/{role}"), json!({ "position": position })).await;
        check(expected, &answer, OK);
        assert_eq!(order().await, expected);
    }
    let gone =
        server.call(Method::DELETE, &format!("{path}/{}", ids[2]), Some(&ada.token), None).await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    assert_eq!(order().await, "b2 a1 everyone0");
    let everybody = format!("{path}/{guild}");
    for body in [json!({ "name": "all" }), json!({ "position": 1 })] {
        check("everybody", &patch(&server, &ada, &everybody, body).await, (400, "invalid_request"));
    }
    let answer = server.call(Method::DELETE, &everybody, Some(&ada.token), None).await;
    check("everybody", &answer, (400, "invalid_request"));
    for body in [
        json!({ "color": 0x100_0000 }),
        json!({ "permissions": "64" }),
        json!({ "name": "" }),
        json!({ "position": 0 }),
    ] {
        let answer = patch(&server, &ada, &format!("{path}/{}", ids[0]), body).await;
        check("a rule", &answer, (400, "invalid_request"));
    }
    server.stop().await;
}

#[tokio::test]
async fn nobody_reaches_above_himself() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let ada = server.register("Ada").await;
    let (bob, eve) = (server.register("Bob").await, server.register("Eve").await);
    let (guild, text, _) = server.guild(&ada).await;
    for person in [&bob, &eve] {
        server.invite(&ada, &guild, person).await;
    }
    let kick = Permissions::KICK_MEMBERS;
    let manage = Permissions::MANAGE_ROLES | Permissions::MANAGE_CHANNELS | kick;
    let high = role(&server, &ada, &guild, json!({ "name": "high", "permissions": manage })).await;
    let middle = role(&server, &ada, &guild, json!({ "permissions": manage })).await;
    let low = role(&server, &ada, &guild, json!({ "name": "low" })).await;
    let bans =
        role(&server, &ada, &guild, json!({ "permissions": Permissions::BAN_MEMBERS })).await;
    let member = |who: &Person| format!("/api/v1/guilds/{guild}/members/{}", who.id);
    for (who, given) in [(&bob, &middle), (&eve, &low)] {
        let answer = patch(&server, &ada, &member(who), json!({ "roles": [given] })).await;
        check("given by the owner", &answer, OK);
        assert_eq!(answer.1["roles"], json!([given]));
    }
    let roles = format!("/api/v1/guilds/{guild}/roles");
    let administrator = json!({ "permissions": Permissions::ADMINISTRATOR });
    let table = [
        ("a lower role", format!("{roles}/{low}"), json!({ "color": 1 }), OK),
        ("his own", format!("{roles}/{middle}"), json!({ "color": 1 }), OUTRANKED),
        ("a higher one", format!("{roles}/{high}"), json!({ "color": 1 }), OUTRANKED),
        ("above himself", format!("{roles}/{low}"), json!({ "position": 4 }), OUTRANKED),
        ("what he has", format!("{roles}/{low}"), json!({ "permissions": kick }), OK),
        ("what he lacks", format!("{roles}/{low}"), administrator, MISSING),
        ("what another lacks", format!("{roles}/{bans}"), json!({ "permissions": "0" }), MISSING),
        ("a lower role to a lower member", member(&eve), json!({ "roles": [] }), OK),
        ("a role with more", member(&eve), json!({ "roles": [bans] }), MISSING),
        ("his own role", member(&eve), json!({ "roles": [middle] }), OUTRANKED),
        ("himself", member(&bob), json!({ "roles": [middle, low] }), OUTRANKED),
        ("the owner", member(&ada), json!({ "roles": [low] }), OUTRANKED),
    ];
    for (what, path, body, expected) in table {
        check(what, &patch(&server, &bob, &path, body).await, expected);
    }
    let made = server.post(&roles, &bob, json!({ "permissions": Permissions::BAN_MEMBERS })).await;
    check("a role with more", &made, MISSING);
    let made = server.post(&roles, &bob, json!({ "position": 9 })).await;
    check("a role above himself", &made, OUTRANKED);
    let put = async |target: &str, body: Value| {
        let path = format!("/api/v1/channels/{text}/overwrites/{target}");
        server.call(Method::PUT, &path, Some(&bob.token), Some(body)).await
    };
    let overwrite =
        |kind: &str, allow: Permissions| json!({ "kind": kind, "allow": allow, "deny": "0" });
    let (send, mute) = (Permissions::SEND_MESSAGES, Permissions::MUTE_MEMBERS);
    for (what, target, body, expected) in [
        ("a lower role", &low, overwrite("role", send), (204, "")),
        ("a higher role", &high, overwrite("role", send), OUTRANKED),
        ("what he lacks", &low, overwrite("role", mute), MISSING),
        ("a lower member", &eve.id, overwrite("member", send), (204, "")),
        ("the owner", &ada.id, overwrite("member", send), OUTRANKED),
        ("no channel's", &low, overwrite("role", kick), (400, "invalid_request")),
        (
            "both",
            &low,
            json!({ "kind": "role", "allow": send, "deny": send }),
            (400, "invalid_request"),
        ),
    ] {
        check(what, &put(target, body).await, expected);
    }
    let kick = server.call(Method::DELETE, &member(&ada), Some(&bob.token), None).await;
    check("the owner", &kick, OUTRANKED);
    let kick = server.call(Method::DELETE, &member(&eve), Some(&bob.token), None).await;
    check("a lower member", &kick, (204, ""));
    server.stop().await;
}

#[tokio::test]
async fn the_audit_log_tells_from_and_to() {
    let folder = Folder::new();
    let server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, text, _) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let helpers = role(&server, &ada, &guild, json!({ "name": "helpers" })).await;
    let member = format!("/api/v1/guilds/{guild}/members/{}", bob.id);
    patch(&server, &ada, &member, json!({ "roles": [helpers] })).await;
    patch(&server, &ada, &format!("/api/v1/channels/{text}"), json!({ "topic": "new" })).await;
    let overwrite = format!("/api/v1/channels/{text}/overwrites/{helpers}");
    let view = json!({ "kind": "role", "allow": "1024", "deny": "0" });
    let put = server.call(Method::PUT, &overwrite, Some(&ada.token), Some(view)).await;
    assert_eq!(put.0, StatusCode::NO_CONTENT, "{}", put.1);
    server.call(Method::DELETE, &overwrite, Some(&ada.token), None).await;
    let kick = format!("{member}?reason=too%20loud");
    server.call(Method::DELETE, &kick, Some(&ada.token), None).await;
    let path = format!("/api/v1/guilds/{guild}/audit-log");
    let (status, log) = server.get(&path, &ada).await;
    assert_eq!(status, StatusCode::OK);
    let log = log.as_array().expect("a list");
    let told: Vec<_> = log
        .iter()
        .map(|entry| {
            assert_eq!(entry["actor_id"], ada.id);
            (entry["action"].as_str().expect("an action"), &entry["target_id"])
        })
        .collect();
    let (bob_id, text_id, guild_id) = (json!(bob.id), json!(text), json!(guild));
    let role_id = json!(helpers);
    let expected = [
        ("member.kick", &bob_id),
        ("overwrite.delete", &role_id),
        ("overwrite.set", &role_id),
        ("channel.update", &text_id),
        ("member.roles", &bob_id),
        ("role.create", &role_id),
        ("invite.create", &guild_id),
    ];
    assert_eq!(told, expected);
    assert_eq!(log[0]["reason"], "too loud");
    for entry in &log[1..=2] {
        assert_eq!(entry["channel_id"], text_id, "{entry}");
    }
    assert_eq!(log[2]["changes"], json!({ "allow": { "from": "0", "to": "1024" } }));
    assert_eq!(log[3]["changes"], json!({ "topic": { "from": "", "to": "new" } }));
    assert_eq!(log[3]["channel_id"], Value::Null);
    assert_eq!(log[4]["changes"], json!({ "roles": { "from": [], "to": [helpers] } }));
    let before = log[3]["id"].as_str().expect("an id");
    let page = server.get(&format!("{path}?before={before}&limit=2"), &ada).await.1;
    assert_eq!(page, json!([log[4], log[5]]));
    assert_error(&server.get(&format!("{path}?limit=101"), &ada).await, 400, "invalid_request");
    server.stop().await;
}

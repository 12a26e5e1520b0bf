//! Who may do what: every route of the API for an anonymous caller, a stranger, a member, a
//! moderator and the owner. A route without a row fails the test.

use std::collections::{BTreeSet, HashMap};

use hype_control::config::Rate;
use hype_protocol::permission::Permissions;
use reqwest::Method;
use serde_json::{Value, json};

use super::server::{Folder, Person, Server, assert_error, config};

/// The answers to an anonymous caller, a stranger, a member, a moderator, the owner.
type Expected = [u16; 5];
/// A route, what stands for its parameters where that is not the usual, its body.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], Value, Expected);

const MEMBERS: Expected = [401, 404, 200, 200, 200];
const MEMBERS_MAKE: Expected = [401, 404, 201, 201, 201];
const READ: Expected = [401, 404, 403, 200, 200];
const MAKE: Expected = [401, 404, 403, 201, 201];
const DO: Expected = [401, 404, 403, 204, 204];
/// For routes that ask for no account.
const OPEN: Expected = [400; 5];

fn rows() -> Vec<Row> {
    let (none, reason) = (Value::Null, json!({ "reason": "spam" }));
    let hi = json!({ "content": "hi" });
    let deny = json!({ "kind": "role", "allow": "0", "deny": "2048" });
    let native = json!({ "profile": "aead_aes256_gcm", "ufrag": "abcd" });
    let rename = json!({ "name": "Home" });
    let topic = json!({ "topic": "all things" });
    let mute = json!({ "server_mute": true });
    vec![
        ("POST", "/auth/register", &[], json!({}), OPEN),
        ("POST", "/auth/login", &[], json!({}), OPEN),
        ("POST", "/auth/refresh", &[], json!({}), OPEN),
        ("POST", "/auth/logout", &[], json!({}), OPEN),
        ("GET", "/auth/me", &[], none.clone(), [401, 200, 200, 200, 200]),
        ("POST", "/nodes/enroll", &[], json!({}), OPEN),
        ("GET", "/guilds", &[], none.clone(), [401, 200, 200, 200, 200]),
        ("POST", "/guilds", &[], rename.clone(), [401, 201, 201, 201, 201]),
        ("GET", "/guilds/{guild}", &[], none.clone(), MEMBERS),
        ("PATCH", "/guilds/{guild}", &[], rename, READ),
        ("GET", "/guilds/{guild}/audit-log", &[], none.clone(), READ),
        ("GET", "/guilds/{guild}/insights", &[], none.clone(), READ),
        ("GET", "/guilds/{guild}/members", &[], none.clone(), MEMBERS),
        ("PATCH", "/guilds/{guild}/members/{user}", &[], json!({ "roles": [] }), READ),
        ("DELETE", "/guilds/{guild}/members/{user}", &[], none.clone(), DO),
        ("PATCH", "/guilds/{guild}/members/{user}/voice", &[], mute.clone(), DO),
        (
            "PATCH",
            "/guilds/{guild}/members/{user}/voice",
            &[("user", "stranger")],
            mute.clone(),
            [401, 404, 403, 404, 404],
        ),
        (
            "PATCH",
            "/guilds/{guild}/members/{user}/voice",
            &[("user", "owner")],
            mute,
            [401, 404, 403, 403, 204],
        ),
        ("GET", "/guilds/{guild}/bans", &[], none.clone(), READ),
        ("PUT", "/guilds/{guild}/bans/{user}", &[], reason.clone(), DO),
        (
            "PUT",
            "/guilds/{guild}/bans/{user}",
            &[("user", "owner")],
            reason,
            [401, 404, 403, 403, 409],
        ),
        ("DELETE", "/guilds/{guild}/bans/{user}", &[("user", "banned")], none.clone(), DO),
        ("GET", "/guilds/{guild}/roles", &[], none.clone(), MEMBERS),
        ("POST", "/guilds/{guild}/roles", &[], json!({ "name": "new" }), MAKE),
        ("PATCH", "/guilds/{guild}/roles/{role}", &[], json!({ "color": 255 }), READ),
        (
            "PATCH",
            "/guilds/{guild}/roles/{role}",
            &[("role", "moderators")],
            json!({ "color": 255 }),
            [401, 404, 403, 403, 200],
        ),
        ("DELETE", "/guilds/{guild}/roles/{role}", &[], none.clone(), DO),
        ("POST", "/guilds/{guild}/channels", &[], json!({ "name": "n", "kind": "text" }), MAKE),
        ("PATCH", "/guilds/{guild}/channels", &[], json!([]), DO),
        ("GET", "/channels/{channel}", &[], none.clone(), MEMBERS),
        (
            "GET",
            "/channels/{channel}",
            &[("channel", "hidden")],
            none.clone(),
            [401, 404, 404, 404, 200],
        ),
        ("PATCH", "/channels/{channel}", &[], topic.clone(), READ),
        (
            "PATCH",
            "/channels/{channel}",
            &[("channel", "hidden")],
            topic,
            [401, 404, 404, 404, 200],
        ),
        ("DELETE", "/channels/{channel}", &[], none.clone(), DO),
        ("PUT", "/channels/{channel}/overwrites/{target}", &[], deny, DO),
        (
            "DELETE",
            "/channels/{channel}/overwrites/{target}",
            &[("channel", "hidden"), ("target", "guild")],
            none.clone(),
            [401, 404, 404, 404, 204],
        ),
        ("GET", "/channels/{channel}/members", &[], none.clone(), MEMBERS),
        ("GET", "/guilds/{guild}/invites", &[], none.clone(), READ),
        ("POST", "/guilds/{guild}/invites", &[], none.clone(), MEMBERS_MAKE),
        ("DELETE", "/guilds/{guild}/invites/{code}", &[], none.clone(), DO),
        ("GET", "/invites/{code}", &[], none.clone(), [200; 5]),
        (
            "POST",
            "/invites/{code}/accept",
            &[("code", "unknown")],
            none.clone(),
            [401, 404, 404, 404, 404],
        ),
        ("GET", "/channels/{channel}/messages", &[], none.clone(), MEMBERS),
        ("POST", "/channels/{channel}/messages", &[], hi.clone(), MEMBERS_MAKE),
        (
            "POST",
            "/channels/{channel}/messages",
            &[("channel", "voice")],
            hi,
            [401, 404, 400, 400, 400],
        ),
        (
            "PATCH",
            "/channels/{channel}/messages/{message}",
            &[("message", "nothing")],
            json!({ "content": "hi" }),
            [401, 404, 404, 404, 404],
        ),
        (
            "DELETE",
            "/channels/{channel}/messages/{message}",
            &[("message", "nothing")],
            none.clone(),
            [401, 404, 404, 404, 404],
        ),
        (
            "POST",
            "/channels/{channel}/read",
            &[],
            json!({ "message_id": "1" }),
            [401, 404, 204, 204, 204],
        ),
        // Without a word to look for, so that strangers alone are told nothing.
        ("GET", "/guilds/{guild}/messages/search", &[], none.clone(), [401, 404, 400, 400, 400]),
        ("GET", "/auth/jwks", &[], none.clone(), [200; 5]),
        ("POST", "/auth/logout-all", &[], none.clone(), [401, 204, 204, 204, 204]),
        (
            "PATCH",
            "/auth/me/password",
            &[],
            json!({ "current": "correct horse", "new": "short" }),
            [401, 400, 400, 400, 400],
        ),
        ("GET", "/channels/{channel}/voice", &[("channel", "voice")], none.clone(), MEMBERS),
        ("GET", "/channels/{channel}/voice", &[], none.clone(), [401, 404, 400, 400, 400]),
        (
            "POST",
            "/voice/join/{channel}",
            &[("channel", "voice")],
            native,
            [401, 404, 503, 503, 503],
        ),
        ("POST", "/voice/leave/{channel}", &[], none.clone(), [401, 404, 404, 404, 404]),
        (
            "GET",
            "/voice/sfu-node/{channel}",
            &[("channel", "voice")],
            none.clone(),
            [401, 404, 204, 204, 204],
        ),
        (
            "DELETE",
            "/guilds/{guild}/members/me",
            &[("guild", "other")],
            none.clone(),
            [401, 404, 204, 204, 409],
        ),
        ("DELETE", "/guilds/{guild}", &[], none, [401, 404, 403, 403, 204]),
    ]
}

/// A guild with everybody in it, and makers of what a call may use up.
struct World {
    server: Server,
    owner: Person,
    /// By what stands for a parameter.
    known: HashMap<&'static str, String>,
    made: u32,
}

impl World {
    async fn made(&self, path: &str, body: Value, field: &str) -> String {
        let (status, made) = self.server.post(path, &self.owner, body).await;
        assert_eq!(status.as_u16(), 201, "{path}: {made}");
        made[field].as_str().expect("a text").to_owned()
    }

    async fn newcomer(&mut self) -> Person {
        self.made += 1;
        let person = self.server.register(&format!("Somebody {}", self.made)).await;
        self.server.invite(&self.owner, &self.known["guild"], &person).await;
        person
    }

    /// What stands for a parameter in a path: what is known, or something made for this call.
    async fn value(&mut self, name: &str) -> String {
        if let Some(value) = self.known.get(name) {
            return value.clone();
        }
        let guild = format!("/api/v1/guilds/{}", self.known["guild"]);
        match name {
            "user" => self.newcomer().await.id,
            "banned" => {
                let user = self.newcomer().await.id;
                let path = format!("{guild}/bans/{user}");
                let token = Some(self.owner.token.as_str());
                let (status, _) = self.server.call(Method::PUT, &path, token, None).await;
                assert_eq!(status.as_u16(), 204);
                user
            }
            "role" | "target" => self.made(&format!("{guild}/roles"), json!({}), "id").await,
            "channel" => {
                let body = json!({ "name": "fresh", "kind": "text" });
                self.made(&format!("{guild}/channels"), body, "id").await
            }
            "nothing" => "1".to_owned(),
            "code" => self.made(&format!("{guild}/invites"), json!({}), "code").await,
            other => panic!("nothing stands for {other}"),
        }
    }

    async fn path(&mut self, template: &str, with: &[(&str, &str)]) -> String {
        let mut path = String::from("/api/v1");
        for part in template.split('/').skip(1) {
            path.push('/');
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => {
                    let other = with.iter().find(|(parameter, _)| *parameter == name);
                    path += &self.value(other.map_or(name, |(_, value)| value)).await;
                }
                None => path += part,
            }
        }
        path
    }
}

async fn world(folder: &Folder) -> (World, [Option<Person>; 5]) {
    let mut config = config(folder);
    let much = Rate::new(1_000_000, 1_000_000);
    (config.limits.create, config.limits.user) = (much, much);
    config.limits.credentials = much;
    let server = Server::start(config).await;
    let owner = server.register("Owner").await;
    let moderator = server.register("Moderator").await;
    let member = server.register("Member").await;
    let stranger = server.register("Stranger").await;
    let (guild, text, voice) = server.guild(&owner).await;
    let (other, _, _) = server.guild(&owner).await;
    for person in [&member, &moderator] {
        server.invite(&owner, &guild, person).await;
        server.invite(&owner, &other, person).await;
    }
    let known = HashMap::from([
        ("guild", guild.clone()),
        ("other", other),
        ("text", text),
        ("voice", voice),
        ("owner", owner.id.clone()),
        ("stranger", stranger.id.clone()),
        ("unknown", "unknown".to_owned()),
    ]);
    let mut world = World { server, owner: owner.clone(), known, made: 0 };
    let all = Permissions::all() & !Permissions::ADMINISTRATOR;
    let path = format!("/api/v1/guilds/{guild}/roles");
    let moderators = world.made(&path, json!({ "permissions": all }), "id").await;
    let path = format!("/api/v1/guilds/{guild}/members/{}", moderator.id);
    let body = Some(json!({ "roles": [moderators] }));
    let answer = world.server.call(Method::PATCH, &path, Some(&owner.token), body).await;
    assert_eq!(answer.0.as_u16(), 200, "{}", answer.1);
    world.known.insert("moderators", moderators);
    let hidden = world.value("channel").await;
    let path = format!("/api/v1/channels/{hidden}/overwrites/{guild}");
    let body = json!({ "kind": "role", "allow": "0", "deny": Permissions::VIEW_CHANNEL });
    let answer = world.server.call(Method::PUT, &path, Some(&owner.token), Some(body)).await;
    assert_eq!(answer.0.as_u16(), 204, "{}", answer.1);
    world.known.insert("hidden", hidden);
    (world, [None, Some(stranger), Some(member), Some(moderator), Some(owner)])
}

#[tokio::test]
async fn every_route_has_its_callers() {
    let folder = Folder::new();
    let (mut world, callers) = world(&folder).await;
    let document = world.server.call(Method::GET, "/api/v1/openapi.json", None, None).await.1;
    let mut untested = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let Some(path) = path.strip_prefix("/api/v1") else { continue };
        for method in item.as_object().expect("operations").keys() {
            untested.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    for (method, template, with, body, expected) in rows() {
        untested.remove(&format!("{method} {template}"));
        for (caller, status) in callers.iter().zip(expected) {
            let path = world.path(template, with).await;
            let token = caller.as_ref().map(|person| person.token.as_str());
            let body = (!body.is_null()).then(|| body.clone());
            let method: Method = method.parse().expect("a method");
            let answer = world.server.call(method.clone(), &path, token, body).await;
            assert_eq!(answer.0.as_u16(), status, "{method} {path} {caller:?}: {}", answer.1);
            let code = answer.1["error"]["code"].as_str().unwrap_or_default().to_owned();
            let codes: &[&str] = match status {
                401 => &["unauthenticated"],
                403 => &["missing_permission", "forbidden", "outranked"],
                404 => &["not_found", "no_session"],
                _ => continue,
            };
            assert!(codes.contains(&code.as_str()), "{method} {path} {caller:?}: {code}");
        }
    }
    assert_eq!(untested, BTreeSet::new(), "routes without a row");
    world.server.stop().await;
}

/// What somebody gets for the ids of a guild that is not his, in a guild that is.
#[tokio::test]
async fn a_foreign_id_is_as_good_as_none() {
    let folder = Folder::new();
    let (mut world, _) = world(&folder).await;
    let (role, channel, code) =
        (world.value("role").await, world.value("channel").await, world.value("code").await);
    let person = world.newcomer().await;
    let eve = world.server.register("Eve").await;
    let (guild, text, _) = world.server.guild(&eve).await;
    let (guild, text) = (format!("/guilds/{guild}"), format!("/channels/{text}"));
    let deny = json!({ "kind": "role", "allow": "0", "deny": "2048" });
    let of_member = json!({ "kind": "member", "allow": "0", "deny": "2048" });
    let none = Value::Null;
    let foreign = world.known["guild"].clone();
    let table: Vec<(&str, String, &str, Value)> = vec![
        ("GET", "/guilds/ID".into(), foreign.as_str(), none.clone()),
        ("GET", "/guilds/ID/members".into(), foreign.as_str(), none.clone()),
        ("GET", "/channels/ID".into(), channel.as_str(), none.clone()),
        ("GET", "/channels/ID/messages".into(), channel.as_str(), none.clone()),
        ("GET", "/voice/sfu-node/ID".into(), channel.as_str(), none.clone()),
        ("POST", "/voice/leave/ID".into(), channel.as_str(), none.clone()),
        ("PATCH", format!("{guild}/roles/ID"), role.as_str(), json!({ "color": 1 })),
        ("DELETE", format!("{guild}/roles/ID"), role.as_str(), none.clone()),
        ("PATCH", format!("{guild}/members/ID"), person.id.as_str(), json!({ "roles": [] })),
        ("DELETE", format!("{guild}/members/ID"), person.id.as_str(), none.clone()),
        (
            "PATCH",
            format!("{guild}/members/ID/voice"),
            person.id.as_str(),
            json!({ "disconnect": true }),
        ),
        ("DELETE", format!("{guild}/invites/ID"), code.as_str(), none.clone()),
        ("PATCH", format!("{guild}/members/{}", eve.id), role.as_str(), json!({ "roles": ["ID"] })),
        (
            "PATCH",
            format!("{guild}/channels"),
            channel.as_str(),
            json!([{ "id": "ID", "position": 1 }]),
        ),
        ("PATCH", text.clone(), channel.as_str(), json!({ "parent_id": "ID" })),
        ("PUT", format!("{text}/overwrites/ID"), role.as_str(), deny),
        ("PUT", format!("{text}/overwrites/ID"), person.id.as_str(), of_member),
        ("DELETE", format!("{text}/overwrites/ID"), role.as_str(), none),
    ];
    for (method, path, id, body) in table {
        let ask = async |id: &str| {
            let path = format!("/api/v1{}", path.replace("ID", id));
            let body: Value =
                serde_json::from_str(&body.to_string().replace("ID", id)).expect("still JSON");
            let body = (!body.is_null()).then_some(body);
            let method = method.parse().expect("a method");
            world.server.call(method, &path, Some(&eve.token), body).await
        };
        let answer = ask(id).await;
        assert!(answer.0.is_client_error(), "{method} {path}: {}", answer.1);
        assert_eq!(answer, ask("12345").await, "{method} {path}");
    }
    assert_eq!(world.server.get("/api/v1/guilds", &eve).await.1.as_array().map(Vec::len), Some(1));
    world.server.stop().await;
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

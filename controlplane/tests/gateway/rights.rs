//! Rights act at once on people who are connected, and moderators on those below them.

use hype_protocol::id::SessionId;
use hype_protocol::observation::{CloseReason, FlagsChange, ToNode, VoiceFlags};
use hype_protocol::permission::Permissions;
use serde_json::{Value, json};

use crate::harness::{Client, Node, Person, Server, text};

/// A guild with a member, who is in its voice channel.
struct Scene {
    server: Server,
    node: Node,
    ada: Person,
    bob: Person,
    guild: String,
    lounge: String,
    client: Client,
    session: SessionId,
}

impl Scene {
    async fn begin() -> Self {
        let (server, node) = Server::start().await;
        let ada = server.person("Ada").await;
        let bob = server.person("Bob").await;
        let (guild, _, lounge) = server.guild(&ada).await;
        server.invite(&ada, &guild, &bob).await;
        let (client, _) = server.identified(&bob).await;
        let session = SessionId(0);
        let mut scene = Self { server, node, ada, bob, guild, lounge, client, session };
        scene.join().await;
        scene
    }

    /// Bob joins; the flags that his session is opened with.
    async fn join(&mut self) -> VoiceFlags {
        let params = json!({
            "channel_id": self.lounge, "self_mute": false, "self_deaf": false,
            "profile": "aead_aes256_gcm", "ufrag": "abcd",
        });
        let joined = self.client.request("voice.join_native", params).await.expect("joined");
        self.session = text(&joined["session_id"]).parse().expect("an id");
        self.node.opened().await.flags
    }

    /// What the owner does; it must succeed.
    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.server.call(method, path, Some(&self.ada.token), body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    async fn deny(&self, deny: Permissions) {
        let path = format!("/channels/{}/overwrites/{}", self.lounge, self.guild);
        let body = json!({ "kind": "role", "allow": "0", "deny": deny });
        self.call("PUT", &path, body).await;
    }

    async fn told(&mut self, change: FlagsChange) {
        let expected = ToNode::Flags { session: self.session, change };
        assert_eq!(self.node.next().await, expected);
    }
}

#[tokio::test]
async fn who_may_not_speak_is_not_heard_until_he_may() {
    let mut scene = Scene::begin().await;
    let suppressed = |now| FlagsChange { suppressed: Some(now), ..FlagsChange::default() };
    scene.deny(Permissions::SPEAK).await;
    scene.told(suppressed(true)).await;
    // Moderators and roles never undo each other.
    let voice = format!("/guilds/{}/members/{}/voice", scene.guild, scene.bob.id);
    scene.call("PATCH", &voice, json!({ "server_mute": true })).await;
    scene.told(FlagsChange { server_mute: Some(true), ..FlagsChange::default() }).await;
    scene.deny(Permissions::STREAM).await;
    let change = FlagsChange { no_stream: Some(true), ..suppressed(false) };
    scene.told(change).await;
    scene.call("PATCH", &voice, json!({ "server_mute": false })).await;
    scene.told(FlagsChange { server_mute: Some(false), ..FlagsChange::default() }).await;
    // A role gives it back to whom it is given.
    scene.deny(Permissions::SPEAK | Permissions::STREAM).await;
    scene.told(suppressed(true)).await;
    let roles = format!("/guilds/{}/roles", scene.guild);
    let role = text(&scene.call("POST", &roles, json!({ "name": "speakers" })).await["id"]);
    let path = format!("/channels/{}/overwrites/{role}", scene.lounge);
    let body = json!({ "kind": "role", "allow": Permissions::SPEAK, "deny": "0" });
    scene.call("PUT", &path, body).await;
    let member = format!("/guilds/{}/members/{}", scene.guild, scene.bob.id);
    scene.call("PATCH", &member, json!({ "roles": [role] })).await;
    scene.told(suppressed(false)).await;
    scene.call("DELETE", &format!("{roles}/{role}"), Value::Null).await;
    scene.told(suppressed(true)).await;
    // It holds at the next join as well.
    let flags = scene.join().await;
    let expected = VoiceFlags { suppressed: true, no_stream: true, ..VoiceFlags::default() };
    assert_eq!(flags, expected);
}

#[tokio::test]
async fn who_may_not_be_there_leaves() {
    let mut scene = Scene::begin().await;
    let (guild, lounge, bob) = (scene.guild.clone(), scene.lounge.clone(), scene.bob.id.clone());
    let everybody = format!("/channels/{lounge}/overwrites/{guild}");
    let deny = |what: Permissions| json!({ "kind": "role", "allow": "0", "deny": what });
    let role = format!("/guilds/{guild}/roles/{guild}");
    let nothing = json!({ "permissions": "0" });
    let all = json!({ "permissions": Permissions::DEFAULT });
    let member = format!("/guilds/{guild}/members/{bob}");
    let ban = format!("/guilds/{guild}/bans/{bob}");
    let none = Value::Null;
    // What ends his right, and what gives it back.
    let table = [
        ("PUT", &everybody, deny(Permissions::CONNECT), Some(("DELETE", &everybody, none.clone()))),
        (
            "PUT",
            &everybody,
            deny(Permissions::VIEW_CHANNEL),
            Some(("DELETE", &everybody, none.clone())),
        ),
        ("PATCH", &role, nothing, Some(("PATCH", &role, all))),
        ("DELETE", &member, none.clone(), None),
        ("PUT", &ban, none.clone(), Some(("DELETE", &ban, none.clone()))),
        ("DELETE", &format!("/channels/{lounge}"), none, None),
    ];
    for (method, path, body, back) in table {
        scene.call(method, path, body).await;
        let expected = (scene.session.to_string(), CloseReason::Removed);
        assert_eq!(scene.node.closed().await, expected, "{method} {path}");
        let ended = scene.client.event_named("voice.ended").await;
        assert_eq!(ended["rejoin"], false, "{method} {path}");
        if path == &format!("/channels/{lounge}") {
            break;
        }
        if let Some((method, path, body)) = back {
            scene.call(method, path, body).await;
        }
        let guild = scene.guild.clone();
        if path == &member || path == &ban {
            scene.server.invite(&scene.ada, &guild, &scene.bob).await;
            while text(&scene.client.event_named("guild.added").await["id"]) != guild {}
        }
        scene.join().await;
    }
}

#[tokio::test]
async fn who_was_put_out_hears_nothing_more() {
    let mut scene = Scene::begin().await;
    let (_, general, _) = scene.server.guild(&scene.ada).await;
    let (guild, bob) = (scene.guild.clone(), scene.bob.id.clone());
    scene.call("DELETE", &format!("/guilds/{guild}/members/{bob}?reason=test"), Value::Null).await;
    let removed = scene.client.event_named("guild.removed").await;
    assert_eq!(removed["guild_id"], guild);
    let channels = format!("/guilds/{guild}/channels");
    scene.call("POST", &channels, json!({ "name": "later", "kind": "text" })).await;
    scene.server.say(&scene.ada, &general, "elsewhere").await;
    scene.server.invite(&scene.ada, &guild, &scene.bob).await;
    loop {
        let (name, data) = scene.client.event().await;
        if name == "guild.added" {
            assert_eq!(data["id"], guild);
            break;
        }
        assert!(name.starts_with("voice."), "{name} after he was put out: {data}");
    }
}

#[tokio::test]
async fn a_moderator_moves_people() {
    let mut scene = Scene::begin().await;
    let other = scene.server.voice_channel(&scene.ada, &scene.guild, 0).await;
    let path = format!("/guilds/{}/members/{}/voice", scene.guild, scene.bob.id);
    scene.call("PATCH", &path, json!({ "channel_id": other })).await;
    let to = other.parse().expect("an id");
    let expected = (scene.session.to_string(), CloseReason::Moved { to });
    assert_eq!(scene.node.closed().await, expected);
    let ended = scene.client.event_named("voice.ended").await;
    assert_eq!((&ended["rejoin"], &ended["move_to"]), (&json!(true), &json!(other)));
    // Nobody is there to be moved any more.
    let token = scene.ada.token.clone();
    let token = Some(token.as_str());
    let again = scene.server.call("PATCH", &path, token, json!({ "channel_id": other })).await;
    assert_eq!((again.0, &again.1["error"]["code"]), (404, &json!("no_session")));
    // Nor where he may not be.
    scene.join().await;
    let closed = format!("/channels/{other}/overwrites/{}", scene.guild);
    let body = json!({ "kind": "role", "allow": "0", "deny": Permissions::CONNECT });
    scene.call("PUT", &closed, body).await;
    let refused = scene.server.call("PATCH", &path, token, json!({ "channel_id": other })).await;
    assert_eq!((refused.0, &refused.1["error"]["code"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn voice_is_joined_and_left_by_rest() {
    let mut scene = Scene::begin().await;
    let token = Some(scene.bob.token.as_str());
    let node = format!("/voice/sfu-node/{}", scene.lounge);
    let (status, found) = scene.server.call("GET", &node, token, Value::Null).await;
    let expected = json!({ "node": "node-1", "region": "test", "addresses": ["127.0.0.1:40000"] });
    assert_eq!((status, found), (200, expected));
    let join = format!("/voice/join/{}", scene.lounge);
    let body = json!({ "profile": "aead_aes256_gcm", "ufrag": "abcd", "self_mute": true });
    let (status, joined) = scene.server.call("POST", &join, token, body).await;
    assert_eq!(status, 200, "{joined}");
    let open = scene.node.opened().await;
    assert_eq!((joined["session_id"].clone(), open.flags.self_mute), (json!(open.session), true));
    assert_eq!(scene.node.closed().await, (scene.session.to_string(), CloseReason::Replaced));
    let both = json!({ "sdp": "v=0", "profile": "aead_aes256_gcm", "ufrag": "abcd" });
    for (body, expected) in [(json!({}), 400), (both, 400), (json!({ "sdp": "v=0" }), 422)] {
        let (status, answer) = scene.server.call("POST", &join, token, body).await;
        assert_eq!(status, expected, "{answer}");
    }
    let leave = format!("/voice/leave/{}", scene.lounge);
    assert_eq!(scene.server.call("POST", &leave, token, Value::Null).await.0, 204);
    assert_eq!(scene.node.closed().await, (open.session.to_string(), CloseReason::Left));
}

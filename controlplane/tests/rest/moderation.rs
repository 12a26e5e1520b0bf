//! Moderation reaches the node, and `/healthz` follows it: the test is the node.

use std::time::Duration;

use hype_protocol::coordination::Transaction;
use hype_protocol::id::{BootId, NodeId, SessionId};
use hype_protocol::key;
use hype_protocol::observation::{
    CloseReason, FlagsChange, FromNode, SessionStatus, ToNode, VoiceFlags,
};
use hype_protocol::record::NodeLive;
use hype_protocol::secret::BootSecret;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::server::{Folder, Person, Server, assert_error, config};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const SESSION: SessionId = SessionId(0x1234_0000_0007);

/// Registers the test as a node and connects it, with one person in one channel.
async fn connect(server: &Server, person: &Person, channel: &str) {
    let node: NodeId = "node-1".parse().expect("a valid name");
    let live = NodeLive {
        node: node.clone(),
        boot: BootId(1),
        region: "here".parse().expect("a valid name"),
        version: env!("CARGO_PKG_VERSION").into(),
        workers: vec![vec![([127, 0, 0, 1], 7000).into()]],
        fingerprint: "AB:CD".into(),
        max_sessions: 100,
    };
    let put = Transaction::new().put(key::node_live(&node), &live);
    server.coordination.transact(put).await.expect("the store is there");
    let status = SessionStatus {
        session: SESSION,
        room: channel.parse().expect("an id"),
        worker: hype_protocol::id::WorkerId(0),
        user: person.id.parse().expect("an id"),
        connected: true,
        flags: VoiceFlags { self_mute: true, ..VoiceFlags::default() },
        producers: Vec::new(),
        decodes: Vec::new(),
        opened_at_ms: 1,
    };
    for message in [
        FromNode::Hello { node, boot: BootId(1), secret: BootSecret([7; 32]) },
        FromNode::Session(Box::new(status)),
        FromNode::SnapshotEnd,
    ] {
        server.node.sender.send(message).await.expect("connected");
    }
}

async fn health(server: &Server) -> (StatusCode, String) {
    let response = server.request(Method::GET, "/healthz").send().await.expect("an answer");
    (response.status(), response.text().await.expect("text"))
}

async fn until_healthy(server: &Server) {
    let healthy = async {
        while health(server).await != (StatusCode::OK, "ok".to_owned()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, healthy).await.expect("it becomes healthy");
}

/// The next order that changes anything: as a node does, the test does each once.
async fn ordered(server: &mut Server, flags: &mut VoiceFlags) -> ToNode {
    loop {
        let order = timeout(PATIENCE, server.node.receiver.recv()).await;
        let order = order.expect("an order").expect("connected");
        let ToNode::Flags { change, .. } = &order else { return order };
        let changed = change.apply(*flags);
        if changed != *flags {
            *flags = changed;
            return order;
        }
    }
}

#[tokio::test]
async fn what_the_owner_decides_reaches_the_node_and_is_kept() {
    let folder = Folder::new();
    let mut server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (guild, _, voice) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    assert_eq!(health(&server).await.0, StatusCode::SERVICE_UNAVAILABLE);
    connect(&server, &bob, &voice).await;
    until_healthy(&server).await;
    let mut flags = VoiceFlags { self_mute: true, ..VoiceFlags::default() };

    let path = format!("/api/v1/channels/{voice}/voice");
    let states = server.get(&path, &ada).await.1;
    let expected = json!([{
        "guild_id": guild,
        "channel_id": voice,
        "user_id": bob.id,
        "session_id": SESSION.to_string(),
        "source": 7,
        "flags": { "self_mute": true, "self_deaf": false, "server_mute": false, "server_deaf": false,
            "suppressed": false, "no_stream": false },
        "producers": [],
    }]);
    assert_eq!(states, expected);
    let seen = server.get(&format!("/api/v1/guilds/{guild}"), &bob).await.1;
    assert_eq!(seen["voice_states"], expected);

    let path = format!("/api/v1/guilds/{guild}/members/{}/voice", bob.id);
    let patch = async |server: &Server, body: Value| {
        let answer = server.call(Method::PATCH, &path, Some(&ada.token), Some(body)).await;
        assert_eq!(answer, (StatusCode::NO_CONTENT, Value::Null));
    };
    patch(&server, json!({ "server_mute": true })).await;
    let change = FlagsChange { server_mute: Some(true), ..FlagsChange::default() };
    assert_eq!(ordered(&mut server, &mut flags).await, ToNode::Flags { session: SESSION, change });
    // What the person chose and what was decided before is left alone.
    patch(&server, json!({ "server_deaf": true })).await;
    let change = FlagsChange { server_deaf: Some(true), ..FlagsChange::default() };
    assert_eq!(ordered(&mut server, &mut flags).await, ToNode::Flags { session: SESSION, change });
    patch(&server, json!({ "disconnect": true })).await;
    let close = ToNode::Close { session: SESSION, reason: CloseReason::Removed };
    assert_eq!(ordered(&mut server, &mut flags).await, close);
    server.stop().await;
}

#[tokio::test]
async fn the_owner_of_one_guild_has_no_say_in_another() {
    let folder = Folder::new();
    let mut server = Server::start(config(&folder)).await;
    let (ada, bob) = (server.register("Ada").await, server.register("Bob").await);
    let (ada_guild, _, _) = server.guild(&ada).await;
    let (bob_guild, _, bob_voice) = server.guild(&bob).await;
    server.invite(&ada, &ada_guild, &bob).await;
    connect(&server, &bob, &bob_voice).await;
    until_healthy(&server).await;
    let mut flags = VoiceFlags { self_mute: true, ..VoiceFlags::default() };
    let body = json!({ "disconnect": true });
    let patch = |guild: &str| format!("/api/v1/guilds/{guild}/members/{}/voice", bob.id);
    let answer =
        server.call(Method::PATCH, &patch(&bob_guild), Some(&ada.token), Some(body.clone())).await;
    assert_error(&answer, 404, "not_found");
    // Bob is a member of Ada's guild too, but what he does in his own is not hers to end.
    let (status, _) =
        server.call(Method::PATCH, &patch(&ada_guild), Some(&ada.token), Some(body.clone())).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = server
        .call(
            Method::PATCH,
            &patch(&bob_guild),
            Some(&bob.token),
            Some(json!({ "server_deaf": true })),
        )
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let change = FlagsChange { server_deaf: Some(true), ..FlagsChange::default() };
    assert_eq!(ordered(&mut server, &mut flags).await, ToNode::Flags { session: SESSION, change });
    server.stop().await;
}

//! Joining, leaving, flags and views by the gateway, and what the others see of it.

use hype_protocol::id::{SessionId, WorkerId};
use hype_protocol::media::SourceKind;
use hype_protocol::observation::{CloseReason, FlagsChange, Keying, ToNode, VoiceFlags};
use hype_protocol::secret::{BootKeys, BootSecret, SrtpProfile};
use serde_json::{Value, json};

use crate::harness::{self, Client, FINGERPRINT, Server, text};

const OFFER: &str = include_str!("../../src/voice/sdp/fixtures/chromium.sdp");

/// `voice.join` as the web client sends it.
fn join(channel: &str, sdp: &str) -> Value {
    let kinds = ["microphone", "camera", "screen", "screen_audio"];
    let sends: Vec<_> = (0..4).map(|i| json!({ "mid": i.to_string(), "kind": kinds[i] })).collect();
    let voices: Vec<_> = (4..12).map(|i| i.to_string()).collect();
    let videos: Vec<_> = (0..4)
        .map(|i| json!({ "video": (12 + 2 * i).to_string(), "sound": (13 + 2 * i).to_string() }))
        .collect();
    let lines = json!({ "sends": sends, "voices": voices, "videos": videos });
    json!({ "channel_id": channel, "sdp": sdp, "lines": lines, "self_mute": true })
}

fn join_native(channel: &str) -> Value {
    json!({
        "channel_id": channel, "self_mute": false, "self_deaf": false,
        "profile": "aead_aes256_gcm", "ufrag": "abcd",
    })
}

fn keys() -> BootKeys {
    BootKeys::new(&harness::node_id(), &BootSecret([7; 32]))
}

fn session(joined: &Value) -> SessionId {
    text(&joined["session_id"]).parse().expect("an id")
}

/// The next `voice.state` about a session.
async fn state_of(client: &mut Client, session: SessionId) -> Value {
    loop {
        let state = client.event_named("voice.state").await;
        if state["session_id"] == session.to_string() {
            return state;
        }
    }
}

#[tokio::test]
async fn a_browser_joins_in_one_round_trip() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (_, _, lounge) = server.guild(&ada).await;
    let (mut client, _) = server.identified(&ada).await;
    let (mut other_tab, _) = server.identified(&ada).await;
    let joined = client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    let session = session(&joined);
    let open = node.opened().await;
    assert_eq!((open.session, open.boot, open.worker), (session, harness::BOOT, WorkerId(0)));
    assert_eq!(open.room.to_string(), lounge);
    assert_eq!(open.user.to_string(), ada.id);
    assert_eq!(open.remote_ufrag, "Ievk");
    assert!(matches!(open.keying, Keying::Dtls { fingerprint } if fingerprint[0] == 0x18));
    assert_eq!(open.flags, VoiceFlags { self_mute: true, ..VoiceFlags::default() });
    assert_eq!(open.media.sends.len(), 4);
    let sdp = text(&joined["sdp"]);
    for line in [
        format!("a=ice-ufrag:{}", keys().ufrag(WorkerId(0), session)),
        format!("a=ice-pwd:{}", keys().ice_password(session)),
        format!("a=fingerprint:sha-256 {FINGERPRINT}"),
        "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host".into(),
    ] {
        assert!(sdp.lines().any(|found| found == line), "{line}");
    }
    // Oneself is among those present, also before the node has reported it.
    let states = joined["voice_states"].as_array().expect("a list");
    assert_eq!(states.len(), 1);
    assert_eq!(states[0]["session_id"], session.to_string());
    assert_eq!(states[0]["source"], session.source().0);
    assert_eq!(state_of(&mut other_tab, session).await["flags"]["self_mute"], true);
}

#[tokio::test]
async fn a_native_client_joins_by_derived_keys() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (_, _, lounge) = server.guild(&ada).await;
    let (mut client, _) = server.identified(&ada).await;
    let joined = client.request("voice.join_native", join_native(&lounge)).await.expect("joined");
    let session = session(&joined);
    let open = node.opened().await;
    assert_eq!(open.keying, Keying::Native { profile: SrtpProfile::AeadAes256Gcm });
    assert_eq!(open.remote_ufrag, "abcd");
    assert_eq!(joined["ufrag"], keys().ufrag(WorkerId(0), session));
    assert_eq!(joined["password"], keys().ice_password(session));
    assert_eq!(joined["addresses"], json!(["127.0.0.1:40000"]));
    assert_eq!(joined["media"], serde_json::to_value(&open.media).expect("encodes"));
    // 2 × (32 + 12) bytes as base64.
    assert_eq!(text(&joined["keying"]).len(), 120);
    for ufrag in ["abc", &"a".repeat(33), "a b c d"] {
        let mut params = join_native(&lounge);
        params["ufrag"] = json!(ufrag);
        assert_eq!(client.refused("voice.join_native", params).await, "invalid_request");
    }
}

#[tokio::test]
async fn joins_are_refused_for_clear_reasons() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let eve = server.person("Eve").await;
    let bob = server.person("Bob").await;
    let (guild, general, lounge) = server.guild(&ada).await;
    let small = server.voice_channel(&ada, &guild, 1).await;
    server.invite(&ada, &guild, &bob).await;
    let (mut ada_client, _) = server.identified(&ada).await;
    let (mut eve_client, _) = server.identified(&eve).await;
    let (mut bob_client, _) = server.identified(&bob).await;
    let broken = OFFER.replace("v=0", "v=1");
    let plain = OFFER.replace("a=group:BUNDLE", "a=group:LS");
    for (code, params) in [
        ("not_found", join("12345", OFFER)),
        ("not_a_voice_channel", join(&general, OFFER)),
        ("sdp_invalid", join(&lounge, &broken)),
        ("sdp_unsupported", join(&lounge, &plain)),
    ] {
        assert_eq!(ada_client.refused("voice.join", params).await, code);
    }
    assert_eq!(eve_client.refused("voice.join", join(&lounge, OFFER)).await, "not_found");
    // The one place is taken, also for whoever comes before the node has reported it.
    let first = ada_client.request("voice.join", join(&small, OFFER)).await.expect("joined");
    assert_eq!(bob_client.refused("voice.join", join(&small, OFFER)).await, "channel_full");
    assert_eq!(node.opened().await.session, session(&first));
    // A reload is no second person.
    let again = ada_client.request("voice.join", join(&small, OFFER)).await.expect("joined");
    assert_eq!(node.opened().await.session, session(&again));
    assert_eq!(node.closed().await, (text(&first["session_id"]), CloseReason::Replaced));
}

#[tokio::test]
async fn without_the_store_only_new_rooms_wait() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (guild, _, lounge) = server.guild(&ada).await;
    let other = server.voice_channel(&ada, &guild, 0).await;
    let (mut client, _) = server.identified(&ada).await;
    client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    server.store.set_available(false);
    let error = client.request("voice.join", join(&other, OFFER)).await.expect_err("a new room");
    assert_eq!(error["code"], "coordination_unavailable");
    assert_eq!(error["retry_after_ms"], 1000);
    client.request("voice.join", join(&lounge, OFFER)).await.expect("a room that lives somewhere");
    server.store.set_available(true);
    client.request("voice.join", join(&other, OFFER)).await.expect("the store is back");
}

#[tokio::test]
async fn joining_elsewhere_leaves_where_one_was() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (guild, _, lounge) = server.guild(&ada).await;
    let other = server.voice_channel(&ada, &guild, 0).await;
    let (mut client, _) = server.identified(&ada).await;
    let first = client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    node.opened().await;
    // A failed join leaves everything as it was.
    assert_eq!(client.refused("voice.join", join(&other, "v=0")).await, "sdp_unsupported");
    let second = client.request("voice.join", join(&other, OFFER)).await.expect("joined");
    assert_eq!(node.opened().await.session, session(&second));
    assert_eq!(node.closed().await, (text(&first["session_id"]), CloseReason::Replaced));
    let left = client.event_named("voice.left").await;
    assert_eq!((&left["session_id"], &left["channel_id"]), (&first["session_id"], &json!(lounge)));
}

#[tokio::test]
async fn flags_views_and_leaving_are_ones_own() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let bob = server.person("Bob").await;
    let (guild, _, lounge) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let (mut ada_client, _) = server.identified(&ada).await;
    let (mut bob_client, _) = server.identified(&bob).await;
    let joined = bob_client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    let id = text(&joined["session_id"]);
    let bob_session = node.opened().await.session;
    state_of(&mut ada_client, bob_session).await;
    let flags = json!({ "session_id": id, "self_mute": false, "self_deaf": true });
    let view = json!({ "session_id": id, "slot": 1,
        "view": { "session_id": id, "kind": "screen", "height": 720 } });
    let leave = json!({ "session_id": id });
    for (method, params) in
        [("voice.flags", &flags), ("voice.view", &view), ("voice.leave", &leave)]
    {
        assert_eq!(ada_client.refused(method, params.clone()).await, "no_session", "{method}");
    }
    // What a moderator decided is not the person's to change.
    let path = format!("/guilds/{guild}/members/{}/voice", bob.id);
    let mute = json!({ "server_mute": true });
    let (status, answer) = server.call("PATCH", &path, Some(&ada.token), mute).await;
    assert_eq!(status, 204, "{answer}");
    let change = FlagsChange { server_mute: Some(true), ..FlagsChange::default() };
    assert_eq!(node.next().await, ToNode::Flags { session: bob_session, change });
    loop {
        if state_of(&mut bob_client, bob_session).await["flags"]["server_mute"] == true {
            break;
        }
    }
    assert_eq!(bob_client.request("voice.flags", flags).await.expect("done"), json!({}));
    let change =
        FlagsChange { self_mute: Some(false), self_deaf: Some(true), ..FlagsChange::default() };
    assert_eq!(node.next().await, ToNode::Flags { session: bob_session, change });
    bob_client.request("voice.view", view.clone()).await.expect("done");
    match node.next().await {
        ToNode::View { session, slot: 1, view: Some(view) } => {
            assert_eq!((session, view.source), (bob_session, bob_session.source()));
            assert_eq!((view.kind, view.height), (SourceKind::Screen, Some(720)));
        }
        other => panic!("{other:?}"),
    }
    for (name, change) in [("/slot", json!(4)), ("/view/kind", json!("microphone"))] {
        let mut params = view.clone();
        *params.pointer_mut(name).expect("there") = change;
        assert_eq!(bob_client.refused("voice.view", params).await, "invalid_request", "{name}");
    }
    bob_client.request("voice.leave", leave.clone()).await.expect("done");
    assert_eq!(node.closed().await, (id.clone(), CloseReason::Left));
    assert_eq!(ada_client.event_named("voice.left").await["session_id"], *id);
    assert_eq!(bob_client.refused("voice.leave", leave).await, "no_session");
}

#[tokio::test]
async fn what_a_moderator_decided_holds_at_every_join() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let bob = server.person("Bob").await;
    let (guild, _, lounge) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let path = format!("/guilds/{guild}/members/{}/voice", bob.id);
    let decide = async |decision: Value| {
        let (status, answer) = server.call("PATCH", &path, Some(&ada.token), decision).await;
        assert_eq!(status, 204, "{answer}");
    };
    decide(json!({ "server_mute": true })).await;
    let (mut client, _) = server.identified(&bob).await;
    let muted = VoiceFlags { self_mute: true, server_mute: true, ..VoiceFlags::default() };
    let joined = client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    assert_eq!(node.opened().await.flags, muted, "decided before the first join");
    // A reload: the old session is still there.
    let again = client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    assert_eq!(node.opened().await.flags, muted, "after a reload");
    assert_eq!(node.closed().await.0, text(&joined["session_id"]));
    let leave = json!({ "session_id": again["session_id"] });
    client.request("voice.leave", leave).await.expect("left");
    node.closed().await;
    while client.event_named("voice.left").await["session_id"] != again["session_id"] {}
    client.request("voice.join_native", join_native(&lounge)).await.expect("joined");
    let flags = node.opened().await.flags;
    assert_eq!(flags, VoiceFlags { self_mute: false, ..muted }, "after leaving");
    decide(json!({ "server_mute": false })).await;
    assert!(matches!(node.next().await, ToNode::Flags { .. }));
    client.request("voice.join_native", join_native(&lounge)).await.expect("joined");
    assert_eq!(node.opened().await.flags, VoiceFlags::default());
}

#[tokio::test]
async fn a_node_of_this_process_comes_back_after_a_cut() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (_, _, lounge) = server.guild(&ada).await;
    let (mut client, _) = server.identified(&ada).await;
    client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    let open = node.opened().await;
    let mut status = harness::status(&open);
    status.flags.self_deaf = true;
    let mut node = server.reconnect(vec![status]).await;
    // It is told by the old pipe until the new one has introduced itself.
    while state_of(&mut client, open.session).await["flags"]["self_deaf"] != true {}
    let leave = json!({ "session_id": open.session.to_string() });
    client.request("voice.leave", leave).await.expect("left");
    assert_eq!(node.closed().await, (open.session.to_string(), CloseReason::Left));
}

#[tokio::test]
async fn voice_outlives_the_gateway_and_the_control_plane() {
    let (mut server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (_, _, lounge) = server.guild(&ada).await;
    let (mut client, _) = server.identified(&ada).await;
    let joined = client.request("voice.join", join(&lounge, OFFER)).await.expect("joined");
    let open = node.opened().await;
    drop(client);
    let (mut client, ready) = server.identified(&ada).await;
    let states = &ready["guilds"][0]["voice_states"];
    assert_eq!(states[0]["session_id"], joined["session_id"]);
    server.stop().await;
    assert_eq!(client.closed().await, 4011);
    assert!(node.seen.try_recv().is_err(), "nobody ended the session");
    let sessions = vec![harness::status(&open)];
    let (server, _node) = Server::start_in(server.data_dir.clone(), sessions).await;
    let (_client, ready) = server.identified(&ada).await;
    let states = &ready["guilds"][0]["voice_states"];
    assert_eq!(states[0]["session_id"], joined["session_id"]);
    assert_eq!(states[0]["channel_id"], *lounge);
}

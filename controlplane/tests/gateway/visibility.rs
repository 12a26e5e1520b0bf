//! Who may not see a channel hears nothing of it; who is there; who is writing.

use std::time::Duration;

use hype_control::event::Audience;
use hype_control::store::Store;
use hype_protocol::gateway::{Channel, Event, Member, Overwrite, OverwriteKind, User};
use hype_protocol::id::{ChannelId, GuildId, TargetId, UserId};
use hype_protocol::permission::Permissions;
use serde_json::{Value, json};

use crate::harness::Server;

/// Changes whether everybody of a guild sees a channel, as a moderator at another replica would.
async fn show(server: &Server, channel: &str, shown: bool) {
    let path = server.data_dir.join("hype.sqlite");
    let store = Store::open_sqlite(&path, 1).await.expect("opens");
    let channel: u64 = channel.parse().expect("an id");
    let found = store.channel(ChannelId(channel)).await.expect("read").expect("it is there");
    let deny = if shown { Permissions::NONE } else { Permissions::VIEW_CHANNEL };
    let everyone = TargetId(found.guild_id.0);
    let (kind, allow) = (OverwriteKind::Role, Permissions::NONE);
    let overwrite = Overwrite { target_id: everyone, kind, allow, deny };
    let mut write = store.write_guild(found.guild_id).await.expect("begun").expect("it is there");
    sqlx::query(
        "INSERT INTO overwrites (channel_id, target_id, target_kind, guild_id, allow, deny) \
         VALUES ($1, $2, 'role', $3, 0, $4) ON CONFLICT (channel_id, target_id) \
         DO UPDATE SET deny = $4",
    )
    .bind(i64::try_from(channel).expect("small"))
    .bind(i64::try_from(everyone.0).expect("small"))
    .bind(i64::try_from(found.guild_id.0).expect("small"))
    .bind(i64::try_from(deny.bits()).expect("small"))
    .execute(write.connection())
    .await
    .expect("written");
    let audience = Audience::Guild(found.guild_id);
    let event = Event::ChannelUpdated(Channel { overwrites: vec![overwrite], ..found });
    write.tell(&audience, &event).await.expect("told");
    write.commit().await.expect("committed");
    store.close().await;
}

async fn text_channel(server: &Server, owner: &crate::harness::Person, guild: &str) -> String {
    let body = json!({ "name": "open", "kind": "text" });
    let path = format!("/guilds/{guild}/channels");
    let (status, channel) = server.call("POST", &path, Some(&owner.token), body).await;
    assert_eq!(status, 201, "{channel}");
    crate::harness::text(&channel["id"])
}

#[tokio::test]
async fn hidden_channels_are_silent() {
    let (server, _node) = Server::start().await;
    let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
    let (guild, general, _) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let open = text_channel(&server, &ada, &guild).await;
    let (mut ada_client, _) = server.identified(&ada).await;
    let (mut bob_client, ready) = server.identified(&bob).await;
    let place = ready["guilds"][0]["sequence"].as_u64().expect("a number");
    show(&server, &general, false).await;
    let (name, gone) = bob_client.event().await;
    assert_eq!((name.as_str(), &gone["channel_id"]), ("channel.deleted", &json!(general)));
    assert_eq!(ada_client.event().await.0, "channel.updated");
    server.say(&ada, &general, "secret").await;
    server.say(&ada, &open, "public").await;
    for expected in ["secret", "public"] {
        assert_eq!(ada_client.event().await.1["content"], expected);
    }
    assert_eq!(bob_client.event().await.1["content"], "public");
    let (_, ready) = server.identified(&bob).await;
    let channels = ready["guilds"][0]["channels"].as_array().expect("a list");
    assert_eq!(channels.len(), 2);
    assert!(channels.iter().all(|channel| channel["id"] != *general));
    // Neither does a replay show it.
    let mut again = server.socket().await;
    let key = "00000000000000000000000000000001";
    let guilds = json!({ guild.as_str(): place });
    again.resume_by_guilds(&bob.token, key, 1, guilds).await;
    assert_eq!(again.event().await.1["content"], "public");
    let (name, shown) = again.event().await;
    assert_eq!(name, "guild.added");
    assert_eq!(shown["channels"].as_array().map(Vec::len), Some(2));
    show(&server, &general, true).await;
    let (name, come) = bob_client.event().await;
    assert_eq!((name.as_str(), &come["id"]), ("channel.created", &json!(general)));
    server.say(&ada, &general, "for all").await;
    assert_eq!(bob_client.event().await.1["content"], "for all");
}

#[tokio::test]
async fn writing_is_shown_to_who_sees_the_channel() {
    let (server, _node) = Server::start().await;
    let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
    let (guild, general, lounge) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let (mut ada_client, _) = server.identified(&ada).await;
    let (mut bob_client, _) = server.identified(&bob).await;
    let typing = |channel: &str| json!({ "channel_id": channel });
    // Once in a while: on a machine that stands still, that may be over before he writes again.
    let mut refused = None;
    for _ in 0..10 {
        match bob_client.request("typing.start", typing(&general)).await {
            Ok(_) => {
                let shown = ada_client.event_named("typing").await;
                let expected =
                    json!({ "guild_id": guild, "channel_id": general, "user_id": bob.id });
                assert_eq!(shown, expected);
            }
            Err(error) => {
                refused = Some(error["code"].clone());
                break;
            }
        }
    }
    assert_eq!(refused, Some(json!("rate_limited")));
    assert_eq!(bob_client.refused("typing.start", typing(&lounge)).await, "not_a_text_channel");
    assert_eq!(bob_client.refused("typing.start", typing("4711")).await, "not_found");
    show(&server, &general, false).await;
    bob_client.event_named("channel.deleted").await;
    assert_eq!(bob_client.refused("typing.start", typing(&general)).await, "not_found");
    tokio::time::sleep(Duration::from_secs(2)).await;
    ada_client.request("typing.start", typing(&general)).await.expect("shown to herself");
    assert!(bob_client.silent(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn presence_is_told_to_those_who_share_a_guild() {
    let (server, _node) = Server::start().await;
    let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
    let eve = server.person("Eve").await;
    let (guild, ..) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let (mut ada_client, ready) = server.identified(&ada).await;
    let (mut eve_client, _) = server.identified(&eve).await;
    // Her own is in `ready`, or follows it.
    let is_ada = |presence: &Value| *presence == json!({ "user_id": ada.id, "status": "online" });
    let shown = |ready: &Value| {
        ready["guilds"][0]["presences"].as_array().expect("a list").iter().any(is_ada)
    };
    if !shown(&ready) {
        ada_client.until_presence(&ada.id, "online").await;
    }
    let (mut bob_client, ready) = server.identified(&bob).await;
    assert!(shown(&ready));
    ada_client.until_presence(&bob.id, "online").await;
    let status = |status: &str| json!({ "status": status });
    for wanted in ["idle", "do_not_disturb"] {
        bob_client.request("presence.set", status(wanted)).await.expect("set");
        ada_client.until_presence(&bob.id, wanted).await;
    }
    let refused = bob_client.refused("presence.set", status("offline")).await;
    assert_eq!(refused, "invalid_request");
    drop(bob_client);
    // The server lets go of whoever is silent.
    eve_client.heartbeat().await;
    ada_client.until_presence(&bob.id, "offline").await;
    let (_, ready) = server.identified(&ada).await;
    let shown = ready["guilds"][0]["presences"].as_array().expect("a list");
    assert!(shown.iter().all(|presence| presence["user_id"] != *bob.id));
    eve_client.heartbeat().await;
    assert_eq!(eve_client.seq, 1, "she shares no guild with them");
}

/// Makes somebody a member as another replica would: this one hears of it a little later.
async fn join_elsewhere(server: &Server, guild: &str, who: &crate::harness::Person) {
    let store = Store::open_sqlite(&server.data_dir.join("hype.sqlite"), 1).await.expect("opens");
    let guild_id = GuildId(guild.parse().expect("an id"));
    let id = UserId(who.id.parse().expect("an id"));
    assert!(store.announce_member(id, guild_id, 100).await.expect("announced"));
    let mut write = store.write_guild(guild_id).await.expect("begun").expect("it is there");
    write.add_member(id, 100, 1).await.expect("added");
    let user = User { id, name: "Bob".into() };
    let (roles, joined_at_ms) = (Vec::new(), 1);
    let member = Member { user, roles, joined_at_ms, server_mute: false, server_deaf: false };
    let event = Event::MemberAdded { guild_id, member };
    write.tell(&Audience::Guild(guild_id), &event).await.expect("told");
    write.commit().await.expect("committed");
    store.close().await;
}

#[tokio::test]
async fn who_begins_before_his_membership_is_heard_of_misses_nothing() {
    for _ in 0..5 {
        let (server, _node) = Server::start().await;
        let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
        let (guild, _, lounge) = server.guild(&ada).await;
        let (mut ada_client, _) = server.identified(&ada).await;
        join_elsewhere(&server, &guild, &bob).await;
        let (mut bob_client, ready) = server.identified(&bob).await;
        assert_eq!(ready["guilds"][0]["voice_states"], json!([]));
        let params = json!({
            "channel_id": lounge, "self_mute": false, "self_deaf": false,
            "profile": "aead_aes128_gcm", "ufrag": "abcd",
        });
        let joined = ada_client.request("voice.join_native", params).await.expect("joined");
        loop {
            let (name, data) = bob_client.event().await;
            let state = match name.as_str() {
                "voice.state" => &data,
                "guild.state" => &data["voice_states"][0],
                _ => continue,
            };
            if state["session_id"] == joined["session_id"] {
                break;
            }
        }
    }
}

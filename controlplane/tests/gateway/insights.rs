//! Stays in voice become durable events, once each, and are counted with the rest.

use std::time::Duration;

use hype_control::store::Store;
use hype_protocol::gateway::Event;
use hype_protocol::id::GuildId;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Person, Server};

/// Today's insights, once they are as wanted.
async fn until(server: &Server, person: &Person, guild: &str, wanted: impl Fn(&Value) -> bool) {
    let path = format!("/guilds/{guild}/insights?days=2");
    let look = async {
        loop {
            let (status, days) = server.call("GET", &path, Some(&person.token), Value::Null).await;
            assert_eq!(status, 200, "{days}");
            // The day may have changed since it was counted.
            if days.as_array().expect("a list").iter().any(&wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it is counted");
}

#[tokio::test]
async fn a_stay_is_told_and_counted_once() {
    let (server, mut node) = Server::start().await;
    let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
    let (guild, general, lounge) = server.guild(&ada).await;
    server.invite(&ada, &guild, &bob).await;
    let (mut client, _) = server.identified(&ada).await;
    let params = json!({
        "channel_id": lounge, "self_mute": false, "self_deaf": false,
        "profile": "aead_aes128_gcm", "ufrag": "abcd",
    });
    let joined = client.request("voice.join_native", params).await.expect("joined");
    node.opened().await;
    server.say(&ada, &general, "one").await;
    server.say(&bob, &general, "two").await;
    until(&server, &ada, &guild, |day| {
        day["messages"] == 2 && day["voice_joins"] == 1 && day["active_people"] == 2
    })
    .await;
    let session = json!({ "session_id": joined["session_id"] });
    client.request("voice.leave", session).await.expect("left");
    until(&server, &ada, &guild, |day| day["voice_peak"] == 1).await;
    let store = Store::open_sqlite(&server.data_dir.join("hype.sqlite"), 1).await.expect("opens");
    let guild_id = GuildId(guild.parse().expect("an id"));
    let look = async {
        loop {
            let events = store.events_after(guild_id, 0, 100).await.expect("read");
            let count = |wanted: fn(&Event) -> bool| {
                events.iter().filter(|published| wanted(&published.event)).count()
            };
            let joins = count(|event| matches!(event, Event::UserJoinedVoice { .. }));
            let leaves = count(|event| matches!(event, Event::UserLeftVoice { .. }));
            assert!(joins == 1 && leaves <= 1, "{joins} and {leaves}");
            if leaves == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the end is told");
    store.close().await;
    let path = format!("/guilds/{guild}/insights");
    let (status, _) = server.call("GET", &path, Some(&bob.token), Value::Null).await;
    assert_eq!(status, 403);
    let (status, _) =
        server.call("GET", &format!("{path}?days=91"), Some(&ada.token), Value::Null).await;
    assert_eq!(status, 400);
}

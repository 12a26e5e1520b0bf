//! Identify, resume, close codes, limits, and who hears of what.

use std::time::{Duration, Instant};

use hype_protocol::id::SourceId;
use hype_protocol::observation::FromNode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::Server;

#[tokio::test]
async fn ready_shows_everything_and_heartbeats_are_answered() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (guild, ..) = server.guild(&ada).await;
    let (mut client, ready) = server.identified(&ada).await;
    assert_eq!(client.seq, 1);
    assert_eq!(ready["user"], json!({ "id": ada.id, "name": "Ada" }));
    assert_eq!(ready["guilds"].as_array().map(Vec::len), Some(1));
    assert_eq!(ready["guilds"][0]["id"], *guild);
    assert_eq!(ready["guilds"][0]["channels"].as_array().map(Vec::len), Some(2));
    assert_eq!(ready["guilds"][0]["members"][0]["name"], "Ada");
    client.send(json!({ "op": "heartbeat", "d": { "seq": 1 } })).await;
    assert_eq!(client.frame().await, json!({ "op": "heartbeat_ack" }));
}

#[tokio::test]
async fn each_fault_has_its_close_code() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let identify = json!({ "op": "identify", "d": { "token": ada.token } }).to_string();
    let request =
        r#"{"op":"request","d":{"nonce":"1","method":"voice.leave","params":{"session_id":"5"}}}"#;
    let forged = json!({ "op": "identify", "d": { "token": "x.y.z" } }).to_string();
    let resume =
        json!({ "op": "resume", "d": { "token": "x", "session_id": "y", "seq": 0 } }).to_string();
    let text = |text: &str| Message::Text(text.into());
    let long_nonce =
        request.replace("\"nonce\":\"1\"", &format!("\"nonce\":\"{}\"", "n".repeat(65)));
    for (name, frames, code) in [
        ("no JSON", vec![text("{")], 4002),
        ("unknown op", vec![text(r#"{"op":"dance","d":{}}"#)], 4002),
        ("unknown method", vec![text(&identify), text(&request.replace("leave", "dance"))], 4002),
        ("binary", vec![Message::Binary(vec![1, 2, 3].into())], 4002),
        ("too long", vec![text(&" ".repeat(128 * 1024 + 1))], 4002),
        ("long nonce", vec![text(&identify), text(&long_nonce)], 4002),
        ("request first", vec![text(request)], 4003),
        ("forged token", vec![text(&forged)], 4004),
        ("forged token at resume", vec![text(&resume)], 4004),
        ("identify twice", vec![text(&identify), text(&identify)], 4005),
    ] {
        let mut client = server.socket().await;
        for frame in frames {
            client.send_raw(frame).await;
        }
        assert_eq!(client.closed().await, code, "{name}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_and_may_resume() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (mut client, _) = server.identified(&ada).await;
    for _ in 0..300 {
        client.send(json!({ "op": "heartbeat", "d": { "seq": 1 } })).await;
    }
    let mut answered = 0;
    let code = loop {
        match client.frame_or_close().await {
            Ok(frame) => {
                assert_eq!(frame["op"], "heartbeat_ack");
                answered += 1;
            }
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4008);
    // 120 at once, of which `identify` was one, and two a second while they were read.
    assert!((110..=280).contains(&answered), "{answered}");
    let mut again = server.socket().await;
    again.resume(&ada.token, &client.session, client.seq).await;
    assert_eq!(again.event().await.0, "resumed");
}

#[tokio::test]
async fn resume_replays_exactly_what_was_missed() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (_, general, _) = server.guild(&ada).await;
    let (mut client, _) = server.identified(&ada).await;
    server.say(&ada, &general, "seen").await;
    assert_eq!(client.event_named("message.created").await["content"], "seen");
    let (session, seq) = (client.session.clone(), client.seq);
    drop(client);
    for content in ["one", "two", "three"] {
        server.say(&ada, &general, content).await;
    }
    let mut client = server.socket().await;
    client.resume(&ada.token, &session, seq).await;
    // What was still on its way to this replica's gateway follows `resumed`.
    let (mut numbers, mut resumed) = (Vec::new(), false);
    while numbers.len() < 3 || !resumed {
        let (name, data) = client.event().await;
        if name == "resumed" {
            resumed = true;
            continue;
        }
        let content = ["one", "two", "three"][numbers.len()];
        assert_eq!((name.as_str(), &data["content"]), ("message.created", &json!(content)));
        numbers.push(client.seq);
    }
    // And goes on from there.
    server.say(&ada, &general, "four").await;
    assert_eq!(client.event().await.1["content"], "four");
    // Seen twice is no harm: a client whose last reads were lost gets them again.
    let mut client = server.socket().await;
    client.resume(&ada.token, &session, numbers[1]).await;
    assert_eq!(client.event_named("message.created").await["content"], "three");
}

#[tokio::test]
async fn what_cannot_be_resumed_begins_anew() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let eve = server.person("Eve").await;
    let (client, _) = server.identified(&ada).await;
    for (name, token, session, seq) in [
        ("unknown session", &ada.token, "0123456789abcdef", 1),
        ("another person", &eve.token, client.session.as_str(), 1),
        ("the future", &ada.token, client.session.as_str(), 2),
    ] {
        let mut other = server.socket().await;
        other.resume(token, session, seq).await;
        assert_eq!(other.frame().await, json!({ "op": "invalid_session" }), "{name}");
        // The same socket may identify.
        other.seq = 0;
        other.identify(token).await;
        assert_ne!(other.session, client.session);
    }
}

#[tokio::test]
async fn a_session_has_one_connection() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (mut first, _) = server.identified(&ada).await;
    let mut second = server.socket().await;
    second.resume(&ada.token, &first.session, first.seq).await;
    assert_eq!(second.event().await.0, "resumed");
    assert_eq!(first.closed().await, 4000);
    let (_, general, _) = server.guild(&ada).await;
    // What was said before the guild is shown counts as part of what is shown.
    second.event_named("guild.added").await;
    server.say(&ada, &general, "hello").await;
    assert_eq!(second.event_named("message.created").await["content"], "hello");
}

#[tokio::test]
async fn strangers_hear_nothing_until_they_are_members() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let eve = server.person("Eve").await;
    let (guild, general, _) = server.guild(&ada).await;
    let (mut ada_client, _) = server.identified(&ada).await;
    let (mut eve_client, ready) = server.identified(&eve).await;
    assert_eq!(ready["guilds"], json!([]));
    server.say(&ada, &general, "secret").await;
    assert_eq!(ada_client.event().await.1["content"], "secret");
    assert!(eve_client.silent(Duration::from_millis(300)).await);
    server.invite(&ada, &guild, &eve).await;
    let (name, data) = eve_client.event().await;
    assert_eq!((name.as_str(), &data["id"]), ("guild.added", &json!(guild)));
    assert_eq!(data["members"].as_array().map(Vec::len), Some(2));
    let (name, data) = ada_client.event().await;
    assert_eq!((name.as_str(), &data["member"]["name"]), ("member.added", &json!("Eve")));
    server.say(&ada, &general, "welcome").await;
    assert_eq!(eve_client.event_named("message.created").await["content"], "welcome");
}

#[tokio::test]
async fn events_never_fall_between_ready_and_the_stream() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (guild, ..) = server.guild(&ada).await;
    // Channels are made all the time while clients identify: each must be in `ready` or follow it.
    let making = async {
        let mut made = Vec::new();
        for _ in 0..20 {
            made.push(server.voice_channel(&ada, &guild, 0).await);
        }
        made
    };
    let identifying = async {
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(server.identified(&ada).await);
        }
        clients
    };
    let (made, clients) = tokio::join!(making, identifying);
    for (mut client, ready) in clients {
        let channels = ready["guilds"][0]["channels"].as_array().expect("a list").clone();
        let mut known: Vec<Value> = channels.iter().map(|channel| channel["id"].clone()).collect();
        while !made.iter().all(|id| known.contains(&json!(id))) {
            let created = client.event_named("channel.created").await;
            known.push(created["id"].clone());
        }
    }
}

#[tokio::test]
async fn who_does_not_read_is_cut() {
    let (server, mut node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (_, _, lounge) = server.guild(&ada).await;
    let mut slow = server.socket_with_buffer(Some(4096)).await;
    slow.identify(&ada.token).await;
    let params = json!({
        "channel_id": lounge, "self_mute": false, "self_deaf": false,
        "profile": "aead_aes128_gcm", "ufrag": "abcd",
    });
    slow.request("voice.join_native", params).await.expect("joined");
    let room = node.opened().await.room;
    // 25 MB that nobody reads: more than any socket buffer holds.
    for round in 0..1200_u32 {
        let speakers = (0..2000).map(|i| SourceId(4_000_000_000 + i + round)).collect();
        node.up.send(FromNode::Speakers { room, speakers }).await.expect("connected");
    }
    // Somebody else is not held up by it.
    let (mut quick, _) = server.identified(&server.person("Bob").await).await;
    quick.send(json!({ "op": "heartbeat", "d": { "seq": 1 } })).await;
    assert_eq!(quick.frame().await, json!({ "op": "heartbeat_ack" }));
    // Behind what it did not read the close frame may not come through in time.
    assert_eq!(slow.closed_or_gone().await.unwrap_or(4010), 4010);
    assert!(slow.seq < 1200, "it was cut before the end");
}

#[tokio::test]
async fn who_does_not_identify_is_cut() {
    let (server, _node) = Server::start().await;
    let began = Instant::now();
    let mut client = server.socket().await;
    // A heartbeat is no identification.
    client.send(json!({ "op": "heartbeat", "d": { "seq": 0 } })).await;
    assert_eq!(client.closed().await, 4009);
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stopping_replica_says_so() {
    let (mut server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (mut client, _) = server.identified(&ada).await;
    server.stop().await;
    assert_eq!(client.closed().await, 4011);
    std::fs::remove_dir_all(&server.data_dir).expect("removed");
}

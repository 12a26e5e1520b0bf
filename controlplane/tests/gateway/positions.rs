//! Going on by the guilds' own sequences: after a cut, at a replica that knows nothing of the
//! session. Each event comes once and in order, whatever is cut when.

use serde_json::{Value, json};

use crate::harness::{Client, Person, Server, text};

/// What a client keeps to go on from.
struct Memory {
    session: String,
    seq: u64,
    /// The last event of the one guild.
    place: u64,
}

/// The replica stops and comes again without memory of its sessions.
async fn restart(mut server: Server) -> (Server, crate::harness::Node) {
    server.stop().await;
    let data_dir = server.data_dir.clone();
    drop(server);
    Server::start_in(data_dir, Vec::new()).await
}

async fn resumed(server: &Server, person: &Person, guild: &str, memory: &Memory) -> Client {
    let mut client = server.socket().await;
    let mut guilds = serde_json::Map::new();
    guilds.insert(guild.to_owned(), json!(memory.place));
    client.resume_by_guilds(&person.token, &memory.session, memory.seq, guilds.into()).await;
    client.session.clone_from(&memory.session);
    client
}

#[tokio::test]
async fn another_replica_replays_what_was_missed() {
    let (server, _node) = Server::start().await;
    let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
    let (guild, general, _) = server.guild(&ada).await;
    let (client, ready) = server.identified(&ada).await;
    let place = ready["guilds"][0]["sequence"].as_u64().expect("a number");
    let memory = Memory { session: client.session.clone(), seq: client.seq, place };
    drop(client);
    server.say(&ada, &general, "one").await;
    server.invite(&ada, &guild, &bob).await;
    let (server, _node) = restart(server).await;
    server.say(&ada, &general, "two").await;
    let mut client = resumed(&server, &ada, &guild, &memory).await;
    for (number, expected) in (place + 1..).zip(["one", "Bob", "two"]) {
        let (name, data, at) = client.placed_event().await;
        assert_eq!(at, Some(number), "{name}");
        let said = if name == "member.added" { &data["member"]["name"] } else { &data["content"] };
        assert_eq!(said, expected);
    }
    let (name, state) = client.event().await;
    assert_eq!((name.as_str(), &state["guild_id"]), ("guild.state", &json!(guild)));
    assert_eq!(client.event().await.0, "resumed");
    // And it goes on, also by this replica's own buffer.
    server.say(&ada, &general, "three").await;
    assert_eq!(client.placed_event().await.2, Some(place + 4));
    let seq = client.seq;
    drop(client);
    let mut client = server.socket().await;
    client.resume(&ada.token, &memory.session, seq - 1).await;
    assert_eq!(client.placed_event().await.2, Some(place + 4));
    assert_eq!(client.event().await.0, "resumed");
}

#[tokio::test]
async fn guilds_that_came_and_went_are_told() {
    let (server, _node) = Server::start().await;
    let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
    let (guild, general, _) = server.guild(&ada).await;
    let (client, _) = server.identified(&bob).await;
    let memory = Memory { session: client.session.clone(), seq: client.seq, place: 3 };
    drop(client);
    server.invite(&ada, &guild, &bob).await;
    let (server, _node) = restart(server).await;
    let mut client = resumed(&server, &bob, "4711", &memory).await;
    let (name, added) = client.event().await;
    assert_eq!((name.as_str(), &added["id"]), ("guild.added", &json!(guild)));
    let (name, removed) = client.event().await;
    assert_eq!((name.as_str(), &removed["guild_id"]), ("guild.removed", &json!("4711")));
    assert_eq!(client.event().await.0, "guild.state");
    assert_eq!(client.event().await.0, "resumed");
    server.say(&ada, &general, "hello").await;
    let (_, message, place) = client.placed_event().await;
    assert_eq!(message["content"], "hello");
    assert!(place > added["sequence"].as_u64());
}

#[tokio::test]
async fn what_changed_the_view_shows_the_guild_anew() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (guild, general, _) = server.guild(&ada).await;
    let (client, ready) = server.identified(&ada).await;
    let place = ready["guilds"][0]["sequence"].as_u64().expect("a number");
    let memory = Memory { session: client.session.clone(), seq: client.seq, place };
    drop(client);
    server.say(&ada, &general, "before").await;
    let made = server.voice_channel(&ada, &guild, 0).await;
    let (server, _node) = restart(server).await;
    let mut client = resumed(&server, &ada, &guild, &memory).await;
    assert_eq!(client.placed_event().await.1["content"], "before");
    assert_eq!(client.placed_event().await.1["id"], json!(made));
    let (name, shown) = client.event().await;
    assert_eq!((name.as_str(), &shown["sequence"]), ("guild.added", &json!(place + 2)));
    assert_eq!(shown["channels"].as_array().map(Vec::len), Some(3));
    assert_eq!(client.event().await.0, "guild.state");
    assert_eq!(client.event().await.0, "resumed");
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told() {
    let (server, _node) = Server::start().await;
    let (ada, bob) = (server.person("Ada").await, server.person("Bob").await);
    let (guild, ..) = server.guild(&ada).await;
    let (held, _) = server.identified(&bob).await;
    let key = "0123456789abcdef0123456789abcdef";
    for (name, session, guilds) in [
        ("no guilds", key, json!({})),
        ("another's session", held.session.as_str(), json!({ guild.as_str(): 0 })),
        ("no key of ours", "../../etc", json!({ guild.as_str(): 0 })),
    ] {
        let mut client = server.socket().await;
        client.resume_by_guilds(&ada.token, session, 5, guilds).await;
        assert_eq!(client.frame().await, json!({ "op": "invalid_session" }), "{name}");
        client.seq = 0;
        client.identify(&ada.token).await;
    }
}

/// A sequence of numbers that only the seed decides.
struct Schedule(u64);

impl Schedule {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Reads up to and with `last`; each event must be the next one.
async fn read_to(client: &mut Client, memory: &mut Memory, last: u64, seen: &mut Vec<String>) {
    while memory.place < last {
        let (name, data, place) = client.placed_event().await;
        memory.seq = client.seq;
        let Some(place) = place else {
            assert!(["guild.state", "resumed"].contains(&name.as_str()), "{name} {data}");
            continue;
        };
        assert_eq!(place, memory.place + 1, "{name} came out of turn");
        memory.place = place;
        seen.push(text(&data["content"]));
    }
}

#[tokio::test]
async fn over_any_cuts_each_event_comes_once_and_in_order() {
    for seed in [1, 2, 3] {
        let mut schedule = Schedule(seed);
        let (mut server, mut node) = Server::start().await;
        let ada = server.person("Ada").await;
        let (guild, general, _) = server.guild(&ada).await;
        let (mut client, ready) = server.identified(&ada).await;
        let place = ready["guilds"][0]["sequence"].as_u64().expect("a number");
        let mut memory = Memory { session: client.session.clone(), seq: client.seq, place };
        let (mut said, mut seen) = (Vec::<String>::new(), Vec::new());
        for round in 0..12 {
            for _ in 0..schedule.below(6) {
                said.push(format!("{seed}/{}", said.len()));
                server.say(&ada, &general, said.last().expect("just added")).await;
            }
            // Some of it is read, the rest is under way when the cut comes.
            let all = place + said.len() as u64;
            let last = memory.place + schedule.below(all - memory.place + 1);
            read_to(&mut client, &mut memory, last, &mut seen).await;
            match schedule.below(4) {
                0 if round < 11 => {
                    drop(client);
                    (server, node) = restart(server).await;
                }
                1 | 2 => drop(client),
                _ => continue,
            }
            client = resumed(&server, &ada, &guild, &memory).await;
        }
        read_to(&mut client, &mut memory, place + said.len() as u64, &mut seen).await;
        assert_eq!(seen, said, "seed {seed}");
        drop(node);
    }
}

#[tokio::test]
async fn an_unknown_place_is_no_end_of_memory() {
    let (server, _node) = Server::start().await;
    let ada = server.person("Ada").await;
    let (guild, general, _) = server.guild(&ada).await;
    for number in 0..3 {
        server.say(&ada, &general, &format!("{number}")).await;
    }
    let key = "0123456789abcdef0123456789abcdef";
    // A client may be ahead of what the replica follows, never of what was told.
    let memory = Memory { session: key.to_owned(), seq: 70, place: 2 };
    let mut client = resumed(&server, &ada, &guild, &memory).await;
    let (_, last, place) = client.placed_event().await;
    assert_eq!((&last["content"], place), (&Value::from("2"), Some(3)));
    assert_eq!(client.seq, 71);
}

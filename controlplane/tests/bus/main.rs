//! The bus between replicas over a real NATS: each event at every replica, once and in order, also
//! when the server dies or comes late.

#[path = "../nats_process/mod.rs"]
mod nats_process;

use std::time::Duration;

use hype_control::config;
use hype_control::event::{Audience, Bus, Published, Subscription};
use hype_protocol::gateway::{Event, Position};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use nats_process::NatsProcess;
use tokio::time::{sleep, timeout};

/// Readiness is tried with events of guilds from this one on.
const TRIED: u64 = 90;
/// Nothing here takes longer, but for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

async fn open(server: &NatsProcess) -> Bus {
    open_with(std::slice::from_ref(server), 1).await
}

async fn open_with(servers: &[NatsProcess], copies: u16) -> Bus {
    let nats = servers.iter().map(NatsProcess::url).collect();
    let settings = config::Bus { nats, copies, ..config::Bus::default() };
    Bus::open(&settings).await.expect("the settings are right")
}

/// Waits until the stream is kept on that many servers.
async fn until_kept(servers: &[NatsProcess], copies: usize) {
    let kept = async {
        loop {
            if kept_on(servers).await.is_ok_and(|kept| kept == copies) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, kept).await.expect("the stream is changed");
}

/// On how many servers the stream is, of those that have all of it.
async fn kept_on(servers: &[NatsProcess]) -> Result<usize, async_nats::Error> {
    let urls: Vec<String> = servers.iter().map(NatsProcess::url).collect();
    let client = async_nats::connect(urls).await?;
    let stream = async_nats::jetstream::new(client).get_stream("HYPE_EVENTS").await?;
    let info = stream.cached_info();
    let replicas = info.cluster.as_ref().map_or(&[][..], |cluster| &cluster.replicas);
    Ok(1 + replicas.iter().filter(|replica| replica.current).count())
}

fn durable(guild: u64, sequence: u64) -> Published {
    let guild_id = GuildId(guild);
    let event = Event::MessageDeleted {
        guild_id,
        channel_id: ChannelId(1),
        message_id: MessageId(sequence),
    };
    let position = Some(Position { guild_id, sequence });
    Published { audience: Audience::Guild(guild_id), event, position }
}

/// Delivers as the relay does: again until it is done.
async fn deliver(bus: &Bus, events: &[Published]) {
    let done = async {
        while bus.deliver(events).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, done).await.expect("NATS acknowledges");
}

/// The positions of the next durable events.
async fn positions(subscription: &mut Subscription, count: usize) -> Vec<(u64, u64)> {
    let mut positions = Vec::new();
    while positions.len() < count {
        let next = timeout(PATIENCE, subscription.receive()).await;
        let next = next.unwrap_or_else(|_| panic!("only {positions:?} came"));
        if let Some(Position { guild_id, sequence }) = next.expect("nothing was lost").position {
            positions.push((guild_id.0, sequence));
        }
    }
    positions
}

/// The same without what readiness was tried with, some of which may come late.
async fn positions_of_test(subscription: &mut Subscription, count: usize) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let next = positions(subscription, 1).await;
        seen.extend(next.into_iter().filter(|(guild, _)| *guild < TRIED));
    }
    seen
}

/// Returns once the bus reads what is delivered.
async fn until_reading(bus: &Bus, subscription: &mut Subscription, guild: u64) {
    for sequence in 1.. {
        deliver(bus, &[durable(guild, sequence)]).await;
        let wait = Duration::from_millis(200);
        if timeout(wait, positions(subscription, 1)).await.is_ok() {
            return;
        }
        assert!(sequence < 300, "nothing is read");
    }
}

#[tokio::test]
async fn every_replica_gets_each_event_once_and_in_order() {
    let server = NatsProcess::start();
    let (one, two) = (open(&server).await, open(&server).await);
    let (mut at_one, mut at_two) = (one.subscribe(), two.subscribe());
    until_reading(&two, &mut at_two, TRIED).await;
    until_reading(&one, &mut at_one, TRIED + 1).await;
    let events: Vec<_> = (1..=40).map(|sequence| durable(sequence % 2, sequence)).collect();
    deliver(&one, &events[..30]).await;
    // A relay that died before it could note what it had sent: the next one sends it again.
    deliver(&two, &events[10..]).await;
    deliver(&one, &[durable(5, 1)]).await;
    let expected: Vec<_> =
        (1..=40).map(|sequence| (sequence % 2, sequence)).chain([(5, 1)]).collect();
    for subscription in [&mut at_one, &mut at_two] {
        assert_eq!(positions_of_test(subscription, expected.len()).await, expected);
    }
    // What nobody keeps reaches both, the sender only once.
    for number in 1..=3 {
        one.publish_everywhere(Audience::User(UserId(number)), Event::Resumed {});
    }
    for subscription in [&mut at_one, &mut at_two] {
        for number in 1..=3 {
            let next = timeout(PATIENCE, subscription.receive()).await.expect("it comes");
            let next = next.expect("nothing was lost");
            assert_eq!(next.audience, Audience::User(UserId(number)));
        }
    }
}

#[tokio::test]
async fn a_server_that_dies_loses_nothing() {
    let mut server = NatsProcess::start();
    let bus = open(&server).await;
    let mut reader = bus.subscribe();
    until_reading(&bus, &mut reader, TRIED).await;
    for round in 0..3 {
        let batch = |from: u64| -> Vec<_> {
            (round * 20 + from..round * 20 + from + 10).map(|number| durable(1, number)).collect()
        };
        deliver(&bus, &batch(1)).await;
        server.kill();
        let refused = async {
            // The cut is noticed, or the acknowledgement does not come.
            while bus.deliver(&batch(11)).await.is_ok() {}
        };
        timeout(PATIENCE, refused).await.expect("nobody acknowledges for a dead server");
        server.run();
        deliver(&bus, &batch(11)).await;
    }
    let expected: Vec<_> = (1..=60).map(|sequence| (1, sequence)).collect();
    assert_eq!(positions_of_test(&mut reader, 60).await, expected);
}

#[tokio::test]
async fn a_server_that_lost_its_disk_is_read_from_its_beginning() {
    let mut server = NatsProcess::start();
    let bus = open(&server).await;
    let mut reader = bus.subscribe();
    until_reading(&bus, &mut reader, TRIED).await;
    let (before, after): (Vec<_>, Vec<_>) = (1..=20)
        .map(|sequence| durable(1, sequence))
        .partition(|event| event.position.is_some_and(|position| position.sequence <= 10));
    deliver(&bus, &before).await;
    assert_eq!(positions_of_test(&mut reader, 10).await.last(), Some(&(1, 10)));
    server.kill();
    server.forget();
    server.run();
    deliver(&bus, &after).await;
    let expected: Vec<_> = (11..=20).map(|sequence| (1, sequence)).collect();
    assert_eq!(positions_of_test(&mut reader, 10).await, expected);
}

#[tokio::test]
async fn copies_are_made_when_the_setting_says_so_and_outlive_a_server() {
    let mut servers = NatsProcess::cluster(3);
    let one = open_with(&servers, 1).await;
    let mut reader = one.subscribe();
    until_reading(&one, &mut reader, TRIED).await;
    until_kept(&servers, 1).await;
    // Replicas get the new setting one after the other.
    let three = open_with(&servers, 3).await;
    until_kept(&servers, 3).await;
    let mut readers = [reader, three.subscribe()];
    until_reading(&three, &mut readers[1], TRIED + 1).await;
    deliver(&one, &[durable(1, 1)]).await;
    servers[0].kill();
    deliver(&one, &[durable(1, 2)]).await;
    deliver(&three, &[durable(1, 3)]).await;
    for reader in &mut readers {
        assert_eq!(positions_of_test(reader, 3).await, [(1, 1), (1, 2), (1, 3)]);
    }
}

#[tokio::test]
async fn a_single_server_keeps_what_it_has_whatever_the_setting_says() {
    let server = NatsProcess::start();
    let bus = open(&server).await;
    let mut reader = bus.subscribe();
    until_reading(&bus, &mut reader, TRIED).await;
    let wishful = open_with(std::slice::from_ref(&server), 3).await;
    let mut reader = wishful.subscribe();
    until_reading(&wishful, &mut reader, TRIED + 1).await;
    until_kept(std::slice::from_ref(&server), 1).await;
}

#[tokio::test]
async fn a_server_may_come_late() {
    let mut server = NatsProcess::stopped();
    let bus = open(&server).await;
    let mut reader = bus.subscribe();
    bus.deliver(&[durable(1, 1)]).await.expect_err("there is no server");
    bus.publish_everywhere(Audience::User(UserId(1)), Event::Resumed {});
    let own = timeout(PATIENCE, reader.receive()).await.expect("its own people hear of it");
    assert_eq!(own.expect("nothing was lost").position, None);
    server.run();
    until_reading(&bus, &mut reader, TRIED).await;
}

#[tokio::test]
async fn wrong_settings_are_refused() {
    let settings = config::Bus { nats: vec!["nats://a:port".to_owned()], ..config::Bus::default() };
    Bus::open(&settings).await.expect_err("no server is named");
}

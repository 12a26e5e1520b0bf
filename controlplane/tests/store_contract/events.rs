//! Events: numbered with their change, claimed by one relay, read again, forgotten.

use hype_control::event::Audience;
use hype_protocol::gateway::{Event, Position};
use hype_protocol::id::{ChannelId, GuildId};

use crate::place::{Place, contract, guild, message, send, with_users, write};

contract! {
    events_are_claimed_in_order_until_they_are_sent
    events_are_read_again_and_forgotten_once_sent
    a_change_that_was_not_committed_told_nothing
}

async fn two_guilds(place: &Place) -> hype_control::store::Store {
    let store = place.open().await;
    with_users(&store, [1]).await;
    for id in [1, 2] {
        assert!(store.create_guild(&guild(id, 1), 9, 1000).await.expect("created"));
    }
    for (id, channel) in [(1, 10), (2, 20), (3, 10), (4, 20), (5, 10)] {
        assert!(send(&store, &message(id, channel, 1)).await.expect("sent"));
    }
    store
}

fn at(guild: u64, sequence: u64) -> Option<Position> {
    Some(Position { guild_id: GuildId(guild), sequence })
}

async fn events_are_claimed_in_order_until_they_are_sent(place: Place) {
    let store = two_guilds(&place).await;
    let shard = &store.shards()[0];
    let expected = [at(1, 1), at(1, 2), at(1, 3), at(2, 1), at(2, 2)];
    // Whoever dies with a claim publishes nothing for good.
    for _ in 0..2 {
        let claim = shard.claim_events(100).await.expect("claimed");
        let positions: Vec<_> = claim.events.iter().map(|published| published.position).collect();
        assert_eq!(positions, expected);
        assert_eq!(claim.events[0].audience, Audience::Channel(GuildId(1), ChannelId(10)));
        assert_eq!(claim.events[0].event, Event::MessageCreated(message(1, 10, 1)));
    }
    let claim = shard.claim_events(2).await.expect("claimed");
    assert_eq!(claim.events.len(), 2);
    claim.sent().await.expect("noted");
    let claim = shard.claim_events(100).await.expect("claimed");
    let positions: Vec<_> = claim.events.iter().map(|published| published.position).collect();
    assert_eq!(positions, expected[2..]);
    claim.sent().await.expect("noted");
    assert!(shard.claim_events(100).await.expect("claimed").events.is_empty());
}

async fn events_are_read_again_and_forgotten_once_sent(place: Place) {
    let store = two_guilds(&place).await;
    let shard = &store.shards()[0];
    let after = async |sequence: u64, most: u32| {
        let events = store.events_after(GuildId(1), sequence, most).await.expect("read");
        events
            .iter()
            .map(|published| published.position.expect("it has one").sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(after(0, 10).await, [1, 2, 3]);
    assert_eq!(after(1, 1).await, [2]);
    assert_eq!(after(3, 10).await, [] as [u64; 0]);
    assert_eq!(after(u64::MAX, 10).await, [] as [u64; 0]);
    assert_eq!(shard.forget_events(u64::MAX >> 1).await.expect("done"), 0, "none was sent");
    let claim = shard.claim_events(2).await.expect("claimed");
    claim.sent().await.expect("noted");
    assert_eq!(shard.forget_events(1).await.expect("done"), 0, "none is so old");
    assert_eq!(shard.forget_events(u64::MAX >> 1).await.expect("done"), 2);
    assert_eq!(after(0, 10).await, [3]);
}

async fn a_change_that_was_not_committed_told_nothing(place: Place) {
    let store = two_guilds(&place).await;
    let mut gone = write(&store, 1).await;
    let event = Event::MessageCreated(message(9, 10, 1));
    gone.tell(&Audience::Guild(GuildId(1)), &event).await.expect("written");
    drop(gone);
    assert!(send(&store, &message(6, 10, 1)).await.expect("sent"));
    let events = store.events_after(GuildId(1), 3, 9).await.expect("read");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].position, at(1, 4));
    assert_eq!(events[0].event, Event::MessageCreated(message(6, 10, 1)));
}

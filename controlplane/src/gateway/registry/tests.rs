//! Who is found by which index, and what the limits do.

use std::sync::Arc;

use hype_protocol::gateway::{CloseCode, Guild};
use hype_protocol::id::{GuildId, RoomId, SessionId, UserId};
use tokio::time::Instant;

use super::{MAX_SESSIONS_PER_USER, Registry};
use crate::gateway::session::{Hold, Session};

fn numbers(sessions: &[Arc<Session>]) -> Vec<u64> {
    let mut numbers: Vec<u64> = sessions.iter().map(|session| session.number).collect();
    numbers.sort_unstable();
    numbers
}

fn of_guild(registry: &Registry, guild: u64) -> Vec<u64> {
    let all = registry.all_followed().find(|(id, _)| id.0 == guild);
    let found: Vec<_> = all.into_iter().flat_map(|(_, it)| it.sessions.values().cloned()).collect();
    numbers(&found)
}

fn of_user(registry: &Registry, user: u64) -> Vec<u64> {
    let mut found = Vec::new();
    registry.of_user(UserId(user), &mut found);
    numbers(&found)
}

fn copy(guild: u64, sequence: u64) -> Guild {
    Guild {
        id: GuildId(guild),
        name: String::new(),
        owner_id: UserId(1),
        sequence,
        roles: Vec::new(),
        channels: Vec::new(),
        members: Vec::new(),
        voice_states: Vec::new(),
        presences: Vec::new(),
    }
}

/// The sessions of a room, when the room is known.
fn of_room(registry: &Registry, room: u64) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    registry.of_room(RoomId(room), &mut found).then(|| numbers(&found))
}

#[test]
fn sessions_are_found_until_they_are_removed() {
    let mut registry = Registry::default();
    let hold = Hold::default();
    let [a, b, c] = [1, 1, 2].map(|user| registry.open(UserId(user), &hold).expect("room left"));
    for session in [&a, &c, &c] {
        if !registry.follow(session, GuildId(9), None) {
            assert!(registry.follow(session, GuildId(9), Some(&copy(9, 4))));
        }
    }
    assert_eq!(registry.followed(GuildId(9)).map(|it| it.sequence), Some(4));
    registry.expect_events(GuildId(9), 4);
    assert!(registry.take_behind().is_empty(), "it has all of them");
    registry.expect_events(GuildId(9), 5);
    assert_eq!(registry.take_behind(), [GuildId(9)]);
    assert_eq!(of_user(&registry, 1), [a.number, b.number]);
    assert_eq!(of_guild(&registry, 9), [a.number, c.number]);
    registry.remove(&a.key, CloseCode::Unknown);
    assert!(registry.find(&a.key).is_none());
    assert!(!a.resume(0, &hold), "who found it a moment ago cannot go on with it");
    assert_eq!(of_user(&registry, 1), [b.number]);
    assert_eq!(of_guild(&registry, 9), [c.number]);
    assert!(registry.follow(&a, GuildId(9), None));
    assert_eq!(of_guild(&registry, 9), [c.number], "a removed one does not come back");
    registry.unfollow(&c, GuildId(9));
    assert!(registry.followed(GuildId(9)).is_none(), "nobody hears of it any more");
    assert!(registry.follow(&c, GuildId(9), Some(&copy(9, 6))));
    assert!(registry.open_as(b.key.clone(), UserId(9), &hold, 7).is_none(), "another's key");
    registry.clear(CloseCode::GoingAway);
    assert!(registry.by_key.is_empty() && registry.by_user.is_empty());
    assert!(registry.by_guild.is_empty());
}

#[test]
fn a_person_has_a_limited_number_of_sessions() {
    let mut registry = Registry::default();
    let hold = Hold::default();
    let open = |registry: &mut Registry| registry.open(UserId(1), &hold);
    let sessions: Vec<_> =
        (0..MAX_SESSIONS_PER_USER).map(|_| open(&mut registry).expect("room left")).collect();
    assert!(open(&mut registry).is_none(), "all of them are connected");
    assert!(registry.open(UserId(2), &hold).is_some());
    sessions[5].detach(&hold);
    std::thread::sleep(std::time::Duration::from_millis(2));
    sessions[3].detach(&hold);
    open(&mut registry).expect("the one that waits longest makes room");
    assert!(registry.find(&sessions[5].key).is_none());
    assert!(registry.find(&sessions[3].key).is_some());
    registry.sweep(Instant::now() + crate::gateway::RESUME_WINDOW);
    assert!(registry.find(&sessions[3].key).is_none());
    assert!(registry.find(&sessions[0].key).is_some());
}

#[test]
fn rooms_follow_the_events() {
    let mut registry = Registry::default();
    let hold = Hold::default();
    let [a, b] = [1, 2].map(|user| registry.open(UserId(user), &hold).expect("room left"));
    assert_eq!(of_room(&registry, 7), None);
    registry.entered(RoomId(7), SessionId(10), UserId(1));
    assert_eq!(of_room(&registry, 7), None, "rooms that nobody asked for are not tracked");
    registry.learn_room(RoomId(7), [(SessionId(10), UserId(1))]);
    assert_eq!(of_room(&registry, 7), Some(vec![a.number]));
    registry.entered(RoomId(7), SessionId(20), UserId(2));
    // A reload: for a moment somebody is there twice.
    registry.entered(RoomId(7), SessionId(21), UserId(2));
    assert_eq!(of_room(&registry, 7), Some(vec![a.number, b.number]));
    registry.left(RoomId(7), SessionId(20));
    assert_eq!(of_room(&registry, 7), Some(vec![a.number, b.number]));
    registry.left(RoomId(7), SessionId(21));
    registry.left(RoomId(7), SessionId(10));
    assert_eq!(of_room(&registry, 7), None, "an empty room is forgotten");
}

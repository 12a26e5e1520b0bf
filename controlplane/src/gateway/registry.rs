//! Which sessions there are, and who hears of which guild, person and room.
//! Rooms are learned from the voice events that pass by, so that a change of speakers costs no
//! look at the media plane.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use hype_protocol::gateway::CloseCode;
use hype_protocol::id::{GuildId, RoomId, SessionId, UserId};
use tokio::time::Instant;

use super::session::{Hold, Session};

/// The most sessions of one replica.
const MAX_SESSIONS: usize = 150_000;
/// The most sessions of one person: tabs, devices, and those waiting to be resumed.
const MAX_SESSIONS_PER_USER: usize = 32;

/// All sessions, with indices.
#[derive(Debug, Default)]
pub(super) struct Registry {
    next_number: u64,
    by_key: HashMap<String, Entry>,
    by_user: HashMap<UserId, Vec<Arc<Session>>>,
    by_guild: HashMap<GuildId, HashMap<u64, Arc<Session>>>,
    /// Voice sessions with their people, of rooms that somebody was told about.
    rooms: HashMap<RoomId, HashMap<SessionId, UserId>>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    guilds: Vec<GuildId>,
}

impl Registry {
    /// A new session of a person; none when there are too many and all of them are connected.
    pub(super) fn open(&mut self, user: UserId, hold: &Hold) -> Option<Arc<Session>> {
        let own = self.by_user.get(&user).map_or(&[][..], Vec::as_slice);
        if own.len() >= MAX_SESSIONS_PER_USER {
            let waiting = own.iter().filter_map(|session| {
                session.detached_since().map(|since| (since, session.key.clone()))
            });
            let (_, oldest) = waiting.min_by_key(|(since, _)| *since)?;
            self.remove(&oldest, CloseCode::InvalidSequence);
        }
        if self.by_key.len() >= MAX_SESSIONS {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        let key = format!("{:032x}", rand::random::<u128>());
        let session = Arc::new(Session::new(key.clone(), number, user, hold));
        self.by_user.entry(user).or_default().push(session.clone());
        self.by_key.insert(key, Entry { session: session.clone(), guilds: Vec::new() });
        metrics::gauge!("hype_control_gateway_sessions").increment(1);
        Some(session)
    }

    pub(super) fn find(&self, key: &str) -> Option<Arc<Session>> {
        self.by_key.get(key).map(|entry| entry.session.clone())
    }

    /// From now on the session hears of the guild.
    pub(super) fn follow(&mut self, session: &Arc<Session>, guild: GuildId) {
        // A session that has ended meanwhile must not come back by an index.
        let Some(entry) = self.by_key.get_mut(&session.key) else { return };
        if self.by_guild.entry(guild).or_default().insert(session.number, session.clone()).is_none()
        {
            entry.guilds.push(guild);
        }
    }

    /// From now on the session hears nothing of the guild.
    pub(super) fn unfollow(&mut self, session: &Arc<Session>, guild: GuildId) {
        let Some(entry) = self.by_key.get_mut(&session.key) else { return };
        entry.guilds.retain(|other| *other != guild);
        if let Some(members) = self.by_guild.get_mut(&guild) {
            members.remove(&session.number);
            if members.is_empty() {
                self.by_guild.remove(&guild);
            }
        }
    }

    /// Removes a session and ends it: also for a connection that has just found it.
    pub(super) fn remove(&mut self, key: &str, code: CloseCode) {
        let Some(Entry { session, guilds }) = self.by_key.remove(key) else { return };
        session.end(code);
        metrics::gauge!("hype_control_gateway_sessions").decrement(1);
        for guild in guilds {
            if let Some(members) = self.by_guild.get_mut(&guild) {
                members.remove(&session.number);
                if members.is_empty() {
                    self.by_guild.remove(&guild);
                }
            }
        }
        if let Some(own) = self.by_user.get_mut(&session.user) {
            own.retain(|other| other.number != session.number);
            if own.is_empty() {
                self.by_user.remove(&session.user);
            }
        }
    }

    /// Removes the sessions that nobody resumed in time.
    pub(super) fn sweep(&mut self, now: Instant) {
        let expired = self.by_key.values().filter(|entry| entry.session.expired(now));
        let keys: Vec<String> = expired.map(|entry| entry.session.key.clone()).collect();
        for key in keys {
            self.remove(&key, CloseCode::InvalidSequence);
        }
    }

    /// Removes all sessions, and what is known of rooms.
    pub(super) fn clear(&mut self, code: CloseCode) {
        self.rooms.clear();
        let keys: Vec<String> = self.by_key.keys().cloned().collect();
        for key in keys {
            self.remove(&key, code);
        }
    }

    pub(super) fn of_user(&self, user: UserId, into: &mut Vec<Arc<Session>>) {
        into.extend(self.by_user.get(&user).into_iter().flatten().cloned());
    }

    pub(super) fn of_guild(&self, guild: GuildId, into: &mut Vec<Arc<Session>>) {
        into.extend(self.by_guild.get(&guild).into_iter().flat_map(HashMap::values).cloned());
    }

    /// The sessions of whoever is in a room; false when the room is not known here yet.
    pub(super) fn of_room(&self, room: RoomId, into: &mut Vec<Arc<Session>>) -> bool {
        let Some(people) = self.rooms.get(&room) else { return false };
        let mut users: Vec<UserId> = people.values().copied().collect();
        // Somebody may be there twice for a moment, while a new session replaces the old one.
        users.sort_unstable();
        users.dedup();
        for user in users {
            self.of_user(user, into);
        }
        true
    }

    /// What the media plane knows of a room.
    pub(super) fn learn_room(
        &mut self,
        room: RoomId,
        people: impl IntoIterator<Item = (SessionId, UserId)>,
    ) {
        self.rooms.insert(room, people.into_iter().collect());
    }

    /// Somebody is in a room. Rooms that nobody asked for are not tracked.
    pub(super) fn entered(&mut self, room: RoomId, session: SessionId, user: UserId) {
        if let Some(people) = self.rooms.get_mut(&room) {
            people.insert(session, user);
        }
    }

    /// Somebody's session in a room ended.
    pub(super) fn left(&mut self, room: RoomId, session: SessionId) {
        if let Some(people) = self.rooms.get_mut(&room) {
            people.remove(&session);
            if people.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }
}

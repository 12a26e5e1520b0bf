//! Which sessions there are, and who hears of which guild, person and room; of each guild that
//! somebody here is in, up to which event it was told and who sees what. Rooms are learned from the voice events that pass by, so that a change of speakers costs no
//! look at the media plane.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hype_protocol::gateway::{CloseCode, Guild};
use hype_protocol::id::{GuildId, RoomId, SessionId, UserId};
use tokio::time::Instant;

use super::access::Access;
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
    by_guild: HashMap<GuildId, Followed>,
    /// Guilds of which events may be missing here: they are read from the database.
    behind: HashSet<GuildId>,
    /// Voice sessions with their people, of rooms that somebody was told about.
    rooms: HashMap<RoomId, HashMap<SessionId, UserId>>,
}

/// A guild that sessions here hear of.
#[derive(Debug)]
pub(super) struct Followed {
    /// The newest event that they were told.
    pub(super) sequence: u64,
    /// As of that event.
    pub(super) access: Access,
    pub(super) sessions: HashMap<u64, Arc<Session>>,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    guilds: Vec<GuildId>,
}

impl Registry {
    /// A new session of a person; none when there are too many and all of them are connected.
    pub(super) fn open(&mut self, user: UserId, hold: &Hold) -> Option<Arc<Session>> {
        self.open_as(format!("{:032x}", rand::random::<u128>()), user, hold, 0)
    }

    /// One that goes on after `seq` under a key that another replica gave.
    pub(super) fn open_as(
        &mut self,
        key: String,
        user: UserId,
        hold: &Hold,
        seq: u64,
    ) -> Option<Arc<Session>> {
        if self.by_key.contains_key(&key) {
            return None;
        }
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
        let session = Arc::new(Session::new(key.clone(), number, user, hold, seq));
        self.by_user.entry(user).or_default().push(session.clone());
        self.by_key.insert(key, Entry { session: session.clone(), guilds: Vec::new() });
        metrics::gauge!("hype_control_gateway_sessions").increment(1);
        Some(session)
    }

    pub(super) fn find(&self, key: &str) -> Option<Arc<Session>> {
        self.by_key.get(key).map(|entry| entry.session.clone())
    }

    /// From now on the session hears of the guild. The first one here brings a copy of it; without
    /// one, false: read it and come again.
    pub(super) fn follow(
        &mut self,
        session: &Arc<Session>,
        guild: GuildId,
        copy: Option<&Guild>,
    ) -> bool {
        // A session that has ended meanwhile must not come back by an index.
        let Some(entry) = self.by_key.get_mut(&session.key) else { return true };
        if let (None, Some(copy)) = (self.by_guild.get(&guild), copy) {
            let access = Access::of(copy);
            let followed = Followed { sequence: copy.sequence, access, sessions: HashMap::new() };
            self.by_guild.insert(guild, followed);
        }
        let Some(followed) = self.by_guild.get_mut(&guild) else { return false };
        if followed.sessions.insert(session.number, session.clone()).is_none() {
            entry.guilds.push(guild);
        }
        true
    }

    /// The session hears no more of the guild.
    pub(super) fn unfollow(&mut self, session: &Session, guild: GuildId) {
        if let Some(entry) = self.by_key.get_mut(&session.key) {
            entry.guilds.retain(|other| *other != guild);
        }
        self.leave(guild, session.number);
    }

    fn leave(&mut self, guild: GuildId, number: u64) {
        if let Some(followed) = self.by_guild.get_mut(&guild) {
            followed.sessions.remove(&number);
            if followed.sessions.is_empty() {
                self.by_guild.remove(&guild);
                self.behind.remove(&guild);
            }
        }
    }

    /// What is known of a guild that sessions here hear of.
    pub(super) fn followed(&mut self, guild: GuildId) -> Option<&mut Followed> {
        self.by_guild.get_mut(&guild)
    }

    /// All guilds that sessions here hear of.
    pub(super) fn all_followed(&self) -> impl Iterator<Item = (GuildId, &Followed)> {
        self.by_guild.iter().map(|(guild, followed)| (*guild, followed))
    }

    /// Somebody has read the guild as of `sequence`, so its events up to there are in the database.
    pub(super) fn expect_events(&mut self, guild: GuildId, sequence: u64) {
        if self.by_guild.get(&guild).is_some_and(|followed| followed.sequence < sequence) {
            self.behind.insert(guild);
        }
    }

    /// The guilds to be read from the database; whoever cannot puts one back.
    pub(super) fn take_behind(&mut self) -> Vec<GuildId> {
        self.behind.drain().collect()
    }

    /// Puts one back.
    pub(super) fn put_behind(&mut self, guild: GuildId) {
        if self.by_guild.contains_key(&guild) {
            self.behind.insert(guild);
        }
    }

    /// Ends all sessions that hear of a guild.
    pub(super) fn clear_guild(&mut self, guild: GuildId, code: CloseCode) {
        let Some(followed) = self.by_guild.get(&guild) else { return };
        let keys: Vec<String> = followed.sessions.values().map(|one| one.key.clone()).collect();
        for key in keys {
            self.remove(&key, code);
        }
    }

    /// Everybody with a session here.
    pub(super) fn users(&self) -> impl Iterator<Item = (UserId, &[Arc<Session>])> {
        self.by_user.iter().map(|(user, sessions)| (*user, sessions.as_slice()))
    }

    /// Removes a session and ends it: also for a connection that has just found it.
    pub(super) fn remove(&mut self, key: &str, code: CloseCode) {
        let Some(Entry { session, guilds }) = self.by_key.remove(key) else { return };
        session.end(code);
        metrics::gauge!("hype_control_gateway_sessions").decrement(1);
        for guild in guilds {
            self.leave(guild, session.number);
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

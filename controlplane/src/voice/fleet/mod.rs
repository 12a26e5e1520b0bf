//! The fleet's state: nodes, and the sessions they report. Pure: time comes in, what has to be
//! told goes out as [`Notice`]s, and nothing here waits. A node that connects again sends all of
//! its sessions, so what is known of it is replaced as a whole.

mod codecs;
pub(super) mod follow;
mod notice;
mod observation;
pub(super) mod observer;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use hype_protocol::id::{BootId, NodeId, RoomId, SessionId, SourceId, UserId, WorkerId};
use hype_protocol::media::Codec;
use hype_protocol::observation::{NodeLoad, OpenSession, SessionStatus, ToNode};
use hype_protocol::record::{self as records, NodeLive, NodeState};
use hype_protocol::secret::BootKeys;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use notice::Notice;
pub use observation::Violation;

use super::placement::{Candidate, WorkerLoad};
use super::rooms::Seat;
use super::{MAX_PEERS, NODE_RETRY};
use crate::error::Error;

/// How long the sessions of a node without a connection count as they were last seen.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long an opened session counts without any report of its node.
pub const PENDING: Duration = Duration::from_secs(5);
/// The most sessions known here. Nodes limit themselves; this guards against one that does not.
const MAX_SESSIONS: usize = 1_000_000;
/// How long a node that is gone is remembered.
const FORGET_NODE: Duration = Duration::from_secs(600);

/// Tells observation connections apart; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// A node's connection after its `Hello`.
struct Link {
    connection: ConnectionId,
    boot: BootId,
    keys: BootKeys,
    sender: mpsc::Sender<ToNode>,
    /// The snapshot is complete.
    synced: bool,
}

struct Node {
    /// As last seen; kept when the record is gone, for a connected node still serves.
    live: Option<NodeLive>,
    /// Its live record is there.
    registered: bool,
    /// What is wanted of it.
    state: NodeState,
    link: Option<Link>,
    /// The run that its sessions are of.
    boot: Option<BootId>,
    /// Since when there is no link.
    unlinked_since: Instant,
    /// Its sessions.
    sessions: HashSet<SessionId>,
    /// Sessions from before its last `Hello` that it has not named since.
    unconfirmed: HashSet<SessionId>,
    /// Sessions that counted as lost when it did not come back in time. Should it turn out to have
    /// restarted, their people are asked to join again after all.
    lost: Vec<(SessionId, RoomId, UserId)>,
    load: Option<NodeLoad>,
    /// Sessions opened since the last report of its load.
    joins: u32,
}

impl Node {
    fn new(now: Instant) -> Self {
        Self {
            live: None,
            registered: false,
            state: NodeState::Active,
            link: None,
            boot: None,
            unlinked_since: now,
            sessions: HashSet::new(),
            unconfirmed: HashSet::new(),
            lost: Vec::new(),
            load: None,
            joins: 0,
        }
    }

    /// Its link and record, when they belong to the same run.
    fn serving(&self) -> Option<(&Link, &NodeLive)> {
        let (link, live) = (self.link.as_ref()?, self.live.as_ref()?);
        (link.boot == live.boot && self.state != NodeState::Fenced).then_some((link, live))
    }
}

struct Held {
    node: NodeId,
    status: SessionStatus,
    /// Opened by us and not reported yet: until when it counts nevertheless.
    pending: Option<Instant>,
}

/// Who is in a room, and what its people were told last.
#[derive(Default)]
struct Occupancy {
    sessions: BTreeSet<SessionId>,
    codecs: Option<Vec<Codec>>,
    speakers: Vec<SourceId>,
}

/// All nodes and sessions known to this replica.
pub struct Fleet {
    started: Instant,
    nodes: HashMap<NodeId, Node>,
    sessions: HashMap<SessionId, Held>,
    rooms: HashMap<RoomId, Occupancy>,
    users: HashMap<UserId, Vec<SessionId>>,
}

impl Fleet {
    /// Knows nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            nodes: HashMap::new(),
            sessions: HashMap::new(),
            rooms: HashMap::new(),
            users: HashMap::new(),
        }
    }

    /// See [`super::Voice::open_within`].
    pub fn open(
        &mut self,
        seat: &Seat,
        open: OpenSession,
        limit: u32,
        now: Instant,
    ) -> Result<Vec<SessionId>, Error> {
        let limit = if limit == 0 { MAX_PEERS } else { limit.min(MAX_PEERS) };
        let others = self.rooms.get(&open.room).map_or(0, |room| {
            let other = |session| self.sessions.get(session).map(|held| held.status.user);
            room.sessions.iter().filter_map(other).filter(|user| *user != open.user).count()
        });
        if others >= limit as usize {
            return Err(Error::ChannelFull);
        }
        if self.sessions.len() >= MAX_SESSIONS || self.sessions.contains_key(&open.session) {
            return Err(Error::Overloaded(NODE_RETRY));
        }
        let unavailable = || Error::NoNode(NODE_RETRY);
        let node = self.nodes.get_mut(&seat.node).ok_or_else(unavailable)?;
        let (link, _) = node.serving().ok_or_else(unavailable)?;
        if link.boot != seat.boot {
            return Err(unavailable());
        }
        let status = SessionStatus {
            session: open.session,
            room: open.room,
            worker: open.worker,
            user: open.user,
            connected: false,
            flags: open.flags,
            producers: Vec::new(),
            decodes: Vec::new(),
            opened_at_ms: crate::store::snowflake::unix_ms(),
        };
        link.sender.try_send(ToNode::Open(Box::new(open))).map_err(|_| unavailable())?;
        node.joins += 1;
        let node = seat.node.clone();
        let others = self.users.get(&status.user).cloned().unwrap_or_default();
        self.insert(Held { node, status, pending: Some(now + PENDING) });
        Ok(others)
    }

    /// Sends a command about a session to its node.
    pub fn command(&mut self, session: SessionId, command: ToNode) -> Result<(), Error> {
        let held = self.sessions.get(&session).ok_or(Error::NoSession)?;
        let link = self.nodes.get(&held.node).and_then(|node| node.link.as_ref());
        let sent = link.is_some_and(|link| link.sender.try_send(command).is_ok());
        if sent { Ok(()) } else { Err(Error::NoNode(NODE_RETRY)) }
    }

    /// See [`super::Voice::sessions_in`].
    pub fn sessions_in(&self, room: RoomId) -> Vec<SessionStatus> {
        let Some(room) = self.rooms.get(&room) else { return Vec::new() };
        let mut sessions: Vec<_> =
            room.sessions.iter().filter_map(|session| self.session(*session)).collect();
        sessions.sort_by_key(|session| (session.opened_at_ms, session.session));
        sessions
    }

    /// See [`super::Voice::session`].
    pub fn session(&self, session: SessionId) -> Option<SessionStatus> {
        self.sessions.get(&session).map(|held| held.status.clone())
    }

    /// See [`super::Voice::sessions_of`].
    pub fn sessions_of(&self, user: UserId) -> Vec<SessionStatus> {
        let sessions = self.users.get(&user).map_or(&[][..], Vec::as_slice);
        sessions.iter().filter_map(|session| self.session(*session)).collect()
    }

    /// See [`super::Voice::rooms`].
    pub fn rooms(&self) -> Vec<RoomId> {
        self.rooms.keys().copied().collect()
    }

    /// A node that people are on, by what is known of it. See [`super::Voice::seat_of`].
    pub fn region(&self, node: &NodeId) -> Option<String> {
        let live = self.nodes.get(node)?.live.as_ref()?;
        Some(live.region.to_string())
    }

    /// See [`super::Voice::ready`].
    pub fn ready(&self) -> bool {
        self.nodes.values().any(|node| node.registered && node.serving().is_some())
    }

    /// People and rooms with people, for the metrics.
    pub fn active(&self) -> (usize, usize) {
        (self.users.len(), self.rooms.len())
    }

    /// Nodes connected, for the metrics.
    pub fn connected(&self) -> usize {
        self.nodes.values().filter(|node| node.link.is_some()).count()
    }

    /// True when nobody is in the room, as far as its node told; false when that is not known.
    pub fn known_empty(&self, room: RoomId, nodes: &[NodeId], now: Instant) -> bool {
        !self.rooms.contains_key(&room)
            && nodes.iter().all(|node| match self.nodes.get(node) {
                Some(Node { link: Some(link), .. }) => link.synced,
                Some(_) | None => self.gone(node, now),
            })
    }

    /// True when a node has neither a live record nor, for [`GRACE`], a connection.
    pub fn gone(&self, node: &NodeId, now: Instant) -> bool {
        let (known, since) = match self.nodes.get(node) {
            Some(node) => (node.registered || node.link.is_some(), node.unlinked_since),
            None => (false, self.started),
        };
        !known && now.duration_since(since.max(self.started)) >= GRACE
    }

    /// True when all sessions that there are are known here: each node has told its own, or is gone.
    pub fn complete(&self, now: Instant) -> bool {
        let told = |(id, node): (&NodeId, &Node)| match &node.link {
            Some(link) => link.synced,
            None => self.gone(id, now),
        };
        now.duration_since(self.started) >= GRACE && self.nodes.iter().all(told)
    }

    /// Where a room can be joined now: in the part with the fewest people. None when its node is
    /// not connected or not to be used, or came back without one of the workers.
    pub fn seat(&self, room: RoomId, record: &records::Room) -> Option<Seat> {
        if !record.parts.iter().all(|part| self.serves(part)) {
            return None;
        }
        let people = self.people_by_part(room, record);
        let (part, _) = record.parts.iter().zip(people).min_by_key(|(_, people)| *people)?;
        let (link, live) = self.nodes.get(&part.node)?.serving()?;
        let addresses = live.workers.get(usize::from(part.worker.0))?.clone();
        Some(Seat {
            room,
            node: part.node.clone(),
            boot: link.boot,
            keys: link.keys.clone(),
            worker: part.worker,
            generation: record.generation,
            addresses,
            fingerprint: live.fingerprint.clone(),
        })
    }

    /// How many people are in each part of a room, in the record's order.
    fn people_by_part(&self, room: RoomId, record: &records::Room) -> Vec<usize> {
        let mut people = vec![0; record.parts.len()];
        let sessions = self.rooms.get(&room).map(|room| &room.sessions);
        for session in sessions.into_iter().flatten() {
            let Some(held) = self.sessions.get(session) else { continue };
            let here =
                |part: &records::Part| part.worker == held.status.worker && part.node == held.node;
            if let Some(place) = record.parts.iter().position(here) {
                people[place] += 1;
            }
        }
        people
    }

    /// The worker that should serve a further part of a room, when each part has at least `full`
    /// people: the one with the fewest people of its node's workers that have none of its parts.
    pub fn worker_for_part(
        &self,
        room: RoomId,
        record: &records::Room,
        full: usize,
    ) -> Option<WorkerId> {
        let core = record.parts.first()?;
        let node = self.nodes.get(&core.node)?;
        let (_, live) = node.serving()?;
        let taken = |worker| {
            record.parts.iter().any(|part| part.node == core.node && part.worker == worker)
        };
        let workers = (0..live.workers.len()).filter_map(|worker| u16::try_from(worker).ok());
        let free: Vec<_> = workers.map(WorkerId).filter(|worker| !taken(*worker)).collect();
        if free.is_empty()
            || node.state != NodeState::Active
            || self.people_by_part(room, record).iter().any(|people| *people < full)
        {
            return None;
        }
        let mut people = vec![0_usize; live.workers.len()];
        for held in node.sessions.iter().filter_map(|session| self.sessions.get(session)) {
            if let Some(count) = people.get_mut(usize::from(held.status.worker.0)) {
                *count += 1;
            }
        }
        free.into_iter().min_by_key(|worker| people[usize::from(worker.0)])
    }

    /// True when a part can be joined where it is.
    pub fn serves(&self, part: &records::Part) -> bool {
        let node = self.nodes.get(&part.node);
        let serving = node.and_then(Node::serving);
        serving.is_some_and(|(_, live)| usize::from(part.worker.0) < live.workers.len())
    }

    /// True when a room must move: its node is gone or fenced, or came back without its worker.
    pub fn must_move(&self, record: &records::Room, now: Instant) -> bool {
        let Some(part) = record.parts.first() else { return true };
        let Some(node) = self.nodes.get(&part.node) else { return self.gone(&part.node, now) };
        let shrunk = node.serving().is_some_and(|(_, live)| {
            let workers = record.parts.iter().map(|part| usize::from(part.worker.0));
            workers.max().is_some_and(|worker| worker >= live.workers.len())
        });
        shrunk || node.state == NodeState::Fenced || self.gone(&part.node, now)
    }

    /// All registered nodes as the planner sees them. `places` says where each room lives.
    pub fn candidates<'a>(
        &self,
        places: impl Iterator<Item = (RoomId, &'a records::Room)>,
    ) -> Vec<Candidate> {
        let mut workers: HashMap<&NodeId, Vec<WorkerLoad>> = HashMap::new();
        for (id, node) in &self.nodes {
            let count = node.live.as_ref().map_or(0, |live| live.workers.len());
            workers.insert(id, vec![WorkerLoad::default(); count]);
        }
        for (room, record) in places {
            for (part, people) in record.parts.iter().zip(self.people_by_part(room, record)) {
                let of_node = workers.get_mut(&part.node);
                if let Some(load) = of_node.and_then(|of| of.get_mut(usize::from(part.worker.0))) {
                    load.rooms += 1;
                    load.sessions += people;
                }
            }
        }
        let candidate = |(id, node): (&NodeId, &Node)| {
            let live = node.live.as_ref().filter(|_| node.registered)?;
            Some(Candidate {
                node: id.clone(),
                version: live.version.clone(),
                state: node.state,
                connected: node.serving().is_some(),
                sessions: u32::try_from(node.sessions.len()).unwrap_or(u32::MAX),
                max_sessions: live.max_sessions,
                cpu: node.load.as_ref().map_or(0.0, |load| load.cpu),
                joins: node.joins,
                workers: workers.remove(id).unwrap_or_default(),
            })
        };
        self.nodes.iter().filter_map(candidate).collect()
    }

    fn insert(&mut self, held: Held) {
        let (session, status) = (held.status.session, &held.status);
        self.rooms.entry(status.room).or_default().sessions.insert(session);
        self.users.entry(status.user).or_default().push(session);
        if let Some(node) = self.nodes.get_mut(&held.node) {
            node.sessions.insert(session);
        }
        self.sessions.insert(session, held);
    }

    /// Forgets a session and tells its guild: one that was never reported has been seen all the
    /// same, in snapshots and in answers to those who joined meanwhile.
    fn remove(&mut self, session: SessionId, out: &mut Vec<Notice>) -> Option<SessionStatus> {
        let Held { node, status, pending } = self.sessions.remove(&session)?;
        if let Some(node) = self.nodes.get_mut(&node) {
            node.sessions.remove(&session);
            node.unconfirmed.remove(&session);
        }
        if let Some(sessions) = self.users.get_mut(&status.user) {
            sessions.retain(|other| *other != session);
            if sessions.is_empty() {
                self.users.remove(&status.user);
            }
        }
        if let Some(room) = self.rooms.get_mut(&status.room) {
            room.sessions.remove(&session);
            if room.sessions.is_empty() {
                self.rooms.remove(&status.room);
            }
        }
        let (room, user) = (status.room, status.user);
        out.push(Notice::Left { room, user, session });
        if pending.is_none() {
            self.update_codecs(room, out);
        }
        Some(status)
    }
}

//! Where rooms live. The coordination store decides, by compare-and-set; what it decided is kept
//! here, so that a room that lives somewhere can be joined while the store is away.

mod place;
pub(super) mod sweep;

use std::collections::HashMap;
use std::net::SocketAddr;

use hype_protocol::coordination::{Change, Entry, Listing};
use hype_protocol::id::{BootId, Generation, NodeId, RoomId, WorkerId};
use hype_protocol::key;
use hype_protocol::record::{self, Part, Room};
use hype_protocol::secret::BootKeys;
use tokio::time::Instant;

pub(super) use place::place;

/// The most people in a room, whatever its channel says.
pub const MAX_PEERS: u32 = 1_000;
/// When each part of a room has as many people, it gets another part, on a worker of its node that
/// has none yet.
pub const PART_PEOPLE: usize = 50;

/// All that an answer to somebody who joins is made of.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The room.
    pub room: RoomId,
    /// The node that serves it.
    pub node: NodeId,
    /// The node's run.
    pub boot: BootId,
    /// What ICE credentials and native keys derive from.
    pub keys: BootKeys,
    /// The worker whose address the answer carries.
    pub worker: WorkerId,
    /// The room's placement.
    pub generation: Generation,
    /// The worker's announced addresses.
    pub addresses: Vec<SocketAddr>,
    /// SHA-256 of the node's DTLS certificate, `AB:CD:…`.
    pub fingerprint: String,
}

/// A room's record with the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    room: Room,
    mod_revision: u64,
    /// This replica is deleting it: whoever joins waits for the outcome.
    closing: bool,
    /// This replica tries to add a part: nobody else here does until then.
    grow_after: Option<Instant>,
}

/// All rooms that live somewhere, as the coordination store told last.
#[derive(Debug, Default)]
pub struct Places {
    rooms: HashMap<RoomId, Known>,
    /// Rooms that we deleted: older changes of them, still under way in the watch, do not count.
    deleted: HashMap<RoomId, u64>,
    /// The store's newest revision seen.
    newest: u64,
    /// The newest revision from before the store last went back; no earlier generation is above.
    floor: u64,
    /// Where rooms lived before the store went back: people may still be in them.
    former: HashMap<RoomId, Vec<Part>>,
}

impl Places {
    /// The store's newest revision seen: any read that begins after this look shows it or a newer
    /// one, unless the store went back.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// A read that began when [`Self::newest`] was `before` showed this revision. When it is below,
    /// the store came back empty or from an older backup: what is known of it means nothing any
    /// more, and is read anew.
    pub fn handle_revision(&mut self, revision: u64, before: u64) {
        if revision >= before {
            self.newest = self.newest.max(revision);
            return;
        }
        tracing::warn!(revision, before, "the coordination store went back; reading rooms anew");
        self.floor = self.floor.max(self.newest).max(before);
        self.newest = revision;
        self.deleted.clear();
        for (room, known) in self.rooms.drain() {
            self.former.insert(room, known.room.parts);
        }
    }

    /// The generation of a room that is placed at this revision; `moved` is its last one, if known.
    /// It grows over deletion and creation, and also where revisions began anew: nodes keep their
    /// rooms then and take no older generation.
    fn generation(&self, revision: u64, moved: Option<Generation>) -> Generation {
        let next = moved.map_or(0, |moved| moved.0 + 1);
        Generation(self.floor.saturating_add(revision).max(next))
    }

    /// Everything as it is now, by a read that began when [`Self::newest`] was `before`.
    pub fn handle_listing(&mut self, listing: &Listing, before: u64) {
        self.handle_revision(listing.revision, before);
        // What was written after the listing was read is newer than it.
        self.rooms.retain(|_, known| known.mod_revision > listing.revision);
        self.deleted.retain(|_, revision| *revision > listing.revision);
        for entry in &listing.entries {
            self.handle_entry(entry);
        }
    }

    /// One change.
    pub fn handle_change(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => self.handle_entry(entry),
            Change::Delete { key, revision } => {
                self.newest = self.newest.max(*revision);
                let Some(room) = parse(key) else { return };
                if self.rooms.get(&room).is_some_and(|known| known.mod_revision < *revision) {
                    self.rooms.remove(&room);
                }
                if self.deleted.get(&room).is_some_and(|deleted| deleted <= revision) {
                    self.deleted.remove(&room);
                }
            }
        }
    }

    /// One record, from the watch or read on its own.
    fn handle_entry(&mut self, entry: &Entry) {
        let Some(room) = parse(&entry.key) else { return };
        match record::decode::<Room>(&entry.value) {
            Ok(record) => self.learn(room, record, entry.mod_revision),
            Err(error) => tracing::warn!(key = entry.key, %error, "room record ignored"),
        }
    }

    /// Keeps a record unless a newer one is known.
    fn learn(&mut self, room: RoomId, record: Room, mod_revision: u64) {
        let deleted = self.deleted.get(&room).is_some_and(|deleted| *deleted >= mod_revision);
        let newer = self.rooms.get(&room).is_some_and(|known| known.mod_revision >= mod_revision);
        self.newest = self.newest.max(mod_revision);
        if !deleted && !newer {
            self.former.remove(&room);
            let (closing, grow_after) = (false, None);
            self.rooms.insert(room, Known { room: record, mod_revision, closing, grow_after });
        }
    }

    /// We deleted it, by this revision.
    fn forget(&mut self, room: RoomId, revision: u64) {
        self.newest = self.newest.max(revision);
        self.rooms.remove(&room);
        self.deleted.insert(room, revision);
    }

    /// The record of a room, when it is not about to be closed.
    pub fn record(&self, room: RoomId) -> Option<&Room> {
        self.rooms.get(&room).filter(|known| !known.closing).map(|known| &known.room)
    }

    /// Each room.
    fn records(&self) -> impl Iterator<Item = (RoomId, &Room)> {
        self.rooms.iter().map(|(room, known)| (*room, &known.room))
    }
}

fn parse(key: &str) -> Option<RoomId> {
    key.strip_prefix(key::ROOMS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use hype_protocol::record::RoomMode;

    use super::*;

    fn record(generation: u64) -> Room {
        Room { generation: Generation(generation), mode: RoomMode::Sfu, parts: Vec::new() }
    }

    fn put(revision: u64) -> Entry {
        Entry {
            key: key::room(RoomId(1)),
            value: record::encode(&record(revision)),
            create_revision: 1,
            mod_revision: revision,
        }
    }

    fn known(places: &Places) -> Option<u64> {
        places.rooms.get(&RoomId(1)).map(|known| known.room.generation.0)
    }

    fn delete(revision: u64) -> Change {
        Change::Delete { key: key::room(RoomId(1)), revision }
    }

    #[test]
    fn what_is_older_never_replaces_what_is_newer() {
        let mut places = Places::default();
        places.learn(RoomId(1), record(5), 5);
        places.handle_change(&Change::Put(put(4)));
        places.handle_change(&delete(3));
        assert_eq!(known(&places), Some(5));
        places.handle_listing(&Listing { entries: vec![put(2)], revision: 4 }, 4);
        assert_eq!(known(&places), Some(5), "written after the listing was read");
        places.handle_listing(&Listing { entries: vec![], revision: 6 }, 5);
        assert_eq!(known(&places), None);
        places.handle_change(&Change::Put(put(7)));
        assert_eq!(known(&places), Some(7));
        places.handle_change(&delete(8));
        assert_eq!(known(&places), None);
    }

    #[test]
    fn a_store_that_went_back_is_believed() {
        let mut places = Places::default();
        places.learn(RoomId(1), record(50), 50);
        places.forget(RoomId(2), 60);
        let before = places.newest();
        places.handle_listing(&Listing { entries: vec![put(3)], revision: 4 }, before);
        assert_eq!(known(&places), Some(3));
        assert!(places.deleted.is_empty());
        assert!(places.generation(4, None) > Generation(60), "nodes take no older one");
        places.handle_listing(&Listing { entries: vec![], revision: 5 }, places.newest());
        assert_eq!(known(&places), None);
    }

    #[test]
    fn a_room_that_we_deleted_does_not_come_back_by_an_old_change() {
        let mut places = Places::default();
        places.learn(RoomId(1), record(5), 5);
        places.forget(RoomId(1), 9);
        places.handle_change(&Change::Put(put(8)));
        assert_eq!(known(&places), None);
        places.handle_change(&delete(9));
        places.handle_change(&Change::Put(put(10)));
        assert_eq!(known(&places), Some(10));
        assert!(places.deleted.is_empty(), "tombstones do not stay");
    }
}

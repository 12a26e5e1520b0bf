//! Which rooms this node must serve and which ones its workers serve, and the difference.
//! [`reconcile`] is pure; [`Rooms`] keeps both sides and never forgets on a malformed record.

use std::collections::HashMap;

use hype_protocol::coordination::{Change, Entry};
use hype_protocol::id::{Generation, NodeId, RoomId, WorkerId};
use hype_protocol::record::Assignment;
use hype_protocol::{key, record};

use super::follow::Update;

/// The most rooms of a node. The store's writers keep far below it.
const MAX_ROOMS: usize = 65_536;

/// A room as its worker was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its placement.
    pub generation: Generation,
    /// Who serves it.
    pub worker: WorkerId,
    /// Its limit.
    pub max_peers: u32,
}

/// What must be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomAction {
    /// Tell the worker to serve the room, or the new generation of it.
    Open(RoomId, Held),
    /// Tell the worker to stop serving it.
    Close(RoomId, WorkerId),
}

/// The difference between what is served and what is wanted, by room. A generation never goes
/// back: an older assignment than the one served is a stale read.
pub fn reconcile(
    current: &HashMap<RoomId, Held>,
    wanted: &HashMap<RoomId, Held>,
) -> Vec<RoomAction> {
    let mut actions = Vec::new();
    for (room, held) in current {
        if !wanted.contains_key(room) {
            actions.push(RoomAction::Close(*room, held.worker));
        }
    }
    for (room, wanted) in wanted {
        match current.get(room) {
            Some(held) if wanted.generation < held.generation => {}
            Some(held) if wanted.generation == held.generation => {
                // One generation has one worker; only the limit may change within it.
                if wanted.max_peers != held.max_peers {
                    let held = Held { max_peers: wanted.max_peers, ..*held };
                    actions.push(RoomAction::Open(*room, held));
                }
            }
            Some(held) => {
                if held.worker != wanted.worker {
                    actions.push(RoomAction::Close(*room, held.worker));
                }
                actions.push(RoomAction::Open(*room, *wanted));
            }
            None => actions.push(RoomAction::Open(*room, *wanted)),
        }
    }
    // A stable sort: the closing of a room that moves stays before its opening.
    actions.sort_by_key(|action| match action {
        RoomAction::Open(room, _) | RoomAction::Close(room, _) => *room,
    });
    actions
}

/// Both sides.
#[derive(Debug)]
pub struct Rooms {
    prefix: String,
    workers: u16,
    wanted: HashMap<RoomId, Held>,
    current: HashMap<RoomId, Held>,
}

impl Rooms {
    /// None yet, for a node with that many workers.
    pub fn new(node: &NodeId, workers: u16) -> Self {
        let (wanted, current) = (HashMap::new(), HashMap::new());
        Self { prefix: key::assignments(node), workers, wanted, current }
    }

    /// A room as it is served now.
    pub fn get(&self, room: RoomId) -> Option<Held> {
        self.current.get(&room).copied()
    }

    /// All rooms that are served now.
    pub fn served(&self) -> impl Iterator<Item = (RoomId, Held)> + '_ {
        self.current.iter().map(|(room, held)| (*room, *held))
    }

    /// Takes over what the store says.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Reload(entries) => {
                let mut old = std::mem::take(&mut self.wanted);
                for entry in entries {
                    let Some(room) = self.room_of(&entry.key) else { continue };
                    if let Some(held) = self.read(room, &entry).or_else(|| old.remove(&room)) {
                        self.want(room, held);
                    }
                }
            }
            Update::Changes(changes) => {
                for change in changes {
                    let Some(room) = self.room_of(change.key()) else { continue };
                    match change {
                        Change::Put(entry) => {
                            if let Some(held) = self.read(room, &entry) {
                                self.want(room, held);
                            }
                        }
                        Change::Delete { .. } => {
                            self.wanted.remove(&room);
                        }
                    }
                }
            }
        }
    }

    fn want(&mut self, room: RoomId, held: Held) {
        if self.wanted.len() >= MAX_ROOMS && !self.wanted.contains_key(&room) {
            tracing::error!(%room, "more than {MAX_ROOMS} rooms are assigned here");
            return;
        }
        self.wanted.insert(room, held);
    }

    fn room_of(&self, key: &str) -> Option<RoomId> {
        key.strip_prefix(&self.prefix)?.parse().ok()
    }

    fn read(&self, room: RoomId, entry: &Entry) -> Option<Held> {
        let reason = match record::decode::<Assignment>(&entry.value) {
            Ok(a) if a.room == room && a.worker.0 < self.workers => {
                let (generation, worker, max_peers) = (a.generation, a.worker, a.max_peers);
                return Some(Held { generation, worker, max_peers });
            }
            Ok(a) if a.room != room => "it names another room".to_owned(),
            Ok(a) => format!("there is no worker {}", a.worker.0),
            Err(error) => error.to_string(),
        };
        tracing::error!(key = entry.key, reason, "an assignment cannot be followed");
        None
    }

    /// Tells the workers what changed. What a full mailbox kept back stays to be done by the next
    /// call. With `fenced`, nothing at all is wanted. Returns the rooms that were opened, and
    /// whether all was done.
    pub fn apply(
        &mut self,
        fenced: bool,
        mut tell: impl FnMut(RoomAction) -> bool,
    ) -> (Vec<RoomId>, bool) {
        let nothing = HashMap::new();
        let actions = reconcile(&self.current, if fenced { &nothing } else { &self.wanted });
        let (mut opened, mut done) = (Vec::new(), true);
        // A room moves only once its old worker was told: else nobody would ever close it there.
        let mut kept_back = None;
        for action in actions {
            let (RoomAction::Open(room, _) | RoomAction::Close(room, _)) = action;
            if kept_back == Some(room) || !tell(action) {
                kept_back = Some(room);
                done = false;
                continue;
            }
            match action {
                RoomAction::Open(room, held) => {
                    self.current.insert(room, held);
                    opened.push(room);
                }
                RoomAction::Close(room, _) => {
                    self.current.remove(&room);
                }
            }
        }
        (opened, done)
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::coordination::Listing;

    use super::*;

    /// `room:generation@worker/max_peers`, separated by spaces.
    fn rooms(text: &str) -> HashMap<RoomId, Held> {
        let one = |text: &str| {
            let mut parts =
                text.split([':', '@', '/']).map(|n| n.parse::<u16>().expect("a number"));
            let mut next = || parts.next().expect("four numbers");
            let (room, generation, worker, max_peers) = (next(), next(), next(), next());
            let held = Held {
                generation: Generation(generation.into()),
                worker: WorkerId(worker),
                max_peers: max_peers.into(),
            };
            (RoomId(room.into()), held)
        };
        text.split_whitespace().map(one).collect()
    }

    fn text(actions: &[RoomAction]) -> String {
        let one = |action: &RoomAction| match action {
            RoomAction::Open(room, held) => {
                format!("+{room}:{}@{}/{}", held.generation, held.worker.0, held.max_peers)
            }
            RoomAction::Close(room, worker) => format!("-{room}@{}", worker.0),
        };
        actions.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_difference_is_what_must_be_done() {
        for (current, wanted, actions) in [
            ("", "", ""),
            ("", "1:5@0/50 2:6@1/50", "+1:5@0/50 +2:6@1/50"),
            ("1:5@0/50", "1:5@0/50", ""),
            ("1:5@0/50 2:6@1/9", "2:6@1/9", "-1@0"),
            // A newer generation here, and on another worker.
            ("1:5@0/50", "1:6@0/50", "+1:6@0/50"),
            ("1:5@0/50", "1:6@1/50", "-1@0 +1:6@1/50"),
            // A stale read, and a change that no generation carries.
            ("1:5@0/50", "1:4@1/50", ""),
            ("1:5@0/50", "1:5@1/50", ""),
            ("1:5@0/50", "1:5@0/60", "+1:5@0/60"),
            ("1:5@0/50", "1:5@1/60", "+1:5@0/60"),
        ] {
            let found = text(&reconcile(&rooms(current), &rooms(wanted)));
            assert_eq!(found, actions, "{current} → {wanted}");
        }
    }

    fn entry(node: &NodeId, room: u64, generation: u64, worker: u16) -> Entry {
        let assignment = Assignment {
            room: RoomId(room),
            generation: Generation(generation),
            part: hype_protocol::id::PartId(0),
            worker: WorkerId(worker),
            max_peers: 10,
        };
        Entry {
            key: key::assignment(node, RoomId(room)),
            value: record::encode(&assignment),
            create_revision: 1,
            mod_revision: generation,
        }
    }

    #[test]
    fn rooms_follow_the_store_and_survive_what_they_cannot_read() {
        let node: NodeId = "n1".parse().expect("a valid name");
        let mut rooms = Rooms::new(&node, 2);
        let log = |rooms: &mut Rooms, fenced| {
            let mut actions = Vec::new();
            rooms.apply(fenced, |action| {
                actions.push(action);
                true
            });
            text(&actions)
        };
        rooms.update(Update::Reload(vec![entry(&node, 1, 5, 0), entry(&node, 2, 5, 2)]));
        assert_eq!(log(&mut rooms, false), "+1:5@0/10", "there is no worker 2");
        let mut damaged = entry(&node, 1, 6, 1);
        damaged.value = b"{".to_vec();
        rooms.update(Update::Changes(vec![
            Change::Put(damaged.clone()),
            Change::Put(entry(&node, 3, 7, 1)),
        ]));
        assert_eq!(log(&mut rooms, false), "+3:7@1/10");
        rooms.update(Update::Reload(vec![damaged]));
        assert_eq!(log(&mut rooms, false), "-3@1", "room 1 stays as it was last understood");
        assert_eq!(log(&mut rooms, true), "-1@0", "a fenced node serves nothing");
        assert_eq!(log(&mut rooms, false), "+1:5@0/10");
        let gone = Change::Delete { key: key::assignment(&node, RoomId(1)), revision: 9 };
        rooms.update(Update::Changes(vec![gone]));
        assert_eq!(log(&mut rooms, false), "-1@0");
    }

    #[test]
    fn what_a_full_mailbox_kept_back_is_done_later() {
        let node: NodeId = "n1".parse().expect("a valid name");
        let mut rooms = Rooms::new(&node, 1);
        rooms.update(Update::Reload(vec![entry(&node, 1, 5, 0), entry(&node, 2, 5, 0)]));
        let mut room_left = true;
        let (opened, done) = rooms.apply(false, |_| std::mem::take(&mut room_left));
        assert_eq!((opened, done), (vec![RoomId(1)], false));
        assert_eq!(rooms.apply(false, |_| true), (vec![RoomId(2)], true));
    }

    #[test]
    fn a_room_does_not_move_before_its_old_worker_was_told() {
        let node: NodeId = "n1".parse().expect("a valid name");
        let mut rooms = Rooms::new(&node, 2);
        rooms.update(Update::Reload(vec![entry(&node, 1, 5, 0)]));
        rooms.apply(false, |_| true);
        rooms.update(Update::Reload(vec![entry(&node, 1, 6, 1), entry(&node, 2, 6, 1)]));
        let (opened, done) =
            rooms.apply(false, |action| !matches!(action, RoomAction::Close(_, WorkerId(0))));
        assert_eq!((opened, done), (vec![RoomId(2)], false), "only worker 0's mailbox is full");
        assert_eq!(rooms.get(RoomId(1)).map(|held| held.worker), Some(WorkerId(0)));
        let mut told = Vec::new();
        rooms.apply(false, |action| {
            told.push(action);
            true
        });
        assert_eq!(text(&told), "-1@0 +1:6@1/10");
    }

    #[test]
    fn a_store_that_lost_its_past_closes_no_room() {
        let node: NodeId = "n1".parse().expect("a valid name");
        let mut rooms = Rooms::new(&node, 2);
        let mut progress = super::super::follow::Progress::default();
        let follow = |rooms: &mut Rooms, update| {
            rooms.update(update);
            let mut told = Vec::new();
            rooms.apply(false, |action| {
                told.push(action);
                true
            });
            text(&told)
        };
        let listing = |entries, revision| Listing { entries, revision };
        let delete =
            |room, revision| Change::Delete { key: key::assignment(&node, RoomId(room)), revision };
        let both = vec![entry(&node, 1, 50, 0), entry(&node, 2, 60, 1)];
        let update = progress.listed(listing(both, 100));
        assert_eq!(follow(&mut rooms, update), "+1:50@0/10 +2:60@1/10");
        let update = progress.listed(listing(Vec::new(), 1));
        assert_eq!(follow(&mut rooms, update), "", "it came back empty");
        let older = vec![entry(&node, 1, 40, 1), entry(&node, 3, 70, 0)];
        let update = progress.listed(listing(older, 90));
        assert_eq!(follow(&mut rooms, update), "+3:70@0/10", "from an older backup");
        let update = progress.changed(vec![Change::Put(entry(&node, 4, 91, 0)), delete(2, 91)]);
        assert_eq!(follow(&mut rooms, update), "+4:91@0/10");
        let update = progress.changed(vec![delete(2, 101)]);
        assert_eq!(follow(&mut rooms, update), "-2@1", "past what was seen before");
        let update = progress.listed(listing(vec![entry(&node, 4, 91, 0)], 102));
        assert_eq!(follow(&mut rooms, update), "-1@0 -3@0");
    }
}

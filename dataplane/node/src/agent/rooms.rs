//! Which rooms this node must serve and which ones its workers serve, and the difference.
//! [`reconcile`] is pure; [`Rooms`] keeps both sides and never forgets on a malformed record.

use std::collections::HashMap;
use std::sync::Arc;

use hype_protocol::coordination::{Change, Entry};
use hype_protocol::id::{Generation, NodeId, RoomId, WorkerId};
use hype_protocol::record::{AssignedPart, Assignment};
use hype_protocol::{key, record};

use super::follow::Update;

/// The most rooms of a node. The store's writers keep far below it.
const MAX_ROOMS: usize = 65_536;

/// A room as its workers were last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its placement.
    pub generation: Generation,
    /// The limit of each part.
    pub max_peers: u32,
    /// Its parts on this node, each on a worker of its own.
    pub parts: Arc<[AssignedPart]>,
    /// False when not all of them were told yet.
    complete: bool,
}

impl Held {
    /// The part that a worker serves.
    pub fn part_on(&self, worker: WorkerId) -> Option<&AssignedPart> {
        self.parts.iter().find(|part| part.worker == worker)
    }
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomAction {
    /// Tell a worker to serve its part of the room, or the new placement of it.
    Open(RoomId, WorkerId, Held),
    /// Tell the worker to stop serving it.
    Close(RoomId, WorkerId),
}

/// What must be done for one room: first workers stop, then others are told how it is now.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomChange {
    /// Which.
    pub room: RoomId,
    /// Who stops.
    pub close: Vec<WorkerId>,
    /// What is served then; none: nothing.
    pub open: Option<Held>,
}

/// The difference between what is served and what is wanted, by room. A generation never goes
/// back: an older assignment than the one served is a stale read.
pub fn reconcile(
    current: &HashMap<RoomId, Held>,
    wanted: &HashMap<RoomId, Held>,
) -> Vec<RoomChange> {
    let mut changes = Vec::new();
    for (&room, held) in current {
        if !wanted.contains_key(&room) {
            let close = held.parts.iter().map(|part| part.worker).collect();
            changes.push(RoomChange { room, close, open: None });
        }
    }
    for (&room, wanted) in wanted {
        let (close, open) = match current.get(&room) {
            Some(held) if wanted.generation < held.generation => continue,
            Some(held) if wanted.generation == held.generation && held.complete => {
                // One generation has one placement; only the limit may change within it.
                if wanted.max_peers == held.max_peers {
                    continue;
                }
                (Vec::new(), Held { max_peers: wanted.max_peers, ..held.clone() })
            }
            Some(held) => {
                let gone = held.parts.iter().map(|part| part.worker);
                let gone = gone.filter(|worker| wanted.part_on(*worker).is_none());
                (gone.collect(), wanted.clone())
            }
            None => (Vec::new(), wanted.clone()),
        };
        changes.push(RoomChange { room, close, open: Some(open) });
    }
    changes.sort_by_key(|change| change.room);
    changes
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
        self.current.get(&room).filter(|held| held.complete).cloned()
    }

    /// All rooms that are served now.
    pub fn served(&self) -> impl Iterator<Item = (RoomId, Held)> + '_ {
        self.current.iter().map(|(room, held)| (*room, held.clone()))
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
            Ok(a) if a.room != room => "it names another room".to_owned(),
            Ok(a) => {
                let parts: Arc<[AssignedPart]> = a.all_parts().into();
                let unknown = parts.iter().find(|part| part.worker.0 >= self.workers);
                let twice = |(at, part): (usize, &AssignedPart)| {
                    parts[..at]
                        .iter()
                        .any(|other| other.worker == part.worker || other.part == part.part)
                };
                if let Some(part) = unknown {
                    format!("there is no worker {}", part.worker.0)
                } else if parts.iter().enumerate().any(twice) {
                    "two of its parts are on one worker, or have one number".to_owned()
                } else {
                    let (generation, max_peers) = (a.generation, a.max_peers);
                    return Some(Held { generation, max_peers, parts, complete: true });
                }
            }
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
        let changes = reconcile(&self.current, if fenced { &nothing } else { &self.wanted });
        let (mut opened, mut done) = (Vec::new(), true);
        for RoomChange { room, close, open } in changes {
            // A room moves only once its old workers were told: else nobody would ever close it
            // there.
            if !close.into_iter().all(|worker| tell(RoomAction::Close(room, worker))) {
                done = false;
                continue;
            }
            let Some(mut held) = open else {
                self.current.remove(&room);
                continue;
            };
            let mut workers = held.parts.iter().map(|part| part.worker);
            held.complete =
                workers.all(|worker| tell(RoomAction::Open(room, worker, held.clone())));
            if held.complete {
                opened.push(room);
            }
            done &= held.complete;
            // Also when only some were told: they must be told if it ends.
            self.current.insert(room, held);
        }
        (opened, done)
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::coordination::Listing;
    use hype_protocol::id::PartId;

    use super::*;

    /// `room:generation@worker+worker/max_peers`, separated by spaces: a part on each worker.
    fn rooms(text: &str) -> HashMap<RoomId, Held> {
        let one = |text: &str| {
            let number = |text: &str| text.parse::<u16>().expect("a number");
            let (room, rest) = text.split_once(':').expect("a room");
            let (generation, rest) = rest.split_once('@').expect("a generation");
            let (workers, max_peers) = rest.split_once('/').expect("workers");
            let since = Generation(number(generation).into());
            let parts = workers.split('+').zip(0..).map(|(worker, part)| AssignedPart {
                part: PartId(part),
                worker: WorkerId(number(worker)),
                since,
            });
            let held = Held {
                generation: since,
                max_peers: number(max_peers).into(),
                parts: parts.collect(),
                complete: true,
            };
            (RoomId(number(room).into()), held)
        };
        text.split_whitespace().map(one).collect()
    }

    fn text(actions: &[RoomAction]) -> String {
        let one = |action: &RoomAction| match action {
            RoomAction::Open(room, worker, held) => {
                format!("+{room}:{}@{}/{}", held.generation, worker.0, held.max_peers)
            }
            RoomAction::Close(room, worker) => format!("-{room}@{}", worker.0),
        };
        actions.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// All actions of the changes, as if each was told.
    fn told(changes: Vec<RoomChange>) -> Vec<RoomAction> {
        let one = |RoomChange { room, close, open }: RoomChange| {
            let mut actions: Vec<_> =
                close.into_iter().map(|worker| RoomAction::Close(room, worker)).collect();
            if let Some(held) = open {
                let opens = held.parts.iter().map(|part| part.worker);
                actions.extend(opens.map(|worker| RoomAction::Open(room, worker, held.clone())));
            }
            actions
        };
        changes.into_iter().flat_map(one).collect()
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
            // Parts are added and go; those that stay are told of it.
            ("1:5@0/50", "1:6@0+1/50", "+1:6@0/50 +1:6@1/50"),
            ("1:5@0+1/50", "1:6@1/50", "-1@0 +1:6@1/50"),
            ("1:5@0+2/50", "1:5@0+1/50", ""),
            ("1:5@0+1/50", "1:5@0+1/60", "+1:5@0/60 +1:5@1/60"),
            ("1:5@0+1/50", "", "-1@0 -1@1"),
        ] {
            let found = text(&told(reconcile(&rooms(current), &rooms(wanted))));
            assert_eq!(found, actions, "{current} → {wanted}");
        }
    }

    fn entry(node: &NodeId, room: u64, generation: u64, worker: u16) -> Entry {
        let assignment = Assignment {
            room: RoomId(room),
            generation: Generation(generation),
            part: PartId(0),
            worker: WorkerId(worker),
            max_peers: 10,
            parts: Vec::new(),
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
    fn a_room_of_which_one_part_was_told_is_not_there_yet_and_can_still_end() {
        let node: NodeId = "n1".parse().expect("a valid name");
        let mut entry = entry(&node, 1, 5, 0);
        let mut assignment: Assignment = record::decode(&entry.value).expect("we wrote it");
        let part = |number, since| AssignedPart {
            part: PartId(number),
            worker: WorkerId(number),
            since: Generation(since),
        };
        assignment.parts = vec![part(0, 3), part(1, 5)];
        entry.value = record::encode(&assignment);
        for end in [false, true] {
            let mut rooms = Rooms::new(&node, 2);
            rooms.update(Update::Reload(vec![entry.clone()]));
            let tell = |action| !matches!(action, RoomAction::Open(_, WorkerId(1), _));
            assert_eq!(rooms.apply(false, tell), (vec![], false));
            assert_eq!(rooms.get(RoomId(1)), None);
            let mut told = Vec::new();
            rooms.apply(end, |action| {
                told.push(action);
                true
            });
            let expected = if end { "-1@0 -1@1" } else { "+1:5@0/10 +1:5@1/10" };
            assert_eq!(text(&told), expected);
            let since = rooms.get(RoomId(1)).map(|held| held.parts[0].since);
            assert_eq!(since, (!end).then_some(Generation(3)));
        }
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
        assert_eq!(rooms.get(RoomId(1)).map(|held| held.parts[0].worker), Some(WorkerId(0)));
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

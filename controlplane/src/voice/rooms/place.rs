//! Finding a room's seat, deciding where a room that has none shall live, and adding a part to one
//! whose parts are full.

use std::time::Duration;

use hype_protocol::coordination::{Entry, Outcome, Transaction};
use hype_protocol::id::{PartId, RoomId, WorkerId};
use hype_protocol::record::{Part, Room, RoomMode};
use hype_protocol::{coordination, key};
use tokio::time::{Instant, sleep};

use super::{Known, MAX_PEERS, PART_PEOPLE, Seat};
use crate::error::Error;
use crate::voice::placement::choose;
use crate::voice::{NODE_RETRY, Voice, count_join_error};

/// How long a join may take to find its seat.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait for what is already under way: a deletion, or a node's other half.
const STEP: Duration = Duration::from_millis(20);
/// How long a node that is known to be there may take to be complete (connection and record).
const NODE_PATIENCE: Duration = Duration::from_millis(1_000);
/// Between two tries of this replica to add a part to one room.
const GROW_RETRY: Duration = Duration::from_secs(1);
/// When to try again after the store was away.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// This release, which nodes must be compatible with.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What to do next for a room, by what is known here.
enum Step {
    /// It can be joined.
    Seated(Box<Seat>),
    /// It can be joined there, but better in a new part on that worker of its node.
    Grow(Known, WorkerId, Box<Seat>),
    /// Somebody is at it; look again soon.
    Wait,
    /// Its node is not there, and it must not move.
    NoNode,
    /// It must move: its node is gone. The record that says so may be outdated.
    Move(Known),
    /// It is not known here.
    Unknown,
}

/// See [`Voice::place`].
pub async fn place(voice: &Voice, room: RoomId) -> Result<Seat, Error> {
    let outcome = find(voice, room).await;
    if let Err(error) = &outcome {
        count_join_error(error);
    }
    outcome
}

async fn find(voice: &Voice, room: RoomId) -> Result<Seat, Error> {
    let began = Instant::now();
    loop {
        let step = next_step(voice, room);
        let seated = matches!(step, Step::Seated(_) | Step::Grow(..));
        if began.elapsed() > PATIENCE && !seated {
            return Err(Error::NoNode(NODE_RETRY));
        }
        match step {
            Step::Seated(seat) => return Ok(*seat),
            Step::Grow(known, worker, seat) => {
                if let Err(error) = grow(voice, room, &known, worker).await {
                    // It is full rather than closed: whoever comes is let in all the same.
                    tracing::debug!(?room, %error, "a room gets no further part for now");
                    return Ok(*seat);
                }
            }
            Step::Wait => sleep(STEP).await,
            Step::NoNode if began.elapsed() < NODE_PATIENCE => sleep(STEP).await,
            Step::NoNode => return Err(Error::NoNode(NODE_RETRY)),
            Step::Move(_) | Step::Unknown => decide(voice, room, step).await?,
        }
    }
}

fn next_step(voice: &Voice, room: RoomId) -> Step {
    let mut state = voice.state();
    let state = &mut *state;
    let now = Instant::now();
    let Some(known) = state.places.rooms.get_mut(&room) else { return Step::Unknown };
    if known.closing {
        return Step::Wait;
    }
    // First: where one part's worker is no more, the node follows the record in none of them.
    if state.fleet.must_move(&known.room, now) {
        return Step::Move(known.clone());
    }
    if let Some(seat) = state.fleet.seat(room, &known.room) {
        let seat = Box::new(seat);
        let may_grow = known.grow_after.is_none_or(|after| after <= now);
        let worker = || state.fleet.worker_for_part(room, &known.room, PART_PEOPLE);
        return match may_grow.then(worker).flatten() {
            Some(worker) => {
                known.grow_after = Some(now + GROW_RETRY);
                Step::Grow(known.clone(), worker, seat)
            }
            None => Step::Seated(seat),
        };
    }
    Step::NoNode
}

/// Adds a part to a room, unless its record is another by now. Whoever is in it stays where he is,
/// and whoever was promised a seat in one of its parts gets it. What came of it is for the next
/// look.
async fn grow(voice: &Voice, room: RoomId, known: &Known, worker: WorkerId) -> Result<(), Error> {
    let store = voice.coordination();
    let before = voice.state().places.newest();
    let fetched = store.get(&key::room(room)).await.map_err(unavailable)?;
    voice.state().places.handle_revision(fetched.revision, before);
    match fetched.entry {
        Some(entry) if entry.mod_revision == known.mod_revision => {}
        Some(entry) => return learn(voice, room, &entry),
        None => return Err(Error::NoNode(NODE_RETRY)),
    }
    let former = known.room.generation;
    let generation = voice.state().places.generation(fetched.revision, Some(former));
    let mut record = Room { generation, ..known.room.clone() };
    for part in record.parts.iter_mut().filter(|part| part.since.0 == 0) {
        part.since = former;
    }
    let Some(core) = record.parts.first() else { return Err(Error::NoNode(NODE_RETRY)) };
    let node = core.node.clone();
    let highest = record.parts.iter().map(|part| part.part.0).max().unwrap_or(0);
    let part = PartId(highest.saturating_add(1));
    record.parts.push(Part { part, node: node.clone(), worker, since: generation });
    let assignment = record.assignment(room, &node, MAX_PEERS);
    let assignment = assignment.ok_or(Error::NoNode(NODE_RETRY))?;
    let transaction = Transaction::new()
        .unchanged(key::room(room), known.mod_revision)
        .put(key::room(room), &record)
        .put(key::assignment(&node, room), &assignment);
    match store.transact(transaction).await.map_err(unavailable)? {
        Outcome::Committed { revision } => {
            tracing::info!(?room, %node, worker = worker.0, part = part.0, "room got a part");
            metrics::counter!("hype_control_parts_added_total").increment(1);
            voice.state().places.learn(room, record, revision);
            Ok(())
        }
        Outcome::Conflict => {
            let fetched = store.get(&key::room(room)).await.map_err(unavailable)?;
            fetched.entry.map_or(Ok(()), |entry| learn(voice, room, &entry))
        }
    }
}

/// Reads the room from the store; if it lives nowhere, or where it did before its node was found
/// to be gone, decides anew. What came of it is for the next look.
async fn decide(voice: &Voice, room: RoomId, step: Step) -> Result<(), Error> {
    let store = voice.coordination();
    let before = voice.state().places.newest();
    let fetched = store.get(&key::room(room)).await.map_err(unavailable)?;
    voice.state().places.handle_revision(fetched.revision, before);
    let moved = match (fetched.entry, step) {
        (None, _) => None,
        (Some(entry), Step::Move(known)) if entry.mod_revision == known.mod_revision => Some(known),
        (Some(entry), _) => return learn(voice, room, &entry),
    };
    let (candidates, generation, former) = {
        let state = voice.state();
        let moved = moved.as_ref().map(|known| known.room.generation);
        let generation = state.places.generation(fetched.revision, moved);
        // Where its people are still, after the store forgot where it was.
        let former: Vec<Part> = state.places.former.get(&room).cloned().unwrap_or_default();
        let core = former
            .first()
            .filter(|core| !state.fleet.sessions_in(room).is_empty() && state.fleet.serves(core));
        let stays = |part: &&Part| {
            core.is_some_and(|core| core.node == part.node) && state.fleet.serves(part)
        };
        let former: Vec<Part> = former.iter().filter(stays).cloned().collect();
        (state.fleet.candidates(state.places.records()), generation, former)
    };
    let mut parts = former;
    if parts.is_empty() {
        let (node, worker) =
            choose(&candidates, VERSION, &mut rand::rng()).ok_or(Error::NoNode(NODE_RETRY))?;
        parts.push(Part { part: PartId(0), node, worker, since: generation });
    }
    parts.iter_mut().for_each(|part| part.since = generation);
    let (node, worker) = (parts[0].node.clone(), parts[0].worker);
    let record = Room { generation, mode: RoomMode::Sfu, parts };
    let assignment = record.assignment(room, &node, MAX_PEERS);
    let assignment = assignment.ok_or(Error::NoNode(NODE_RETRY))?;
    let mut transaction = match &moved {
        None => Transaction::new().absent(key::room(room)),
        Some(known) => Transaction::new().unchanged(key::room(room), known.mod_revision),
    };
    for old in moved.iter().flat_map(|known| known.room.nodes()) {
        if old != node {
            transaction = transaction.delete(key::assignment(&old, room));
        }
    }
    transaction =
        transaction.put(key::room(room), &record).put(key::assignment(&node, room), &assignment);
    match store.transact(transaction).await.map_err(unavailable)? {
        Outcome::Committed { revision } => {
            tracing::info!(?room, %node, worker = worker.0, ?generation, "room placed");
            metrics::counter!("hype_control_rooms_placed_total").increment(1);
            voice.state().places.learn(room, record, revision);
            Ok(())
        }
        // Another replica was faster: its decision is read next.
        Outcome::Conflict => {
            let fetched = store.get(&key::room(room)).await.map_err(unavailable)?;
            fetched.entry.map_or(Ok(()), |entry| learn(voice, room, &entry))
        }
    }
}

fn learn(voice: &Voice, room: RoomId, entry: &Entry) -> Result<(), Error> {
    let record = hype_protocol::record::decode(&entry.value).map_err(Error::internal)?;
    voice.state().places.learn(room, record, entry.mod_revision);
    Ok(())
}

fn unavailable(error: coordination::Error) -> Error {
    match error {
        coordination::Error::Unavailable(_) | coordination::Error::Compacted => {
            tracing::warn!(%error, "a room cannot be placed");
            Error::CoordinationUnavailable(STORE_RETRY)
        }
        coordination::Error::TooLarge => Error::CoordinationUnavailable(STORE_RETRY * 10),
        coordination::Error::LeaseGone | coordination::Error::Invalid(_) => Error::internal(error),
    }
}

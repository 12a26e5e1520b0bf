//! Finding a room's seat, and deciding where a room that has none shall live.

use std::time::Duration;

use hype_protocol::coordination::{Entry, Outcome, Transaction};
use hype_protocol::id::{PartId, RoomId};
use hype_protocol::record::{Assignment, Part, Room, RoomMode};
use hype_protocol::{coordination, key};
use tokio::time::{Instant, sleep};

use super::{Known, MAX_PEERS, Seat};
use crate::error::Error;
use crate::voice::placement::choose;
use crate::voice::{NODE_RETRY, Voice, count_join_error};

/// How long a join may take to find its seat.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait for what is already under way: a deletion, or a node's other half.
const STEP: Duration = Duration::from_millis(20);
/// How long a node that is known to be there may take to be complete (connection and record).
const NODE_PATIENCE: Duration = Duration::from_millis(1_000);
/// When to try again after the store was away.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// This release, which nodes must be compatible with.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What to do next for a room, by what is known here.
enum Step {
    /// It can be joined.
    Seated(Box<Seat>),
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
        if began.elapsed() > PATIENCE && !matches!(step, Step::Seated(_)) {
            return Err(Error::NoNode(NODE_RETRY));
        }
        match step {
            Step::Seated(seat) => return Ok(*seat),
            Step::Wait => sleep(STEP).await,
            Step::NoNode if began.elapsed() < NODE_PATIENCE => sleep(STEP).await,
            Step::NoNode => return Err(Error::NoNode(NODE_RETRY)),
            Step::Move(_) | Step::Unknown => decide(voice, room, step).await?,
        }
    }
}

fn next_step(voice: &Voice, room: RoomId) -> Step {
    let state = voice.state();
    let Some(known) = state.places.rooms.get(&room) else { return Step::Unknown };
    if known.closing {
        return Step::Wait;
    }
    if let Some(seat) = state.fleet.seat(room, &known.room) {
        return Step::Seated(Box::new(seat));
    }
    if state.fleet.must_move(&known.room, Instant::now()) {
        return Step::Move(known.clone());
    }
    Step::NoNode
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
        let former =
            state.places.former.get(&room).filter(|part| {
                !state.fleet.sessions_in(room).is_empty() && state.fleet.serves(part)
            });
        let former = former.map(|part| (part.node.clone(), part.worker));
        (state.fleet.candidates(state.places.parts()), generation, former)
    };
    let (node, worker) = former
        .or_else(|| choose(&candidates, VERSION, &mut rand::rng()))
        .ok_or(Error::NoNode(NODE_RETRY))?;
    let part = PartId(0);
    let record = Room {
        generation,
        mode: RoomMode::Sfu,
        parts: vec![Part { part, node: node.clone(), worker }],
    };
    let assignment = Assignment { room, generation, part, worker, max_peers: MAX_PEERS };
    let mut transaction = match &moved {
        None => Transaction::new().absent(key::room(room)),
        Some(known) => Transaction::new().unchanged(key::room(room), known.mod_revision),
    };
    for part in moved.iter().flat_map(|known| &known.room.parts) {
        if part.node != node {
            transaction = transaction.delete(key::assignment(&part.node, room));
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

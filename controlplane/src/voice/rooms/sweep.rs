//! Deletes rooms in which nobody has been for a while, with their assignments. The leader does it,
//! by compare-and-set, and only where the room's node is known to have nobody in it.

use std::collections::HashMap;
use std::time::Duration;

use hype_protocol::coordination::{Outcome, Transaction};
use hype_protocol::id::RoomId;
use hype_protocol::key;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::voice::Voice;
use crate::voice::leader::Leader;

/// How long a room stays without anybody.
const IDLE: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_secs(5);
/// The most deletions a round: the store is for a few writes a second.
const ROUND: usize = 50;

/// Runs until aborted.
pub(in crate::voice) async fn run(voice: &Voice, leader: &Leader) {
    let mut empty_since = HashMap::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for room in idle(voice, &mut empty_since, Instant::now()).into_iter().take(ROUND) {
            close(voice, leader, room).await;
        }
    }
}

/// Rooms that have been empty for long enough.
pub(in crate::voice) fn idle(
    voice: &Voice,
    empty_since: &mut HashMap<RoomId, Instant>,
    now: Instant,
) -> Vec<RoomId> {
    let state = voice.state();
    empty_since.retain(|room, _| state.places.rooms.contains_key(room));
    for (room, known) in &state.places.rooms {
        let nodes = known.room.nodes();
        if state.fleet.known_empty(*room, &nodes, now) {
            empty_since.entry(*room).or_insert(now);
        } else {
            empty_since.remove(room);
        }
    }
    let due = |since: &Instant| now.duration_since(*since) >= IDLE;
    empty_since.iter().filter(|(_, since)| due(since)).map(|(room, _)| *room).collect()
}

/// Deletes a room, unless somebody comes first. Who joins meanwhile by this replica waits; who
/// joins by another one is asked by the node's `RoomClosed` to join again.
pub(in crate::voice) async fn close(voice: &Voice, leader: &Leader, room: RoomId) {
    let known = {
        let mut state = voice.state();
        if !state.fleet.sessions_in(room).is_empty() {
            return;
        }
        let Some(known) = state.places.rooms.get_mut(&room) else { return };
        known.closing = true;
        known.clone()
    };
    let mut transaction = leader
        .guard(Transaction::new())
        .unchanged(key::room(room), known.mod_revision)
        .delete(key::room(room));
    for node in known.room.nodes() {
        transaction = transaction.delete(key::assignment(&node, room));
    }
    let outcome = voice.coordination().transact(transaction).await;
    let mut state = voice.state();
    if let Some(known) = state.places.rooms.get_mut(&room) {
        known.closing = false;
    }
    match outcome {
        Ok(Outcome::Committed { revision }) => {
            state.places.forget(room, revision);
            metrics::counter!("hype_control_rooms_closed_total").increment(1);
            tracing::info!(?room, "idle room closed");
        }
        // It changed meanwhile, and the watch tells how; or another replica leads.
        Ok(Outcome::Conflict) => {}
        Err(error) => tracing::debug!(?room, %error, "idle room stays for now"),
    }
}

//! Stays that ended while no replica was there to see it.

use hype_protocol::id::UserId;
use tokio::time::Instant;

use super::*;
use crate::voice::unseen::end;

/// Waits until a stay is noted as still lasting, or as over.
async fn until_noted(store: &Store, session: u64, over: bool) {
    let noted = async {
        let session = SessionId(session);
        while store.stay_ended(GUILD, session).await.expect("read") != Some(over) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, noted).await.expect("it is noted");
}

/// When whose stay was told to have ended.
async fn ends(store: &Store) -> Vec<(UserId, u64)> {
    let events = store.events_after(GUILD, 0, 100).await.expect("read");
    let end = |event: &Event| match event {
        Event::UserLeftVoice { user_id, at_ms, .. } => Some((*user_id, *at_ms)),
        _ => None,
    };
    events.iter().filter_map(|published| end(&published.event)).collect()
}

#[tokio::test]
async fn a_stay_that_ended_unseen_ends_when_voice_was_last_looked_at() {
    let (_memory, coordination) = memory();
    let mut replica = Replica::start(coordination.clone()).await;
    let store = replica.directory.clone();
    let node = Node::start(&coordination, &replica, "node-1", 1).await;
    let seat = join(&replica.voice, &node, 1).await;
    join(&replica.voice, &node, 2).await;
    join(&replica.voice, &node, 3).await;
    for session in [101, 102, 103] {
        until_noted(&store, session, false).await;
    }
    let (later, minute_ms) = (Instant::now() + Duration::from_secs(20), 60_000);
    let looked_ms = crate::store::snowflake::unix_ms() + 2 * minute_ms;
    let ended = end(&replica.voice, &store, later, looked_ms).await.expect("looked at");
    assert_eq!(ended, 0, "all are there");

    // The replica dies, and two people leave before the next one is there.
    replica.voice.stop().await;
    let id = node.id.clone();
    drop(node);
    let control = "c-next".parse().expect("a valid name");
    replica.voice = Voice::start(control, coordination, store.clone(), Bus::default());
    let voice = replica.voice.clone();
    let known = |voice: &Voice| voice.state().fleet.candidates(std::iter::empty()).len() == 1;
    replica.until("the node's record is seen", known).await;
    let (later, now_ms) = (later + Duration::from_secs(20), looked_ms + 60 * minute_ms);
    assert_eq!(end(&voice, &store, later, now_ms).await.expect("looked at"), 0);
    let (node_end, control_end) = pipe::pair();
    voice.attach(control_end);
    let node = Node { id: id.clone(), end: node_end };
    node.say(hello(&id, 1)).await;
    node.say(report(&opening(&seat, 101, 1))).await;
    replica.until("it has told one", |voice| voice.sessions_in(ROOM).len() == 1).await;
    assert_eq!(end(&voice, &store, later, now_ms).await.expect("looked at"), 0);
    assert_eq!(ends(&store).await, [], "not before the node has told all of its sessions");
    node.say(FromNode::SnapshotEnd).await;
    let complete = |voice: &Voice| voice.state().fleet.complete(later);
    replica.until("it has told all", complete).await;

    assert_eq!(end(&voice, &store, later, now_ms).await.expect("looked at"), 2);
    let mut told = ends(&store).await;
    told.sort_unstable();
    assert_eq!(told, [(UserId(2), looked_ms), (UserId(3), looked_ms)]);
    until_noted(&store, 101, false).await;
    assert_eq!(end(&voice, &store, later, now_ms + 1).await.expect("looked at"), 0, "only once");
    // Whoever is still there ends as always.
    let (session, reason) = (SessionId(101), CloseReason::Left);
    node.say(FromNode::Closed { session, room: ROOM, reason }).await;
    until_noted(&store, 101, true).await;
    voice.stop().await;
}

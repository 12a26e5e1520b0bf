//! A whole node, its workers and sockets included, over the in-memory store: what control replicas
//! see of it by an in-process pipe and by QUIC, and what clients see of it on loopback.

mod client;
mod fleet;

use std::time::{Duration, Instant};

use hype_node::{Error, Node, config::Config};
use hype_protocol::id::{BootId, Generation, RoomId, SessionId, SourceId, WorkerId};
use hype_protocol::key;
use hype_protocol::media::{Mid, ReceiveLine, SourceKind, VideoSlot};
use hype_protocol::observation::{
    CloseReason, FlagsChange, FromNode, Keying, RefuseReason, ToNode, View, ViewState, VoiceFlags,
};
use hype_protocol::record::{NodeLive, NodeSpec, NodeState};
use hype_protocol::secret::SrtpProfile;

use client::{Browser, Native};
use fleet::{Control, PATIENCE, Running, config, loopback};

const ROOM: RoomId = RoomId(7);
/// What the node waits for is tried so often: a machine that stands still may be slower by itself.
const TRIES: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_native_session_from_the_first_message_to_the_last() {
    let (node, mut control) = Running::start(config()).await;
    node.assign(ROOM, 5, 1).await;
    let open = control.native(&node, ROOM, 5, 1);
    control.send(ToNode::Open(open.clone())).await;
    let status = control.session(open.session).await;
    assert!(!status.connected);
    assert_eq!((status.room, status.user), (ROOM, open.user));

    let mut client = Native::new(&control.keys, &open, node.address(1));
    client.check();
    assert!(control.session(open.session).await.connected);

    let flags = VoiceFlags { self_mute: true, ..VoiceFlags::default() };
    let change = FlagsChange { self_mute: Some(true), ..FlagsChange::default() };
    control.send(ToNode::Flags { session: open.session, change }).await;
    assert_eq!(control.session(open.session).await.flags, flags);

    // The first report may be from before.
    control
        .until(|message| match message {
            FromNode::Stats { load, .. } if load.sessions == 1 => Some(()),
            _ => None,
        })
        .await;

    control.send(ToNode::Close { session: open.session, reason: CloseReason::Removed }).await;
    assert_eq!(control.closed(open.session).await, CloseReason::Removed);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_refused() {
    let (node, mut control) = Running::start(Config { max_sessions: 2, ..config() }).await;
    node.assign(ROOM, 5, 0).await;
    let first = control.native(&node, ROOM, 5, 0);
    control.send(ToNode::Open(first.clone())).await;
    control.session(first.session).await;

    let refused = |control: &Control, change: fn(&mut hype_protocol::observation::OpenSession)| {
        let mut open = control.native(&node, ROOM, 5, 0);
        change(&mut open);
        open
    };
    for (change, reason) in [
        (
            (|open| open.boot = BootId(open.boot.0 ^ 1))
                as fn(&mut hype_protocol::observation::OpenSession),
            RefuseReason::StaleBoot,
        ),
        (|open| open.generation = Generation(4), RefuseReason::StaleGeneration),
        (|open| open.worker = WorkerId(1), RefuseReason::Invalid),
        (
            |open| open.media.voice_slots = vec![open.media.voice_slots[0].clone(); 20],
            RefuseReason::Invalid,
        ),
    ] {
        let open = refused(&control, change);
        control.send(ToNode::Open(open.clone())).await;
        assert_eq!(control.refused(open.session).await, reason);
    }
    control.send(ToNode::Open(first.clone())).await;
    assert_eq!(control.refused(first.session).await, RefuseReason::Duplicate);

    // A room that never comes, and a generation that never comes: after the wait.
    for left in (0..TRIES).rev() {
        let begun = Instant::now();
        let unknown = control.native(&node, RoomId(404), 5, 0);
        control.send(ToNode::Open(unknown.clone())).await;
        let early = control.native(&node, ROOM, 6, 0);
        control.send(ToNode::Open(early.clone())).await;
        let refused = control.refused(early.session).await;
        assert_eq!(control.refused(unknown.session).await, RefuseReason::UnknownRoom);
        assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
        if refused == RefuseReason::Full {
            break;
        }
        // The first one's wait was over before the second one came.
        assert!(left > 0, "one waits, one is open: {refused:?}");
    }

    // The watch is slower than the client's answer.
    for left in (0..TRIES).rev() {
        let room = RoomId(8 + u64::from(left));
        let early = control.native(&node, room, 9, 1);
        control.send(ToNode::Open(early.clone())).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        node.assign(room, 9, 1).await;
        match control.fate(early.session).await {
            Ok(_) => break,
            Err(reason) => assert!(left > 0, "{reason:?}"),
        }
    }

    // Native keys are used once in a boot, whatever became of the session.
    control.send(ToNode::Close { session: first.session, reason: CloseReason::Left }).await;
    control.closed(first.session).await;
    control.send(ToNode::Open(first.clone())).await;
    assert_eq!(control.refused(first.session).await, RefuseReason::Duplicate);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_waiting_session_asks_for_holds_once_its_room_is_there() {
    let (mut node, mut control) = Running::start(config()).await;
    let flags = VoiceFlags { self_mute: true, server_deaf: true, ..VoiceFlags::default() };
    let mut left = TRIES;
    let session = loop {
        left -= 1;
        let room = RoomId(ROOM.0 + u64::from(left));
        let mut open = control.native(&node, room, 5, 1);
        let mid = Mid::try_from("9".to_owned()).expect("a valid mid");
        let video = ReceiveLine { mid, ssrc: 2000, rtx_ssrc: None };
        open.media.video_slots = vec![VideoSlot { video, sound: None }];
        open.flags.self_mute = true;
        let session = open.session;
        control.send(ToNode::Open(open)).await;
        let view = View { source: SourceId(1), kind: SourceKind::Camera, height: None };
        control.send(ToNode::View { session, slot: 0, view: Some(view) }).await;
        let change = FlagsChange { server_deaf: Some(true), ..FlagsChange::default() };
        control.send(ToNode::Flags { session, change }).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        node.assign(room, 5, 1).await;
        match control.fate(session).await {
            Ok(status) => {
                assert_eq!(status.flags, flags);
                break session;
            }
            Err(reason) => assert!(left > 0, "{reason:?}"),
        }
    };
    let expected = FromNode::View { session, slot: 0, state: ViewState::Waiting };
    control.until(|message| (message == expected).then_some(())).await;

    // A link that ends is made anew, and tells all of it again.
    drop(control);
    let mut control = node.next_link().await;
    assert_eq!(control.snapshot.len(), 1);
    assert_eq!((control.snapshot[0].session, control.snapshot[0].flags), (session, flags));
    control.until(|message| (message == expected).then_some(())).await;
    control.send(ToNode::Close { session, reason: CloseReason::Left }).await;
    assert_eq!(control.closed(session).await, CloseReason::Left);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_the_store_stops_nothing_and_its_return_mends_all() {
    let (node, mut control) = Running::start(config()).await;
    node.assign(ROOM, 5, 0).await;
    let before = control.native(&node, ROOM, 5, 0);
    control.send(ToNode::Open(before.clone())).await;
    control.session(before.session).await;
    node.memory.set_available(false);
    let during = control.native(&node, ROOM, 5, 0);
    control.send(ToNode::Open(during.clone())).await;
    control.session(during.session).await;
    let mut client = Native::new(&control.keys, &during, node.address(0));
    client.check();
    assert!(control.session(during.session).await.connected);
    // Longer than the lease: the registration is lost. Meanwhile the client must be heard of.
    let mut kept = tokio::time::interval(Duration::from_secs(1));
    {
        let mut lost = std::pin::pin!(node.until_ready(false, 2 * PATIENCE));
        loop {
            tokio::select! {
                () = &mut lost => break,
                _ = kept.tick() => client.check(),
            }
        }
    }
    client.check();
    node.memory.set_available(true);
    node.until_ready(true, PATIENCE).await;
    let record = node.store.get(&key::node_live(&node.live.node)).await.expect("it is back");
    assert!(record.entry.is_some());
    node.assign(RoomId(9), 90, 1).await;
    let after = control.native(&node, RoomId(9), 90, 1);
    control.send(ToNode::Open(after.clone())).await;
    control.session(after.session).await;
    assert!(!control.seen_closed(during.session));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_node_serves_nobody_until_it_is_active_again() {
    let (node, mut control) = Running::start(config()).await;
    node.assign(ROOM, 5, 0).await;
    let open = control.native(&node, ROOM, 5, 0);
    control.send(ToNode::Open(open.clone())).await;
    control.session(open.session).await;
    let spec = |state, generation| NodeSpec { state, generation: Generation(generation) };
    node.put(key::node_spec(&node.live.node), &spec(NodeState::Fenced, 10)).await;
    assert_eq!(control.closed(open.session).await, CloseReason::RoomClosed);
    node.until_ready(false, PATIENCE).await;
    let open = control.native(&node, ROOM, 5, 0);
    control.send(ToNode::Open(open.clone())).await;
    assert_eq!(control.refused(open.session).await, RefuseReason::UnknownRoom);
    // An older spec is a stale write.
    node.put(key::node_spec(&node.live.node), &spec(NodeState::Active, 9)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.until_ready(false, Duration::ZERO).await;
    node.put(key::node_spec(&node.live.node), &spec(NodeState::Active, 11)).await;
    node.until_ready(true, PATIENCE).await;
    let open = control.native(&node, ROOM, 5, 0);
    control.send(ToNode::Open(open.clone())).await;
    control.session(open.session).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_comes_by_dtls_and_leaves_by_close_notify() {
    let (node, mut control) = Running::start(config()).await;
    node.assign(ROOM, 5, 0).await;
    for closed_by_peer in [true, false] {
        for newest in [false, true] {
            let mut browser = Browser::new(newest);
            let keying = Keying::Dtls { fingerprint: browser.fingerprint };
            let open = control.open(&node, ROOM, 5, 0, keying);
            control.send(ToNode::Open(open.clone())).await;
            control.session(open.session).await;
            browser.connect(&control.keys, &open, node.address(0), &node.live.fingerprint);
            assert_eq!(browser.profile, Some(SrtpProfile::AeadAes256Gcm));
            assert!(control.session(open.session).await.connected);
            if closed_by_peer {
                browser.close();
                assert_eq!(control.closed(open.session).await, CloseReason::ClosedByPeer);
            } else {
                let reason = CloseReason::Replaced;
                control.send(ToNode::Close { session: open.session, reason }).await;
                assert_eq!(control.closed(open.session).await, reason);
                browser.until_closed();
            }
        }
    }
    let mut browser = Browser::new(false);
    let keying = Keying::Dtls { fingerprint: [7; 32] };
    let open = control.open(&node, ROOM, 5, 0, keying);
    control.send(ToNode::Open(open.clone())).await;
    control.session(open.session).await;
    browser.try_connect(&control.keys, &open, node.address(0), Duration::from_secs(3));
    assert_eq!(browser.profile, None);
    assert_eq!(control.closed(open.session).await, CloseReason::Handshake);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_tells_everybody_in_time() {
    // It waits for nobody longer than a second: on a machine that stands still not all are told.
    for left in (0..TRIES).rev() {
        let untold = untold_by_a_clean_stop().await;
        if untold == 0 {
            return;
        }
        assert!(left > 0, "{untold} were not told");
    }
}

/// How many of a full room did not hear of the stop; the store counts, too.
async fn untold_by_a_clean_stop() -> usize {
    let (node, mut control) = Running::start(config()).await;
    let record: NodeLive = node.record().await.expect("it is registered");
    assert_eq!(record, node.live);
    node.assign(ROOM, 5, 0).await;
    let opens: Vec<_> = (0..50).map(|_| control.native(&node, ROOM, 5, 0)).collect();
    for open in &opens {
        control.send(ToNode::Open(open.clone())).await;
    }
    for open in &opens {
        control.session(open.session).await;
    }
    let mut browser = Browser::new(false);
    let keying = Keying::Dtls { fingerprint: browser.fingerprint };
    let open = control.open(&node, ROOM, 5, 0, keying);
    control.send(ToNode::Open(open.clone())).await;
    control.session(open.session).await;
    browser.connect(&control.keys, &open, node.address(0), &node.live.fingerprint);
    let store = node.store.clone();
    let name = key::node_live(&node.live.node);
    let begun = Instant::now();
    node.stop().await;
    println!("stopped within {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut closed = Vec::new();
    for message in control.until_ended().await {
        if let FromNode::Closed { session, reason: CloseReason::NodeStopping, .. } = message {
            closed.push(session);
        }
    }
    let record = store.get(&name).await.expect("the store lives on").entry;
    let sessions = opens.iter().chain([&open]).map(|open| open.session);
    let untold = sessions.filter(|session| !closed.contains(session)).count();
    let untold = untold + usize::from(record.is_some());
    if untold == 0 {
        browser.until_closed();
    }
    untold
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_dialed_by_quic_and_only_with_their_own_certificate() {
    // Who stops waits for replicas to hear of it, but not for a machine that stands still.
    for left in (0..TRIES).rev() {
        let told = fleet::over_quic().await;
        if told == 2 {
            return;
        }
        assert!(left > 0, "{told} of two were told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let ip = loopback();
    let taken = std::net::UdpSocket::bind((ip, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let config = Config { announce: vec![ip], udp_port: port, workers: 1, ..config() };
    match Node::start(config) {
        Err(error @ Error::Bind { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&port.to_string()) && text.contains("--udp-port"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_health_and_rooms() {
    let admin = (loopback(), 0).into();
    let (node, mut control) = Running::start(Config { admin: Some(admin), ..config() }).await;
    node.assign(ROOM, 5, 1).await;
    let open = control.native(&node, ROOM, 5, 1);
    control.send(ToNode::Open(open.clone())).await;
    control.session(open.session).await;
    let address = node.admin.expect("it was asked for");
    let (status, _) = fleet::get(address, "/healthz").await;
    assert_eq!(status, 200);
    let (status, body) = fleet::get(address, "/rooms").await;
    assert_eq!(status, 200);
    let dump: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let room = &dump["rooms"][0];
    assert_eq!(room["room"], ROOM.to_string());
    assert_eq!(room["worker"], 1);
    assert_eq!(room["sessions"][0]["session"], open.session.to_string());
    assert_eq!(fleet::get(address, "/metrics").await.0, 404, "no recorder was given");
    assert_eq!(fleet::get(address, "/nothing").await.0, 404);
    node.stop().await;
}

/// Random enough for a test: never twice in one process.
fn next_session() -> SessionId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    SessionId(number << 32 | number)
}

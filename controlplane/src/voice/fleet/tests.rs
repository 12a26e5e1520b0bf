//! The fleet's state machine by itself: what nodes say goes in, notices come out, on a clock of
//! the test's own.

use std::time::Duration;

use hype_protocol::coordination::Entry;
use hype_protocol::id::{
    BootId, Generation, NodeId, PartId, RoomId, SessionId, SourceId, UserId, WorkerId,
};
use hype_protocol::media::{Codec, SessionMedia};
use hype_protocol::observation::{
    CloseReason, FromNode, Keying, OpenSession, RefuseReason, SessionStatus, ToNode, VoiceFlags,
};
use hype_protocol::record::{self, NodeLive, NodeSpec, NodeState, Part, Room, RoomMode};
use hype_protocol::secret::{BootKeys, BootSecret, SrtpProfile};
use hype_protocol::{key, pipe};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{ConnectionId, Fleet, GRACE, Notice, PENDING, Violation};
use crate::error::Error;
use crate::voice::rooms::Seat;

const ROOM: RoomId = RoomId(7);

struct Test {
    fleet: Fleet,
    node: NodeId,
    now: Instant,
    connections: u64,
    out: Vec<Notice>,
}

impl Test {
    fn new() -> Self {
        let now = Instant::now();
        let mut test = Self {
            fleet: Fleet::new(now),
            node: "node-1".parse().expect("a valid name"),
            now,
            connections: 0,
            out: Vec::new(),
        };
        test.register(BootId(1), 2);
        test
    }

    fn entry(key: String, value: Vec<u8>) -> Entry {
        Entry { key, value, create_revision: 1, mod_revision: 1 }
    }

    fn register(&mut self, boot: BootId, workers: u16) {
        let live = NodeLive {
            node: self.node.clone(),
            boot,
            region: "here".parse().expect("a valid name"),
            version: "0.1.0".into(),
            workers: (0..workers).map(|n| vec![([127, 0, 0, 1], 7000 + n).into()]).collect(),
            fingerprint: "AB".into(),
            max_sessions: 100,
        };
        let entry = Self::entry(key::node_live(&self.node), record::encode(&live));
        self.fleet.handle_record(&entry, self.now);
    }

    fn specify(&mut self, state: NodeState) {
        let spec = NodeSpec { state, generation: Generation(1) };
        let entry = Self::entry(key::node_spec(&self.node), record::encode(&spec));
        self.fleet.handle_record(&entry, self.now);
    }

    /// The node dials and says `Hello`.
    fn connect(&mut self, boot: BootId) -> (ConnectionId, mpsc::Receiver<ToNode>) {
        self.connect_with(boot, pipe::CAPACITY)
    }

    fn connect_with(
        &mut self,
        boot: BootId,
        capacity: usize,
    ) -> (ConnectionId, mpsc::Receiver<ToNode>) {
        let (sender, receiver) = mpsc::channel(capacity);
        let connection = ConnectionId(self.connections);
        self.connections += 1;
        let keys = BootKeys::new(&self.node, &BootSecret([u8::try_from(boot.0).unwrap_or(0); 32]));
        let (node, now) = (self.node.clone(), self.now);
        self.fleet.handle_hello(connection, &node, (boot, keys), sender, now, &mut self.out);
        (connection, receiver)
    }

    fn say(&mut self, connection: ConnectionId, message: FromNode) -> Result<(), Violation> {
        let node = self.node.clone();
        self.fleet.handle_message(connection, &node, message, &mut self.out)
    }

    fn report(&mut self, connection: ConnectionId, status: SessionStatus) {
        self.say(connection, FromNode::Session(Box::new(status))).expect("the link is current");
    }

    fn later(&mut self, time: Duration) {
        self.now += time;
        self.fleet.handle_timeout(self.now, &mut self.out);
    }

    fn told(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.out)
    }

    fn seat(&self) -> Option<Seat> {
        self.fleet.seat(ROOM, &room(&self.node, 0))
    }
}

fn room(node: &NodeId, worker: u16) -> Room {
    let since = Generation(3);
    let parts = vec![Part { part: PartId(0), node: node.clone(), worker: WorkerId(worker), since }];
    Room { generation: Generation(3), mode: RoomMode::Sfu, parts }
}

fn status(session: u64) -> SessionStatus {
    SessionStatus {
        session: SessionId(session),
        room: ROOM,
        worker: WorkerId(0),
        user: UserId(100 + session),
        connected: true,
        flags: VoiceFlags::default(),
        producers: Vec::new(),
        decodes: vec![Codec::Vp8, Codec::H264],
        opened_at_ms: session,
    }
}

fn open(session: u64, user: u64) -> OpenSession {
    OpenSession {
        boot: BootId(1),
        room: ROOM,
        generation: Generation(3),
        worker: WorkerId(0),
        session: SessionId(session),
        user: UserId(user),
        remote_ufrag: "abcd".into(),
        keying: Keying::Native { profile: SrtpProfile::AeadAes128Gcm },
        flags: VoiceFlags::default(),
        media: SessionMedia::default(),
    }
}

fn states(notices: &[Notice]) -> Vec<u64> {
    let state = |notice: &Notice| match notice {
        Notice::State(status) => Some(status.session.0),
        _ => None,
    };
    notices.iter().filter_map(state).collect()
}

fn left(notices: &[Notice]) -> Vec<u64> {
    let left = |notice: &Notice| match notice {
        Notice::Left { session, .. } => Some(session.0),
        _ => None,
    };
    let mut sessions: Vec<_> = notices.iter().filter_map(left).collect();
    sessions.sort_unstable();
    sessions
}

/// Which sessions ended, and whether their clients shall join again.
fn ended(notices: &[Notice]) -> Vec<(u64, bool)> {
    let ended = |notice: &Notice| match notice {
        Notice::Ended { session, ending, .. } => Some((session.0, ending.rejoin)),
        _ => None,
    };
    let mut sessions: Vec<_> = notices.iter().filter_map(ended).collect();
    sessions.sort_unstable();
    sessions
}

#[test]
fn a_new_session_is_told_to_its_guild_and_welcomed() {
    let mut test = Test::new();
    let (link, _commands) = test.connect(BootId(1));
    test.report(link, status(1));
    test.say(link, FromNode::Speakers { room: ROOM, speakers: vec![SourceId(1)] }).expect("fine");
    test.told();

    let mut second = status(2);
    second.decodes = vec![Codec::H264];
    test.report(link, second.clone());
    let told = test.told();
    let (room, user) = (ROOM, second.user);
    let expected = [
        Notice::State(Box::new(second.clone())),
        Notice::Codecs { room, codecs: vec![Codec::H264], only: None },
        Notice::Codecs { room, codecs: vec![Codec::H264], only: Some(user) },
        Notice::Speakers { room, speakers: vec![SourceId(1)], only: Some(user) },
    ];
    assert_eq!(told, expected);

    test.report(link, second.clone());
    assert_eq!(test.told(), [], "nothing changed");
    second.flags.self_mute = true;
    test.report(link, second.clone());
    assert_eq!(test.told(), [Notice::State(Box::new(second))]);
    let closed = FromNode::Closed { session: SessionId(2), room, reason: CloseReason::Left };
    test.say(link, closed).expect("fine");
    let expected = [
        Notice::Left { room, user, session: SessionId(2) },
        Notice::Codecs { room, codecs: vec![Codec::Vp8, Codec::H264], only: None },
    ];
    assert_eq!(test.told(), expected);
    assert_eq!(test.fleet.sessions_in(ROOM), [status(1)]);
    assert_eq!(test.fleet.sessions_of(user), []);
}

#[test]
fn every_end_is_put_to_the_person_or_not() {
    let cases = [
        (CloseReason::Left, None),
        (CloseReason::ClosedByPeer, None),
        (CloseReason::Removed, Some(false)),
        (CloseReason::Replaced, Some(false)),
        (CloseReason::Handshake, Some(false)),
        (CloseReason::Timeout, Some(true)),
        (CloseReason::RoomClosed, Some(true)),
        (CloseReason::NodeStopping, Some(true)),
    ];
    for (reason, rejoin) in cases {
        let mut test = Test::new();
        let (link, _commands) = test.connect(BootId(1));
        test.report(link, status(1));
        test.told();
        let closed = FromNode::Closed { session: SessionId(1), room: ROOM, reason };
        test.say(link, closed).expect("fine");
        let told = test.told();
        assert_eq!(left(&told), [1], "{reason:?}");
        let expected: Vec<_> = rejoin.map(|rejoin| (1, rejoin)).into_iter().collect();
        assert_eq!(ended(&told), expected, "{reason:?}");
    }
}

#[test]
fn an_opened_session_counts_at_once_and_ends_by_refusal_or_silence() {
    let cases = [
        (RefuseReason::StaleBoot, true),
        (RefuseReason::StaleGeneration, true),
        (RefuseReason::UnknownRoom, true),
        (RefuseReason::Duplicate, true),
        (RefuseReason::Full, false),
        (RefuseReason::Invalid, false),
    ];
    for (reason, rejoin) in cases {
        let mut test = Test::new();
        let (link, mut commands) = test.connect(BootId(1));
        let seat = test.seat().expect("the node is there");
        test.fleet.open(&seat, open(5, 50), 0, test.now).expect("the node is there");
        assert!(matches!(commands.try_recv(), Ok(ToNode::Open(open)) if open.session.0 == 5));
        assert_eq!(test.fleet.sessions_in(ROOM).len(), 1);
        let refused = FromNode::Refused { session: SessionId(5), room: ROOM, reason };
        test.say(link, refused).expect("fine");
        let told = test.told();
        assert_eq!(ended(&told), [(5, rejoin)], "{reason:?}");
        assert_eq!(left(&told), [5], "snapshots showed it");
        assert_eq!(test.fleet.sessions_in(ROOM), []);
    }
    let mut test = Test::new();
    let (link, _commands) = test.connect(BootId(1));
    let seat = test.seat().expect("the node is there");
    for session in [5, 6] {
        test.fleet.open(&seat, open(session, session), 0, test.now).expect("the node is there");
    }
    test.report(link, SessionStatus { connected: false, ..status(6) });
    test.told();
    test.later(PENDING);
    let told = test.told();
    assert_eq!(ended(&told), [(5, true)], "only the one that was never reported");
    assert_eq!(left(&told), [5]);
    assert_eq!(test.fleet.sessions_in(ROOM).len(), 1);
}

#[test]
fn a_full_channel_refuses_others_but_not_who_is_in_it() {
    let mut test = Test::new();
    let (_link, _commands) = test.connect(BootId(1));
    let seat = test.seat().expect("the node is there");
    test.fleet.open(&seat, open(1, 11), 2, test.now).expect("there is room");
    test.fleet.open(&seat, open(2, 12), 2, test.now).expect("there is room");
    let third = test.fleet.open(&seat, open(3, 13), 2, test.now);
    assert!(matches!(third, Err(Error::ChannelFull)));
    let others = test.fleet.open(&seat, open(4, 12), 2, test.now).expect("he replaces himself");
    assert_eq!(others, [SessionId(2)], "of him alone, and not the new one");
}

#[test]
fn a_seat_needs_the_same_boot_in_link_and_record() {
    let mut test = Test::new();
    assert!(test.seat().is_none(), "no connection yet");
    let (link, _commands) = test.connect(BootId(2));
    assert!(test.seat().is_none(), "the record is of another run");
    test.register(BootId(2), 2);
    let seat = test.seat().expect("both are there");
    assert!(test.fleet.ready());

    test.specify(NodeState::Drain);
    assert!(test.seat().is_some(), "its rooms can be joined until they are moved");
    test.specify(NodeState::Fenced);
    assert!(test.seat().is_none());
    assert!(test.fleet.must_move(&room(&test.node, 0), test.now));
    test.specify(NodeState::Active);

    test.fleet.handle_record_deleted(&key::node_live(&test.node));
    assert!(test.seat().is_some(), "a connected node serves without the store");
    assert!(!test.fleet.ready(), "but gets no new rooms");

    let (node, now) = (test.node.clone(), test.now);
    test.fleet.handle_disconnect(link, &node, now);
    let refused = test.fleet.open(&seat, open(1, 1), 0, now);
    assert!(matches!(refused, Err(Error::NoNode(_))));
    assert!(!test.fleet.gone(&node, now));
    assert!(test.fleet.gone(&node, now + GRACE));
}

#[test]
fn a_node_back_with_fewer_workers_loses_the_rooms_of_the_others() {
    let mut test = Test::new();
    let (_link, _commands) = test.connect(BootId(1));
    assert!(!test.fleet.must_move(&room(&test.node, 1), test.now));
    assert!(test.fleet.must_move(&room(&test.node, 2), test.now));
    // A room of parts lives where all of them can.
    let of_parts = |second: u16| {
        let mut room = room(&test.node, 0);
        room.parts.extend(self::room(&test.node, second).parts);
        room.parts[1].part = PartId(1);
        room
    };
    assert!(!test.fleet.must_move(&of_parts(1), test.now));
    assert!(test.fleet.must_move(&of_parts(2), test.now));
    let unknown: NodeId = "node-2".parse().expect("a valid name");
    assert!(!test.fleet.must_move(&room(&unknown, 0), test.now), "it may just be dialing");
    assert!(test.fleet.must_move(&room(&unknown, 0), test.now + GRACE));
}

#[test]
fn a_full_pipe_is_an_error_and_leaves_no_trace() {
    let mut test = Test::new();
    let (_link, _commands) = test.connect_with(BootId(1), 1);
    let seat = test.seat().expect("the node is there");
    test.fleet.open(&seat, open(1, 1), 0, test.now).expect("there is room for one");
    let second = test.fleet.open(&seat, open(2, 2), 0, test.now);
    assert!(matches!(second, Err(Error::NoNode(_))));
    assert_eq!(test.fleet.session(SessionId(2)), None);
}

#[test]
fn a_reconnect_replaces_what_was_known() {
    let mut test = Test::new();
    let (old, _old_commands) = test.connect(BootId(1));
    for session in [1, 2, 3] {
        test.report(old, status(session));
    }
    test.told();
    let (new, _commands) = test.connect(BootId(1));
    assert_eq!(test.told(), [], "nothing changes before the snapshot is complete");
    assert_eq!(test.say(old, FromNode::SnapshotEnd), Err(Violation::Superseded));
    let mut muted = status(2);
    muted.flags.self_mute = true;
    test.report(new, status(1));
    test.report(new, muted);
    test.report(new, status(4));
    test.say(new, FromNode::SnapshotEnd).expect("fine");
    let told = test.told();
    assert_eq!(states(&told), [2, 4], "one changed, one is new");
    assert_eq!(left(&told), [3]);
    assert_eq!(ended(&told), [(3, true)]);
    assert_eq!(test.fleet.sessions_in(ROOM).len(), 3);
    // The end of the old connection no longer matters.
    let (node, now) = (test.node.clone(), test.now);
    test.fleet.handle_disconnect(old, &node, now);
    assert!(test.seat().is_some());
}

#[test]
fn a_new_boot_ends_the_old_sessions_at_once() {
    let mut test = Test::new();
    let (old, _old_commands) = test.connect(BootId(1));
    for session in [1, 2] {
        test.report(old, status(session));
    }
    test.told();
    let (_new, _commands) = test.connect(BootId(2));
    let told = test.told();
    assert_eq!(left(&told), [1, 2]);
    assert_eq!(ended(&told), [(1, true), (2, true)]);
    assert_eq!(test.fleet.sessions_in(ROOM), []);
}

#[test]
fn a_lost_node_keeps_its_sessions_for_the_grace() {
    let mut test = Test::new();
    let (link, _commands) = test.connect(BootId(1));
    test.report(link, status(1));
    test.told();
    let (node, now) = (test.node.clone(), test.now);
    test.fleet.handle_disconnect(link, &node, now);
    test.later(GRACE - Duration::from_millis(1));
    assert_eq!(test.told(), []);
    assert_eq!(test.fleet.sessions_in(ROOM).len(), 1);
    assert!(!test.fleet.known_empty(ROOM, std::slice::from_ref(&node), test.now));
    test.later(Duration::from_millis(1));
    let told = test.told();
    assert_eq!(left(&told), [1]);
    assert_eq!(ended(&told), [], "media may go on");
    // It was only our connection: all is there again, by the snapshot.
    let (link, _commands) = test.connect(BootId(1));
    test.report(link, status(1));
    test.say(link, FromNode::SnapshotEnd).expect("fine");
    assert_eq!(states(&test.told()), [1]);
}

#[test]
fn a_node_that_restarts_after_the_grace_still_asks_its_people_to_join_again() {
    for (boot, expected) in [(BootId(1), &[][..]), (BootId(2), &[(1, true)][..])] {
        let mut test = Test::new();
        let (link, _commands) = test.connect(BootId(1));
        test.report(link, status(1));
        let (node, now) = (test.node.clone(), test.now);
        test.fleet.handle_disconnect(link, &node, now);
        test.later(GRACE);
        test.told();
        let (_link, _commands) = test.connect(boot);
        assert_eq!(ended(&test.told()), expected, "{boot:?}");
        test.later(GRACE);
        let (_link, _commands) = test.connect(BootId(3));
        assert_eq!(ended(&test.told()), [], "asked once");
    }
}

#[test]
fn a_node_cannot_touch_the_sessions_of_another() {
    let mut test = Test::new();
    let (link, _commands) = test.connect(BootId(1));
    test.report(link, status(1));
    test.node = "node-2".parse().expect("a valid name");
    let (other, _commands) = test.connect(BootId(9));
    test.told();
    test.report(other, SessionStatus { user: UserId(666), ..status(1) });
    let reason = CloseReason::Removed;
    let closed = FromNode::Closed { session: SessionId(1), room: ROOM, reason };
    test.say(other, closed).expect("it is only ignored");
    assert_eq!(test.told(), []);
    assert_eq!(test.fleet.sessions_in(ROOM), [status(1)]);
}

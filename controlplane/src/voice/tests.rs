//! Voice over the in-process coordination store and real pipes: the test is the node's end.

mod election;
mod network;
mod unseen;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hype_protocol::coordination::{self, Transaction, memory::Memory};
use hype_protocol::gateway::{ChannelKind, Event, Guild, User};
use hype_protocol::id::{
    BootId, ChannelId, ControlId, Generation, GuildId, NodeId, RoomId, SessionId, UserId, WorkerId,
};
use hype_protocol::media::SessionMedia;
use hype_protocol::observation::{
    CloseReason, FromNode, Keying, OpenSession, SessionStatus, ToNode, VoiceFlags,
};
use hype_protocol::record::{self, Assignment, NodeLive, Room};
use hype_protocol::secret::{BootSecret, SrtpProfile};
use hype_protocol::{key, pipe};
use tokio::time::{sleep, timeout};

use super::{Seat, Voice};
use crate::domain::guild::new_channel;
use crate::error::Error;
use crate::event::{Audience, Bus, Subscription};
use crate::store::Store;
use crate::store::user::Account;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const GUILD: GuildId = GuildId(5);
const ROOM: RoomId = RoomId(7);

/// A replica with a database of its own.
struct Replica {
    voice: Voice,
    directory: Store,
    events: Subscription,
    database: PathBuf,
}

impl Replica {
    async fn start(store: coordination::Store) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hype-voice-{}-{number}", std::process::id());
        let database = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&database).expect("the temporary directory can be written");
        let directory = Store::open_sqlite(&database.join("test.sqlite"), 2).await;
        let directory = directory.expect("a new database opens");
        fill(&directory).await;
        let bus = Bus::default();
        let events = bus.subscribe();
        let control: ControlId = format!("c{number}").parse().expect("a valid name");
        let voice = Voice::start(control, store, directory.clone(), bus);
        Self { voice, directory, events, database }
    }

    /// The next event and whom it is for, those of the metrics' kind left out.
    async fn next(&mut self) -> (Audience, Event) {
        let published = timeout(PATIENCE, self.events.receive()).await.expect("an event comes");
        let published = published.expect("nothing was missed");
        (published.audience.clone(), published.event.clone())
    }

    async fn until(&self, what: &str, holds: impl Fn(&Voice) -> bool) {
        let began = std::time::Instant::now();
        while !holds(&self.voice) {
            assert!(began.elapsed() < PATIENCE, "never happened: {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.database);
    }
}

/// One guild with one voice channel.
async fn fill(store: &Store) {
    let owner = User { id: UserId(1), name: "owner".into() };
    let account = Account { user: owner.clone(), password_hash: "none".into() };
    store.create_user(&account, "owner", 1).await.expect("the database is new");
    let channel = new_channel(ChannelId(ROOM.0), GUILD, "Lounge".to_owned(), ChannelKind::Voice);
    let guild = Guild {
        id: GUILD,
        name: "guild".into(),
        owner_id: owner.id,
        sequence: 0,
        roles: Vec::new(),
        channels: vec![channel],
        members: Vec::new(),
        voice_states: Vec::new(),
        presences: Vec::new(),
    };
    assert!(store.create_guild(&guild, 10, 1).await.expect("the database is new"));
}

/// A node's end of things: its record, and its end of a pipe.
struct Node {
    id: NodeId,
    end: pipe::NodeEnd,
}

impl Node {
    /// Writes its record, with that many workers.
    async fn register(store: &coordination::Store, id: &NodeId, boot: u64, workers: u16) {
        let address = |worker| ([127, 0, 0, 1], 7000 + worker).into();
        let live = NodeLive {
            node: id.clone(),
            boot: BootId(boot),
            region: "here".parse().expect("a valid name"),
            version: env!("CARGO_PKG_VERSION").into(),
            workers: (0..workers).map(|worker| vec![address(worker)]).collect(),
            fingerprint: "AB:CD".into(),
            max_sessions: 1_000,
        };
        let put = Transaction::new().put(key::node_live(id), &live);
        store.transact(put).await.expect("the store is there");
    }

    async fn start(store: &coordination::Store, replica: &Replica, id: &str, boot: u64) -> Self {
        let id: NodeId = id.parse().expect("a valid name");
        Self::register(store, &id, boot, 2).await;
        Self::connect(replica, &id, boot).await
    }

    /// Connects, with an empty snapshot.
    async fn connect(replica: &Replica, id: &NodeId, boot: u64) -> Self {
        let (end, control_end) = pipe::pair();
        replica.voice.attach(control_end);
        let node = Self { id: id.clone(), end };
        node.say(hello(id, boot)).await;
        node.say(FromNode::SnapshotEnd).await;
        replica.until("the node is ready", |voice| voice.ready()).await;
        node
    }

    async fn say(&self, message: FromNode) {
        self.end.sender.send(message).await.expect("the replica listens");
    }

    async fn hear(&mut self) -> ToNode {
        let heard = timeout(PATIENCE, self.end.receiver.recv()).await.expect("a command comes");
        heard.expect("the replica is connected")
    }
}

fn hello(node: &NodeId, boot: u64) -> FromNode {
    let secret = BootSecret([u8::try_from(boot).expect("tests count low"); 32]);
    FromNode::Hello { node: node.clone(), boot: BootId(boot), secret }
}

fn opening(seat: &Seat, session: u64, user: u64) -> OpenSession {
    OpenSession {
        boot: seat.boot,
        room: seat.room,
        generation: seat.generation,
        worker: seat.worker,
        session: SessionId(session),
        user: UserId(user),
        remote_ufrag: "abcd".into(),
        keying: Keying::Native { profile: SrtpProfile::AeadAes128Gcm },
        flags: VoiceFlags::default(),
        media: SessionMedia::default(),
    }
}

fn report(open: &OpenSession) -> FromNode {
    FromNode::Session(Box::new(SessionStatus {
        session: open.session,
        room: open.room,
        worker: open.worker,
        user: open.user,
        connected: true,
        flags: open.flags,
        producers: Vec::new(),
        decodes: Vec::new(),
        opened_at_ms: 1,
    }))
}

fn memory() -> (Memory, coordination::Store) {
    let memory = Memory::new();
    (memory.clone(), coordination::Store::Memory(memory))
}

#[tokio::test]
async fn joining_and_leaving_is_told_to_the_guild() {
    let (_memory, store) = memory();
    let mut replica = Replica::start(store.clone()).await;
    let voice = replica.voice.clone();
    assert!(!voice.ready());
    let mut node = Node::start(&store, &replica, "node-1", 1).await;

    let seat = voice.place(ROOM).await.expect("there is a node");
    assert_eq!((&seat.node, seat.boot), (&node.id, BootId(1)));
    let stored = store.get(&key::room(ROOM)).await.expect("it is there").entry.expect("placed");
    let room: Room = record::decode(&stored.value).expect("we wrote it");
    assert_eq!(room.generation, seat.generation);
    assert!(seat.generation.0 < stored.mod_revision);
    let assigned = store.get(&key::assignment(&node.id, ROOM)).await.expect("it is there");
    let assigned = assigned.entry.expect("written with the room");
    assert_eq!(assigned.mod_revision, stored.mod_revision, "in one transaction");
    let assignment: Assignment = record::decode(&assigned.value).expect("we wrote it");
    assert_eq!((assignment.generation, assignment.worker), (seat.generation, seat.worker));
    let port = 7000 + seat.worker.0;
    assert_eq!(seat.addresses, [([127, 0, 0, 1], port).into()]);

    let open = opening(&seat, 21, 1);
    voice.open(&seat, open.clone()).expect("the node is connected");
    assert_eq!(node.hear().await, ToNode::Open(Box::new(open.clone())));
    assert_eq!(voice.sessions_in(ROOM).len(), 1, "it counts before the node reports it");
    node.say(report(&open)).await;
    let (audience, event) = replica.next().await;
    assert_eq!(audience, Audience::Guild(GUILD));
    let Event::VoiceState(state) = event else { panic!("{event:?}") };
    assert_eq!((state.session_id, state.channel_id), (open.session, ChannelId(ROOM.0)));
    for expected in [Audience::Room(ROOM), Audience::User(UserId(1))] {
        let (audience, event) = replica.next().await;
        assert_eq!(audience, expected);
        assert!(matches!(event, Event::VoiceCodecs { codecs, .. } if codecs.len() == 4));
    }

    voice.close(open.session, CloseReason::Removed).expect("the node is connected");
    let (session, reason) = (open.session, CloseReason::Removed);
    assert_eq!(node.hear().await, ToNode::Close { session, reason });
    node.say(FromNode::Closed { session, room: ROOM, reason }).await;
    let (audience, event) = replica.next().await;
    assert_eq!(audience, Audience::Guild(GUILD));
    assert!(matches!(event, Event::VoiceLeft { session_id, .. } if session_id == session));
    let (audience, event) = replica.next().await;
    assert_eq!(audience, Audience::User(UserId(1)));
    assert!(matches!(event, Event::VoiceEnded { rejoin: false, .. }));
    assert!(matches!(voice.close(session, reason), Err(Error::NoSession)));
    voice.stop().await;
}

#[tokio::test]
async fn a_restarted_node_asks_its_people_to_join_again() {
    let (_memory, store) = memory();
    let mut replica = Replica::start(store.clone()).await;
    let voice = replica.voice.clone();
    let node = Node::start(&store, &replica, "node-1", 1).await;
    let seat = voice.place(ROOM).await.expect("there is a node");
    let open = opening(&seat, 21, 1);
    voice.open(&seat, open.clone()).expect("the node is connected");
    node.say(report(&open)).await;
    for _ in 0..3 {
        replica.next().await;
    }
    let id = node.id.clone();
    drop(node);
    Node::register(&store, &id, 2, 2).await;
    let _node = Node::connect(&replica, &id, 2).await;
    assert!(matches!(replica.next().await.1, Event::VoiceLeft { .. }));
    assert!(matches!(replica.next().await.1, Event::VoiceEnded { rejoin: true, .. }));
    let again = voice.place(ROOM).await.expect("the node is back");
    assert_eq!((again.boot, again.generation), (BootId(2), seat.generation), "its rooms stay");
    let password = |seat: &Seat| seat.keys.ice_password(SessionId(1));
    assert_ne!(password(&again), password(&seat), "keys are those of the new boot");
    assert!(matches!(voice.open(&seat, opening(&seat, 22, 1)), Err(Error::NoNode(_))));
    voice.stop().await;
}

#[tokio::test]
async fn replicas_that_place_a_room_at_once_agree() {
    let (_memory, store) = memory();
    let one = Replica::start(store.clone()).await;
    let two = Replica::start(store.clone()).await;
    let mut nodes = Vec::new();
    for id in ["node-1", "node-2", "node-3"] {
        let node = Node::start(&store, &one, id, 1).await;
        nodes.push(Node::connect(&two, &node.id, 1).await);
        nodes.push(node);
    }
    let connected = |voice: &Voice| voice.state().fleet.connected() == 3;
    one.until("all are connected", connected).await;
    two.until("all are connected", connected).await;
    let mut places = std::collections::HashSet::new();
    for room in (1_000..1_060).map(RoomId) {
        let (a, b) = tokio::join!(one.voice.place(room), two.voice.place(room));
        let (a, b) = (a.expect("there are nodes"), b.expect("there are nodes"));
        assert_eq!((&a.node, a.worker, a.generation), (&b.node, b.worker, b.generation));
        places.insert((a.node, a.worker));
    }
    assert!(places.len() > 2, "rooms are spread: {places:?}");
    let assigned = store.list("/hype/v1/assign/").await.expect("it is there");
    assert_eq!(assigned.entries.len(), 60, "each room is assigned once");
    one.voice.stop().await;
    two.voice.stop().await;
}

#[tokio::test]
async fn without_the_store_known_rooms_can_still_be_joined() {
    let (memory, store) = memory();
    let replica = Replica::start(store.clone()).await;
    let voice = &replica.voice;
    let _node = Node::start(&store, &replica, "node-1", 1).await;
    let seat = voice.place(ROOM).await.expect("there is a node");
    memory.set_available(false);
    let again = voice.place(ROOM).await.expect("it lives where it did");
    assert_eq!(again.generation, seat.generation);
    voice.open(&again, opening(&again, 21, 1)).expect("the node is connected");
    let unknown = voice.place(RoomId(8)).await;
    let retry = unknown.as_ref().err().and_then(Error::retry_after);
    assert!(matches!(unknown, Err(Error::CoordinationUnavailable(_))), "{unknown:?}");
    assert!(retry.is_some());
    assert!(voice.ready(), "what was known stays");
    memory.set_available(true);
    voice.place(RoomId(8)).await.expect("the store is back");
    // The watch is back too: what others write is seen.
    Node::register(&store, &"node-9".parse().expect("a valid name"), 1, 2).await;
    let seen = |voice: &Voice| voice.state().fleet.candidates(std::iter::empty()).len() == 2;
    replica.until("the watch is back", seen).await;
    voice.stop().await;
}

#[tokio::test]
async fn a_store_that_came_back_empty_is_filled_again_where_people_are() {
    let (_old, store) = memory();
    let replica = Replica::start(store.clone()).await;
    let voice = &replica.voice;
    let mut nodes = Vec::new();
    for id in ["node-1", "node-2", "node-3", "node-4"] {
        nodes.push(Node::start(&store, &replica, id, 1).await);
    }
    replica.until("all are there", |voice| voice.state().fleet.connected() == 4).await;
    let seat = voice.place(ROOM).await.expect("there is a node");
    voice.open(&seat, opening(&seat, 21, 1)).expect("the node is connected");
    // As if everything above had been read from a store with a long history.
    {
        let mut state = voice.state();
        let before = state.places.newest() + 1_000;
        state.places.handle_revision(1, before);
    }
    let delete = Transaction::new().delete(key::room(ROOM));
    store.transact(delete).await.expect("the store is there");
    let again = voice.place(ROOM).await.expect("it can be joined");
    assert_eq!((&again.node, again.worker), (&seat.node, seat.worker), "its people stay together");
    assert!(again.generation > seat.generation, "its node takes no older one");
    voice.stop().await;
}

#[tokio::test]
async fn without_a_node_a_join_says_when_to_try_again() {
    let (_memory, store) = memory();
    let replica = Replica::start(store.clone()).await;
    let none = replica.voice.place(ROOM).await;
    assert!(matches!(&none, Err(error @ Error::NoNode(_)) if error.retry_after().is_some()));
    let stored = store.get(&key::room(ROOM)).await.expect("it is there");
    assert_eq!(stored.entry, None, "nothing was decided");
    replica.voice.stop().await;
}

#[tokio::test]
async fn a_room_moves_when_its_node_is_gone_for_good() {
    let (_memory, store) = memory();
    let replica = Replica::start(store.clone()).await;
    let voice = &replica.voice;
    let node = Node::start(&store, &replica, "node-1", 1).await;
    let seat = voice.place(ROOM).await.expect("there is a node");
    let _other = Node::start(&store, &replica, "node-2", 1).await;
    replica.until("both are there", |voice| voice.state().fleet.connected() == 2).await;
    let gone = node.id.clone();
    drop(node);
    replica.until("it is lost", |voice| voice.state().fleet.connected() == 1).await;
    // Its record is still there: it may come back at any moment.
    let waiting = voice.place(ROOM).await;
    assert!(matches!(waiting, Err(Error::NoNode(_))), "{waiting:?}");
    let began = std::time::Instant::now();
    let delete = Transaction::new().delete(key::node_live(&gone));
    store.transact(delete).await.expect("the store is there");
    let moved = loop {
        match voice.place(ROOM).await {
            Ok(moved) => break moved,
            Err(error) => assert!(matches!(error, Error::NoNode(_)), "{error}"),
        }
        assert!(began.elapsed() < PATIENCE, "it never moved");
    };
    assert!(began.elapsed() > Duration::from_secs(5), "the grace was kept");
    assert_ne!(moved.node, gone);
    assert!(moved.generation > seat.generation);
    let old = store.get(&key::assignment(&gone, ROOM)).await.expect("it is there");
    assert_eq!(old.entry, None);
    let new = store.get(&key::assignment(&moved.node, ROOM)).await.expect("it is there");
    assert!(new.entry.is_some());
    voice.stop().await;
}

#[tokio::test]
async fn an_idle_room_is_closed_and_a_used_one_is_not() {
    let (_memory, store) = memory();
    let replica = Replica::start(store.clone()).await;
    let voice = &replica.voice;
    let _node = Node::start(&store, &replica, "node-1", 1).await;
    let seat = voice.place(ROOM).await.expect("there is a node");
    let idle = RoomId(8);
    voice.place(idle).await.expect("there is a node");
    let mut since = std::collections::HashMap::new();
    let now = tokio::time::Instant::now();
    let sweep = super::rooms::sweep::idle;
    assert_eq!(sweep(voice, &mut since, now), []);
    voice.open(&seat, opening(&seat, 21, 1)).expect("the node is connected");
    assert_eq!(sweep(voice, &mut since, now + Duration::from_secs(59)), []);
    let due = sweep(voice, &mut since, now + Duration::from_secs(60));
    assert_eq!(due, [idle]);
    let leader = super::leader::elected(voice).await;
    super::rooms::sweep::close(voice, &leader, ROOM).await;
    super::rooms::sweep::close(voice, &leader, idle).await;
    let rooms = store.list(key::ROOMS).await.expect("it is there");
    assert_eq!(rooms.entries.len(), 1, "who came meanwhile keeps the room");
    let assigned = store.list("/hype/v1/assign/").await.expect("it is there");
    assert_eq!(assigned.entries.len(), 1);
    // It can be placed again at once, as a newer placement.
    let again = voice.place(idle).await.expect("there is a node");
    assert!(again.generation > seat.generation && again.generation > Generation(0));
    voice.stop().await;
}

/// Joins the room as that person, and returns his seat; the node reports him at once.
async fn join(voice: &Voice, node: &Node, person: u64) -> Seat {
    let seat = voice.place(ROOM).await.expect("there is a node");
    let open = opening(&seat, 100 + person, person);
    voice.open(&seat, open.clone()).expect("the node is connected");
    node.say(report(&open)).await;
    seat
}

async fn stored<T: serde::de::DeserializeOwned>(store: &coordination::Store, key: &str) -> T {
    let entry = store.get(key).await.expect("it is there").entry.expect("written");
    record::decode(&entry.value).expect("we wrote it")
}

async fn stored_room(store: &coordination::Store) -> Room {
    stored(store, &key::room(ROOM)).await
}

#[tokio::test]
async fn a_full_room_gets_a_part_on_another_worker_and_people_are_spread() {
    let (memory, store) = memory();
    let replica = Replica::start(store.clone()).await;
    let voice = &replica.voice;
    let node = Node::start(&store, &replica, "node-1", 1).await;
    let full = super::rooms::PART_PEOPLE as u64;
    let first = join(voice, &node, 1).await;
    for person in 2..=full {
        let seat = join(voice, &node, person).await;
        assert_eq!((seat.worker, seat.generation), (first.worker, first.generation));
    }
    // The store is away: the room gets fuller, and nobody waits.
    memory.set_available(false);
    let seat = join(voice, &node, full + 1).await;
    assert_eq!(seat.worker, first.worker);
    memory.set_available(true);
    let began = std::time::Instant::now();
    let mut person = full + 1;
    let second = loop {
        person += 1;
        let seat = join(voice, &node, person).await;
        if seat.worker != first.worker {
            break seat;
        }
        assert!(began.elapsed() < PATIENCE, "it never got another part");
        sleep(Duration::from_millis(200)).await;
    };
    assert!(second.generation > first.generation);
    assert_eq!(second.addresses, [([127, 0, 0, 1], 7000 + second.worker.0).into()]);
    let room = stored_room(&store).await;
    let parts: Vec<_> =
        room.parts.iter().map(|part| (part.part.0, part.worker, part.since)).collect();
    let expected = [(0, first.worker, first.generation), (1, second.worker, second.generation)];
    assert_eq!(parts, expected, "what was promised before still holds");
    let assigned: Assignment = stored(&store, &key::assignment(&node.id, ROOM)).await;
    assert_eq!((assigned.generation, assigned.all_parts().len()), (room.generation, 2));
    // The new part fills up to the other, then both grow alike: there is no third worker.
    let mut people = [person - 1, 1];
    for person in person + 1..=2 * full + 20 {
        let seat = join(voice, &node, person).await;
        let fewest = usize::from(people[1] < people[0]);
        let at = usize::from(seat.worker == second.worker);
        assert!(people[at] == people[fewest], "{people:?} {at}");
        people[at] += 1;
    }
    assert!(people[0].abs_diff(people[1]) <= 1, "{people:?}");
    assert_eq!(stored_room(&store).await.parts.len(), 2);
    assert_eq!(voice.sessions_in(ROOM).len() as u64, people[0] + people[1]);
    // The channel's limit is one over all parts.
    let seat = voice.place(ROOM).await.expect("it can be joined");
    let limit = u32::try_from(people[0] + people[1]).expect("few");
    let one_more = voice.open_within(&seat, opening(&seat, 9_999, 9_999), limit);
    assert!(matches!(one_more, Err(Error::ChannelFull)), "{one_more:?}");
    voice.stop().await;
}

#[tokio::test]
async fn rooms_move_when_their_node_comes_back_with_fewer_workers() {
    let (_memory, store) = memory();
    let replica = Replica::start(store.clone()).await;
    let voice = &replica.voice;
    let node = Node::start(&store, &replica, "node-1", 1).await;
    let full = super::rooms::PART_PEOPLE as u64;
    let mut last = join(voice, &node, 1).await;
    assert_eq!(last.worker, WorkerId(0));
    // The least used worker, which is not coming back, gets the next room and the next part.
    let small = voice.place(RoomId(8)).await.expect("there is a node");
    assert_eq!(small.worker, WorkerId(1));
    for person in 2..=full + 1 {
        last = join(voice, &node, person).await;
    }
    assert_eq!((last.worker, stored_room(&store).await.parts.len()), (WorkerId(1), 2));
    let all = |voice: &Voice| voice.sessions_in(ROOM).iter().filter(|it| it.connected).count();
    replica.until("all are reported", |voice| all(voice) as u64 == full + 1).await;

    let id = node.id.clone();
    drop(node);
    replica.until("it is lost", |voice| voice.state().fleet.connected() == 0).await;
    let (end, control_end) = pipe::pair();
    voice.attach(control_end);
    let node = Node { id: id.clone(), end };
    node.say(hello(&id, 2)).await;
    replica.until("it has said hello", |voice| voice.state().fleet.connected() == 1).await;
    let early = voice.place(ROOM).await;
    assert!(matches!(early, Err(Error::NoNode(_))), "its record is of its last run: {early:?}");
    Node::register(&store, &id, 2, 1).await;
    node.say(FromNode::SnapshotEnd).await;
    replica.until("the node is ready", |voice| voice.ready()).await;

    for (room, former) in [(ROOM, last.generation), (RoomId(8), small.generation)] {
        let (one, two) = tokio::join!(voice.place(room), voice.place(room));
        let (one, two) = (one.expect("it is back"), two.expect("it is back"));
        assert_eq!((one.boot, one.worker), (BootId(2), WorkerId(0)));
        assert_eq!((two.worker, two.generation), (one.worker, one.generation));
        assert!(one.generation > former, "its node takes no older one");
        let record: Room = stored(&store, &key::room(room)).await;
        let parts: Vec<_> =
            record.parts.iter().map(|part| (&part.node, part.worker, part.since)).collect();
        assert_eq!(parts, [(&id, WorkerId(0), one.generation)]);
        let assigned: Assignment = stored(&store, &key::assignment(&id, room)).await;
        assert_eq!((assigned.generation, assigned.all_parts().len()), (one.generation, 1));
    }
    // As full as before, and there is no worker for another part: nobody is seated anywhere else.
    for person in 1..=full + 2 {
        let seat = join(voice, &node, 1_000 + person).await;
        assert_eq!((seat.worker, seat.boot), (WorkerId(0), BootId(2)));
    }
    voice.stop().await;
}

#[tokio::test]
async fn replicas_that_add_a_part_at_once_agree_and_a_room_of_parts_ends_as_one() {
    let (_memory, store) = memory();
    let one = Replica::start(store.clone()).await;
    let two = Replica::start(store.clone()).await;
    let node = Node::start(&store, &one, "node-1", 1).await;
    let other = Node::connect(&two, &node.id, 1).await;
    let full = super::rooms::PART_PEOPLE as u64;
    let seat = one.voice.place(ROOM).await.expect("there is a node");
    for person in 1..=full {
        let open = opening(&seat, person, person);
        node.say(report(&open)).await;
        other.say(report(&open)).await;
    }
    for replica in [&one, &two] {
        let all = |voice: &Voice| voice.sessions_in(ROOM).len() as u64 == full;
        replica.until("everybody is known", all).await;
    }
    let (a, b) = tokio::join!(one.voice.place(ROOM), two.voice.place(ROOM));
    let (a, b) = (a.expect("it can be joined"), b.expect("it can be joined"));
    assert_eq!((a.worker, a.generation), (b.worker, b.generation));
    assert_ne!(a.worker, seat.worker);
    assert_eq!(stored_room(&store).await.parts.len(), 2);
    let reason = CloseReason::Left;
    for person in 1..=full {
        let session = SessionId(person);
        node.say(FromNode::Closed { session, room: ROOM, reason }).await;
    }
    one.until("all have left", |voice| voice.sessions_in(ROOM).is_empty()).await;
    let leader = super::leader::elected(&one.voice).await;
    super::rooms::sweep::close(&one.voice, &leader, ROOM).await;
    for prefix in [key::ROOMS, "/hype/v1/assign/"] {
        let left = store.list(prefix).await.expect("it is there");
        assert_eq!(left.entries.len(), 0, "{prefix}");
    }
    one.voice.stop().await;
    two.voice.stop().await;
}

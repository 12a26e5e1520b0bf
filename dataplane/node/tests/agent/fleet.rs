//! A running node with its store, and the control plane's end of its connections.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use hype_node::{Config, Links, Node, io::IoKind};
use hype_protocol::coordination::memory::Memory;
use hype_protocol::coordination::{Outcome, Store, Transaction};
use hype_protocol::id::{BootId, Generation, PartId, RoomId, SessionId, UserId, WorkerId};
use hype_protocol::identity::{self, Authority, Identity, Subject};
use hype_protocol::key;
use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, Mid, ReceiveLine, SendLine, SessionMedia, SourceKind,
};
use hype_protocol::observation::{
    CloseReason, FlagsChange, FromNode, Keying, OpenSession, RefuseReason, SessionStatus, ToNode,
    VoiceFlags,
};
use hype_protocol::pipe::{self, ControlEnd};
use hype_protocol::record::{self, Assignment, ControlLive, NodeLive};
use hype_protocol::secret::{BootKeys, SrtpProfile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A loopback address of this process and this call.
pub fn loopback() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed).max(1);
    Ipv4Addr::new(127, high | 0x80, low, last).into()
}

pub fn config() -> Config {
    Config {
        node: "n1".parse().expect("a valid name"),
        udp_port: 0,
        workers: 2,
        pin: false,
        announce: vec![loopback()],
        io: IoKind::Auto,
        interfaces: Vec::new(),
        max_sessions: 100,
        ..Config::default()
    }
}

/// A node that serves.
pub struct Running {
    pub live: NodeLive,
    pub memory: Memory,
    pub store: Store,
    pub admin: Option<SocketAddr>,
    ready: watch::Receiver<bool>,
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<(), hype_node::Error>>,
    links: Option<mpsc::Receiver<ControlEnd>>,
}

impl Running {
    /// Starts one with an in-process control end, which has read the snapshot.
    pub async fn start(config: Config) -> (Self, Control) {
        let (connector, links) = mpsc::channel(1);
        let mut running =
            Self::with_links(config, Memory::new(), Links::InProcess(connector)).await;
        running.links = Some(links);
        let control = running.next_link().await;
        (running, control)
    }

    /// The next in-process link that the node makes, with its snapshot read.
    pub async fn next_link(&mut self) -> Control {
        let links = self.links.as_mut().expect("it was started with in-process links");
        let end = tokio::time::timeout(PATIENCE, links.recv()).await.expect("in time");
        Control::connected(end.expect("the node is there"), &self.live).await
    }

    async fn with_links(config: Config, memory: Memory, links: Links) -> Self {
        let node = Node::start(config).expect("free ports");
        let store = Store::Memory(memory.clone());
        let (stop, stopped) = oneshot::channel();
        let (live, ready, admin) = (node.live().clone(), node.ready(), node.admin_address());
        let run = tokio::spawn(node.run(store.clone(), links, async {
            let _ = stopped.await;
        }));
        let running = Self { live, memory, store, admin, ready, stop, run, links: None };
        running.until_ready(true, PATIENCE).await;
        running
    }

    pub async fn until_ready(&self, wanted: bool, patience: Duration) {
        let mut ready = self.ready.clone();
        let waited = tokio::time::timeout(patience, ready.wait_for(|ready| *ready == wanted)).await;
        assert!(waited.is_ok_and(|ready| ready.is_ok()), "ready never became {wanted}");
    }

    pub async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.run.await.expect("no panic").expect("a clean end");
    }

    pub fn address(&self, worker: usize) -> SocketAddr {
        self.live.workers[worker][0]
    }

    pub async fn put(&self, name: String, record: &impl serde::Serialize) {
        let put = Transaction::new().put(name, record);
        let outcome = self.store.transact(put).await.expect("the store is there");
        assert!(matches!(outcome, Outcome::Committed { .. }));
    }

    pub async fn assign(&self, room: RoomId, generation: u64, worker: u16) {
        let assignment = Assignment {
            room,
            generation: Generation(generation),
            part: PartId(0),
            worker: WorkerId(worker),
            max_peers: 100,
            parts: Vec::new(),
        };
        self.put(key::assignment(&self.live.node, room), &assignment).await;
    }

    pub async fn record(&self) -> Option<NodeLive> {
        let fetched = self.store.get(&key::node_live(&self.live.node)).await.expect("it is there");
        fetched.entry.map(|entry| record::decode(&entry.value).expect("what the node wrote"))
    }
}

/// The control plane's end, with everything that it was told and has not asked for yet.
pub struct Control {
    end: ControlEnd,
    pub boot: BootId,
    pub keys: BootKeys,
    pub snapshot: Vec<SessionStatus>,
    told: VecDeque<FromNode>,
}

impl Control {
    /// Reads hello and snapshot.
    pub async fn connected(mut end: ControlEnd, live: &NodeLive) -> Self {
        let first = end.receiver.recv().await;
        let Some(FromNode::Hello { node, boot, secret }) = first else { panic!("{first:?}") };
        assert_eq!((&node, boot), (&live.node, live.boot));
        let (mut snapshot, mut told) = (Vec::new(), VecDeque::new());
        loop {
            match end.receiver.recv().await.expect("the snapshot goes on") {
                FromNode::Session(status) => snapshot.push(*status),
                FromNode::SnapshotEnd => break,
                other @ (FromNode::Speakers { .. } | FromNode::View { .. }) => {
                    told.push_back(other)
                }
                other => panic!("{other:?} inside the snapshot"),
            }
        }
        let keys = BootKeys::new(&node, &secret);
        Self { end, boot, keys, snapshot, told }
    }

    pub async fn send(&self, message: ToNode) {
        self.end.sender.send(message).await.expect("the node listens");
    }

    /// Takes the first message that `wanted` takes; keeps the others.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(FromNode) -> Option<T>) -> T {
        for index in 0..self.told.len() {
            if let Some(found) = wanted(self.told[index].clone()) {
                self.told.remove(index);
                return found;
            }
        }
        loop {
            let message = tokio::time::timeout(PATIENCE, self.end.receiver.recv()).await;
            let message = message.expect("in time").expect("the node is there");
            match wanted(message.clone()) {
                Some(found) => return found,
                None => self.told.push_back(message),
            }
        }
    }

    pub async fn session(&mut self, wanted: SessionId) -> SessionStatus {
        let fate = self.fate(wanted).await;
        fate.unwrap_or_else(|reason| panic!("{wanted} was refused: {reason:?}"))
    }

    /// What becomes of a session that was asked for.
    pub async fn fate(&mut self, wanted: SessionId) -> Result<SessionStatus, RefuseReason> {
        self.until(|message| match message {
            FromNode::Session(status) if status.session == wanted => Some(Ok(*status)),
            FromNode::Refused { session, reason, .. } if session == wanted => Some(Err(reason)),
            _ => None,
        })
        .await
    }

    pub async fn closed(&mut self, wanted: SessionId) -> CloseReason {
        self.until(|message| match message {
            FromNode::Closed { session, reason, .. } if session == wanted => Some(reason),
            _ => None,
        })
        .await
    }

    pub async fn refused(&mut self, wanted: SessionId) -> RefuseReason {
        self.until(|message| match message {
            FromNode::Refused { session, reason, .. } if session == wanted => Some(reason),
            _ => None,
        })
        .await
    }

    pub fn seen_closed(&self, wanted: SessionId) -> bool {
        let closed = |message: &FromNode| matches!(message, FromNode::Closed { session, .. } if *session == wanted);
        self.told.iter().any(closed)
    }

    /// Everything that was told and not asked for, once the node has ended the pipe.
    pub async fn until_ended(&mut self) -> Vec<FromNode> {
        let ends = async {
            while let Some(message) = self.end.receiver.recv().await {
                self.told.push_back(message);
            }
        };
        tokio::time::timeout(PATIENCE, ends).await.expect("the pipe ends, too");
        self.told.drain(..).collect()
    }

    pub fn native(
        &self,
        node: &Running,
        room: RoomId,
        generation: u64,
        worker: u16,
    ) -> Box<OpenSession> {
        let keying = Keying::Native { profile: SrtpProfile::AeadAes128Gcm };
        self.open(node, room, generation, worker, keying)
    }

    pub fn open(
        &self,
        node: &Running,
        room: RoomId,
        generation: u64,
        worker: u16,
        keying: Keying,
    ) -> Box<OpenSession> {
        let session = super::next_session();
        assert_eq!(self.boot, node.live.boot);
        Box::new(OpenSession {
            boot: self.boot,
            room,
            generation: Generation(generation),
            worker: WorkerId(worker),
            session,
            user: UserId(session.0 & 0xffff),
            remote_ufrag: "clnt".to_owned(),
            keying,
            flags: VoiceFlags::default(),
            media: media(),
        })
    }
}

fn media() -> SessionMedia {
    let mid = |text: &str| Mid::try_from(text.to_owned()).expect("a valid mid");
    let opus = CodecMapping { codec: Codec::Opus, payload_type: 111, rtx_payload_type: None };
    SessionMedia {
        extensions: HeaderExtensions { mid: Some(1), ..HeaderExtensions::default() },
        send_codecs: vec![opus],
        receive_codecs: vec![opus],
        sends: vec![SendLine { mid: mid("0"), kind: SourceKind::Microphone, rids: Vec::new() }],
        voice_slots: vec![ReceiveLine { mid: mid("1"), ssrc: 1000, rtx_ssrc: None }],
        video_slots: Vec::new(),
    }
}

/// A control replica's QUIC listener.
struct Replica {
    endpoint: quinn::Endpoint,
    live: ControlLive,
}

impl Replica {
    fn listen(identity: &Identity, name: &str, address: SocketAddr) -> Self {
        let config = identity.server_config().expect("a whole identity");
        let endpoint = quinn::Endpoint::server(config, address).expect("a free port");
        let link = vec![endpoint.local_addr().expect("it is bound")];
        let control = name.parse().expect("a valid name");
        Self { endpoint, live: ControlLive { control, link, version: "test".to_owned() } }
    }

    /// The next node that connects, with its snapshot read.
    async fn accept(&self, live: &NodeLive) -> (Control, quinn::Connection) {
        let accepted = async {
            loop {
                let incoming = self.endpoint.accept().await.expect("it listens");
                if let Ok(connection) = incoming.await {
                    return connection;
                }
            }
        };
        let connection = tokio::time::timeout(PATIENCE, accepted).await.expect("in time");
        let name = identity::peer(&connection).expect("a member of the fleet");
        assert_eq!(name, Subject::Node(live.node.clone()));
        let (send, receive) = connection.accept_bi().await.expect("one stream");
        let (node_side, control_side) = pipe::pair();
        tokio::spawn(pipe::carry(node_side, send, receive));
        (Control::connected(control_side, live).await, connection)
    }
}

/// Two replicas; then one that is somebody else, one that dies and comes back, a store that is
/// away meanwhile. Returns how many replicas heard of the node's stop.
pub async fn over_quic() -> usize {
    let directory = std::env::temp_dir().join(format!("hype-agent-quic-{}", std::process::id()));
    let authority = Authority::open(&directory.join("ca")).expect("a new authority");
    let issue = |subject: Subject| {
        let place = directory.join(subject.dns_name());
        authority.issue(&subject, &place).expect("a writable directory")
    };
    let control = |name: &str| Subject::Control(name.parse().expect("a valid name"));
    let (c1, c2) = (issue(control("c1")), issue(control("c2")));
    let node = issue(Subject::Node("n1".parse().expect("a valid name")));
    let impostor = issue(Subject::Node("c3".parse().expect("a valid name")));

    let memory = Memory::new();
    let one = Replica::listen(&c1, "c1", (loopback(), 0).into());
    let two = Replica::listen(&c2, "c2", (loopback(), 0).into());
    let three = Replica::listen(&impostor, "c3", (loopback(), 0).into());
    let running = Running::with_links(config(), memory, Links::Quic(node.clone())).await;
    for replica in [&one, &three] {
        running.put(key::control_live(&replica.live.control), &replica.live).await;
    }
    let (mut first, _connection) = one.accept(&running.live).await;
    running.assign(RoomId(7), 5, 0).await;
    let open = first.native(&running, RoomId(7), 5, 0);
    first.send(ToNode::Open(open.clone())).await;
    first.session(open.session).await;

    // One that comes later gets the session in its snapshot, and what happens from then on.
    running.put(key::control_live(&two.live.control), &two.live).await;
    let (mut second, connection) = two.accept(&running.live).await;
    assert_eq!(second.snapshot.len(), 1);
    assert_eq!(second.snapshot[0].session, open.session);
    let flags = VoiceFlags { server_mute: true, ..VoiceFlags::default() };
    let change = FlagsChange { server_mute: Some(true), ..FlagsChange::default() };
    second.send(ToNode::Flags { session: open.session, change }).await;
    for control in [&mut first, &mut second] {
        let until = control.until(|message| match message {
            FromNode::Session(status) if status.flags == flags => Some(()),
            _ => None,
        });
        until.await;
    }

    // It dies and comes back at the same address, while the store is away.
    running.memory.set_available(false);
    connection.close(1u32.into(), b"killed");
    drop(second);
    let (mut second, _connection) = two.accept(&running.live).await;
    assert_eq!(second.snapshot.len(), 1);
    running.memory.set_available(true);
    second.send(ToNode::Close { session: open.session, reason: CloseReason::Removed }).await;
    for control in [&mut first, &mut second] {
        assert_eq!(control.closed(open.session).await, CloseReason::Removed);
    }

    // The node whose certificate says "c3, a node" was never talked to.
    let stranger = tokio::time::timeout(Duration::from_millis(200), async {
        let incoming = three.endpoint.accept().await.expect("it listens");
        incoming.await.is_ok()
    });
    assert!(!matches!(stranger.await, Ok(true)), "a node passed for a control replica");

    let open = first.native(&running, RoomId(7), 5, 0);
    first.send(ToNode::Open(open.clone())).await;
    second.session(open.session).await;
    running.stop().await;
    let mut told = 0;
    for control in [&mut first, &mut second] {
        let closed = control.until_ended().await.into_iter().any(|message| {
            let FromNode::Closed { session, reason, .. } = message else { return false };
            session == open.session && reason == CloseReason::NodeStopping
        });
        told += usize::from(closed);
    }

    // A node under another name than its certificate's does not start.
    let other = Config { node: "n2".parse().expect("a valid name"), ..config() };
    let started = Node::start(other).expect("free ports");
    let store = Store::Memory(Memory::new());
    let outcome = started.run(store, Links::Quic(node), std::future::pending()).await;
    assert!(matches!(outcome, Err(hype_node::Error::Identity { .. })), "{outcome:?}");
    let _ = std::fs::remove_dir_all(&directory);
    told
}

/// A plain HTTP GET; returns status and body.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a header and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

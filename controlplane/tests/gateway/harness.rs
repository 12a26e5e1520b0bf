//! A running control replica, its HTTP and gateway clients, and the far end of its node pipe.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hype_control::config::{Argon2Cost, Rate, RateLimits};
use hype_control::{Config, Environment, Nodes};
use hype_protocol::coordination::{self, Transaction, memory};
use hype_protocol::id::{BootId, NodeId};
use hype_protocol::observation::{CloseReason, FromNode, OpenSession, SessionStatus, ToNode};
use hype_protocol::record::NodeLive;
use hype_protocol::secret::BootSecret;
use hype_protocol::{key, pipe};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async};

/// Nothing here takes longer, but for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often somebody who only waits says that he is there.
const BEAT: Duration = Duration::from_secs(5);
pub const BOOT: BootId = BootId(77);
pub const FINGERPRINT: &str = "18:62:A0:EA:A5:D9:6E:B9:27:73:F7:72:FD:46:C2:89:91:70:90:94:BF:22:07:10:CA:25:D9:C6:76:8F:61:C1";

/// An address of this process's own, another one at each call.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

pub struct Server {
    pub address: SocketAddr,
    pub store: memory::Memory,
    pub data_dir: PathBuf,
    /// Where the node hands over the other ends of its pipes.
    links: mpsc::Sender<pipe::ControlEnd>,
    http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// Somebody with an account.
pub struct Person {
    pub id: String,
    pub token: String,
}

impl Server {
    /// A replica with a fresh data directory, and its node.
    pub async fn start() -> (Self, Node) {
        let name = format!("hype-gateway-{}-{}", std::process::id(), rand::random::<u64>());
        Self::start_in(std::env::temp_dir().join(name), Vec::new()).await
    }

    /// A replica over a data directory, and its node, which has sessions already.
    pub async fn start_in(data_dir: PathBuf, sessions: Vec<SessionStatus>) -> (Self, Node) {
        let store = memory::Memory::new();
        register(&store).await;
        let (end, control) = pipe::pair();
        let node = Node::start(end, sessions).await;
        let (ends, nodes) = mpsc::channel(1);
        ends.send(control).await.expect("there is room for one");
        let server = Self::run(data_dir, store, Nodes::InProcess(nodes), ends).await;
        server.until_healthy().await;
        (server, node)
    }

    async fn run(
        data_dir: PathBuf,
        store: memory::Memory,
        nodes: Nodes,
        links: mpsc::Sender<pipe::ControlEnd>,
    ) -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let fast = Rate::new(1_000_000, 1_000_000);
        let config = Config {
            http: SocketAddr::new(own_address(), 0),
            data_dir: data_dir.clone(),
            argon2: Argon2Cost { memory_kib: 8, passes: 1, ..Argon2Cost::default() },
            limits: RateLimits {
                credentials: fast,
                account: fast,
                address: fast,
                user: fast,
                message: fast,
                create: fast,
                loopback_factor: 1,
                ..RateLimits::default()
            },
            ..Config::default()
        };
        let environment = Environment {
            coordination: coordination::Store::Memory(store.clone()),
            nodes,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        };
        let (bound, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let on_bound = |address| bound.send(address).expect("the test waits");
            let shutdown = async {
                let _ = stopped.await;
            };
            hype_control::run(config, environment, on_bound, shutdown).await.expect("it runs");
        });
        let address = address.await.expect("it starts");
        Self {
            address,
            store,
            data_dir,
            links,
            http: reqwest::Client::new(),
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// The node over a new pipe; whoever held the last one drops it.
    pub async fn reconnect(&self, sessions: Vec<SessionStatus>) -> Node {
        let (end, control) = pipe::pair();
        self.links.send(control).await.expect("the replica takes it");
        Node::start(end, sessions).await
    }

    async fn until_healthy(&self) {
        let healthy = async {
            loop {
                let answer = self.http.get(format!("http://{}/healthz", self.address)).send().await;
                if answer.expect("it listens").status() == 200 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, healthy).await.expect("people can join");
    }

    /// Stops the replica; its data stays.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        let running = self.running.take().expect("stopped once");
        tokio::time::timeout(PATIENCE, running).await.expect("it stops").expect("in good order");
    }

    /// One REST call; again, as a client does, when the database was not to be had in time.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Value,
    ) -> (u16, Value) {
        for _ in 0..5 {
            let answer = self.call_once(method, path, token, &body).await;
            if answer.1["error"]["code"] != "store_unavailable" {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.call_once(method, path, token, &body).await
    }

    async fn call_once(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> (u16, Value) {
        let url = format!("http://{}/api/v1{path}", self.address);
        let mut request = self.http.request(method.parse().expect("a method"), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn person(&self, name: &str) -> Person {
        let body = json!({ "name": name, "password": "correct horse" });
        let (status, answer) = self.call("POST", "/auth/register", None, body).await;
        assert_eq!(status, 201, "{answer}");
        Person { id: text(&answer["user"]["id"]), token: text(&answer["access_token"]) }
    }

    /// A guild with its text and its voice channel.
    pub async fn guild(&self, owner: &Person) -> (String, String, String) {
        let body = json!({ "name": "guild" });
        let (status, guild) = self.call("POST", "/guilds", Some(&owner.token), body).await;
        assert_eq!(status, 201, "{guild}");
        let channel = |kind: &str| {
            let channels = guild["channels"].as_array().expect("channels");
            let found = channels.iter().find(|channel| channel["kind"] == kind);
            text(&found.expect("a new guild has both")["id"])
        };
        (text(&guild["id"]), channel("text"), channel("voice"))
    }

    pub async fn voice_channel(&self, owner: &Person, guild: &str, user_limit: u32) -> String {
        let body = json!({ "name": "small", "kind": "voice", "user_limit": user_limit });
        let path = format!("/guilds/{guild}/channels");
        let (status, channel) = self.call("POST", &path, Some(&owner.token), body).await;
        assert_eq!(status, 201, "{channel}");
        text(&channel["id"])
    }

    /// Makes `guest` a member of the guild.
    pub async fn invite(&self, owner: &Person, guild: &str, guest: &Person) {
        let path = format!("/guilds/{guild}/invites");
        let (status, invite) = self.call("POST", &path, Some(&owner.token), json!({})).await;
        assert_eq!(status, 201, "{invite}");
        let path = format!("/invites/{}/accept", text(&invite["code"]));
        let (status, answer) = self.call("POST", &path, Some(&guest.token), json!({})).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub async fn say(&self, person: &Person, channel: &str, content: &str) {
        let path = format!("/channels/{channel}/messages");
        let body = json!({ "content": content });
        let (status, answer) = self.call("POST", &path, Some(&person.token), body).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// A socket that has read `hello`.
    pub async fn socket(&self) -> Client {
        self.socket_with_buffer(None).await
    }

    pub async fn socket_with_buffer(&self, receive_buffer: Option<u32>) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("set");
        }
        let stream = socket.connect(self.address).await.expect("it listens");
        let url = format!("ws://{}/gateway", self.address);
        let stream = MaybeTlsStream::Plain(stream);
        let (stream, _) = client_async(url, stream).await.expect("upgraded");
        let mut client = Client {
            stream,
            seq: 0,
            session: String::new(),
            nonce: 0,
            presences: Vec::new(),
            unasked: 0,
        };
        let hello = client.frame().await;
        assert_eq!(hello, json!({ "op": "hello", "d": { "heartbeat_interval_ms": 15_000 } }));
        client
    }

    /// A socket that has identified, and its `ready`.
    pub async fn identified(&self, person: &Person) -> (Client, Value) {
        let mut client = self.socket().await;
        let ready = client.identify(&person.token).await;
        (client, ready)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The second replica of a test over the same directory finds it gone already.
        if self.stop.is_some() {
            let _ = std::fs::remove_dir_all(&self.data_dir);
        }
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// One gateway socket.
pub struct Client {
    stream: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
    /// The last sequence number seen.
    pub seq: u64,
    /// From `ready`.
    pub session: String,
    nonce: u32,
    presences: Vec<Value>,
    /// Answers still to come to heartbeats that no test asked for.
    unasked: u32,
}

impl Client {
    pub async fn send(&mut self, frame: Value) {
        self.send_raw(Message::Text(frame.to_string().into())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        // The server may have closed already; what it says about that is read next.
        let _ = self.stream.send(message).await;
    }

    /// The next message. Whoever waits long says meanwhile that he is there.
    async fn message(&mut self) -> Message {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout(BEAT, self.stream.next()).await {
                Ok(next) => return next.expect("the socket is open").expect("a message"),
                Err(_) => {
                    assert!(tokio::time::Instant::now() < until, "nothing comes");
                    self.unasked += 1;
                    self.beat().await;
                }
            }
        }
    }

    /// Whether this is the answer to a heartbeat that no test asked for.
    fn is_unasked(&mut self, text: &str) -> bool {
        let is = self.unasked > 0 && text.contains(r#""op":"heartbeat_ack""#);
        self.unasked -= u32::from(is);
        is
    }

    /// The next frame; events must come without a gap in their numbers. Presences come at any time
    /// and are put aside.
    pub async fn frame(&mut self) -> Value {
        loop {
            let message = self.message().await;
            let Message::Text(text) = message else { panic!("{message:?} is no frame") };
            if self.is_unasked(&text) {
                continue;
            }
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["op"] == "event" {
                let seq = frame["d"]["seq"].as_u64().expect("a number");
                assert_eq!(seq, self.seq + 1, "{frame}");
                self.seq = seq;
                if frame["d"]["event"] == "presence" {
                    self.presences.push(frame["d"]["data"]["presence"].clone());
                    continue;
                }
            }
            return frame;
        }
    }

    /// Reads until somebody's presence is told to be this.
    pub async fn until_presence(&mut self, user: &str, status: &str) {
        let wanted = json!({ "user_id": user, "status": status });
        let until = tokio::time::Instant::now() + PATIENCE;
        while !self.presences.contains(&wanted) {
            let told = &self.presences;
            assert!(tokio::time::Instant::now() < until, "{wanted} is not told, only {told:?}");
            let Ok(message) = tokio::time::timeout(BEAT, self.stream.next()).await else {
                self.beat().await;
                continue;
            };
            let message = message.expect("the socket is open").expect("a message");
            let Message::Text(text) = message else { panic!("{message:?} is no frame") };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            self.seq = frame["d"]["seq"].as_u64().unwrap_or(self.seq);
            if frame["d"]["event"] == "presence" {
                self.presences.push(frame["d"]["data"]["presence"].clone());
            }
        }
        self.presences.clear();
    }

    /// Says that he is there; whoever waits for other things passes the answer over.
    async fn beat(&mut self) {
        self.send(json!({ "op": "heartbeat", "d": { "seq": self.seq } })).await;
    }

    /// Says that he is there, and is answered; nothing but presences came before.
    pub async fn heartbeat(&mut self) {
        self.beat().await;
        assert_eq!(self.frame().await, json!({ "op": "heartbeat_ack" }));
    }

    /// The next event's name, data and place among its guild's.
    pub async fn placed_event(&mut self) -> (String, Value, Option<u64>) {
        let mut frame = self.frame().await;
        assert_eq!(frame["op"], "event", "{frame}");
        let place = frame["d"]["position"]["sequence"].as_u64();
        (text(&frame["d"]["event"]), frame["d"]["data"].take(), place)
    }

    /// Goes on after these events of guilds, at any replica.
    pub async fn resume_by_guilds(&mut self, token: &str, session: &str, seq: u64, guilds: Value) {
        self.seq = seq;
        let d = json!({ "token": token, "session_id": session, "seq": seq, "guilds": guilds });
        self.send(json!({ "op": "resume", "d": d })).await;
    }

    /// The next event's name and data.
    pub async fn event(&mut self) -> (String, Value) {
        let mut frame = self.frame().await;
        assert_eq!(frame["op"], "event", "{frame}");
        (text(&frame["d"]["event"]), frame["d"]["data"].take())
    }

    /// The data of the next event of this name; others are passed over.
    pub async fn event_named(&mut self, name: &str) -> Value {
        for _ in 0..1000 {
            let (found, data) = self.event().await;
            if found == name {
                return data;
            }
        }
        panic!("no {name} within 1000 events");
    }

    pub async fn identify(&mut self, token: &str) -> Value {
        self.send(json!({ "op": "identify", "d": { "token": token } })).await;
        let (name, ready) = self.event().await;
        assert_eq!(name, "ready");
        self.session = text(&ready["session_id"]);
        ready
    }

    pub async fn resume(&mut self, token: &str, session: &str, seq: u64) {
        self.seq = seq;
        let d = json!({ "token": token, "session_id": session, "seq": seq });
        self.send(json!({ "op": "resume", "d": d })).await;
    }

    /// The answer to a request: its result, or its error. Events before it are passed over.
    pub async fn request(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        let d = json!({ "nonce": nonce, "method": method, "params": params });
        self.send(json!({ "op": "request", "d": d })).await;
        for _ in 0..1000 {
            let mut frame = self.frame().await;
            if frame["op"] == "event" {
                continue;
            }
            assert_eq!(frame["d"]["nonce"], nonce, "{frame}");
            return match frame["op"].as_str() {
                Some("reply") => Ok(frame["d"]["result"].take()),
                Some("error") => Err(frame["d"]["error"].take()),
                _ => panic!("{frame} answers no request"),
            };
        }
        panic!("no answer within 1000 frames");
    }

    /// The code of the request's error.
    pub async fn refused(&mut self, method: &str, params: Value) -> String {
        let error = self.request(method, params).await.expect_err("must be refused");
        text(&error["code"])
    }

    /// The next frame, or the code that the server closed with.
    pub async fn frame_or_close(&mut self) -> Result<Value, u16> {
        match self.message().await {
            Message::Text(text) => Ok(serde_json::from_str(&text).expect("JSON")),
            Message::Close(frame) => Err(frame.expect("with a code").code.into()),
            other => panic!("{other:?} is no frame"),
        }
    }

    /// Reads to the close frame; its code.
    pub async fn closed(&mut self) -> u16 {
        self.closed_or_gone().await.expect("closed with a code")
    }

    /// Reads to the end; the code, when the close frame still came through. Counts events.
    pub async fn closed_or_gone(&mut self) -> Option<u16> {
        for _ in 0..100_000 {
            let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            match next.expect("something comes") {
                Some(Ok(Message::Close(frame))) => return Some(frame?.code.into()),
                Some(Ok(Message::Text(text))) => {
                    self.seq += u64::from(text.starts_with(r#"{"op":"event""#));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
        panic!("never closed");
    }

    /// True when nothing comes for a while, but for presences.
    pub async fn silent(&mut self, wait: Duration) -> bool {
        let until = tokio::time::Instant::now() + wait;
        loop {
            match tokio::time::timeout_at(until, self.stream.next()).await {
                Err(_) => return true,
                Ok(Some(Ok(Message::Text(text)))) if text.contains(r#""event":"presence""#) => {
                    self.seq += 1;
                }
                Ok(Some(Ok(Message::Text(text)))) if self.is_unasked(&text) => {}
                Ok(_) => return false,
            }
        }
    }
}

/// The node's end of the pipe: it does what it is told and reports it, as a node does.
pub struct Node {
    /// To the control plane.
    pub up: mpsc::Sender<FromNode>,
    /// What came, after it was carried out.
    pub seen: mpsc::UnboundedReceiver<ToNode>,
}

pub fn node_id() -> NodeId {
    "node-1".parse().expect("a valid name")
}

async fn register(store: &memory::Memory) {
    let live = NodeLive {
        node: node_id(),
        boot: BOOT,
        region: "test".parse().expect("a valid name"),
        version: env!("CARGO_PKG_VERSION").into(),
        workers: vec![vec!["127.0.0.1:40000".parse().expect("an address")]],
        fingerprint: FINGERPRINT.into(),
        max_sessions: 1000,
    };
    let store = coordination::Store::Memory(store.clone());
    let put = Transaction::new().put(key::node_live(&node_id()), &live);
    store.transact(put).await.expect("stored");
}

pub fn status(open: &OpenSession) -> SessionStatus {
    SessionStatus {
        session: open.session,
        room: open.room,
        worker: open.worker,
        user: open.user,
        connected: true,
        flags: open.flags,
        producers: Vec::new(),
        decodes: open.media.receive_codecs.iter().map(|mapping| mapping.codec).collect(),
        opened_at_ms: 1,
    }
}

impl Node {
    async fn start(mut end: pipe::NodeEnd, mut sessions: Vec<SessionStatus>) -> Self {
        let up = end.sender.clone();
        let secret = BootSecret([7; 32]);
        let hello = FromNode::Hello { node: node_id(), boot: BOOT, secret };
        up.send(hello).await.expect("connected");
        for session in &sessions {
            up.send(FromNode::Session(Box::new(session.clone()))).await.expect("connected");
        }
        up.send(FromNode::SnapshotEnd).await.expect("connected");
        let (sender, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(command) = end.receiver.recv().await {
                if changes_nothing(&command, &sessions) {
                    continue;
                }
                if let Some(report) = carry_out(&command, &mut sessions) {
                    let _ = end.sender.send(report).await;
                }
                let _ = sender.send(command);
            }
        });
        Self { up, seen }
    }

    /// The next command.
    pub async fn next(&mut self) -> ToNode {
        let next = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        next.expect("a command comes").expect("connected")
    }

    /// The next command, which must open a session.
    pub async fn opened(&mut self) -> OpenSession {
        match self.next().await {
            ToNode::Open(open) => *open,
            other => panic!("{other:?} opens no session"),
        }
    }

    /// The next command, which must end a session.
    pub async fn closed(&mut self) -> (String, CloseReason) {
        match self.next().await {
            ToNode::Close { session, reason } => (session.to_string(), reason),
            other => panic!("{other:?} ends no session"),
        }
    }
}

/// An order that was given before: several who watch over rights may give it, and a node does it once.
fn changes_nothing(command: &ToNode, sessions: &[SessionStatus]) -> bool {
    let held = |session| sessions.iter().find(|status| status.session == session);
    match command {
        ToNode::Flags { session, change } => {
            held(*session).is_some_and(|status| change.apply(status.flags) == status.flags)
        }
        ToNode::Close { session, .. } => held(*session).is_none(),
        ToNode::Open(_) | ToNode::View { .. } => false,
    }
}

fn carry_out(command: &ToNode, sessions: &mut Vec<SessionStatus>) -> Option<FromNode> {
    match command {
        ToNode::Open(open) => {
            sessions.push(status(open));
            Some(FromNode::Session(Box::new(status(open))))
        }
        ToNode::Close { session, reason } => {
            let index = sessions.iter().position(|status| status.session == *session)?;
            let room = sessions.remove(index).room;
            Some(FromNode::Closed { session: *session, room, reason: *reason })
        }
        ToNode::Flags { session, change } => {
            let status = sessions.iter_mut().find(|status| status.session == *session)?;
            status.flags = change.apply(status.flags);
            Some(FromNode::Session(Box::new(status.clone())))
        }
        ToNode::View { .. } => None,
    }
}

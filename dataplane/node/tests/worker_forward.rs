//! A real worker: its thread, sockets, back end and engine, with native clients on loopback.
//! Voice that one client sends must come out at the others, whole, in order and encrypted anew, by
//! every back end; by AF_XDP between two namespaces, which needs root and `ip`.

mod veth;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hype_node::io::{self, IoKind, MAX_DATAGRAM, bind, prepare};
use hype_node::worker::{Events, Full, Handle, MAILBOX, Settings, StartError, start, start_joined};
use hype_protocol::id::{BootId, Generation, NodeId, PartId, RoomId, SessionId, UserId, WorkerId};
use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, Mid, ReceiveLine, SendLine, SessionMedia, SourceKind,
};
use hype_protocol::observation::{CloseReason, FlagsChange, Keying, OpenSession, VoiceFlags};
use hype_protocol::secret::{BootKeys, BootSecret, SrtpProfile};
use hype_sfu::transport::srtp::{Inbound, InboundStream, Outbound, OutboundStream, Role};
use hype_sfu::wire::header_extension::Element;
use hype_sfu::wire::{demux, rtp, stun};
use hype_sfu::{Command, DropReason, Event, LinkId, Neighbour};
use veth::{Mode, Veth};

const PATIENCE: Duration = Duration::from_secs(30);
const WORKER: WorkerId = WorkerId(0);
const ROOM: RoomId = RoomId(77);
const BOOT: BootId = BootId(5);
const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
const OPUS: u8 = 111;
const REMOTE_UFRAG: &str = "clnt";
const VOICE_SLOTS: u32 = 8;

fn node() -> NodeId {
    "test".parse().expect("a valid name")
}

fn boot_keys() -> BootKeys {
    BootKeys::new(&node(), &BootSecret([9; 32]))
}

/// A socket on a loopback address of this process and this call.
fn socket() -> UdpSocket {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    let address = SocketAddr::from((Ipv4Addr::new(127, high | 1, low, last), 0));
    bind(address).expect("a free port on loopback")
}

fn settings(io: impl Into<io::Settings>, sockets: Vec<UdpSocket>) -> Settings {
    Settings {
        id: WORKER,
        core: Some(0),
        sockets,
        io: io.into(),
        engine: hype_sfu::Config {
            node: node(),
            worker: WORKER,
            boot_keys: boot_keys(),
            max_sessions: 100,
            seed: 3,
            unix_at_zero: Duration::ZERO,
            voice_slots: 8,
            cname: "test".to_owned(),
        },
    }
}

/// Of one of several workers.
fn settings_of(worker: u16, io: IoKind, sockets: Vec<UdpSocket>) -> Settings {
    let mut settings = settings(io, sockets);
    settings.id = WorkerId(worker);
    settings.engine.worker = settings.id;
    settings.engine.seed += u64::from(worker);
    settings
}

fn mid(text: &str) -> Mid {
    Mid::try_from(text.to_owned()).expect("a valid mid")
}

/// What a native client sends and receives; slot `n` has the SSRC 1000 + n.
fn media() -> SessionMedia {
    let opus = CodecMapping { codec: Codec::Opus, payload_type: OPUS, rtx_payload_type: None };
    SessionMedia {
        extensions: HeaderExtensions {
            mid: Some(1),
            audio_level: Some(2),
            ..HeaderExtensions::default()
        },
        send_codecs: vec![opus],
        receive_codecs: vec![opus],
        sends: vec![SendLine { mid: mid("mic"), kind: SourceKind::Microphone, rids: Vec::new() }],
        voice_slots: (0..VOICE_SLOTS)
            .map(|slot| ReceiveLine {
                mid: mid(&format!("v{slot}")),
                ssrc: 1000 + slot,
                rtx_ssrc: None,
            })
            .collect(),
        video_slots: Vec::new(),
    }
}

fn post(handle: &Handle, command: Command) {
    handle.commands().post(command).expect("the mailbox has room");
}

fn open_room(handle: &Handle) {
    let (part, neighbours) = (PartId(0), Vec::new());
    let (generation, max_peers) = (Generation(1), 100);
    post(handle, Command::OpenRoom { room: ROOM, generation, max_peers, part, neighbours });
}

/// Takes events until `wanted` gives something.
fn until<T>(events: &Events<Event>, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match events.try_next() {
            Some(event) => {
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
            None => {
                assert!(Instant::now() < deadline, "the event does not come");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// A native client: ICE by one check, then SRTP by derived keys.
struct Client {
    socket: UdpSocket,
    worker: WorkerId,
    session: SessionId,
    server: SocketAddr,
    inbound: Inbound,
    outbound: Outbound,
    sent: OutboundStream,
    received: HashMap<u32, InboundStream>,
    next_index: u64,
}

/// A voice packet as a client got it.
struct Voice {
    ssrc: u32,
    sequence_number: u16,
    source: u32,
    payload: Vec<u8>,
}

impl Client {
    /// Opens a session and passes its check.
    fn join(handle: &Handle, events: &Events<Event>, server: SocketAddr, number: u64) -> Self {
        Self::join_by(socket(), handle, events, server, number)
    }

    /// The same by this socket.
    fn join_by(
        socket: UdpSocket,
        handle: &Handle,
        events: &Events<Event>,
        server: SocketAddr,
        number: u64,
    ) -> Self {
        let session = SessionId(number << 32 | number);
        let open = OpenSession {
            boot: BOOT,
            room: ROOM,
            generation: Generation(1),
            worker: handle.id(),
            session,
            user: UserId(number),
            remote_ufrag: REMOTE_UFRAG.to_owned(),
            keying: Keying::Native { profile: PROFILE },
            flags: VoiceFlags::default(),
            media: media(),
        };
        post(handle, Command::Open(Box::new(open)));
        let opened = |event| match event {
            Event::Session(status) if status.session == session => Some(status),
            _ => None,
        };
        assert!(!until(events, opened).connected);
        let keying = boot_keys().native_keying(handle.id(), session, PROFILE);
        let mut client = Self {
            socket,
            worker: handle.id(),
            session,
            server,
            inbound: Inbound::new(&keying, Role::Client).expect("derived keys fit"),
            outbound: Outbound::new(&keying, Role::Client).expect("derived keys fit"),
            sent: OutboundStream::default(),
            received: HashMap::new(),
            next_index: 100,
        };
        client.socket.set_read_timeout(Some(PATIENCE)).expect("a valid timeout");
        client.check();
        assert!(until(events, opened).connected);
        client
    }

    /// Sends one check that nominates, and verifies the answer.
    fn check(&mut self) {
        let keys = boot_keys();
        let password = keys.ice_password(self.session);
        let integrity = stun::integrity_key(password.as_bytes());
        let mut buffer = [0; MAX_DATAGRAM];
        let mut request = stun::Writer::new(&mut buffer, stun::Class::Request, [7; 12])
            .expect("the buffer is large");
        let ufrag = keys.ufrag(self.worker, self.session);
        let written = request
            .username(ufrag.as_bytes(), REMOTE_UFRAG.as_bytes())
            .and_then(|()| request.priority(1))
            .and_then(|()| request.controlling(1))
            .and_then(|()| request.use_candidate())
            .and_then(|()| request.integrity(&integrity))
            .and_then(|()| request.finish());
        let len = written.expect("the buffer is large");
        self.socket.send_to(&buffer[..len], self.server).expect("loopback takes it");
        let (len, source) = self.socket.recv_from(&mut buffer).expect("the check is answered");
        assert_eq!(source, self.server);
        let answer = stun::Message::parse(&buffer[..len]).expect("a STUN message");
        assert_eq!(answer.class(), Some(stun::Class::Success));
        assert!(answer.verify(&integrity));
        let own = self.socket.local_addr().expect("it is bound");
        assert_eq!(answer.mapped_address(), Some(own));
    }

    /// The next voice packet, encrypted.
    fn voice(&mut self, payload: &[u8]) -> Vec<u8> {
        let index = self.next_index;
        self.next_index += 1;
        let fields = rtp::Outgoing {
            payload_type: OPUS,
            marker: false,
            sequence_number: (index & 0xffff) as u16,
            timestamp: (index as u32).wrapping_mul(960),
            ssrc: 42,
            csrc: None,
        };
        let elements = [Element { id: 1, data: b"mic" }, Element { id: 2, data: &[0x80 | 20] }];
        let mut packet = vec![0; MAX_DATAGRAM];
        let header = rtp::write(&mut packet, &fields, &elements).expect("the buffer is large");
        let len = self
            .outbound
            .protect_rtp(&mut self.sent, index, payload, &mut packet, header)
            .expect("a fresh index");
        packet.truncate(len);
        packet
    }

    fn speak(&mut self, payload: &[u8]) {
        let packet = self.voice(payload);
        self.socket.send_to(&packet, self.server).expect("loopback takes it");
    }

    /// The next voice packet that comes within `patience`; RTCP is passed over.
    fn hear(&mut self, patience: Duration) -> Option<Voice> {
        let deadline = Instant::now() + patience;
        let mut packet = [0; MAX_DATAGRAM];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("not zero");
            let len = match self.socket.recv(&mut packet) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            };
            if demux::classify(&packet[..len]) != demux::Kind::Rtp {
                continue;
            }
            let header = rtp::Header::parse(&packet[..len]).expect("a valid header");
            let stream = self.received.entry(header.ssrc).or_default();
            let len = self
                .inbound
                .unprotect_rtp(stream, &mut packet[..len], &header)
                .expect("authentic, and not a replay");
            let plain = &packet[..len];
            return Some(Voice {
                ssrc: header.ssrc,
                sequence_number: header.sequence_number,
                source: header.csrcs(plain).next().expect("the source is told"),
                payload: header.payload(plain).expect("well-formed").to_vec(),
            });
        }
    }
}

fn started(io: impl Into<io::Settings>, sockets: Vec<UdpSocket>) -> (Handle, Events<Event>) {
    let mut handle = start(settings(io, sockets)).expect("the worker starts");
    let events = handle.take_events().expect("they are taken once");
    assert!(handle.take_events().is_none());
    (handle, events)
}

fn forwards_voice(io: IoKind, name: &str) {
    forwards_voice_between(io, [socket(), socket()], |_| socket(), name);
}

/// Clients with odd numbers talk to the second socket, which `client` makes theirs for.
fn forwards_voice_between(
    io: impl Into<io::Settings>,
    sockets: [UdpSocket; 2],
    client: impl Fn(usize) -> UdpSocket,
    name: &str,
) {
    const PACKETS: u32 = 500;
    let servers = sockets.each_ref().map(|socket| socket.local_addr().expect("it is bound"));
    let (handle, events) = started(io, sockets.into());
    assert_eq!(handle.back_end(), name);
    open_room(&handle);
    // Two of them by the second socket: replies and media must leave from the one they checked.
    let mut clients: Vec<_> = (1..=4)
        .map(|number| {
            let server = number as usize % 2;
            Client::join_by(client(server), &handle, &events, servers[server], number)
        })
        .collect();
    let (speaker, listeners) = clients.split_first_mut().expect("four have joined");
    let mut last = [None; 3];
    for number in 0..PACKETS {
        let payload = number.to_be_bytes().repeat(40);
        speaker.speak(&payload);
        for (listener, last) in listeners.iter_mut().zip(&mut last) {
            let voice = listener.hear(PATIENCE).expect("it is forwarded");
            assert!(voice.payload == payload, "packet {number} is another one");
            assert_eq!(voice.source, speaker.session.source().0);
            assert!((1000..1000 + VOICE_SLOTS).contains(&voice.ssrc));
            if let Some((ssrc, sequence_number)) = last.replace((voice.ssrc, voice.sequence_number))
            {
                assert_eq!(voice.ssrc, ssrc, "it stays in its slot");
                assert_eq!(voice.sequence_number, u16::wrapping_add(sequence_number, 1));
            }
        }
    }
    assert!(speaker.hear(Duration::from_millis(50)).is_none(), "nobody hears himself");

    // What is forged reaches nobody, and is counted.
    let mut forged = speaker.voice(b"forged");
    *forged.last_mut().expect("not empty") ^= 1;
    speaker.socket.send_to(&forged, speaker.server).expect("loopback takes it");
    assert!(listeners[0].hear(Duration::from_millis(50)).is_none());

    // They are published now and then.
    let counters = handle.counters();
    let forged = || {
        let mut dropped = counters.dropped();
        dropped
            .find(|(reason, _)| *reason == DropReason::SrtpAuthentication)
            .map(|(_, count)| count)
    };
    let deadline = Instant::now() + PATIENCE;
    while forged() == Some(0) || counters.cpu_time() == Duration::ZERO {
        assert!(Instant::now() < deadline, "nothing is published: {:?}", forged());
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(forged(), Some(1));
    let forwarded = counters.engine().find(|(name, _)| *name == "forwarded");
    assert_eq!(forwarded.map(|(_, count)| count), Some(u64::from(PACKETS) * 3));
    let io = counters.io();
    assert!(io.received >= u64::from(PACKETS) && io.sent >= u64::from(PACKETS) * 3, "{io:?}");
    assert_eq!((io.send_dropped(), io.receive_overflow, io.truncated), (0, 0, 0), "{io:?}");
    if name == "xdp" {
        // All but what had no neighbour yet, and what the kernel sees of one now and then.
        assert!(io.received_past_kernel >= u64::from(PACKETS), "{io:?}");
        assert!(io.sent_past_kernel * 10 >= u64::from(PACKETS) * 27, "{io:?}");
    }
    assert_eq!((counters.sessions(), counters.rooms()), (4, 1));
    assert!(counters.cpu_time() > Duration::ZERO && counters.busy() <= 1.0);

    // Commands that were posted before the stop are done, and their events still come.
    let session = clients[0].session;
    post(&handle, Command::Close { session, reason: CloseReason::NodeStopping });
    let start = Instant::now();
    handle.stop();
    println!("stopped within {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let closed = until(&events, |event| match event {
        Event::Closed { session, reason, .. } => Some((session, reason)),
        _ => None,
    });
    assert_eq!(closed, (session, CloseReason::NodeStopping));
}

#[test]
fn uring_forwards_voice() {
    forwards_voice(IoKind::Uring, "uring");
}

#[test]
fn socket_forwards_voice() {
    forwards_voice(IoKind::Socket, "socket");
}

/// Between two namespaces that know nothing of each other at first: half of the people by IPv4, half
/// by IPv6.
fn xdp_forwards_voice(tag: &str, queues: u32, mode: Mode) {
    let Some(veth) = Veth::new(tag, queues, mode) else { return };
    veth.inside_near(|| {
        let sockets = [false, true]
            .map(|ipv6| bind(SocketAddr::new(veth.near(ipv6, 0), 0)).expect("a free port"));
        let interfaces = [veth.interface().to_owned()];
        let settings = prepare(IoKind::Xdp, &interfaces, &[&sockets]).remove(0);
        assert_eq!(veth.describe().contains("xdpgeneric"), mode == Mode::Generic);
        forwards_voice_between(settings, sockets, |server| veth.far_socket(server == 1), "xdp");
    });
    veth.wait_until_detached();
}

#[test]
fn xdp_forwards_voice_natively() {
    xdp_forwards_voice("n1", 1, Mode::Native);
}

#[test]
fn xdp_forwards_voice_natively_by_two_queues() {
    xdp_forwards_voice("n2", 2, Mode::Native);
}

#[test]
fn xdp_forwards_voice_generically() {
    xdp_forwards_voice("g1", 1, Mode::Generic);
}

#[test]
fn xdp_forwards_voice_generically_by_two_queues() {
    xdp_forwards_voice("g2", 2, Mode::Generic);
}

/// Nobody takes events: the worker still forwards.
#[test]
fn a_full_event_queue_stops_nothing() {
    let socket = socket();
    let server = socket.local_addr().expect("it is bound");
    let (handle, events) = started(IoKind::Auto, vec![socket]);
    open_room(&handle);
    let mut speaker = Client::join(&handle, &events, server, 1);
    let mut listener = Client::join(&handle, &events, server, 2);
    // Each change of the flags is an event.
    for number in 0..3 * hype_node::worker::EVENTS {
        let change = FlagsChange { self_deaf: Some(number % 2 == 0), ..FlagsChange::default() };
        let mut command = Command::Flags { session: speaker.session, change };
        while let Err(Full(back)) = handle.commands().post(command) {
            command = back;
            thread::sleep(Duration::from_millis(1));
        }
    }
    for number in 0..100u8 {
        speaker.speak(&[number; 80]);
        assert_eq!(listener.hear(PATIENCE).expect("it is forwarded").payload, [number; 80]);
    }
    // Once somebody takes them they come again, to the very last.
    let last = Command::Close { session: speaker.session, reason: CloseReason::Left };
    post(&handle, last);
    until(&events, |event| matches!(event, Event::Closed { .. }).then_some(()));
    handle.stop();
}

/// The mailbox answers "full" instead of growing or waiting.
#[test]
fn a_stopped_worker_refuses_at_last() {
    let (handle, _events) = started(IoKind::Auto, vec![socket()]);
    let mailbox = handle.commands().clone();
    drop(handle);
    let mut posted = 0;
    while mailbox.post(Command::CloseRoom { room: ROOM }).is_ok() {
        posted += 1;
        assert!(posted <= MAILBOX);
    }
    assert_eq!(posted, MAILBOX);
}

#[test]
fn startup_errors_are_returned() {
    let error = start(settings(IoKind::Auto, Vec::new())).expect_err("it has no socket");
    assert!(matches!(error, StartError::Io(_)), "{error}");
    // A core that does not exist is no reason not to serve.
    let mut settings = settings(IoKind::Auto, vec![socket()]);
    settings.core = Some(100_000);
    start(settings).expect("it runs unpinned").stop();
}

/// Two workers that serve one room: who speaks at either is heard at both, once, in one slot.
fn check_two_parts(io: IoKind) {
    let sockets = [socket(), socket()];
    let servers = sockets.each_ref().map(|it| it.local_addr().expect("it is bound"));
    let settings = (0..).zip(sockets).map(|(number, it)| settings_of(number, io, vec![it]));
    let mut handles = start_joined(settings.collect()).expect("the back end opens");
    let mut rooms = Vec::new();
    for (number, handle) in (0..).zip(&mut handles) {
        let other = 1 - number;
        let neighbours = vec![Neighbour { part: PartId(other), link: LinkId(other) }];
        let (generation, max_peers, part) = (Generation(1), 100, PartId(number));
        post(handle, Command::OpenRoom { room: ROOM, generation, max_peers, part, neighbours });
        rooms.push(handle.take_events().expect("taken once"));
    }
    let mut clients: Vec<Client> = Vec::new();
    for number in 0..6_u64 {
        let at = (number % 2) as usize;
        clients.push(Client::join(&handles[at], &rooms[at], servers[at], number + 1));
    }
    for round in 0..20_u8 {
        for (speaker, client) in (0_u8..2).zip(&mut clients) {
            client.speak(&[round, speaker]);
        }
        for (listener, client) in clients.iter_mut().enumerate() {
            let expected = if listener < 2 { 1 } else { 2 };
            let mut heard: Vec<Voice> =
                (0..expected).map(|_| client.hear(PATIENCE).expect("everybody is heard")).collect();
            heard.sort_by_key(|voice| voice.payload[1]);
            for voice in &heard {
                assert_eq!(voice.payload[0], round);
                assert_ne!(usize::from(voice.payload[1]), listener, "nobody hears himself");
                assert_eq!(voice.source, u32::from(voice.payload[1]) + 1);
            }
        }
    }
    for client in &mut clients {
        assert!(client.hear(Duration::from_millis(30)).is_none(), "each packet comes once");
    }
    let counters: Vec<_> = handles.iter().map(|handle| handle.counters().clone()).collect();
    handles.into_iter().for_each(Handle::stop);
    for counters in counters {
        let count = |wanted| counters.engine().find(|(name, _)| *name == wanted).map(|it| it.1);
        assert_eq!(count("forwarded"), Some(20 * 5), "half of all packets by each");
        assert!(count("link_frames_out") >= Some(20) && count("link_frames_in") >= Some(20));
        assert_eq!(counters.dropped().map(|(_, count)| count).sum::<u64>(), 0);
    }
}

#[test]
fn two_workers_serve_one_room_by_sockets() {
    check_two_parts(IoKind::Socket);
}

#[test]
fn two_workers_serve_one_room_by_uring() {
    check_two_parts(IoKind::Uring);
}

//! The contract of `DatagramIo`, one suite over every back end. `narrow_queue` runs itself again
//! inside a network namespace whose loopback is slowed down by a token bucket filter, and AF_XDP is
//! tried between two namespaces, so these need root, `ip` and `tc`; all else needs only loopback
//! addresses. One test at a time: they measure sleeps, and fill the kernel's queues.

mod veth;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hype_node::io::socket::Socket;
use hype_node::io::uring::Uring;
use hype_node::io::xdp::Xdp;
use hype_node::io::{
    BATCH, DatagramIo, EventFd, IoKind, MAX_DATAGRAM, Opened, TransmitQueue, bind, open, prepare,
};
use veth::{Mode, Veth};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loopback keeps order only among what is sent, and taken out of queues, on one core.
fn stay_on_one_core() {
    let core = core_affinity::get_core_ids().and_then(|cores| cores.first().copied());
    assert!(core.is_some_and(core_affinity::set_for_current), "a core to stay on");
}

/// A back end and the network that it is tried in: servers' sockets are the back end's, clients are
/// whoever it talks to.
trait Place {
    type Io: DatagramIo;
    fn open(&self, sockets: Vec<UdpSocket>, wake: Arc<EventFd>) -> Self::Io;
    /// A socket for the back end; the same family and number have the same address.
    fn server(&self, ipv6: bool, number: u8) -> UdpSocket;
    fn client(&self, ipv6: bool) -> UdpSocket;
    /// One that sends datagrams of any length.
    fn long_winded_client(&self) -> UdpSocket;
}

/// Addresses of 127.0.0.0/8 that only this place uses.
struct Loopback<I> {
    make: fn(Vec<UdpSocket>, Arc<EventFd>) -> I,
}

impl<I: DatagramIo> Place for Loopback<I> {
    type Io = I;

    fn open(&self, sockets: Vec<UdpSocket>, wake: Arc<EventFd>) -> I {
        (self.make)(sockets, wake)
    }

    fn server(&self, ipv6: bool, _: u8) -> UdpSocket {
        let address = if ipv6 { "[::1]:0".parse().expect("a literal") } else { address() };
        bind(address).expect("a free port on loopback")
    }

    fn client(&self, ipv6: bool) -> UdpSocket {
        self.server(ipv6, 0)
    }

    fn long_winded_client(&self) -> UdpSocket {
        self.client(false)
    }
}

impl Place for Veth {
    type Io = Xdp;

    fn open(&self, sockets: Vec<UdpSocket>, wake: Arc<EventFd>) -> Xdp {
        let shown = [sockets.as_slice()];
        let settings = prepare(IoKind::Xdp, &[self.interface().to_owned()], &shown).remove(0);
        match open(settings, sockets, wake).expect("AF_XDP works on veth") {
            Opened::Xdp(io) => *io,
            _ => panic!("another back end than asked for"),
        }
    }

    fn server(&self, ipv6: bool, number: u8) -> UdpSocket {
        bind(SocketAddr::new(self.near(ipv6, number), 0)).expect("a free port")
    }

    fn client(&self, ipv6: bool) -> UdpSocket {
        self.far_socket(ipv6)
    }

    fn long_winded_client(&self) -> UdpSocket {
        self.far_fragmenting_socket(false)
    }
}

const URING: Loopback<Uring> = Loopback {
    make: |sockets, wake| match open(IoKind::Uring, sockets, wake).expect("io_uring works here") {
        Opened::Uring(io) => io,
        _ => panic!("another back end than asked for"),
    },
};

const SOCKET: Loopback<Socket> = Loopback {
    make: |sockets, wake| match open(IoKind::Socket, sockets, wake).expect("they work everywhere") {
        Opened::Socket(io) => io,
        _ => panic!("another back end than asked for"),
    },
};

/// Runs a test of the suite on loopback.
fn on_loopback<I: DatagramIo>(place: &Loopback<I>, test: fn(&Loopback<I>)) {
    let _alone = alone();
    test(place);
}

/// Runs a test of the suite between two namespaces.
fn over_veth(name: &str, queues: u32, mode: Mode, test: fn(&Veth)) {
    let _alone = alone();
    let Some(veth) = Veth::new(name, queues, mode) else { return };
    // A test of its own tries neighbours that are not known yet.
    veth.know_neighbours();
    veth.inside_near(|| test(&veth));
}

macro_rules! contract {
    ($($name:ident $tag:literal)*) => {
        mod uring_backend {
            $(#[test] fn $name() { super::on_loopback(&super::URING, super::$name); })*
        }
        mod socket_backend {
            $(#[test] fn $name() { super::on_loopback(&super::SOCKET, super::$name); })*
        }
        mod xdp_backend {
            use crate::veth::Mode;
            $(#[test] fn $name() {
                super::over_veth(concat!("n", $tag), 1, Mode::Native, super::$name);
            })*
        }
        mod xdp_backend_generic_two_queues {
            use crate::veth::Mode;
            $(#[test] fn $name() {
                super::over_veth(concat!("g", $tag), 2, Mode::Generic, super::$name);
            })*
        }
    };
}

contract! {
    echoes_on_every_socket "a"
    keeps_order_beyond_its_queues "b"
    sends_more_than_its_queue_in_order "c"
    wakes_by_eventfd "d"
    sleeps_for_the_timeout "e"
    drops_what_is_too_long "f"
    survives_what_cannot_be_sent "g"
    leaves_no_socket_behind "h"
    sends_trains_whole_and_in_order "i"
}

/// A loopback address of this process and this call.
fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, high | 1, low, last), 0))
}

fn patient(socket: UdpSocket) -> (UdpSocket, SocketAddr) {
    socket.set_read_timeout(Some(PATIENCE)).expect("a valid timeout");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

fn server(place: &impl Place) -> (UdpSocket, SocketAddr) {
    patient(place.server(false, 0))
}

fn client(place: &impl Place) -> (UdpSocket, SocketAddr) {
    patient(place.client(false))
}

fn wake() -> Arc<EventFd> {
    Arc::new(EventFd::new().expect("a descriptor is free"))
}

fn queue(io: &mut impl DatagramIo, payload: &[u8], to: SocketAddr) {
    let queue = io.transmit();
    queue.reserve().expect("a buffer is free")[..payload.len()].copy_from_slice(payload);
    queue.commit(payload.len(), 0, to);
}

/// What one wait and one receive give.
fn gather_once(io: &mut impl DatagramIo) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    io.wait(Some(Duration::from_millis(20))).expect("the back end lives");
    let delivered = io.receive(|datagram, _| got.push(datagram.payload.to_vec()));
    assert!(delivered < 2 * BATCH);
    assert_eq!(delivered, got.len());
    got
}

/// Runs `io` until it has delivered `count` datagrams, or patience ends.
fn gather<I: DatagramIo>(io: &mut I, count: usize) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut got = Vec::new();
    while got.len() < count && Instant::now() < deadline {
        got.extend(gather_once(io));
    }
    got
}

fn echoes_on_every_socket(place: &impl Place) {
    let (v4, v4_address) = server(place);
    let (other, other_address) = patient(place.server(false, 1));
    let (v6, v6_address) = patient(place.server(true, 0));
    let mut io = place.open(vec![v4, other, v6], wake());
    let servers = [v4_address, other_address, v6_address];
    let clients = servers.map(|server| patient(place.client(server.is_ipv6())));
    for round in 0..100u8 {
        for (client, server) in clients.iter().zip(servers) {
            let payload = vec![round; usize::from(round) * 13 + 1];
            client.0.send_to(&payload, server).expect("the network takes it");
        }
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        while seen < servers.len() && Instant::now() < deadline {
            seen += io.receive(|datagram, transmit| {
                let index = usize::from(datagram.local);
                assert_eq!(datagram.source, clients[index].1, "the source is the client");
                // In place, as decryption does it, while the answer is written elsewhere.
                datagram.payload.iter_mut().for_each(|byte| *byte ^= 0xff);
                let room = transmit.reserve().expect("a buffer is free");
                room[..datagram.payload.len()].copy_from_slice(datagram.payload);
                transmit.commit(datagram.payload.len(), datagram.local, datagram.source);
            });
            io.wait(Some(Duration::from_millis(1))).expect("the back end lives");
        }
        for (client, server) in clients.iter().zip(servers) {
            let mut buffer = [0; MAX_DATAGRAM];
            let (len, source) = client.0.recv_from(&mut buffer).expect("the echo comes");
            assert_eq!(source, server, "a reply leaves from the address that was asked");
            assert_eq!(buffer[..len], vec![round ^ 0xff; usize::from(round) * 13 + 1]);
        }
    }
    let counters = io.counters();
    assert_eq!((counters.received, counters.sent), (300, 300));
    assert_eq!(counters.received_bytes, counters.sent_bytes);
    assert_eq!(counters.received_bytes, 3 * (0..100).map(|round| round * 13 + 1).sum::<u64>());
    assert_eq!((counters.send_dropped(), counters.receive_overflow), (0, 0));
}

fn keeps_order_beyond_its_queues(place: &impl Place) {
    // More than every receive buffer, before the back end looks once.
    const COUNT: u32 = 3000;
    stay_on_one_core();
    let (server, server_address) = server(place);
    let mut io = place.open(vec![server], wake());
    let (client, _) = client(place);
    for round in 0..3 {
        for number in 0..COUNT {
            client.send_to(&number.to_be_bytes(), server_address).expect("the network takes it");
        }
        let got = gather(&mut io, COUNT as usize);
        let expected: Vec<_> = (0..COUNT).map(|number| number.to_be_bytes().to_vec()).collect();
        assert!(got == expected, "round {round}: {} of {COUNT}, or out of order", got.len());
    }
    assert_eq!(io.counters().receive_overflow, 0);
}

fn sends_more_than_its_queue_in_order(place: &impl Place) {
    const COUNT: u32 = 2000;
    stay_on_one_core();
    let (server, server_address) = server(place);
    let mut io = place.open(vec![server], wake());
    let (client, client_address) = client(place);
    for number in 0..COUNT {
        // Every buffer is filled whole, so that a reuse before its time would show.
        queue(&mut io, &number.to_be_bytes().repeat(100), client_address);
    }
    io.transmit().flush();
    for number in 0..COUNT {
        let mut buffer = [0; MAX_DATAGRAM];
        let (len, source) = client.recv_from(&mut buffer).expect("nothing is lost here");
        assert_eq!(source, server_address);
        assert!(buffer[..len] == number.to_be_bytes().repeat(100), "{number} is changed");
    }
    assert_eq!(io.counters().sent, u64::from(COUNT));
    // What was queued leaves with the next wait, too.
    queue(&mut io, b"last", client_address);
    io.wait(Some(Duration::ZERO)).expect("the back end lives");
    let mut buffer = [0; 8];
    assert_eq!(client.recv_from(&mut buffer).expect("it was sent").0, 4);
}

fn wakes_by_eventfd(place: &impl Place) {
    let wake = wake();
    let mut io = place.open(vec![server(place).0], Arc::clone(&wake));
    for round in 0..20 {
        let start = Instant::now();
        let signaller = thread::spawn({
            let wake = Arc::clone(&wake);
            move || {
                if round % 2 == 0 {
                    thread::sleep(Duration::from_millis(5));
                }
                wake.signal();
                wake.signal();
            }
        });
        if round % 2 == 1 {
            signaller.join().expect("it only signals");
            io.wait(Some(PATIENCE)).expect("the back end lives");
        } else {
            io.wait(None).expect("the back end lives");
            signaller.join().expect("it only signals");
        }
        assert!(start.elapsed() < PATIENCE, "round {round}");
        // The second signal may end one more sleep, but no third.
        io.wait(Some(Duration::from_millis(1))).expect("the back end lives");
        let quiet = Instant::now();
        io.wait(Some(Duration::from_millis(10))).expect("the back end lives");
        assert!(quiet.elapsed() >= Duration::from_millis(9), "round {round}: a stale signal");
    }
}

fn sleeps_for_the_timeout(place: &impl Place) {
    let (server, server_address) = server(place);
    let mut io = place.open(vec![server], wake());
    let (client, client_address) = client(place);
    io.wait(Some(Duration::ZERO)).expect("the back end lives");
    // A busy machine makes sleeps longer, but hardly all of them.
    let slept = |io: &mut _, wanted| {
        let start = Instant::now();
        DatagramIo::wait(io, Some(wanted)).expect("the back end lives");
        start.elapsed()
    };
    let mut sleeps = Vec::new();
    for _ in 0..10 {
        // A send of the same turn must not end the sleep.
        queue(&mut io, b"x", client_address);
        sleeps.push(slept(&mut io, Duration::from_millis(20)));
    }
    let (shortest, longest) = (sleeps.iter().min(), sleeps.iter().max());
    println!("slept {shortest:?} to {longest:?} instead of 20 ms");
    assert!(shortest >= Some(&Duration::from_millis(19)), "woke early: {sleeps:?}");
    assert!(shortest < Some(&Duration::from_millis(500)), "overslept: {sleeps:?}");
    client.send_to(b"y", server_address).expect("the network takes it");
    let start = Instant::now();
    io.wait(None).expect("the back end lives");
    assert_eq!(gather(&mut io, 1), [b"y"]);
    assert!(start.elapsed() < PATIENCE);
    let shortest = (0..100).map(|_| slept(&mut io, Duration::ZERO)).min();
    assert!(shortest < Some(Duration::from_millis(10)), "zero does not sleep: {shortest:?}");
}

fn drops_what_is_too_long(place: &impl Place) {
    let (server, server_address) = server(place);
    let mut io = place.open(vec![server], wake());
    let client = place.long_winded_client();
    let lengths = [MAX_DATAGRAM + 1, MAX_DATAGRAM, 0, 9000, 65_000, 1];
    for len in lengths {
        client.send_to(&vec![7; len], server_address).expect("the network takes it");
    }
    // In whatever order: a fragmented one takes another way than the others.
    let mut got: Vec<_> = gather(&mut io, 3).iter().map(Vec::len).collect();
    got.sort_unstable();
    assert_eq!(got, [0, 1, MAX_DATAGRAM]);
    let deadline = Instant::now() + PATIENCE;
    while io.counters().truncated < 3 && Instant::now() < deadline {
        assert!(gather_once(&mut io).is_empty());
    }
    assert_eq!(io.counters().truncated, 3);
    assert_eq!(io.counters().received, 3);
}

fn survives_what_cannot_be_sent(place: &impl Place) {
    let (server, server_address) = server(place);
    let mut io = place.open(vec![server], wake());
    let (client, client_address) = client(place);
    // A port where nobody listens; a broadcast, which is forbidden; the wrong family.
    let closed = patient(place.client(false)).1;
    for round in 0..200u8 {
        queue(&mut io, b"nobody", closed);
        queue(&mut io, b"all", "255.255.255.255:9".parse().expect("a literal"));
        queue(&mut io, b"family", "[::1]:9".parse().expect("a literal"));
        queue(&mut io, &[round], client_address);
    }
    // Mistakes of the caller.
    io.transmit().commit(MAX_DATAGRAM + 1, 0, client_address);
    io.transmit().reserve().expect("a buffer is free");
    io.transmit().commit(1, 1, client_address);
    let first = io.transmit().reserve().expect("a buffer is free").as_ptr();
    assert_eq!(first, io.transmit().reserve().expect("the same").as_ptr());
    io.wait(Some(Duration::ZERO)).expect("the back end lives");
    for round in 0..200u8 {
        let mut buffer = [0; 8];
        let (len, _) = client.recv_from(&mut buffer).expect("the good ones arrive");
        assert_eq!(&buffer[..len], [round]);
    }
    let counters = io.counters();
    assert_eq!(counters.sent, 400);
    assert_eq!(counters.send_unreachable, 400, "{counters:?}");
    assert_eq!(counters.send_failed, 2, "{counters:?}");
    client.send_to(b"still here", server_address).expect("the network takes it");
    assert_eq!(gather(&mut io, 1), [b"still here"]);
}

fn leaves_no_socket_behind(place: &impl Place) {
    let address = server(place).1;
    for _ in 0..20 {
        let (client, _) = client(place);
        let deadline = Instant::now() + PATIENCE;
        let server = loop {
            // The kernel may close a ring's registered sockets a moment after the ring.
            match bind(address) {
                Ok(server) => break server,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::sleep(Duration::from_millis(1));
        };
        let mut io = place.open(vec![server], wake());
        client.send_to(b"x", address).expect("the network takes it");
        assert_eq!(gather(&mut io, 1), [b"x"]);
    }
}

fn sends_trains_whole_and_in_order(place: &impl Place) {
    stay_on_one_core();
    let (server, server_address) = server(place);
    let mut io = place.open(vec![server], wake());
    let clients: Vec<_> = (0..3).map(|_| client(place)).collect();
    // Bursts as video makes them: one size and its neighbours, destinations mixed, and turns of
    // every length.
    let mut state = 1_u32;
    let mut expected = vec![Vec::new(); clients.len()];
    for turn in 0..300_u32 {
        for number in 0..turn % 90 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let client = (state >> 16) as usize % clients.len();
            let len = 1000 + (state >> 24) as usize % 2 - usize::from(number % 7 == 6) * 900;
            let mut payload = vec![turn as u8; len];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            queue(&mut io, &payload, clients[client].1);
            expected[client].push(payload);
        }
        io.wait(Some(Duration::ZERO)).expect("the back end lives");
        for (client, expected) in clients.iter().zip(&mut expected) {
            for payload in expected.drain(..) {
                let mut buffer = [0; MAX_DATAGRAM];
                let (len, source) = client.0.recv_from(&mut buffer).expect("none is lost");
                assert_eq!(source, server_address);
                assert!(buffer[..len] == payload, "turn {turn}: another packet, or another order");
            }
        }
    }
    let counters = io.counters();
    assert_eq!(counters.send_dropped(), 0, "{counters:?}");
    assert!(counters.sends <= counters.sent, "{counters:?}");
}

#[test]
fn merged_datagrams_are_taken_apart() {
    let _alone = alone();
    stay_on_one_core();
    // Loopback hands a train over as it was sent to whoever can take it.
    let (server, server_address) = server(&URING);
    let mut io = URING.open(vec![server], wake());
    let (client, client_address) = client(&URING);
    let mut sender = URING.open(vec![client], wake());
    for round in 0..50_u8 {
        let sizes = [300, 300, 300, 120, 900, 900, 900, 900, 1];
        let mut expected = Vec::new();
        for (number, size) in (0_u8..).zip(sizes) {
            let payload = vec![number ^ round; size];
            queue(&mut sender, &payload, server_address);
            expected.push(payload);
        }
        sender.wait(Some(Duration::ZERO)).expect("the back end lives");
        assert!(gather(&mut io, sizes.len()) == expected, "round {round}");
    }
    io.receive(|datagram, _| assert_eq!(datagram.source, client_address));
    assert_eq!((io.counters().received, io.counters().truncated), (450, 0));
}

#[test]
fn trains_save_sends() {
    let _alone = alone();
    stay_on_one_core();
    let (server, _) = server(&URING);
    let mut io = URING.open(vec![server], wake());
    let (client, client_address) = client(&URING);
    for number in 0..100_u8 {
        queue(&mut io, &[number; 500], client_address);
    }
    io.wait(Some(Duration::ZERO)).expect("the back end lives");
    for number in 0..100_u8 {
        let mut buffer = [0; MAX_DATAGRAM];
        assert_eq!(client.recv(&mut buffer).expect("loopback loses none"), 500);
        assert_eq!(buffer[..500], [number; 500]);
    }
    let counters = io.counters();
    assert_eq!((counters.sent, counters.sends), (100, 7), "16 a call");
    assert_eq!(counters.sent_bytes, 50_000);
}

#[test]
fn a_back_end_needs_sockets_and_auto_finds_one() {
    let _alone = alone();
    assert!(open(IoKind::Auto, Vec::new(), wake()).is_err());
    let opened = open(IoKind::Auto, vec![server(&SOCKET).0], wake()).expect("one of them works");
    assert!(["uring", "socket"].contains(&opened.name()));
    assert_eq!("uring".parse(), Ok(IoKind::Uring));
    assert_eq!("xdp".parse(), Ok(IoKind::Xdp));
    assert!("iouring".parse::<IoKind>().is_err());
    let error = open(IoKind::Xdp, vec![server(&SOCKET).0], wake()).expect_err("no interface");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

/// Set in the copy of this test that runs inside the namespace.
const INSIDE: &str = "HYPE_TEST_NARROW_QUEUE";

/// A network namespace that goes when the test does.
struct Namespace(String);

impl Namespace {
    fn new(suffix: &str) -> Self {
        let name = format!("hn{}{suffix}", std::process::id());
        let status = Command::new("ip").args(["netns", "add", &name]).status();
        assert!(status.expect("iproute2 is installed").success(), "needs root");
        Self(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn narrow_queue<I: DatagramIo>(test: &str, suffix: &str, place: &Loopback<I>) {
    let _alone = alone();
    if std::env::var_os(INSIDE).is_some() {
        return behind_a_narrow_queue(place);
    }
    let namespace = Namespace::new(suffix);
    let script = "ip link set lo up && \
        tc qdisc add dev lo root tbf rate 8mbit burst 10000 limit 4000000 && \
        exec \"$0\" --exact \"$1\" --nocapture";
    let program = std::env::current_exe().expect("the test runs from a file");
    let output = Command::new("ip")
        .args(["netns", "exec", &namespace.0, "sh", "-c", script])
        .arg(program)
        .arg(test)
        .env(INSIDE, "1")
        .output()
        .expect("iproute2 is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn uring_survives_a_narrow_queue() {
    narrow_queue("uring_survives_a_narrow_queue", "u", &URING);
}

#[test]
fn socket_survives_a_narrow_queue() {
    narrow_queue("socket_survives_a_narrow_queue", "s", &SOCKET);
}

/// Buffers are filled again at once while the kernel's queue is full: what arrives must be whole and
/// in order, and what does not must have been counted.
fn behind_a_narrow_queue(place: &impl Place) {
    const COUNT: u32 = 4096;
    // The queue's timer and the sender both take packets out of it.
    stay_on_one_core();
    let pattern = |number: u32| number.to_be_bytes().repeat(250);
    let (server, _) = server(place);
    socket2::SockRef::from(&server).set_send_buffer_size(64 << 10).expect("smaller is allowed");
    let (client, client_address) = client(place);
    // How many it must get, once that is known; then it looks for more until all is quiet.
    let sent = Arc::new(AtomicU64::new(u64::MAX));
    let reader = thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            let quiet = Duration::from_millis(200);
            client.set_read_timeout(Some(quiet)).expect("a valid timeout");
            let (mut got, mut buffer) = (Vec::new(), [0; MAX_DATAGRAM]);
            let deadline = Instant::now() + PATIENCE;
            loop {
                if let Ok(len) = client.recv(&mut buffer) {
                    let number = u32::from_be_bytes(buffer[..4].try_into().expect("four bytes"));
                    let whole = buffer[..len] == pattern(number);
                    assert!(whole, "packet {number} holds another's bytes");
                    got.push(number);
                } else if got.len() as u64 >= sent.load(Ordering::Acquire)
                    || Instant::now() > deadline
                {
                    return got;
                }
            }
        }
    });
    let mut io = place.open(vec![server], wake());
    for number in 0..COUNT {
        queue(&mut io, &pattern(number), client_address);
        if number % 64 == 63 {
            // It may return at once: a send that fails is news, too.
            io.wait(Some(Duration::ZERO)).expect("the back end lives");
            thread::sleep(Duration::from_millis(4));
        }
    }
    io.wait(Some(Duration::ZERO)).expect("the back end lives");
    // There is no route to anywhere else in here.
    queue(&mut io, b"lost", "203.0.113.1:9".parse().expect("a literal"));
    io.wait(Some(Duration::ZERO)).expect("the back end lives");

    let counters = io.counters();
    sent.store(counters.sent, Ordering::Release);
    let got = reader.join().expect("every packet was whole");
    assert!(got.is_sorted_by(|a, b| a < b), "out of order or twice");
    assert_eq!(counters.sent, got.len() as u64, "{counters:?}");
    assert_eq!(counters.send_would_block, u64::from(COUNT) - counters.sent, "{counters:?}");
    assert!(counters.send_would_block > 100, "the queue was not narrow: {counters:?}");
    assert!(got.len() > 100, "too few arrived: {counters:?}");
    assert_eq!(counters.send_dropped(), counters.send_would_block + 1, "{counters:?}");
}

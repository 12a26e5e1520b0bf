//! What only AF_XDP does: which datagrams go past the kernel and which do not, and what happens when
//! neighbours, routes, interfaces, other programs and processes come and go. Between two namespaces;
//! needs root and `ip`. One test at a time.

mod veth;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hype_node::io::{
    DatagramIo, EventFd, IoCounters, IoKind, MAX_DATAGRAM, Opened, Settings, TransmitQueue, bind,
    open, prepare,
};
use veth::{Mode, Veth, run};

const PATIENCE: Duration = Duration::from_secs(30);

fn wake() -> Arc<EventFd> {
    Arc::new(EventFd::new().expect("a descriptor is free"))
}

fn settings(veth: &Veth, sockets: &[UdpSocket]) -> Settings {
    prepare(IoKind::Xdp, &[veth.interface().to_owned()], &[sockets]).remove(0)
}

fn opened(veth: &Veth, sockets: Vec<UdpSocket>) -> Opened {
    let settings = settings(veth, &sockets);
    open(settings, sockets, wake()).expect("some back end opens")
}

/// A back end that answers whatever comes.
struct Echo(Box<hype_node::io::xdp::Xdp>);

impl Echo {
    fn new(veth: &Veth, sockets: Vec<UdpSocket>) -> Self {
        match opened(veth, sockets) {
            Opened::Xdp(io) => Self(io),
            other => panic!("{} instead of AF_XDP", other.name()),
        }
    }

    fn turn(&mut self) {
        self.0.receive(|datagram, transmit| {
            let len = datagram.payload.len();
            transmit.reserve().expect("a frame is free")[..len].copy_from_slice(datagram.payload);
            transmit.commit(len, datagram.local, datagram.source);
        });
        self.0.wait(Some(Duration::from_millis(1))).expect("the back end lives");
    }

    /// Turns for a while.
    fn run(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn();
        }
    }

    /// Turns until it has counted what is wanted, and a moment longer, in which too much would show.
    #[track_caller]
    fn run_until(&mut self, counted: impl Fn(&IoCounters) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !counted(&self.counters()) {
            assert!(Instant::now() < deadline, "{:?}", self.counters());
            self.turn();
        }
        self.run(Duration::from_millis(20));
    }

    /// Turns until this client has its datagram back from where it sent it; false when it does not
    /// come within `patience`.
    fn answers(
        &mut self,
        client: &UdpSocket,
        server: SocketAddr,
        payload: &[u8],
        patience: Duration,
    ) -> bool {
        client.set_nonblocking(true).expect("sockets can do that");
        client.send_to(payload, server).expect("the network takes it");
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 65_536];
        while Instant::now() < deadline {
            self.turn();
            match client.recv_from(&mut buffer) {
                Ok((len, source)) => {
                    assert_eq!(source, server, "a reply leaves from the address that was asked");
                    assert!(buffer[..len] == *payload, "another datagram came back");
                    return true;
                }
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
            }
        }
        false
    }

    #[track_caller]
    fn must_answer(&mut self, client: &UdpSocket, server: SocketAddr, payload: &[u8]) {
        assert!(self.answers(client, server, payload, PATIENCE), "{:?}", self.counters());
    }

    fn counters(&self) -> IoCounters {
        self.0.counters()
    }
}

fn near(veth: &Veth, ipv6: bool, number: u8) -> (UdpSocket, SocketAddr) {
    let socket = bind(SocketAddr::new(veth.near(ipv6, number), 0)).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

/// Runs a test in the near namespace of a fresh pair.
fn over_veth(tag: &str, queues: u32, mode: Mode, test: impl FnOnce(&Veth) + Send) {
    let Some(veth) = Veth::new(tag, queues, mode) else { return };
    veth.inside_near(|| test(&veth));
}

/// The kernel resolves what is not known yet; everything after that goes past it.
#[test]
fn the_first_goes_by_the_kernel_and_the_rest_past_it() {
    over_veth("a", 2, Mode::Native, |veth| {
        for ipv6 in [false, true] {
            let (socket, server) = near(veth, ipv6, 0);
            let mut echo = Echo::new(veth, vec![socket]);
            let clients: Vec<_> = (0..8).map(|_| veth.far_socket(ipv6)).collect();
            for round in 0..50u8 {
                for client in &clients {
                    echo.must_answer(client, server, &[round; 200]);
                }
            }
            let counters = echo.counters();
            assert_eq!((counters.received, counters.sent), (400, 400));
            assert_eq!(counters.received_past_kernel, 400, "by whichever queue");
            // The kernel sees one at first, and one a second of a neighbour that it must check.
            assert!(counters.sent_past_kernel >= 350, "{counters:?}");
            assert_eq!(counters.send_dropped(), 0);
        }
    });
}

#[test]
fn fragments_and_what_is_too_long_for_the_link_go_by_the_kernel() {
    over_veth("b", 1, Mode::Native, |veth| {
        for ipv6 in [false, true] {
            let (socket, server) = near(veth, ipv6, 0);
            let mut echo = Echo::new(veth, vec![socket]);
            let client = veth.far_fragmenting_socket(ipv6);
            echo.must_answer(&client, server, b"whole");
            let before = echo.counters();
            client.send_to(&[7; MAX_DATAGRAM], server).expect("it is sent in fragments");
            echo.run_until(|now| now.received > before.received && now.send_too_long > 0);
            let counters = echo.counters();
            assert_eq!(counters.received, before.received + 1, "it is joined and delivered");
            assert_eq!(counters.received_past_kernel, before.received_past_kernel);
            // It would not fit into one frame, and is never fragmented by us.
            assert_eq!(counters.send_too_long, 1, "{counters:?}");
            // The longest that fits is sent past the kernel.
            let longest = if ipv6 { 1500 - 48 } else { 1500 - 28 };
            echo.must_answer(&client, server, &vec![1; longest]);
            assert_eq!(echo.counters().received_past_kernel, before.received_past_kernel + 1);
        }
    });
}

#[test]
fn other_interfaces_and_wildcards_are_served_by_the_kernel() {
    over_veth("c", 1, Mode::Native, |veth| {
        let (v4, v4_server) = near(veth, false, 0);
        let wildcard = bind("[::]:0".parse().expect("literal")).expect("a free port");
        let v6_server =
            SocketAddr::new(veth.near(true, 1), wildcard.local_addr().expect("it is bound").port());
        let mut echo = Echo::new(veth, vec![wildcard, v4]);
        // From this host itself: by loopback, in spite of the address.
        let local = UdpSocket::bind((veth.near(false, 1), 0)).expect("a free port");
        echo.must_answer(&local, v4_server, b"by loopback");
        assert_eq!(echo.counters().received_past_kernel, 0);
        // The wildcard's datagrams are the kernel's; its reply comes from the address of the route.
        let client = veth.far_socket(true);
        client.send_to(b"wild", v6_server).expect("the network takes it");
        echo.run_until(|now| now.received > 1);
        assert_eq!(echo.counters().received_past_kernel, 0);
        assert_eq!(echo.counters().received, 2);
        echo.must_answer(&veth.far_socket(false), v4_server, b"past it");
        assert_eq!(echo.counters().received_past_kernel, 1);
        drop(echo);
        // With nothing but wildcards there is nothing to do.
        let wildcard = bind("0.0.0.0:0".parse().expect("literal")).expect("a free port");
        assert_ne!(opened(veth, vec![wildcard]).name(), "xdp");
    });
}

/// The same port of another address, another port of our address: not ours to take.
#[test]
fn what_is_for_others_is_left_alone() {
    for (tag, mode) in [("d", Mode::Native), ("e", Mode::Generic)] {
        over_veth(tag, 1, mode, |veth| {
            for ipv6 in [false, true] {
                let (socket, server) = near(veth, ipv6, 0);
                let others = [
                    UdpSocket::bind((veth.near(ipv6, 1), server.port())).expect("it is free"),
                    UdpSocket::bind((veth.near(ipv6, 0), 0)).expect("a free port"),
                ];
                let mut echo = Echo::new(veth, vec![socket]);
                let client = veth.far_socket(ipv6);
                for other in others {
                    let address = other.local_addr().expect("it is bound");
                    client.send_to(b"for somebody else", address).expect("the network takes it");
                    other.set_read_timeout(Some(PATIENCE)).expect("a valid timeout");
                    assert_eq!(other.recv(&mut [0; 100]).expect("it arrives"), 17);
                }
                echo.run(Duration::from_millis(5));
                assert_eq!(echo.counters().received, 0);
                echo.must_answer(&client, server, b"for us");
                assert_eq!(echo.counters().received_past_kernel, 1);
            }
        });
    }
}

#[test]
fn a_neighbour_with_a_new_hardware_address_is_found_again() {
    over_veth("f", 1, Mode::Native, |veth| {
        let (socket, server) = near(veth, false, 0);
        let mut echo = Echo::new(veth, vec![socket]);
        let client = veth.far_socket(false);
        for _ in 0..10 {
            echo.must_answer(&client, server, b"before");
        }
        let (far, interface) = (veth.far_namespace(), veth.far_interface());
        run(&format!("ip -n {far} link set {interface} address 02:00:00:00:77:01"));
        // The far side asks for our address and so tells its new one.
        run(&format!("ip -n {far} neighbour flush dev {interface}"));
        let deadline = Instant::now() + PATIENCE;
        while !echo.answers(&client, server, b"after", Duration::from_millis(200)) {
            assert!(Instant::now() < deadline, "{:?}", echo.counters());
        }
        let (before, began) = (echo.counters().sent_past_kernel, Instant::now());
        for _ in 0..10 {
            echo.must_answer(&client, server, b"and on");
        }
        let past = echo.counters().sent_past_kernel - before;
        assert!(past + 1 + began.elapsed().as_secs() >= 10, "only {past}");
    });
}

/// Traffic past the kernel is nothing that the kernel sees: it must be shown some, or it forgets the
/// neighbour.
#[test]
fn a_neighbour_that_grows_stale_is_checked_by_the_kernel() {
    over_veth("g", 1, Mode::Native, |veth| {
        let (socket, server) = near(veth, false, 0);
        let mut echo = Echo::new(veth, vec![socket]);
        let client = veth.far_socket(false);
        for _ in 0..10 {
            echo.must_answer(&client, server, b"resolved");
        }
        let (namespace, interface) = (veth.near_namespace(), veth.interface());
        let ip = veth.far_ip(false);
        let state = || veth::read(&format!("ip -n {namespace} neighbour show to {ip}"));
        let mac = state().split("lladdr ").nth(1).expect("it is known")[..17].to_owned();
        run(&format!(
            "ip -n {namespace} neighbour replace {ip} lladdr {mac} nud stale dev {interface}"
        ));
        assert!(state().contains("STALE"));
        let (before, began) = (echo.counters(), Instant::now());
        let deadline = began + PATIENCE;
        while state().contains("STALE") {
            assert!(Instant::now() < deadline, "the kernel has seen nothing");
            echo.must_answer(&client, server, b"stale");
            thread::sleep(Duration::from_millis(10));
        }
        let counters = echo.counters();
        let past = counters.sent_past_kernel - before.sent_past_kernel;
        let by = counters.sent - before.sent - past;
        // At first, then each second.
        let most = 2 + began.elapsed().as_secs();
        assert!((1..=most).contains(&by), "now and then, not always: {by} of {}", by + past);
    });
}

#[test]
fn routes_are_obeyed_when_they_change() {
    over_veth("h", 1, Mode::Native, |veth| {
        let (socket, server) = near(veth, false, 0);
        let mut echo = Echo::new(veth, vec![socket]);
        let client = veth.far_socket(false);
        for _ in 0..10 {
            echo.must_answer(&client, server, b"there");
        }
        let (namespace, ip) = (veth.near_namespace(), veth.far_ip(false));
        run(&format!("ip -n {namespace} route add blackhole {ip}/32"));
        let deadline = Instant::now() + PATIENCE;
        while echo.answers(&client, server, b"not any more", Duration::from_millis(200)) {
            assert!(Instant::now() < deadline, "{:?}", echo.counters());
        }
        run(&format!("ip -n {namespace} route del blackhole {ip}/32"));
        let deadline = Instant::now() + PATIENCE;
        while !echo.answers(&client, server, b"there again", Duration::from_millis(200)) {
            assert!(Instant::now() < deadline, "{:?}", echo.counters());
        }
        // A smaller MTU is kept to as well.
        run(&format!("ip -n {namespace} link set {} mtu 1000", veth.interface()));
        let deadline = Instant::now() + PATIENCE;
        while echo.counters().send_too_long == 0 {
            assert!(Instant::now() < deadline, "{:?}", echo.counters());
            client.send_to(&[1; 975], server).expect("the far side may send more");
            echo.run(Duration::from_millis(100));
        }
    });
}

#[test]
fn a_lost_interface_is_no_end() {
    over_veth("i", 2, Mode::Native, |veth| {
        let (socket, _) = near(veth, false, 0);
        let mut echo = Echo::new(
            veth,
            vec![socket, bind("127.0.0.1:0".parse().expect("literal")).expect("a free port")],
        );
        let client = veth.far_socket(false);
        run(&format!("ip -n {} link del {}", veth.near_namespace(), veth.interface()));
        drop(client);
        // What is left is served, and a sleep is a sleep.
        let deadline = Instant::now() + PATIENCE;
        loop {
            echo.run(Duration::from_millis(300));
            let start = Instant::now();
            for _ in 0..5 {
                echo.0.wait(Some(Duration::from_millis(20))).expect("the back end lives");
            }
            if start.elapsed() >= Duration::from_millis(80) {
                break;
            }
            // News of the loss may have come late.
            assert!(Instant::now() < deadline, "it spins");
        }
    });
}

/// One log line for each step, with its reason.
#[test]
fn a_taken_interface_is_left_to_whoever_has_it() {
    over_veth("j", 1, Mode::Native, |veth| {
        let (first, first_server) = near(veth, false, 0);
        let mut echo = Echo::new(veth, vec![first]);
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer({
            let log = log.clone();
            move || log.clone()
        });
        tracing::subscriber::with_default(subscriber.finish(), || {
            let (second, _) = near(veth, false, 0);
            assert_ne!(opened(veth, vec![second]).name(), "xdp");
        });
        let log = log.text();
        for line in ["no native XDP", "cannot attach an XDP program", "going on with io_uring"] {
            let found = log.lines().find(|found| found.contains(line));
            let found = found.unwrap_or_else(|| panic!("{line} is not in the log:\n{log}"));
            let reason = found.contains("busy") || found.contains("exists");
            assert!(reason || line.starts_with("going"), "{found}");
        }
        echo.must_answer(&veth.far_socket(false), first_server, b"undisturbed");
    });
}

/// veth has no rules that steer: the first worker takes all queues, the others go without.
#[test]
fn only_the_first_of_several_workers_where_nothing_steers() {
    over_veth("k", 2, Mode::Native, |veth| {
        let (first, server) = near(veth, false, 0);
        let (second, _) = near(veth, false, 0);
        let (first, second) = (vec![first], vec![second]);
        let interfaces = [veth.interface().to_owned()];
        let settings = prepare(IoKind::Auto, &interfaces, &[&first, &second]);
        let [one, two]: [Settings; 2] = settings.try_into().expect("one for each");
        assert_ne!(open(two, second, wake()).expect("it opens").name(), "xdp");
        let Opened::Xdp(io) = open(one, first, wake()).expect("it opens") else {
            panic!("the first worker has AF_XDP");
        };
        let mut echo = Echo(io);
        for _ in 0..8 {
            echo.must_answer(&veth.far_socket(false), server, b"by any queue");
        }
        assert_eq!(echo.counters().received_past_kernel, 8);
    });
}

#[test]
fn what_is_no_network_card_is_refused() {
    let socket = bind("127.0.0.1:0".parse().expect("literal")).expect("a free port");
    for name in ["lo", "no-such-one"] {
        let shown = [std::slice::from_ref(&socket)];
        let settings = prepare(IoKind::Xdp, &[name.to_owned()], &shown).remove(0);
        let sockets = vec![socket.try_clone().expect("it can be copied")];
        let opened = open(settings, sockets, wake()).expect("another back end opens");
        assert_ne!(opened.name(), "xdp");
    }
}

/// Set in the copy of this program that is killed: the near side's address and interface.
const VICTIM: &str = "HYPE_TEST_XDP_VICTIM";

#[test]
fn a_killed_process_leaves_no_program_behind() {
    if let Ok(interface) = std::env::var(VICTIM) {
        return be_killed(&interface);
    }
    for (tag, mode) in [("l", Mode::Native), ("m", Mode::Generic)] {
        over_veth(tag, 2, mode, |veth| {
            let program = std::env::current_exe().expect("the test runs from a file");
            let mut child = Command::new("ip")
                .args(["netns", "exec", veth.near_namespace()])
                .arg(program)
                .args(["--exact", "a_killed_process_leaves_no_program_behind", "--nocapture"])
                .env(VICTIM, format!("{},{}", veth.interface(), veth.near(false, 0)))
                .stdout(Stdio::piped())
                .stdin(Stdio::piped())
                .spawn()
                .expect("iproute2 is installed");
            let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
            let ready = lines.map_while(Result::ok).any(|line| line.contains("back end: xdp"));
            let attached = veth.describe();
            // SIGKILL: nothing of it can clean up.
            child.kill().expect("it runs");
            child.wait().expect("it was killed");
            assert!(ready && attached.contains("xdp"), "{attached}");
            veth.wait_until_detached();
            // And the queues are free for the next one.
            let (socket, server) = near(veth, false, 0);
            let mut echo = Echo::new(veth, vec![socket]);
            echo.must_answer(&veth.far_socket(false), server, b"the next one");
        });
    }
}

fn be_killed(given: &str) {
    let (interface, ip) = given.split_once(',').expect("interface,address");
    let address = SocketAddr::new(ip.parse().expect("an address"), 0);
    let sockets = vec![bind(address).expect("a free port")];
    let settings = prepare(IoKind::Xdp, &[interface.to_owned()], &[&sockets]).remove(0);
    let io = open(settings, sockets, wake()).expect("some back end opens");
    println!("back end: {}", io.name());
    std::io::stdout().flush().expect("the parent reads");
    // Until the end of the pipe, should the parent die first.
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panicked")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

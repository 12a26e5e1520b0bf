//! Two network namespaces joined by a pair of virtual Ethernet interfaces: `near`, where a back end
//! works, and `far`, where its clients are. Made with `ip` and `tc`, as root; names carry the process
//! id, and all goes when the value is dropped. Without root a test says so and is left out. Of one
//! test program one pair is there at a time.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hype_node::io::bind;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Which mode of XDP the near interface allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Native,
    /// Only this one: veth refuses the native mode when the other side sends frames that are longer
    /// than a page.
    Generic,
}

pub struct Veth {
    near: String,
    far: String,
    interface: String,
    far_interface: String,
    /// Dropped last.
    _alone: MutexGuard<'static, ()>,
}

/// Runs a command line; panics with what it said if it fails.
#[track_caller]
pub fn run(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
}

/// Runs a command line and returns what it wrote.
pub fn read(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect("it is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Veth {
    /// `tag` makes the names different from those of this process's other pairs; at most 4 bytes.
    pub fn new(tag: &str, queues: u32, mode: Mode) -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: making network namespaces needs root");
            return None;
        }
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |side: &str| format!("x{}{tag}{side}", std::process::id());
        let pair = Self {
            near: name("N"),
            far: name("F"),
            interface: name("n"),
            far_interface: name("f"),
            _alone: alone,
        };
        let Self { near, far, interface, far_interface, .. } = &pair;
        run(&format!("ip netns add {near}"));
        run(&format!("ip netns add {far}"));
        // An address that turns valid a second later would be news in the middle of a test.
        for namespace in [near, far] {
            for which in ["all", "default"] {
                let setting = format!("net.ipv6.conf.{which}.accept_dad=0");
                run(&format!("ip netns exec {namespace} sysctl -qw {setting}"));
            }
        }
        run(&format!(
            "ip -n {near} link add {interface} numtxqueues {queues} numrxqueues {queues} type veth \
             peer name {far_interface} netns {far} numtxqueues {queues} numrxqueues {queues}"
        ));
        let mtu = if mode == Mode::Native { 1500 } else { 9000 };
        for (namespace, interface) in [(near, interface), (far, far_interface)] {
            run(&format!("ip -n {namespace} link set lo up"));
            run(&format!("ip -n {namespace} link set {interface} mtu {mtu} up"));
        }
        for number in 0..2 {
            for ipv6 in [false, true] {
                let (ip, len) = (pair.near(ipv6, number), if ipv6 { "64 nodad" } else { "24" });
                run(&format!("ip -n {near} address add {ip}/{len} dev {interface}"));
            }
        }
        run(&format!("ip -n {far} address add {}/24 dev {far_interface}", far_ip(false)));
        run(&format!("ip -n {far} address add {}/64 dev {far_interface} nodad", far_ip(true)));
        // With a queue, the far side waits for the near one instead of dropping.
        run(&format!("tc -n {far} qdisc add dev {far_interface} root pfifo limit 10000"));
        Some(pair)
    }

    /// Name of the near interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    pub fn far_interface(&self) -> &str {
        &self.far_interface
    }

    /// Names of the namespaces.
    pub fn near_namespace(&self) -> &str {
        &self.near
    }

    pub fn far_namespace(&self) -> &str {
        &self.far
    }

    /// One of the two addresses of either family of the near side.
    pub fn near(&self, ipv6: bool, number: u8) -> IpAddr {
        if ipv6 {
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 1, u16::from(number) + 1).into()
        } else {
            Ipv4Addr::new(10, 77, 0, 1 + number).into()
        }
    }

    pub fn far_ip(&self, ipv6: bool) -> IpAddr {
        far_ip(ipv6)
    }

    /// A socket of the far side, at a free port, with large buffers.
    pub fn far_socket(&self, ipv6: bool) -> UdpSocket {
        let address = SocketAddr::new(far_ip(ipv6), 0);
        inside(&self.far, || bind(address).expect("a free port"))
    }

    /// One that sends long datagrams in fragments.
    pub fn far_fragmenting_socket(&self, ipv6: bool) -> UdpSocket {
        let address = SocketAddr::new(far_ip(ipv6), 0);
        inside(&self.far, || UdpSocket::bind(address).expect("a free port"))
    }

    /// Runs something on a thread of the near namespace; threads that it starts are there, too.
    pub fn inside_near<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.near, work)
    }

    /// Both sides know each other's hardware addresses for good.
    pub fn know_neighbours(&self) {
        let near_mac = mac(&self.near, &self.interface);
        let far_mac = mac(&self.far, &self.far_interface);
        for ipv6 in [false, true] {
            let (near, interface) = (&self.near, &self.interface);
            let ip = far_ip(ipv6);
            run(&format!("ip -n {near} neighbour replace {ip} lladdr {far_mac} dev {interface}"));
            let (far, interface) = (&self.far, &self.far_interface);
            for number in 0..2 {
                let ip = self.near(ipv6, number);
                run(&format!(
                    "ip -n {far} neighbour replace {ip} lladdr {near_mac} dev {interface}"
                ));
            }
        }
    }

    /// What `ip` says of the near interface.
    pub fn describe(&self) -> String {
        read(&format!("ip -n {} -details link show dev {}", self.near, self.interface))
    }
}

impl Veth {
    /// Waits until no program is attached to the near interface; panics if that does not come. The
    /// descriptor that holds it may be open for a moment in a process that another test starts.
    #[track_caller]
    pub fn wait_until_detached(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.describe().contains("xdp") {
            assert!(Instant::now() < deadline, "a program is still attached: {}", self.describe());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

fn far_ip(ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 2, 1).into()
    } else {
        Ipv4Addr::new(10, 77, 0, 100).into()
    }
}

fn mac(namespace: &str, interface: &str) -> String {
    let text = read(&format!("ip -n {namespace} link show dev {interface}"));
    let after = text.split("link/ether ").nth(1).expect("it is Ethernet");
    after.split(' ').next().expect("an address").to_owned()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).expect("the namespace is there");
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter it");
            work()
        });
        match thread.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

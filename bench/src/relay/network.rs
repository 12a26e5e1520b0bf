//! Where a relay benchmark's packets travel: the loopback interface; a veth pair between two network
//! namespaces; or a veth pair in and an ifb device out, which drops what it is given in its driver
//! and so is closest to a network card. Namespaces and interfaces carry this process's number, and
//! their own where it has several, and go when the [`Network`] is dropped.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;

/// Where packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// The loopback interface: needs no privilege; whoever sends pays for receiving, too.
    Loopback,
    /// A veth pair between two namespaces, with threaded NAPI (needs root).
    Veth,
    /// In by veth, out by ifb, where nobody receives (needs root).
    Ifb,
}

/// A network that was made.
#[derive(Debug)]
pub struct Network {
    /// Which sort.
    pub sink: Sink,
    /// The node's address.
    pub node: Ipv4Addr,
    /// Addresses of those who speak are in the /16 of this one …
    pub speakers: Ipv4Addr,
    /// … and those of who listens in the /16 of this one.
    pub listeners: Ipv4Addr,
    /// The node's interfaces that AF_XDP may serve.
    pub interfaces: Vec<String>,
    namespaces: Vec<String>,
}

impl Network {
    /// Makes it, as number `number` (0–9) of this process, for a node with so many workers.
    ///
    /// # Errors
    /// Without root, `iproute2` or `ethtool`, for all but [`Sink::Loopback`].
    pub fn new(sink: Sink, number: u8, workers: u16) -> anyhow::Result<Self> {
        let pid = std::process::id();
        if sink == Sink::Loopback {
            let [_, high, low, _] = (pid << 8).to_be_bytes();
            let net = |third: u8| Ipv4Addr::new(127, 64 | (high % 64), third, 0);
            // One /16 for all: distinct processes have distinct ones, most of the time.
            let node = Ipv4Addr::new(127, 64 | (high % 64), 0, low | 1);
            return Ok(Self {
                sink,
                node,
                speakers: net(64),
                listeners: net(128),
                interfaces: Vec::new(),
                namespaces: Vec::new(),
            });
        }
        if !nix::unistd::geteuid().is_root() {
            bail!(
                "--sink {sink:?} makes network namespaces and needs root; --sink loopback does not"
            );
        }
        for tool in ["ip", "tc", "ethtool"] {
            if Command::new(tool).arg("--version").output().is_err() {
                bail!("--sink {sink:?} needs {tool}: apt-get install iproute2 ethtool");
            }
        }
        // The names of the kernel's threads have room for ten characters of an interface's.
        let pid = format!("{pid}{}", char::from(b'a' + number));
        let (node_space, peer_space) = (format!("hbn{pid}"), format!("hbp{pid}"));
        let (inner, outer, ifb) = (format!("hn{pid}"), format!("hp{pid}"), format!("hi{pid}"));
        let mut network = Self {
            sink,
            node: Ipv4Addr::new(10, 200, 0, 1),
            speakers: Ipv4Addr::new(10, 201, 0, 0),
            listeners: Ipv4Addr::new(10, 202, 0, 0),
            interfaces: vec![inner.clone()],
            namespaces: vec![node_space.clone(), peer_space.clone()],
        };
        let mut script = format!(
            "set -e; ip netns add {node_space}; ip netns add {peer_space}
            ip link add {inner} netns {node_space} type veth peer name {outer} netns {peer_space}
            ip -n {node_space} link set lo up; ip -n {peer_space} link set lo up
            ip -n {node_space} addr add 10.200.0.1/30 dev {inner}
            ip -n {peer_space} addr add 10.200.0.2/30 dev {outer}
            # As a card has: where its ring is full it makes the sender wait, and loses nothing.
            ip netns exec {node_space} tc qdisc add dev {inner} root pfifo limit 1000
            ip -n {node_space} link set {inner} up; ip -n {peer_space} link set {outer} up
            ip -n {node_space} route add 10.201.0.0/16 via 10.200.0.2
            ip -n {peer_space} route add local 10.201.0.0/16 dev lo
            ip -n {peer_space} route add local 10.202.0.0/16 dev lo
            for space in {node_space} {peer_space}; do
                ip netns exec $space sysctl -qw net.ipv4.conf.all.rp_filter=0
            done
            # Without it the receiver's stack would run in the sender's time; now its own thread of
            # the kernel takes what comes, as behind a cable.
            ip netns exec {node_space} ethtool -K {inner} tso off
            for pair in {node_space}:{inner} {peer_space}:{outer}; do
                ip netns exec ${{pair%:*}} ethtool -K ${{pair#*:}} gro on
                ip netns exec ${{pair%:*}} sh -c \
                    \"echo 1 > /sys/class/net/${{pair#*:}}/threaded\" || true
            done\n"
        );
        if sink == Sink::Ifb {
            script += &format!(
                "ip -n {node_space} link add {ifb} type ifb
                ip -n {node_space} link set {ifb} up
                # Each packet counts by itself: the device's counters take a train for one.
                ip netns exec {node_space} ethtool -K {ifb} tx-udp-segmentation off
                ip -n {node_space} route add 10.202.0.0/16 dev {ifb}\n"
            );
            network.interfaces.push(ifb);
        } else {
            script += &format!("ip -n {node_space} route add 10.202.0.0/16 via 10.200.0.2\n");
        }
        run(Command::new("sh").args(["-c", &script]))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Workers have the last cores.
        let first_worker = cores.saturating_sub(usize::from(workers));
        receive_on(first_worker, &inner);
        if first_worker > 0 {
            // Theirs is not what is measured. A card never waits for a processor; the generator does.
            for pid in receive_on(0, &outer) {
                let pid = pid.to_string();
                let _ = Command::new("chrt").args(["--fifo", "--pid", "1", &pid]).output();
            }
        }
        Ok(network)
    }

    /// A command that runs where the node lives.
    pub fn on_node_side(&self, command: &Command) -> Command {
        let Some(space) = self.namespaces.first() else { return copy(command) };
        let mut wrapped = Command::new("ip");
        wrapped.args(["netns", "exec", space]).arg(command.get_program());
        wrapped.args(command.get_args());
        wrapped
    }

    /// The namespace of those who speak and listen, if they have one of their own.
    pub fn peer_namespace(&self) -> Option<String> {
        self.namespaces.get(1).map(|name| format!("/var/run/netns/{name}"))
    }

    /// Packets that the sink took and dropped; none where packets are received instead.
    pub fn sunk_packets(&self) -> Option<u64> {
        if self.sink != Sink::Ifb {
            return None;
        }
        let (space, ifb) = (self.namespaces.first()?, self.interfaces.last()?);
        let output =
            Command::new("ip").args(["-n", space, "-j", "-s", "link", "show", ifb]).output();
        let json: serde_json::Value = serde_json::from_slice(&output.ok()?.stdout).ok()?;
        let statistics = &json.get(0)?["stats64"];
        let count = |way: &str, key: &str| statistics[way][key].as_u64().unwrap_or(0);
        // The driver counts what it drops on one side, what it was handed on the other.
        Some(count("rx", "dropped").max(count("tx", "packets")).max(count("rx", "packets")))
    }
}

/// Puts the kernel's threads that receive by this interface on a core, as one does with a card's
/// interrupts: on another core than the worker's, each packet would cost it a call across. Returns
/// the threads; without them, and where it is refused, figures are only less steady.
fn receive_on(core: usize, interface: &str) -> Vec<i32> {
    let mut set = nix::sched::CpuSet::new();
    if set.set(core).is_err() {
        return Vec::new();
    }
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut threads = Vec::new();
    for pid in numbers {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if name.starts_with(&format!("napi/{interface}")) {
            let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(pid), &set);
            threads.push(pid);
        }
    }
    threads
}

fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("making the network failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.namespaces {
            // The interfaces go with it. In a process group of its own: what stops a bench, such as
            // timeout(1) or a second Ctrl-C, often stops all of its group.
            let mut delete = Command::new("ip");
            let _ = delete.args(["netns", "delete", name]).process_group(0).output();
        }
    }
}

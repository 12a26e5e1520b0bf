//! A node's settings, with defaults that work on one machine and in one network.
//! The binary fills them from flags, environment and file; [`Config::validate`] names the setting
//! that is wrong and what to do. Which addresses follow from them is decided in `address`.

mod address;

use std::net::{IpAddr, SocketAddr};

use hype_protocol::id::{NodeId, Region, WorkerId};
use hype_protocol::media::MAX_VOICE_SLOTS;

pub use address::{Addresses, plan};

use crate::io::IoKind;

/// The most addresses that a node binds or announces.
pub const MAX_ADDRESSES: usize = 16;
/// The most interfaces that AF_XDP is used on.
pub const MAX_INTERFACES: usize = 8;
/// The most workers of a node.
pub const MAX_WORKERS: u16 = 256;
/// The port of the first worker unless another is chosen. Below Linux's range of ephemeral ports,
/// so that no outgoing connection of this machine takes it.
pub const DEFAULT_UDP_PORT: u16 = 20_000;

/// What a node is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name; the same over restarts, and unique in the fleet.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// UDP port of worker 0; worker n has the n-th after it. 0 takes free ports (tests).
    pub udp_port: u16,
    /// How many workers, 1–[`MAX_WORKERS`], one core each.
    pub workers: u16,
    /// Pins each worker to a core of its own.
    pub pin: bool,
    /// Addresses that clients are told, at most [`MAX_ADDRESSES`]; empty for all of this machine
    /// but loopback and link-local ones. One that is not of this machine is taken for the outside
    /// of a 1:1 address translation.
    pub announce: Vec<IpAddr>,
    /// Announces loopback too when `announce` is empty: for a browser on the same machine that
    /// has no network.
    pub announce_loopback: bool,
    /// How datagrams come and go.
    pub io: IoKind,
    /// Names of network interfaces that AF_XDP may be used on, at most [`MAX_INTERFACES`];
    /// [`IoKind::Xdp`] needs one, [`IoKind::Auto`] uses them, others leave them alone.
    pub interfaces: Vec<String>,
    /// The most sessions at once, 1–1,000,000.
    pub max_sessions: u32,
    /// How many people are heard at once in a channel, 1–64. Browsers take part with 8.
    pub voice_slots: u8,
    /// Where `/metrics`, `/healthz` and `/rooms` are served, for operators only; none serves
    /// nothing.
    pub admin: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // One core is left to the agent and the kernel where there is one to leave.
        let workers = u16::try_from(cores.saturating_sub(1).max(1)).unwrap_or(MAX_WORKERS);
        Self {
            node: "node-1".parse().expect("a valid name"),
            region: "local".parse().expect("a valid name"),
            udp_port: DEFAULT_UDP_PORT,
            workers: workers.min(MAX_WORKERS),
            pin: true,
            announce: Vec::new(),
            announce_loopback: false,
            io: IoKind::Auto,
            interfaces: Vec::new(),
            max_sessions: 10_000,
            voice_slots: 8,
            admin: None,
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct Invalid {
    /// Which setting.
    pub setting: &'static str,
    /// What is wrong with it and what to do.
    pub reason: String,
}

fn invalid(setting: &'static str, reason: impl Into<String>) -> Invalid {
    Invalid { setting, reason: reason.into() }
}

impl Config {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Invalid`] names the first setting that is wrong.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self.faults().into_iter().next() {
            Some(first) => Err(first),
            None => Ok(()),
        }
    }

    /// Every setting that is wrong.
    pub fn faults(&self) -> Vec<Invalid> {
        let mut faults = Vec::new();
        if !(1..=MAX_WORKERS).contains(&self.workers) {
            faults.push(invalid("workers", format!("must be 1 to {MAX_WORKERS}")));
        } else if self.udp_port != 0 && u32::from(self.udp_port) + u32::from(self.workers) > 65_536
        {
            let last = 65_536 - u32::from(self.workers);
            let reason = format!("{} workers need a first port of at most {last}", self.workers);
            faults.push(invalid("udp_port", reason));
        }
        if !(1..=1_000_000).contains(&self.max_sessions) {
            faults.push(invalid("max_sessions", "must be 1 to 1000000"));
        }
        if !(1..=MAX_VOICE_SLOTS).contains(&usize::from(self.voice_slots)) {
            faults.push(invalid("voice_slots", format!("must be 1 to {MAX_VOICE_SLOTS}")));
        }
        if self.announce.len() > MAX_ADDRESSES {
            faults.push(invalid("announce", format!("at most {MAX_ADDRESSES} addresses")));
        }
        for ip in &self.announce {
            if ip.is_unspecified() || ip.is_multicast() || address::is_link_local(*ip) {
                let reason = format!("{ip} is no address that a client could send to");
                faults.push(invalid("announce", reason));
            }
        }
        faults.extend(self.validate_interfaces().err());
        faults
    }

    fn validate_interfaces(&self) -> Result<(), Invalid> {
        let fault = |reason: String| Err(invalid("interface", reason));
        if self.io == IoKind::Xdp && self.interfaces.is_empty() {
            return fault("AF_XDP needs to know which: --io xdp --interface eth0".into());
        }
        if self.interfaces.len() > MAX_INTERFACES {
            return fault(format!("at most {MAX_INTERFACES} interfaces"));
        }
        for (index, name) in self.interfaces.iter().enumerate() {
            // What the kernel allows (dev_valid_name): 15 bytes, without / : and white space.
            let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
            if name.is_empty() || name.len() > 15 || name.contains(bad) {
                return fault(format!("{name:?} is no name of an interface"));
            }
            if self.interfaces[..index].contains(name) {
                return fault(format!("{name} is given twice"));
            }
        }
        Ok(())
    }

    /// The UDP port of a worker; 0 where a free one is taken.
    pub fn port(&self, worker: WorkerId) -> u16 {
        if self.udp_port == 0 { 0 } else { self.udp_port.saturating_add(worker.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        let fault = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().err().map(|invalid| invalid.setting)
        };
        assert_eq!(fault(|_| {}), None);
        assert_eq!(fault(|c| c.workers = 0), Some("workers"));
        assert_eq!(fault(|c| c.workers = 257), Some("workers"));
        assert_eq!(fault(|c| (c.udp_port, c.workers) = (65_534, 2)), None);
        assert_eq!(fault(|c| (c.udp_port, c.workers) = (65_534, 3)), Some("udp_port"));
        assert_eq!(fault(|c| c.max_sessions = 0), Some("max_sessions"));
        assert_eq!(fault(|c| c.voice_slots = 0), Some("voice_slots"));
        assert_eq!(fault(|c| c.voice_slots = 65), Some("voice_slots"));
        assert_eq!(fault(|c| c.announce = vec![[0, 0, 0, 0].into()]), Some("announce"));
        assert_eq!(fault(|c| c.announce = vec![[224, 0, 0, 1].into()]), Some("announce"));
        assert_eq!(
            fault(|c| c.announce = vec!["fe80::1".parse().expect("an address")]),
            Some("announce")
        );
        assert_eq!(fault(|c| c.announce = vec![[10, 0, 0, 1].into(); 17]), Some("announce"));
        assert_eq!(fault(|c| c.io = IoKind::Xdp), Some("interface"));
        for (names, right) in [
            ("eth0", true),
            ("eth0,eth1.100", true),
            ("abcdefghijklmno", true),
            ("abcdefghijklmnop", false),
            ("", false),
            ("a b", false),
            ("eth0,eth0", false),
            ("a,b,c,d,e,f,g,h,i", false),
        ] {
            let interfaces = names.split(',').map(str::to_owned).collect();
            let config = Config { io: IoKind::Xdp, interfaces, ..Config::default() };
            assert_eq!(config.validate().is_ok(), right, "{names}");
        }
    }

    #[test]
    fn workers_have_ports_in_a_row() {
        let config = Config { udp_port: 20_000, ..Config::default() };
        assert_eq!(config.port(WorkerId(3)), 20_003);
        assert_eq!(Config { udp_port: 0, ..config }.port(WorkerId(3)), 0);
    }
}

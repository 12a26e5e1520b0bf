//! What people will want of the platform, and what its machines are and cost: the input of a
//! plan, read from TOML or JSON. Every field has a default and a range; an unknown field is an
//! error. `bench/demand.example.toml` documents all of them.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

/// The documented example file; it holds the defaults.
pub const EXAMPLE: &str = include_str!("../../demand.example.toml");

/// One demand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Demand {
    /// Shown above the plan.
    pub name: String,
    /// People with an account who use the platform.
    pub users: f64,
    /// Share of them who are in a voice channel at the busiest moment, 0–1.
    pub voice_share_at_peak: f64,
    /// Traffic of an average hour over that of the busiest one, 0–1: what egress is billed by.
    pub average_to_peak: f64,
    /// Share of every capacity that stays free at the busiest moment, 0–0.9.
    pub headroom_share: f64,
    /// Nodes in each region beyond those that the load needs; 1 lets any node die.
    pub spare_nodes_per_region: f64,
    /// People of a channel whom one part (one worker) serves before another joins in; there are no
    /// more parts than a node has workers.
    pub people_per_part: f64,
    /// What the media budget was thought to be, US dollars a month: lowest and highest.
    pub budget_month_usd: Option<[f64; 2]>,
    /// Where people are.
    pub regions: Vec<Region>,
    /// How big their channels are.
    pub channels: Vec<Channel>,
    /// What a voice sends.
    pub voice: Voice,
    /// Screen shares.
    pub screen: Screen,
    /// One machine.
    pub node: Node,
    /// What things cost.
    pub prices: Prices,
}

/// A place with nodes of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Share of the people, 0–1; all regions together 1.
    pub share: f64,
}

/// A size of voice channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// People in it, 1–100,000.
    pub people: f64,
    /// Share of all people in voice who are in channels of this size, 0–1; all sizes together 1.
    pub share_of_people: f64,
    /// How many of its people take part in the talk; each speaks for `voice.speaking_share`.
    pub speakers: f64,
}

/// A voice on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Voice {
    /// Packets a second while somebody speaks; 50 for frames of 20 ms.
    pub packets_per_second: f64,
    /// Opus bytes of a packet; 160 are 64 kbit/s.
    pub payload_bytes: f64,
    /// Share of the time that somebody who takes part speaks, 0–1.
    pub speaking_share: f64,
    /// Packets a second in his pauses: 2.5 with DTX, 0 for a client that falls silent, 50 without.
    pub pause_packets_per_second: f64,
    /// Opus bytes of a packet in a pause.
    pub pause_payload_bytes: f64,
    /// Voices that each person receives at most.
    pub slots: f64,
    /// Everything around a payload: Ethernet 14, IPv4 20, UDP 8, RTP 12 with one CSRC 4, header
    /// extensions 12, authentication tag 16.
    pub overhead_bytes: f64,
    /// RTCP and ICE packets a second, sent to each person.
    pub control_packets_per_second: f64,
    /// Their size on the wire.
    pub control_bytes: f64,
}

/// Shared screens (cameras count the same).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Screen {
    /// Share of the people in voice who share one, 0–1.
    pub sharers_share: f64,
    /// People who watch each.
    pub viewers: f64,
    /// Its picture, kbit/s.
    pub bitrate_kbps: f64,
    /// Its sound, kbit/s; 0 for none.
    pub sound_kbps: f64,
    /// Bytes of picture in a packet.
    pub payload_bytes: f64,
}

/// A machine that forwards media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Its cores.
    pub cores: f64,
    /// Cores without a worker: the agent, handshakes, the system.
    pub reserved_cores: f64,
    /// What its network sends, Gbit/s.
    pub gbit_per_s: f64,
    /// Its memory, GiB.
    pub memory_gib: f64,
    /// The most people whom its death may cut off: the cap on the blast radius.
    pub people: f64,
    /// `uring`, `socket` or `xdp`: whose measured figures are used.
    pub io: String,
}

/// US dollars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prices {
    /// A core for a month.
    pub core_month_usd: f64,
    /// A node for a month, on top of its cores.
    pub node_month_usd: f64,
    /// A gigabyte (10^9 bytes) that leaves.
    pub egress_gb_usd: f64,
    /// Everything that is not a media node, a month: databases, control plane, coordination.
    pub fixed_month_usd: f64,
}

impl Default for Demand {
    fn default() -> Self {
        let channel =
            |people, share_of_people, speakers| Channel { people, share_of_people, speakers };
        Self {
            name: "demand".into(),
            users: 10_000.0,
            voice_share_at_peak: 0.1,
            average_to_peak: 0.4,
            headroom_share: 0.3,
            spare_nodes_per_region: 1.0,
            people_per_part: 50.0,
            budget_month_usd: None,
            regions: vec![Region { name: "eu-central-1".into(), share: 1.0 }],
            channels: vec![
                channel(2.0, 0.25, 2.0),
                channel(4.0, 0.4, 3.0),
                channel(10.0, 0.25, 4.0),
                channel(50.0, 0.1, 3.0),
            ],
            voice: Voice::default(),
            screen: Screen::default(),
            node: Node::default(),
            prices: Prices::default(),
        }
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            packets_per_second: 50.0,
            payload_bytes: 160.0,
            speaking_share: 0.385,
            pause_packets_per_second: 2.5,
            pause_payload_bytes: 8.0,
            slots: 8.0,
            overhead_bytes: 86.0,
            control_packets_per_second: 2.0,
            control_bytes: 120.0,
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            sharers_share: 0.03,
            viewers: 3.0,
            bitrate_kbps: 2500.0,
            sound_kbps: 96.0,
            payload_bytes: 1200.0,
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            cores: 8.0,
            reserved_cores: 1.0,
            gbit_per_s: 1.0,
            memory_gib: 16.0,
            people: 2000.0,
            io: "uring".into(),
        }
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            core_month_usd: 8.0,
            node_month_usd: 15.0,
            egress_gb_usd: 0.01,
            fixed_month_usd: 0.0,
        }
    }
}

impl Demand {
    /// Reads a file: JSON by its ending, else TOML; then checks it.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown field, or a field out of its range; the error names
    /// the field and says what to do.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the demand file {}", path.display()))?;
        let json = path.extension().is_some_and(|extension| extension == "json");
        Self::parse(&text, json).with_context(|| format!("demand file {}", path.display()))
    }

    /// Parses and checks.
    ///
    /// # Errors
    /// As [`Demand::read`].
    pub fn parse(text: &str, json: bool) -> anyhow::Result<Self> {
        let parsed: Result<Self, String> = if json {
            serde_json::from_str(text).map_err(|error| error.to_string())
        } else {
            toml::from_str(text).map_err(|error| error.to_string())
        };
        let demand = parsed.map_err(|error| {
            let error = error.trim_end();
            anyhow::anyhow!(
                "{error}\ncorrect or remove the field: `hype plan --example` prints all of them"
            )
        })?;
        demand.check()?;
        Ok(demand)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn check(&self) -> anyhow::Result<()> {
        let Self { voice, screen, node, prices, .. } = self;
        let ranges = [
            ("users", self.users, 1.0, 1e10),
            ("voice_share_at_peak", self.voice_share_at_peak, 0.0, 1.0),
            ("average_to_peak", self.average_to_peak, 0.0, 1.0),
            ("headroom_share", self.headroom_share, 0.0, 0.9),
            ("spare_nodes_per_region", self.spare_nodes_per_region, 0.0, 1000.0),
            ("people_per_part", self.people_per_part, 2.0, 10_000.0),
            ("voice.packets_per_second", voice.packets_per_second, 1.0, 400.0),
            ("voice.payload_bytes", voice.payload_bytes, 1.0, 1275.0),
            ("voice.speaking_share", voice.speaking_share, 0.0, 1.0),
            ("voice.pause_packets_per_second", voice.pause_packets_per_second, 0.0, 400.0),
            ("voice.pause_payload_bytes", voice.pause_payload_bytes, 0.0, 1275.0),
            ("voice.slots", voice.slots, 1.0, 1000.0),
            ("voice.overhead_bytes", voice.overhead_bytes, 0.0, 300.0),
            ("voice.control_packets_per_second", voice.control_packets_per_second, 0.0, 1000.0),
            ("voice.control_bytes", voice.control_bytes, 0.0, 1500.0),
            ("screen.sharers_share", screen.sharers_share, 0.0, 1.0),
            ("screen.viewers", screen.viewers, 0.0, 100_000.0),
            ("screen.bitrate_kbps", screen.bitrate_kbps, 0.0, 100_000.0),
            ("screen.sound_kbps", screen.sound_kbps, 0.0, 510.0),
            ("screen.payload_bytes", screen.payload_bytes, 100.0, 1400.0),
            ("node.cores", node.cores, 1.0, 1024.0),
            ("node.reserved_cores", node.reserved_cores, 0.0, 1023.0),
            ("node.gbit_per_s", node.gbit_per_s, 0.01, 1000.0),
            ("node.memory_gib", node.memory_gib, 0.25, 10_000.0),
            ("node.people", node.people, 1.0, 1e6),
            ("prices.core_month_usd", prices.core_month_usd, 0.0, 1e6),
            ("prices.node_month_usd", prices.node_month_usd, 0.0, 1e6),
            ("prices.egress_gb_usd", prices.egress_gb_usd, 0.0, 1e3),
            ("prices.fixed_month_usd", prices.fixed_month_usd, 0.0, 1e9),
        ];
        for (field, value, low, high) in ranges {
            in_range(field, value, low, high)?;
        }
        for field in
            [("spare_nodes_per_region", self.spare_nodes_per_region), ("node.cores", node.cores)]
        {
            ensure!(field.1.fract() == 0.0, "{} must be a whole number, not {}", field.0, field.1);
        }
        ensure!(
            node.reserved_cores < node.cores,
            "node.reserved_cores must be below node.cores ({}), so that a worker has a core",
            node.cores
        );
        if !["uring", "socket", "xdp"].contains(&node.io.as_str()) {
            bail!("node.io is {:?}; it must be \"uring\", \"socket\" or \"xdp\"", node.io);
        }
        if let Some([low, high]) = self.budget_month_usd {
            ensure!(
                0.0 <= low && low <= high,
                "budget_month_usd must be two amounts, the lower one first"
            );
        }
        for (number, region) in self.regions.iter().enumerate() {
            ensure!(!region.name.is_empty(), "regions[{number}].name is empty");
            in_range(&format!("regions[{number}].share"), region.share, 0.0, 1.0)?;
        }
        whole("regions", "share", self.regions.iter().map(|region| region.share))?;
        for (number, channel) in self.channels.iter().enumerate() {
            let name = |field| format!("channels[{number}].{field}");
            in_range(&name("people"), channel.people, 1.0, 100_000.0)?;
            in_range(&name("share_of_people"), channel.share_of_people, 0.0, 1.0)?;
            in_range(&name("speakers"), channel.speakers, 0.0, channel.people)?;
        }
        let shares = self.channels.iter().map(|channel| channel.share_of_people);
        whole("channels", "share_of_people", shares)
    }
}

fn in_range(field: &str, value: f64, low: f64, high: f64) -> anyhow::Result<()> {
    ensure!((low..=high).contains(&value), "{field} is {value}; it must be {low} to {high}");
    Ok(())
}

fn whole(list: &str, field: &str, shares: impl Iterator<Item = f64>) -> anyhow::Result<()> {
    let sum: f64 = shares.sum();
    ensure!(
        (sum - 1.0).abs() < 0.001,
        "the {field} of all {list} must add up to 1; now they make {sum:.3}"
    );
    Ok(())
}

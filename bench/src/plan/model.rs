//! The model: people, channels and screens → packets and bits → cores, nodes and money, region by
//! region. Pure: no clock, no file, no wait. Every number goes into the ledger with its formula.

use serde::Serialize;

use super::demand::{Demand, Region};
use super::figures::Figures;
use super::ledger::Ledger;
use super::traffic::{self, Traffic};

/// A plan for one demand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Whose plan.
    pub name: String,
    /// What was asked for.
    pub demand: Demand,
    /// Region by region, as the demand lists them.
    pub regions: Vec<RegionPlan>,
    /// All of them together.
    pub total: Total,
}

/// What one region needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegionPlan {
    /// Its name.
    pub name: String,
    /// People in voice at the busiest moment.
    pub people: f64,
    /// Packets a second that leave the nodes.
    pub out_pps: f64,
    /// Packets a second that come in.
    pub in_pps: f64,
    /// What leaves, Gbit/s on the wire.
    pub gbit_per_s: f64,
    /// Cores that are busy at the busiest moment, headroom not included.
    pub cores_busy: f64,
    /// Nodes that each wall alone would ask for, not rounded.
    pub needs: Needs,
    /// The wall that asks for most.
    pub binding: Wall,
    /// Nodes that hold the load; at least one.
    pub nodes_needed: f64,
    /// With the spare ones.
    pub nodes: f64,
    /// Cores of all its nodes.
    pub cores: f64,
    /// People on each node while all are alive.
    pub people_per_node: f64,
    /// Seconds until a dead node's people have joined again; none without a measured join rate.
    pub rejoin_s: Option<f64>,
    /// Money for nodes and cores a month, US dollars.
    pub nodes_month_usd: f64,
    /// Money for egress a month, US dollars.
    pub egress_month_usd: f64,
    /// Where each number comes from.
    pub steps: Ledger,
}

/// Nodes by wall, not rounded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Needs {
    /// For the packets.
    pub cpu: f64,
    /// For the bits that leave.
    pub egress: f64,
    /// So that a death cuts off few enough.
    pub blast_radius: f64,
    /// For what people and caches occupy.
    pub memory: f64,
}

/// What limits the number of people on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// Forwarding cores.
    Cpu,
    /// The network's sending side.
    Egress,
    /// The cap on people a node.
    BlastRadius,
    /// Memory.
    Memory,
}

/// The sums.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Total {
    /// People in voice at the busiest moment.
    pub people: f64,
    /// Packets a second out.
    pub out_pps: f64,
    /// Gbit/s out.
    pub gbit_per_s: f64,
    /// Packets a second to each person.
    pub pps_per_person: f64,
    /// kbit/s to each person.
    pub kbps_per_person: f64,
    /// Busy cores.
    pub cores_busy: f64,
    /// Nodes.
    pub nodes: f64,
    /// Their cores.
    pub cores: f64,
    /// Bytes that leave in a month, in units of 10^9.
    pub egress_month_gb: f64,
    /// Nodes and cores, US dollars a month.
    pub nodes_month_usd: f64,
    /// Egress, US dollars a month.
    pub egress_month_usd: f64,
    /// Everything else, US dollars a month.
    pub fixed_month_usd: f64,
    /// All of it, US dollars a month.
    pub month_usd: f64,
}

impl Wall {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Egress => "egress",
            Self::BlastRadius => "blast radius",
            Self::Memory => "memory",
        }
    }
}

/// Computes a plan; the demand must have passed its check.
pub fn plan(demand: &Demand, figures: &Figures) -> Plan {
    let regions: Vec<RegionPlan> =
        demand.regions.iter().map(|region| region_plan(demand, region, figures)).collect();
    let sum = |of: fn(&RegionPlan) -> f64| regions.iter().map(of).sum::<f64>();
    let people = sum(|region| region.people);
    let (out_pps, gbit_per_s) = (sum(|region| region.out_pps), sum(|region| region.gbit_per_s));
    let nodes_month_usd = sum(|region| region.nodes_month_usd);
    let egress_month_usd = sum(|region| region.egress_month_usd);
    let fixed_month_usd = demand.prices.fixed_month_usd;
    let each = |value: f64| if people > 0.0 { value / people } else { 0.0 };
    let total = Total {
        people,
        out_pps,
        gbit_per_s,
        pps_per_person: each(out_pps),
        kbps_per_person: each(gbit_per_s * 1e6),
        cores_busy: sum(|region| region.cores_busy),
        nodes: sum(|region| region.nodes),
        cores: sum(|region| region.cores),
        egress_month_gb: gbit_per_s / 8.0 * demand.average_to_peak * MONTH_S,
        nodes_month_usd,
        egress_month_usd,
        fixed_month_usd,
        month_usd: nodes_month_usd + egress_month_usd + fixed_month_usd,
    };
    Plan { name: demand.name.clone(), demand: demand.clone(), regions, total }
}

/// Seconds of an average month.
const MONTH_S: f64 = 730.0 * 3600.0;
/// What a node keeps of a watched picture to send lost packets again: three layers of 512 KiB.
const CACHE_BYTES: f64 = 3.0 * 512.0 * 1024.0;

fn region_plan(demand: &Demand, region: &Region, figures: &Figures) -> RegionPlan {
    let mut ledger = Ledger::default();
    let people = ledger.note(
        ("people", "people in voice"),
        "users * voice_share_at_peak * region_share",
        [
            ("users", demand.users),
            ("voice_share_at_peak", demand.voice_share_at_peak),
            ("region_share", region.share),
        ],
        demand.users * demand.voice_share_at_peak * region.share,
    );
    let traffic = traffic::of(demand, people, &mut ledger);
    let (cores_needed, cores_busy) = cores(demand, &traffic, figures, &mut ledger);
    let needs = needs(demand, people, &traffic, figures, cores_needed, &mut ledger);
    let (binding, most) = needs.most();
    let nodes_needed = ledger.note(
        ("nodes_needed", "nodes"),
        "max(1, ceil(max(cpu, egress, blast_radius, memory)))",
        [
            ("cpu", needs.cpu),
            ("egress", needs.egress),
            ("blast_radius", needs.blast_radius),
            ("memory", needs.memory),
        ],
        up(most).max(1.0),
    );
    let spare = demand.spare_nodes_per_region;
    let nodes = ledger.note(
        ("nodes", "nodes"),
        "nodes_needed + spare_nodes_per_region",
        [("nodes_needed", nodes_needed), ("spare_nodes_per_region", spare)],
        nodes_needed + spare,
    );
    let cores = ledger.note(
        ("cores", "cores"),
        "nodes * node_cores",
        [("nodes", nodes), ("node_cores", demand.node.cores)],
        nodes * demand.node.cores,
    );
    let people_per_node = ledger.note(
        ("people_per_node", "people"),
        "people / nodes",
        [("people", people), ("nodes", nodes)],
        people / nodes,
    );
    let rejoin_s = figures.joins_per_second.map(|joins_per_second| {
        ledger.note(
            ("rejoin_s", "s"),
            "people_per_node / joins_per_second",
            [("people_per_node", people_per_node), ("joins_per_second", joins_per_second)],
            people_per_node / joins_per_second,
        )
    });
    let (nodes_month_usd, egress_month_usd) =
        money(demand, nodes, cores, traffic.gbit_per_s, &mut ledger);
    RegionPlan {
        name: region.name.clone(),
        people,
        out_pps: traffic.out_pps,
        in_pps: traffic.in_pps,
        gbit_per_s: traffic.gbit_per_s,
        cores_busy,
        needs,
        binding,
        nodes_needed,
        nodes,
        cores,
        people_per_node,
        rejoin_s,
        nodes_month_usd,
        egress_month_usd,
        steps: ledger,
    }
}

/// Rounds up, forgiving the last digits of a division.
pub(super) fn up(value: f64) -> f64 {
    (value - 1e-9).ceil()
}

impl Needs {
    /// The wall that asks for most nodes, and how many.
    pub(super) fn most(&self) -> (Wall, f64) {
        [
            (Wall::BlastRadius, self.blast_radius),
            (Wall::Egress, self.egress),
            (Wall::Memory, self.memory),
        ]
        .into_iter()
        .fold((Wall::Cpu, self.cpu), |most, wall| if wall.1 > most.1 { wall } else { most })
    }
}

/// The fewest whole cores that carry the packets with headroom, and how many of them are busy
/// then. Fewer packets a core cost more each, so the number of cores decides its own cost.
fn cores(demand: &Demand, traffic: &Traffic, figures: &Figures, ledger: &mut Ledger) -> (f64, f64) {
    let free = 1.0 - demand.headroom_share;
    let extra_in = (traffic.in_pps - traffic.small_pps / figures.reference_fan_out).max(0.0);
    let busy = |cores: f64| {
        let voice = figures.voice.cost(traffic.small_pps / cores);
        let video = figures.video.cost(traffic.video_pps / cores);
        let ns = traffic.small_pps * voice.ns
            + extra_in * figures.receive_ns
            + traffic.video_pps * video.ns;
        (ns / 1e9, voice, video)
    };
    let lossless = figures.lossless_pps_per_core.map_or(0.0, |pps| traffic.out_pps / pps / free);
    // Busy time only grows with the number of cores, and by a bounded factor: start where even
    // the cheapest packets do not fit and go up.
    let mut needed = up(lossless.max(busy(1.0).0 / free * 0.1)).max(1.0);
    while busy(needed).0 > needed * free && needed < 1e7 {
        needed += (needed * 0.001).floor().max(1.0);
    }
    let (cores_busy, voice, video) = busy(needed);
    for (names, cost, rate) in [
        (("voice_ns", "ns a packet"), voice, traffic.small_pps / needed),
        (("video_ns", "ns a packet"), video, traffic.video_pps / needed),
    ] {
        if cost.low == cost.high {
            let measured = [("measured_ns", cost.low.ns_per_packet)];
            ledger.note(names, "measured_ns", measured, cost.ns);
            continue;
        }
        ledger.note(
            names,
            "low_ns + (high_ns - low_ns) * ln(pps_per_core / low_pps) / ln(high_pps / low_pps)",
            [
                ("low_ns", cost.low.ns_per_packet),
                ("high_ns", cost.high.ns_per_packet),
                ("low_pps", cost.low.pps_per_core),
                ("high_pps", cost.high.pps_per_core),
                ("pps_per_core", rate),
            ],
            cost.ns,
        );
    }
    let cores_busy = ledger.note(
        ("cores_busy", "cores"),
        "(small_pps * voice_ns + max(0, in_pps - small_pps / reference_fan_out) * receive_ns \
         + video_pps * video_ns) / 1000000000",
        [
            ("small_pps", traffic.small_pps),
            ("voice_ns", voice.ns),
            ("in_pps", traffic.in_pps),
            ("reference_fan_out", figures.reference_fan_out),
            ("receive_ns", figures.receive_ns),
            ("video_pps", traffic.video_pps),
            ("video_ns", video.ns),
        ],
        cores_busy,
    );
    let by_cpu = ledger.note(
        ("cores_for_cpu", "cores"),
        "cores_busy / (1 - headroom_share)",
        [("cores_busy", cores_busy), ("headroom_share", demand.headroom_share)],
        cores_busy / free,
    );
    if let Some(lossless_pps_per_core) = figures.lossless_pps_per_core {
        ledger.note(
            ("cores_for_rate", "cores"),
            "out_pps / lossless_pps_per_core / (1 - headroom_share)",
            [
                ("out_pps", traffic.out_pps),
                ("lossless_pps_per_core", lossless_pps_per_core),
                ("headroom_share", demand.headroom_share),
            ],
            lossless,
        );
    }
    (by_cpu.max(lossless), cores_busy)
}

fn needs(
    demand: &Demand,
    people: f64,
    traffic: &Traffic,
    figures: &Figures,
    cores_needed: f64,
    ledger: &mut Ledger,
) -> Needs {
    let node = &demand.node;
    let headroom = ("headroom_share", demand.headroom_share);
    let free = 1.0 - demand.headroom_share;
    let workers = node.cores - node.reserved_cores;
    let memory_bytes = people * figures.person_bytes + traffic.screens * CACHE_BYTES;
    let node_free = node.memory_gib * 1_073_741_824.0 * free - figures.node_bytes;
    // A node too small for its own process would need infinitely many; say it by a big number.
    let node_free = node_free.max(1.0);
    Needs {
        cpu: ledger.note(
            ("nodes_for_cpu", "nodes"),
            "cores_needed / (node_cores - reserved_cores)",
            [
                ("cores_needed", cores_needed),
                ("node_cores", node.cores),
                ("reserved_cores", node.reserved_cores),
            ],
            cores_needed / workers,
        ),
        egress: ledger.note(
            ("nodes_for_egress", "nodes"),
            "gbit_per_s / (node_gbit_per_s * (1 - headroom_share))",
            [("gbit_per_s", traffic.gbit_per_s), ("node_gbit_per_s", node.gbit_per_s), headroom],
            traffic.gbit_per_s / (node.gbit_per_s * free),
        ),
        blast_radius: ledger.note(
            ("nodes_for_blast_radius", "nodes"),
            "people / node_people",
            [("people", people), ("node_people", node.people)],
            people / node.people,
        ),
        memory: ledger.note(
            ("nodes_for_memory", "nodes"),
            "(people * person_bytes + screens * cache_bytes) \
             / max(1, node_memory_gib * 1073741824 * (1 - headroom_share) - node_bytes)",
            [
                ("people", people),
                ("person_bytes", figures.person_bytes),
                ("screens", traffic.screens),
                ("cache_bytes", CACHE_BYTES),
                ("node_memory_gib", node.memory_gib),
                ("node_bytes", figures.node_bytes),
                headroom,
            ],
            memory_bytes / node_free,
        ),
    }
}

fn money(
    demand: &Demand,
    nodes: f64,
    cores: f64,
    gbit_per_s: f64,
    ledger: &mut Ledger,
) -> (f64, f64) {
    let prices = &demand.prices;
    let nodes_month_usd = ledger.note(
        ("nodes_month_usd", "USD"),
        "nodes * node_month_usd + cores * core_month_usd",
        [
            ("nodes", nodes),
            ("node_month_usd", prices.node_month_usd),
            ("cores", cores),
            ("core_month_usd", prices.core_month_usd),
        ],
        nodes * prices.node_month_usd + cores * prices.core_month_usd,
    );
    let egress_gb = ledger.note(
        ("egress_month_gb", "GB"),
        "gbit_per_s / 8 * average_to_peak * month_s",
        [
            ("gbit_per_s", gbit_per_s),
            ("average_to_peak", demand.average_to_peak),
            ("month_s", MONTH_S),
        ],
        gbit_per_s / 8.0 * demand.average_to_peak * MONTH_S,
    );
    let egress_month_usd = ledger.note(
        ("egress_month_usd", "USD"),
        "egress_gb * egress_gb_usd",
        [("egress_gb", egress_gb), ("egress_gb_usd", prices.egress_gb_usd)],
        egress_gb * prices.egress_gb_usd,
    );
    (nodes_month_usd, egress_month_usd)
}

//! The model: people, channels and screens → packets and bits → cores, nodes and money, region by
//! region. Pure: no clock, no file, no wait. Every number goes into the ledger with its formula.

use serde::Serialize;

use super::demand::{Demand, Region};
use super::figures::Figures;
use super::ledger::Ledger;
use super::{sizing, traffic};

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
    /// Cores that are busy at the busiest moment while all nodes are alive, headroom not included.
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// Where each number comes from.
    pub steps: Ledger,
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

/// Seconds of an average month.
pub(super) const MONTH_S: f64 = 730.0 * 3600.0;

/// Computes a plan; the demand must have passed its check.
pub fn plan(demand: &Demand, figures: &Figures) -> Plan {
    let regions: Vec<RegionPlan> =
        demand.regions.iter().map(|region| region_plan(demand, region, figures)).collect();
    let total = total(demand, &regions);
    Plan { name: demand.name.clone(), demand: demand.clone(), regions, total }
}

fn total(demand: &Demand, regions: &[RegionPlan]) -> Total {
    let mut ledger = Ledger::default();
    let mut sum = |names: (&'static str, &'static str), of: fn(&RegionPlan) -> f64| {
        ledger.sum(names, regions.iter().map(|region| (region.name.clone(), of(region))))
    };
    let people = sum(("people", "people in voice"), |region| region.people);
    let out_pps = sum(("out_pps", "packets/s"), |region| region.out_pps);
    let gbit_per_s = sum(("gbit_per_s", "Gbit/s"), |region| region.gbit_per_s);
    let cores_busy = sum(("cores_busy", "cores"), |region| region.cores_busy);
    let nodes = sum(("nodes", "nodes"), |region| region.nodes);
    let cores = sum(("cores", "cores"), |region| region.cores);
    let nodes_month_usd = sum(("nodes_month_usd", "USD"), |region| region.nodes_month_usd);
    let egress_month_usd = sum(("egress_month_usd", "USD"), |region| region.egress_month_usd);
    let fixed_month_usd = demand.prices.fixed_month_usd;
    let pps_per_person = ledger.note(
        ("pps_per_person", "packets/s"),
        "out_pps / max(0.000001, people)",
        [("out_pps", out_pps), ("people", people)],
        out_pps / people.max(0.000_001),
    );
    let kbps_per_person = ledger.note(
        ("kbps_per_person", "kbit/s"),
        "gbit_per_s * 1000000 / max(0.000001, people)",
        [("gbit_per_s", gbit_per_s), ("people", people)],
        gbit_per_s * 1e6 / people.max(0.000_001),
    );
    let egress_month_gb = sizing::egress_month_gb(demand, gbit_per_s, &mut ledger);
    let month_usd = ledger.note(
        ("month_usd", "USD"),
        "nodes_month_usd + egress_month_usd + fixed_month_usd",
        [
            ("nodes_month_usd", nodes_month_usd),
            ("egress_month_usd", egress_month_usd),
            ("fixed_month_usd", fixed_month_usd),
        ],
        nodes_month_usd + egress_month_usd + fixed_month_usd,
    );
    Total {
        people,
        out_pps,
        gbit_per_s,
        pps_per_person,
        kbps_per_person,
        cores_busy,
        nodes,
        cores,
        egress_month_gb,
        nodes_month_usd,
        egress_month_usd,
        fixed_month_usd,
        month_usd,
        steps: ledger,
    }
}

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
    let cores_needed = sizing::cores_needed(demand, &traffic, figures, &mut ledger);
    let needs = sizing::needs(demand, people, &traffic, figures, cores_needed, &mut ledger);
    let (nodes_needed, nodes) = sizing::nodes(demand, &needs, &mut ledger);
    let cores = ledger.note(
        ("cores", "cores"),
        "nodes * node_cores",
        [("nodes", nodes), ("node_cores", demand.node.cores)],
        nodes * demand.node.cores,
    );
    let cores_busy = sizing::cores_busy(demand, &traffic, figures, nodes, &mut ledger);
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
        sizing::money(demand, nodes, cores, traffic.gbit_per_s, &mut ledger);
    RegionPlan {
        name: region.name.clone(),
        people,
        out_pps: traffic.out_pps,
        in_pps: traffic.in_pps,
        gbit_per_s: traffic.gbit_per_s,
        cores_busy,
        needs,
        binding: needs.most().0,
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

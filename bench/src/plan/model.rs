//! The model: people, channels and screens → packets and bits → cores, nodes and money, region by
//! region. Pure: no clock, no file, no wait. Every number goes into the ledger with its formula.

use serde::Serialize;

use super::demand::{Demand, Region};
use super::figures::Figures;
use super::ledger::Ledger;
use super::sizing::{self, up};
use super::traffic;

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
pub(super) const MONTH_S: f64 = 730.0 * 3600.0;
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
    let (cores_needed, cores_busy) = sizing::cores(demand, &traffic, figures, &mut ledger);
    let needs = sizing::needs(demand, people, &traffic, figures, cores_needed, &mut ledger);
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
        sizing::money(demand, nodes, cores, traffic.gbit_per_s, &mut ledger);
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

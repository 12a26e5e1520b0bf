//! From traffic to machines and money in one region: the cores that carry the packets, the nodes
//! that each wall asks for, and what they cost. Pure, as the model that calls it.

use super::curve::Cost;
use super::demand::Demand;
use super::figures::Figures;
use super::ledger::Ledger;
use super::model::{MONTH_S, Needs};
use super::traffic::Traffic;

/// What a node keeps of a watched picture to send lost packets again: three layers of 512 KiB.
const CACHE_BYTES: f64 = 3.0 * 512.0 * 1024.0;

/// Rounds up, forgiving the last digits of a division.
pub(super) fn up(value: f64) -> f64 {
    (value - 1e-9).ceil()
}

/// What the packets cost when so many cores share them evenly.
struct Load {
    /// Cores that are busy.
    busy: f64,
    voice: Cost,
    video: Cost,
}

/// Fewer packets a core cost more each, so the number of cores decides its own cost.
fn load(traffic: &Traffic, figures: &Figures, workers: f64) -> Load {
    let voice = figures.voice.cost(traffic.small_pps / workers);
    let video = figures.video.cost(traffic.video_pps / workers);
    // A frame by a ring counts as a packet that was received: it is fanned out as one, and costs
    // less, for there is no system call and nothing to open.
    let received = traffic.in_pps + traffic.link_pps;
    let extra_in = (received - traffic.small_pps / figures.reference_fan_out).max(0.0);
    let ns =
        traffic.small_pps * voice.ns + extra_in * figures.receive_ns + traffic.video_pps * video.ns;
    Load { busy: ns / 1e9, voice, video }
}

/// Cores that carry the packets with headroom, not rounded; a packet costs what it does on the
/// fewest whole cores that are enough.
pub(super) fn cores_needed(
    demand: &Demand,
    traffic: &Traffic,
    figures: &Figures,
    ledger: &mut Ledger,
) -> f64 {
    let headroom = ("headroom_share", demand.headroom_share);
    let free = 1.0 - demand.headroom_share;
    let by_rate = figures.lossless_pps_per_core.map_or(0.0, |pps| traffic.out_pps / pps / free);
    let busy = |workers: f64| load(traffic, figures, workers).busy;
    // Busy time only grows with the number of cores, and by a bounded factor: start where even
    // the cheapest packets do not fit and go up.
    let mut fewest = up(by_rate.max(busy(1.0) / free * 0.1)).max(1.0);
    while busy(fewest) > fewest * free && fewest < 1e7 {
        fewest += (fewest * 0.001).floor().max(1.0);
    }
    ledger.scope("the fewest cores".into());
    let cores_busy = note_busy(traffic, figures, fewest, ledger);
    let by_cpu = ledger.note(
        ("cores_for_cpu", "cores"),
        "cores_busy / (1 - headroom_share)",
        [("cores_busy", cores_busy), headroom],
        cores_busy / free,
    );
    ledger.scope(String::new());
    let (name, for_cpu) = (("cores_needed", "cores"), ("cores_for_cpu", by_cpu));
    let Some(lossless_pps_per_core) = figures.lossless_pps_per_core else {
        return ledger.note(name, "cores_for_cpu", [for_cpu], by_cpu);
    };
    let by_rate = ledger.note(
        ("cores_for_rate", "cores"),
        "out_pps / lossless_pps_per_core / (1 - headroom_share)",
        [("out_pps", traffic.out_pps), ("lossless_pps_per_core", lossless_pps_per_core), headroom],
        by_rate,
    );
    let inputs = [for_cpu, ("cores_for_rate", by_rate)];
    ledger.note(name, "max(cores_for_cpu, cores_for_rate)", inputs, by_cpu.max(by_rate))
}

/// Cores that are busy when all of the nodes share the packets, whichever wall asked for them.
pub(super) fn cores_busy(
    demand: &Demand,
    traffic: &Traffic,
    figures: &Figures,
    nodes: f64,
    ledger: &mut Ledger,
) -> f64 {
    let node = &demand.node;
    let workers = ledger.note(
        ("workers", "cores"),
        "nodes * (node_cores - reserved_cores)",
        [("nodes", nodes), ("node_cores", node.cores), ("reserved_cores", node.reserved_cores)],
        nodes * (node.cores - node.reserved_cores),
    );
    note_busy(traffic, figures, workers, ledger)
}

/// Cores that are busy of `workers`.
fn note_busy(traffic: &Traffic, figures: &Figures, workers: f64, ledger: &mut Ledger) -> f64 {
    let Load { busy, voice, video } = load(traffic, figures, workers);
    let (small, pictures) = (("small_pps", traffic.small_pps), ("video_pps", traffic.video_pps));
    for (name, formula, packets, cost) in [
        (
            "voice_ns",
            "low_ns + (high_ns - low_ns) \
             * ln(small_pps / workers / low_pps) / ln(high_pps / low_pps)",
            small,
            voice,
        ),
        (
            "video_ns",
            "low_ns + (high_ns - low_ns) \
             * ln(video_pps / workers / low_pps) / ln(high_pps / low_pps)",
            pictures,
            video,
        ),
    ] {
        let names = (name, "ns a packet");
        if cost.low == cost.high {
            let measured = [("measured_ns", cost.low.ns_per_packet)];
            ledger.note(names, "measured_ns", measured, cost.ns);
            continue;
        }
        ledger.note(
            names,
            formula,
            [
                ("low_ns", cost.low.ns_per_packet),
                ("high_ns", cost.high.ns_per_packet),
                ("low_pps", cost.low.pps_per_core),
                ("high_pps", cost.high.pps_per_core),
                packets,
                ("workers", workers),
            ],
            cost.ns,
        );
    }
    ledger.note(
        ("cores_busy", "cores"),
        "(small_pps * voice_ns \
         + max(0, in_pps + link_pps - small_pps / reference_fan_out) * receive_ns \
         + video_pps * video_ns) / 1000000000",
        [
            small,
            ("voice_ns", voice.ns),
            ("in_pps", traffic.in_pps),
            ("link_pps", traffic.link_pps),
            ("reference_fan_out", figures.reference_fan_out),
            ("receive_ns", figures.receive_ns),
            pictures,
            ("video_ns", video.ns),
        ],
        busy,
    )
}

/// Nodes that each wall alone would ask for.
pub(super) fn needs(
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

/// Nodes that hold the load, at least one; and with the spare ones.
pub(super) fn nodes(demand: &Demand, needs: &Needs, ledger: &mut Ledger) -> (f64, f64) {
    let nodes_needed = ledger.note(
        ("nodes_needed", "nodes"),
        "max(1, ceil(max(nodes_for_cpu, nodes_for_egress, nodes_for_blast_radius, \
         nodes_for_memory)))",
        [
            ("nodes_for_cpu", needs.cpu),
            ("nodes_for_egress", needs.egress),
            ("nodes_for_blast_radius", needs.blast_radius),
            ("nodes_for_memory", needs.memory),
        ],
        up(needs.most().1).max(1.0),
    );
    let spare = demand.spare_nodes_per_region;
    let nodes = ledger.note(
        ("nodes", "nodes"),
        "nodes_needed + spare_nodes_per_region",
        [("nodes_needed", nodes_needed), ("spare_nodes_per_region", spare)],
        nodes_needed + spare,
    );
    (nodes_needed, nodes)
}

/// Gigabytes (10^9 bytes) that leave in a month, from the rate of the busiest moment.
pub(super) fn egress_month_gb(demand: &Demand, gbit_per_s: f64, ledger: &mut Ledger) -> f64 {
    ledger.note(
        ("egress_month_gb", "GB"),
        "gbit_per_s / 8 * average_to_peak * month_s",
        [
            ("gbit_per_s", gbit_per_s),
            ("average_to_peak", demand.average_to_peak),
            ("month_s", MONTH_S),
        ],
        gbit_per_s / 8.0 * demand.average_to_peak * MONTH_S,
    )
}

/// US dollars a month for nodes with their cores, and for egress.
pub(super) fn money(
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
    let egress_month_gb = egress_month_gb(demand, gbit_per_s, ledger);
    let egress_month_usd = ledger.note(
        ("egress_month_usd", "USD"),
        "egress_month_gb * egress_gb_usd",
        [("egress_month_gb", egress_month_gb), ("egress_gb_usd", prices.egress_gb_usd)],
        egress_month_gb * prices.egress_gb_usd,
    );
    (nodes_month_usd, egress_month_usd)
}

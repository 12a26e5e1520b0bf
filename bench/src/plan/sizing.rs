//! From traffic to machines and money in one region: the cores that carry the packets, the nodes
//! that each wall asks for, and what they cost. Pure, as the model that calls it.

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

/// The fewest whole cores that carry the packets with headroom, and how many of them are busy
/// then. Fewer packets a core cost more each, so the number of cores decides its own cost.
pub(super) fn cores(
    demand: &Demand,
    traffic: &Traffic,
    figures: &Figures,
    ledger: &mut Ledger,
) -> (f64, f64) {
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

//! A plan as one self-contained page: nodes, money, traffic and walls against the phases, then
//! region by region with the formula behind each number.

use super::Plans;
use super::figures::Figures;
use super::ledger::short;
use super::model::Plan;
use crate::plot::bars::Bars;
use crate::plot::lines::{Lines, Series};
use crate::plot::page::Page;
use crate::plot::scale::Kind;

/// The whole page.
pub fn html(plans: &Plans, command: &str) -> String {
    let mut page = Page::new(
        "Hype: capacity plan",
        "Nodes, cores, traffic and monthly cost, computed from what a packet and a person cost on \
         a measured machine. Every number has its formula below.",
    );
    for figures in &plans.figures {
        figures_head(&mut page, figures);
    }
    overview(&mut page, &plans.plans);
    plots(&mut page, plans, &[command.to_owned()]);
    for plan in &plans.plans {
        details(&mut page, plan);
    }
    page.html()
}

fn figures_head(page: &mut Page, figures: &Figures) {
    let joins = figures.joins_per_second.map_or("not measured".into(), short);
    page.facts(&[
        ("figures from", figures.source.clone()),
        ("back end, sink", format!("{}, {}", figures.io, figures.sink)),
        ("receiving a packet", format!("{} ns", short(figures.receive_ns))),
        ("memory of a person", format!("{} KiB", short(figures.person_bytes / 1024.0))),
        ("joins a second", joins),
    ]);
    for note in &figures.notes {
        page.note(note);
    }
}

fn overview(page: &mut Page, plans: &[Plan]) {
    let redundant = plans.iter().all(|plan| plan.demand.spare_nodes_per_region >= 1.0);
    let redundancy = if redundant {
        "Each region has a spare node: any node may die, and the others hold its people."
    } else {
        "Not every region has a spare node: when a node dies, the others may be too few."
    };
    page.section("Overview", redundancy);
    let head = [
        "",
        "in voice",
        "packets/s",
        "Gbit/s",
        "busy cores",
        "nodes",
        "cores",
        "USD/month",
        "expected USD/month",
    ];
    let rows: Vec<Vec<String>> = plans
        .iter()
        .map(|plan| {
            let total = &plan.total;
            let budget = plan.demand.budget_month_usd;
            vec![
                plan.name.clone(),
                short(total.people),
                short(total.out_pps.round()),
                short(total.gbit_per_s),
                short(total.cores_busy),
                short(total.nodes),
                short(total.cores),
                short(total.month_usd.round()),
                budget
                    .map_or(String::new(), |[low, high]| format!("{}–{}", short(low), short(high))),
            ]
        })
        .collect();
    page.table(&head, &rows);
}

/// Places of the plans along x.
fn places(plans: &[Plan]) -> Vec<(f64, String)> {
    let label = |plan: &Plan| plan.name.split(':').next().unwrap_or_default().to_owned();
    plans.iter().enumerate().map(|(number, plan)| (number as f64 + 0.5, label(plan))).collect()
}

fn series(plans: &[Plan], name: &str, value: impl Fn(&Plan) -> f64) -> Series {
    let points = plans.iter().enumerate();
    Series {
        name: name.into(),
        points: points
            .map(|(number, plan)| (number as f64 + 0.5, value(plan)))
            .filter(|(_, value)| *value > 0.0)
            .collect(),
    }
}

fn against_phases(plans: &[Plan], unit: &str, series: Vec<Series>) -> Lines {
    Lines {
        x: (String::new(), Kind::Linear),
        y: (unit.into(), Kind::Log),
        series,
        spans: Vec::new(),
        names: places(plans),
    }
}

fn plots(page: &mut Page, plans: &Plans, command: &[String]) {
    let (figures, plans) = (&plans.figures, plans.plans.as_slice());
    let nodes = against_phases(
        plans,
        "nodes, cores",
        vec![
            series(plans, "nodes", |plan| plan.total.nodes),
            series(plans, "cores of these nodes", |plan| plan.total.cores),
            series(plans, "busy cores at the peak", |plan| plan.total.cores_busy),
        ],
    );
    page.figure(
        "Nodes and cores",
        "Small fleets are as big as redundancy asks, not as the load does.",
        &nodes.html("nodes and cores against the phase"),
        command,
    );
    let mut cost = against_phases(
        plans,
        "USD a month",
        vec![series(plans, "computed", |plan| plan.total.month_usd)],
    );
    cost.spans = plans
        .iter()
        .zip(places(plans))
        .filter_map(|(plan, (x, _))| plan.demand.budget_month_usd.map(|[low, high]| (x, low, high)))
        .filter(|(_, low, _)| *low > 0.0)
        .collect();
    page.figure(
        "Monthly cost",
        "The grey spans are what each phase was expected to cost.",
        &cost.html("monthly cost against the phase"),
        command,
    );
    let share = |part: f64, plan: &Plan| Some(100.0 * part / plan.total.month_usd.max(1e-9));
    let split = Bars {
        unit: "% of the monthly cost".into(),
        segments: ["nodes and cores", "egress", "everything else"].map(String::from).into(),
        stacked: true,
        rows: plans
            .iter()
            .map(|plan| {
                let total = &plan.total;
                let parts = [total.nodes_month_usd, total.egress_month_usd, total.fixed_month_usd];
                let name = format!("{}: {} USD", plan.name, short(total.month_usd.round()));
                (name, parts.map(|part| share(part, plan)).into())
            })
            .collect(),
        reference: None,
    };
    page.figure("What the money is for", "", &split.html("split of the monthly cost"), command);
    let biggest = |plan: &Plan, need: fn(&super::model::Needs) -> f64| {
        plan.regions.iter().map(|region| need(&region.needs)).fold(0.0, f64::max)
    };
    let walls = against_phases(
        plans,
        "nodes, in the region that needs most",
        vec![
            series(plans, "cpu", |plan| biggest(plan, |needs| needs.cpu)),
            series(plans, "egress", |plan| biggest(plan, |needs| needs.egress)),
            series(plans, "blast radius", |plan| biggest(plan, |needs| needs.blast_radius)),
            series(plans, "memory", |plan| biggest(plan, |needs| needs.memory)),
        ],
    );
    page.figure(
        "Which wall comes first",
        "Nodes that each limit alone would ask for. The highest line binds; below 1, one node does.",
        &walls.html("nodes by wall against the phase"),
        command,
    );
    let packets = against_phases(
        plans,
        "packets a second, out",
        vec![series(plans, "packets/s", |plan| plan.total.out_pps)],
    );
    page.figure("Packets", "", &packets.html("packets a second against the phase"), command);
    let bits = against_phases(
        plans,
        "Gbit/s, out",
        vec![series(plans, "Gbit/s", |plan| plan.total.gbit_per_s)],
    );
    page.figure("Traffic", "", &bits.html("Gbit/s against the phase"), command);
    cost_curves(page, figures);
}

fn cost_curves(page: &mut Page, figures: &[Figures]) {
    let mut curves = Vec::new();
    for figures in figures {
        for (kind, curve) in [("voice", &figures.voice), ("video", &figures.video)] {
            let points = curve.points().iter();
            curves.push(Series {
                name: format!("{kind}, {}", figures.io),
                points: points.map(|point| (point.pps_per_core, point.ns_per_packet)).collect(),
            });
        }
    }
    let lines = Lines {
        x: ("forwarded packets a second, one core".into(), Kind::Log),
        y: ("CPU ns a packet".into(), Kind::Linear),
        series: curves,
        spans: Vec::new(),
        names: Vec::new(),
    };
    page.figure(
        "Cost of a packet",
        "What the model interpolates: fewer packets a second cost more each.",
        &lines.html("cost of a packet against the rate"),
        &["hype bench report --out report".to_owned()],
    );
}

fn details(page: &mut Page, plan: &Plan) {
    let total = &plan.total;
    page.section(
        &plan.name,
        &format!(
            "{} users, {} in voice; {} packets/s and {} kbit/s to each person.",
            short(plan.demand.users),
            short(total.people),
            short(total.pps_per_person),
            short(total.kbps_per_person)
        ),
    );
    let head = [
        "region",
        "in voice",
        "packets/s",
        "Gbit/s",
        "busy cores",
        "nodes",
        "people a node",
        "wall",
        "nodes by cpu · egress · blast radius · memory",
        "USD/month",
    ];
    let rows: Vec<Vec<String>> = plan
        .regions
        .iter()
        .map(|region| {
            let needs = &region.needs;
            let all = [needs.cpu, needs.egress, needs.blast_radius, needs.memory].map(short);
            vec![
                region.name.clone(),
                short(region.people),
                short(region.out_pps.round()),
                short(region.gbit_per_s),
                short(region.cores_busy),
                format!("{} + {}", region.nodes_needed, region.nodes - region.nodes_needed),
                short(region.people_per_node),
                format!("{} ({})", region.binding.text(), short(needs.most().1)),
                all.join(" · "),
                short((region.nodes_month_usd + region.egress_month_usd).round()),
            ]
        })
        .collect();
    page.table(&head, &rows);
    let ledgers = plan.regions.iter().map(|region| (region.name.as_str(), &region.steps));
    for (whose, ledger) in ledgers.chain([("all regions", &total.steps)]) {
        let rows: Vec<Vec<String>> = ledger
            .steps
            .iter()
            .map(|step| {
                let value = format!("{} {}", short(step.value), step.unit);
                vec![step.name.into(), step.of.clone(), value, step.explained()]
            })
            .collect();
        let summary = format!("Formulas, {whose}");
        page.folded(&summary, &["number", "of", "value", "formula"], &rows);
    }
}

//! A plan as text: one line a demand, one a region below it, and on request every number with its
//! formula.

use std::fmt::Write;

use super::Plans;
use super::figures::Figures;
use super::ledger::{Ledger, short};
use super::model::{Plan, RegionPlan};

/// The whole text.
pub fn text(plans: &Plans, explain: bool) -> String {
    let mut out = String::new();
    for figures in &plans.figures {
        head(&mut out, figures);
    }
    let _ = writeln!(
        out,
        "{:<30} {:>9} {:>11} {:>8} {:>7} {:>8} {:>6}  {:<20} {:>11}",
        "",
        "in voice",
        "packets/s",
        "Gbit/s",
        "busy",
        "nodes",
        "cores",
        "wall, nodes by it",
        "USD/month"
    );
    for plan in &plans.plans {
        plan_lines(&mut out, plan);
    }
    if explain {
        for plan in &plans.plans {
            explain_plan(&mut out, plan);
        }
    }
    out
}

fn head(out: &mut String, figures: &Figures) {
    let first = figures.voice.points().first().map_or(0.0, |point| point.ns_per_packet);
    let last = figures.voice.points().last().map_or(0.0, |point| point.ns_per_packet);
    let _ = writeln!(
        out,
        "figures: {} ({}, {}): {} to {} ns a voice packet, {} KiB a person",
        figures.source,
        figures.io,
        figures.sink,
        short(first),
        short(last),
        short(figures.person_bytes / 1024.0)
    );
    for note in &figures.notes {
        let _ = writeln!(out, "  note: {note}");
    }
}

fn plan_lines(out: &mut String, plan: &Plan) {
    let total = &plan.total;
    let _ = writeln!(
        out,
        "{:<30} {:>9} {:>11} {:>8} {:>7} {:>8} {:>6}  {:<20} {:>11}",
        plan.name,
        short(total.people),
        short(total.out_pps.round()),
        short(total.gbit_per_s),
        short(total.cores_busy),
        short(total.nodes),
        short(total.cores),
        "",
        short(total.month_usd.round()),
    );
    for region in &plan.regions {
        region_line(out, region);
    }
    let _ = writeln!(
        out,
        "  nodes {} + egress {} ({} GB) + other {}{}; {} packets/s and {} kbit/s a person",
        short(total.nodes_month_usd.round()),
        short(total.egress_month_usd.round()),
        short(total.egress_month_gb.round()),
        short(total.fixed_month_usd),
        plan.demand.budget_month_usd.map_or(String::new(), |[low, high]| format!(
            "; expected {} to {}",
            short(low),
            short(high)
        )),
        short(total.pps_per_person),
        short(total.kbps_per_person),
    );
}

fn region_line(out: &mut String, region: &RegionPlan) {
    let nodes = format!("{}+{}", region.nodes_needed, region.nodes - region.nodes_needed);
    let _ = writeln!(
        out,
        "  {:<28} {:>9} {:>11} {:>8} {:>7} {:>8} {:>6}  {:<20} {:>11}",
        region.name,
        short(region.people),
        short(region.out_pps.round()),
        short(region.gbit_per_s),
        short(region.cores_busy),
        nodes,
        short(region.cores),
        format!("{} {}", region.binding.text(), short(region.needs.most().1)),
        short((region.nodes_month_usd + region.egress_month_usd).round()),
    );
}

fn explain_plan(out: &mut String, plan: &Plan) {
    for region in &plan.regions {
        explain(out, &format!("{}, {}", plan.name, region.name), &region.steps);
    }
    explain(out, &format!("{}, all regions", plan.name), &plan.total.steps);
}

fn explain(out: &mut String, whose: &str, ledger: &Ledger) {
    let _ = writeln!(out, "\n{whose}");
    for step in &ledger.steps {
        let of = if step.of.is_empty() { String::new() } else { format!(" ({})", step.of) };
        let _ = writeln!(
            out,
            "  {}{of} = {} {}\n      = {}",
            step.name,
            short(step.value),
            step.unit,
            step.explained()
        );
    }
}

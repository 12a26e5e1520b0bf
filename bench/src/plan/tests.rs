//! Rows of the model, published figures that it must reproduce, and what a wrong file is told.

use super::demand::{self, Channel, Demand, Region, Screen, Voice};
use super::figures::Figures;
use super::ledger::tests::evaluate;
use super::model::{Plan, Wall, plan};
use super::{Plans, phases};
use crate::report::result::Report;

fn shipped() -> Figures {
    Figures::shipped("uring").expect("the shipped report parses")
}

fn made(demand: &Demand) -> Plan {
    demand.check().expect("a demand in range");
    plan(demand, &shipped())
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found / expected - 1.0).abs() <= tolerance
}

/// The number of the last step of that name in the first region.
fn number(plan: &Plan, name: &str) -> f64 {
    let steps = &plan.regions[0].steps.steps;
    steps.iter().rfind(|step| step.name == name).expect("a step of that name").value
}

/// The phases, and what they lack: nobody or hardly anybody, no sound, wide channels, two sizes of
/// channel that are equal, headroom and spare nodes that are zero.
fn demands() -> Vec<Demand> {
    let half = Channel { people: 200.0, share_of_people: 0.5, speakers: 20.0 };
    let mut demands = phases::all();
    demands.extend([
        Demand { voice_share_at_peak: 0.0, ..Demand::default() },
        Demand { users: 5.0, ..Demand::default() },
        Demand {
            screen: Screen { sound_kbps: 0.0, ..Screen::default() },
            headroom_share: 0.0,
            spare_nodes_per_region: 0.0,
            ..Demand::default()
        },
        Demand { channels: vec![half.clone(), half], ..Demand::default() },
    ]);
    demands
}

/// Voice only, everybody in voice, channels of one size.
fn voices(people: f64, channel: [f64; 2], voice: Voice) -> Demand {
    Demand {
        users: people,
        voice_share_at_peak: 1.0,
        channels: vec![Channel { people: channel[0], share_of_people: 1.0, speakers: channel[1] }],
        people_per_part: 10_000.0,
        voice,
        screen: Screen { sharers_share: 0.0, ..Screen::default() },
        ..Demand::default()
    }
}

#[test]
fn voice_packets_are_speakers_times_listeners() {
    let always = Voice {
        speaking_share: 1.0,
        slots: 100.0,
        control_packets_per_second: 0.0,
        ..Voice::default()
    };
    // People, channel size and speakers → packets and Mbit/s.
    for (people, channel, pps, mbit) in [
        (50.0, [50.0, 3.0], 7350.0, 14.46),
        (100.0, [50.0, 3.0], 14_700.0, 28.93),
        (2.0, [2.0, 2.0], 100.0, 0.1968),
        (1.0, [50.0, 3.0], 0.0, 0.0),
        (10.0, [50.0, 3.0], 1350.0, 2.657),
        (1000.0, [1000.0, 8.0], 399_600.0, 786.4),
    ] {
        let made = made(&voices(people, channel, always.clone())).total;
        assert!((made.out_pps - pps).abs() < 0.5, "{people} {channel:?}: {made:?}");
        assert!((made.gbit_per_s * 1000.0 - mbit).abs() <= mbit * 0.001, "{people}: {made:?}");
    }
}

#[test]
fn slots_bound_what_each_person_receives() {
    let voice = Voice { speaking_share: 1.0, control_packets_per_second: 0.0, ..Voice::default() };
    let made = made(&voices(100.0, [100.0, 30.0], voice)).total;
    assert!((made.out_pps - 50.0 * 8.0 * 99.0).abs() < 0.5, "{made:?}");
}

#[test]
fn a_channel_wider_than_a_part_pays_for_links_by_cpu_alone() {
    let mut demand = voices(200.0, [200.0, 4.0], Voice::default());
    let alone = made(&demand);
    demand.people_per_part = 50.0;
    let parts = made(&demand);
    // Of the 4 × (0.385 × 50 + 0.615 × 2.5) packets a second, three quarters go up to the core, and
    // all of them to 3 more parts.
    let frames = 4.0 * 20.7875 * (0.75 + 3.0);
    assert!((number(&parts, "link_pps") - frames).abs() < 0.01);
    assert!(number(&alone, "link_pps").abs() < 0.01);
    let (one, four) = (&alone.total, &parts.total);
    assert!(near(four.out_pps, one.out_pps, 1e-9) && near(four.gbit_per_s, one.gbit_per_s, 1e-9));
    assert!(near(four.month_usd, one.month_usd, 1e-9) && near(four.nodes, one.nodes, 1e-9));
    let busy = one.cores_busy + frames * shipped().receive_ns / 1e9;
    assert!(near(four.cores_busy, busy, 1e-9), "{} of {busy}", four.cores_busy);
    // No more parts than workers.
    demand.node.cores = 3.0;
    assert!((number(&made(&demand), "parts") - 2.0).abs() < 0.01);
}

#[test]
fn busy_cores_are_those_of_the_nodes_that_there_are() {
    let mut demand = Demand { users: 1e6, ..Demand::default() };
    let few = made(&demand);
    demand.node.people /= 10.0;
    let many = made(&demand);
    // The same packets on more cores: each core has fewer, which cost more each.
    assert_eq!(many.regions[0].binding, Wall::BlastRadius);
    assert!(many.total.nodes > 5.0 * few.total.nodes);
    assert!(near(number(&many, "cores_needed"), number(&few, "cores_needed"), 1e-9));
    let (few, many) = (few.total.cores_busy, many.total.cores_busy);
    assert!(many > 1.1 * few, "{many} of {few}");
}

/// Discord, September 2018: 2.6 million people in voice at once, 120 million packets a second and
/// 220 Gbit/s out: 46 packets a second and 85 kbit/s a person. Assumed: our default mix of channel
/// sizes (mostly 2 to 10 people, since a guild's channel is a group of friends); somebody who
/// takes part speaks 38.5 % of the time (ITU-T P.59); a client that sends nothing in pauses, as
/// theirs suppressed silence; 64 kbit/s, their default; no screens, which came a year later.
#[test]
fn discords_published_rates_are_reproduced() {
    let defaults = Demand::default();
    let demand = Demand {
        users: 26e6,
        voice: Voice { pause_packets_per_second: 0.0, ..defaults.voice.clone() },
        screen: Screen { sharers_share: 0.0, ..Screen::default() },
        ..defaults
    };
    let total = made(&demand).total;
    assert!((total.people - 2.6e6).abs() < 1.0);
    assert!(near(total.pps_per_person, 120e6 / 2.6e6, 0.2), "{}", total.pps_per_person);
    assert!(near(total.kbps_per_person, 220e6 / 2.6e6, 0.2), "{}", total.kbps_per_person);
}

/// LiveKit's published benchmark of a large audio room: 10 publishers, 3000 subscribers on 16
/// vCPU at 80 %; 305 packets and 7.3 kB a second in, 959,156 packets and 23 MB a second out.
/// Assumed: what the input rate says, 30.5 packets a second a publisher, which is DTX (a packet
/// in 400 ms in pauses, 50 a second else: speaking for 0.59 of the time); all ten are forwarded
/// to everybody; 24 bytes of payload (7.3 kB / 305), which is also what their output counts.
#[test]
fn livekits_published_audio_benchmark_is_reproduced() {
    let published_in = 305.0;
    let speaking_share = (published_in / 10.0 - 2.5) / 47.5;
    let voice = Voice {
        speaking_share,
        slots: 10.0,
        payload_bytes: 24.0,
        pause_payload_bytes: 24.0,
        overhead_bytes: 0.0,
        control_packets_per_second: 0.0,
        ..Voice::default()
    };
    let made = made(&voices(3010.0, [3010.0, 10.0], voice));
    assert!((made.regions[0].in_pps - published_in).abs() < 0.1, "{}", made.regions[0].in_pps);
    assert!(near(made.total.out_pps, 959_156.0, 0.2), "{}", made.total.out_pps);
    let megabytes = made.total.gbit_per_s * 1000.0 / 8.0;
    assert!(near(megabytes, 23.0, 0.2), "{megabytes}");
}

#[test]
fn every_phase_is_computed_and_grows() {
    let plans = Plans::make(&phases::all(), None).expect("the shipped figures");
    assert_eq!(plans.plans.len(), 5);
    let mut before = 0.0;
    for (number, plan) in plans.plans.iter().enumerate() {
        let total = &plan.total;
        plan.demand.check().expect("phases are in range");
        let expected = 10.0 * 10f64.powi(i32::try_from(number).expect("small"));
        assert!(near(total.people, expected, 1e-9), "{}: {}", plan.name, total.people);
        for region in &plan.regions {
            assert!(region.nodes >= region.nodes_needed + 1.0, "{}: no spare", region.name);
        }
        assert!(total.month_usd > before, "{} costs {}", plan.name, total.month_usd);
        before = total.month_usd;
    }
}

#[test]
fn every_formula_that_is_shown_gives_its_number() {
    let report = Report::parse(super::super::report::tests::SAMPLE).expect("the sample parses");
    let measured = Figures::of(&report, "sample", "uring");
    let mut steps = 0;
    for figures in [shipped(), measured] {
        for demand in demands() {
            let plan = plan(&demand, &figures);
            let regions = plan.regions.iter().flat_map(|region| &region.steps.steps);
            for step in regions.chain(&plan.total.steps.steps) {
                let value = evaluate(step);
                let error = (value - step.value).abs();
                assert!(error <= 1e-6 * step.value.abs().max(1e-3), "{value}: {step:?}");
                steps += 1;
            }
        }
    }
    assert!(steps > 500, "only {steps} steps");
}

/// What formulas use that no step before them computes: fields of the demand, figures of the
/// report, constants, and `workers` where the fewest that are enough are found by trying.
const GIVEN: &[&str] = &[
    "average_to_peak",
    "bitrate_kbps",
    "cache_bytes",
    "channel_people",
    "channel_speakers",
    "control_bytes",
    "control_packets_per_second",
    "core_month_usd",
    "egress_gb_usd",
    "fixed_month_usd",
    "headroom_share",
    "high_ns",
    "high_pps",
    "joins_per_second",
    "lossless_pps_per_core",
    "low_ns",
    "low_pps",
    "measured_ns",
    "month_s",
    "node_bytes",
    "node_cores",
    "node_gbit_per_s",
    "node_memory_gib",
    "node_month_usd",
    "node_people",
    "overhead_bytes",
    "packets_per_second",
    "pause_packets_per_second",
    "pause_payload_bytes",
    "payload_bytes",
    "people_per_part",
    "person_bytes",
    "receive_ns",
    "reference_fan_out",
    "region_share",
    "reserved_cores",
    "share_of_people",
    "sharers_share",
    "slots",
    "sound_kbps",
    "sound_packets_per_second",
    "spare_nodes_per_region",
    "speaking_share",
    "users",
    "video_payload_bytes",
    "viewers",
    "voice_share_at_peak",
    "workers",
];

#[test]
fn every_input_is_given_or_has_a_step_of_its_own() {
    for demand in demands() {
        let plan = made(&demand);
        let ledgers = plan.regions.iter().map(|region| &region.steps);
        for ledger in ledgers.chain([&plan.total.steps]) {
            for (place, step) in ledger.steps.iter().enumerate() {
                let inputs = step.inputs.iter().filter(|_| step.formula != "sum");
                for (input, value) in inputs {
                    let input: &str = input;
                    let before = ledger.steps[..place].iter().filter(|step| step.name == input);
                    let values: Vec<f64> = before.map(|step| step.value).collect();
                    let known = values.contains(value);
                    let given = values.is_empty() && GIVEN.contains(&input);
                    assert!(known || given, "{input} has no step before {step:?}");
                }
            }
        }
    }
}

#[test]
fn every_number_of_the_total_has_a_step() {
    for demand in demands() {
        let total = made(&demand).total;
        for (name, value) in [
            ("people", total.people),
            ("out_pps", total.out_pps),
            ("gbit_per_s", total.gbit_per_s),
            ("pps_per_person", total.pps_per_person),
            ("kbps_per_person", total.kbps_per_person),
            ("cores_busy", total.cores_busy),
            ("nodes", total.nodes),
            ("cores", total.cores),
            ("egress_month_gb", total.egress_month_gb),
            ("nodes_month_usd", total.nodes_month_usd),
            ("egress_month_usd", total.egress_month_usd),
            ("month_usd", total.month_usd),
        ] {
            let step = total.steps.steps.iter().find(|step| step.name == name);
            assert_eq!(step.map(|step| step.value), Some(value), "{name}");
        }
    }
}

#[test]
fn more_demand_never_needs_less() {
    let changes: [fn(&mut Demand, f64); 7] = [
        |demand, factor| demand.users *= factor,
        |demand, factor| demand.screen.viewers *= factor,
        |demand, factor| demand.screen.sharers_share = (0.01 * factor).min(1.0),
        |demand, factor| demand.voice.speaking_share = (0.01 * factor).min(1.0),
        |demand, factor| demand.headroom_share = 0.9 - 0.9 / factor,
        |demand, factor| demand.screen.bitrate_kbps *= factor,
        |demand, factor| demand.node.people /= factor,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut before: Option<Plan> = None;
        for factor in [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0] {
            let mut demand = Demand::default();
            change(&mut demand, factor);
            let after = made(&demand);
            if let Some(before) = &before {
                let (old, new) = (&before.total, &after.total);
                for (what, old, new) in [
                    ("packets", old.out_pps, new.out_pps),
                    ("bits", old.gbit_per_s, new.gbit_per_s),
                    ("nodes", old.nodes, new.nodes),
                    ("money", old.month_usd, new.month_usd),
                ] {
                    assert!(new >= old * 0.999_999, "change {number} × {factor}: {what} fell");
                }
            }
            before = Some(after);
        }
    }
}

#[test]
fn the_wall_that_binds_is_the_one_that_was_lowered() {
    let base = Demand { users: 500_000.0, ..Demand::default() };
    let roomy = |mut demand: Demand| {
        demand.node.gbit_per_s = 1000.0;
        demand.node.people = 1e6;
        demand.node.memory_gib = 10_000.0;
        demand.node.cores = 1024.0;
        demand
    };
    type Lower = fn(&mut Demand);
    let cases: [(Wall, Lower); 4] = [
        (Wall::Cpu, |demand| demand.node.cores = 2.0),
        (Wall::Egress, |demand| demand.node.gbit_per_s = 0.1),
        (Wall::BlastRadius, |demand| demand.node.people = 10.0),
        (Wall::Memory, |demand| demand.node.memory_gib = 0.25),
    ];
    for (wall, lower) in cases {
        let mut demand = roomy(base.clone());
        lower(&mut demand);
        let region = &made(&demand).regions[0];
        assert_eq!(region.binding, wall, "{:?}", region.needs);
        assert!(region.nodes_needed > 1.0);
    }
}

#[test]
fn the_others_hold_a_dead_nodes_people_within_headroom() {
    for users in [50.0, 5000.0, 77_777.0, 1e6] {
        for headroom_share in [0.0, 0.3, 0.6] {
            let demand = Demand { users, headroom_share, ..Demand::default() };
            let region = &made(&demand).regions[0];
            let alive = region.nodes - 1.0;
            let free = 1.0 - headroom_share;
            let node = &demand.node;
            // The same people on the nodes that are left.
            let left = Demand { spare_nodes_per_region: 0.0, ..demand.clone() };
            let left = &made(&left).regions[0];
            assert!(alive >= 1.0 && near(left.nodes, alive, 1e-9));
            let workers = alive * (node.cores - node.reserved_cores);
            assert!(left.cores_busy <= workers * free + 1e-6, "{users} {headroom_share}");
            assert!(region.gbit_per_s <= alive * node.gbit_per_s * free + 1e-6);
            assert!(region.people <= alive * node.people + 1e-6);
        }
    }
}

#[test]
fn prices_add_up() {
    let mut demand = Demand::default();
    demand.prices.fixed_month_usd = 123.0;
    let made = made(&demand);
    let (total, prices) = (&made.total, &demand.prices);
    assert!(near(
        total.nodes_month_usd,
        total.nodes * (prices.node_month_usd + 8.0 * prices.core_month_usd),
        1e-9
    ));
    assert!(near(total.egress_month_usd, total.egress_month_gb * prices.egress_gb_usd, 1e-9));
    let sum = total.nodes_month_usd + total.egress_month_usd + 123.0;
    assert!(near(total.month_usd, sum, 1e-9));
}

#[test]
fn the_example_file_holds_the_defaults_and_an_empty_one_too() {
    assert_eq!(Demand::parse(demand::EXAMPLE, false).expect("it parses"), Demand::default());
    assert_eq!(Demand::parse("", false).expect("it parses"), Demand::default());
    assert_eq!(Demand::parse("{}", true).expect("it parses"), Demand::default());
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let json = text.starts_with('{');
    let error = Demand::parse(text, json).expect_err("a demand that is wrong").to_string();
    for part in expected {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn what_is_wrong_in_a_file_is_named() {
    check("usres = 5", &["usres", "expected one of", "`users`", "hype plan --example"]);
    check("[voice]\nslot = 5", &["slot", "`slots`", "line 2", "hype plan --example"]);
    check("{\"prices\": {\"core_usd\": 5}}", &["core_usd", "`core_month_usd`", "--example"]);
    check("users = \"many\"", &["users", "hype plan --example"]);
    check("headroom_share = 1.5", &["headroom_share is 1.5", "0 to 0.9"]);
    check("users = nan", &["users is NaN"]);
    check("spare_nodes_per_region = 0.5", &["spare_nodes_per_region", "whole number"]);
    check("[node]\nreserved_cores = 8", &["node.reserved_cores", "below node.cores (8)"]);
    check("[node]\nio = \"dpdk\"", &["node.io", "\"uring\", \"socket\" or \"xdp\""]);
    check("regions = []", &["share of all regions", "add up to 1", "0.000"]);
    check("[[regions]]\nname = \"a\"\nshare = 0.5", &["regions", "add up to 1", "0.500"]);
    check(
        "[[channels]]\npeople = 4\nshare_of_people = 1\nspeakers = 5",
        &["channels[0].speakers is 5", "0 to 4"],
    );
    check("budget_month_usd = [5, 1]", &["budget_month_usd", "the lower one first"]);
}

#[test]
fn regions_split_the_people() {
    let region = |name: &str, share| Region { name: name.into(), share };
    let demand =
        Demand { regions: vec![region("a", 0.75), region("b", 0.25)], ..Demand::default() };
    let people: Vec<f64> = made(&demand).regions.iter().map(|region| region.people).collect();
    assert_eq!(people, [750.0, 250.0]);
}

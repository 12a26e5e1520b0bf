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
fn a_channel_wider_than_a_part_pays_for_links() {
    let mut demand = voices(200.0, [200.0, 4.0], Voice::default());
    let alone = made(&demand).total;
    demand.people_per_part = 50.0;
    let parts = made(&demand).total;
    // Each of the 4 × (0.385 × 50 + 0.615 × 2.5) packets a second travels to 3 more parts.
    assert!((parts.out_pps - alone.out_pps - 4.0 * 20.7875 * 3.0).abs() < 0.01);
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
        for demand in phases::all() {
            for region in plan(&demand, &figures).regions {
                for step in &region.steps.steps {
                    let value = evaluate(step);
                    let error = (value - step.value).abs();
                    assert!(error <= 1e-6 * step.value.abs().max(1e-3), "{value}: {step:?}");
                    steps += 1;
                }
            }
        }
    }
    assert!(steps > 500, "only {steps} steps");
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
            assert!(alive >= 1.0);
            let workers = alive * (node.cores - node.reserved_cores);
            assert!(region.cores_busy <= workers * free + 1e-6, "{users} {headroom_share}");
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

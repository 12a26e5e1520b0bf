//! What a packet and a person cost on one machine, taken from a report of `hype bench report`.
//! What the report lacks is assumed, and said to be.

use serde::Serialize;

use super::curve::{Curve, Point};
use super::ledger::short;
use crate::report::result::{Group, Measured, Outcome, Report};

/// The report that this release is planned with where no other is given.
const SHIPPED: &str = include_str!("../../figures.json");
/// Copies of each received packet in the runs of [`Group::Rate`]: rooms of 50.
const REFERENCE_FAN_OUT: f64 = 49.0;

/// Assumed where nothing is measured, each on the safe side of what its comment names.
mod assumed {
    /// A receive call, an authenticated opening and a wake-up of the worker, nanoseconds.
    pub const RECEIVE_NS: f64 = 3000.0;
    /// Per packet by `sendmmsg` on loopback, nanoseconds.
    pub const VOICE_NS: f64 = 5000.0;
    /// The bar for a connected voice peer.
    pub const PERSON_BYTES: f64 = 16.0 * 1024.0;
    /// A node without anybody.
    pub const NODE_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
}

/// Figures of one back end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Where they are from.
    pub source: String,
    /// What is assumed or replaced; people must see it.
    pub notes: Vec<String>,
    /// Back end whose voice figures these are.
    pub io: String,
    /// Where its packets went when they were measured: `loopback`, `veth` or `ifb`.
    pub sink: String,
    /// Cost of a forwarded voice packet.
    pub voice: Curve,
    /// Copies made of a received packet in the runs that gave `voice`.
    pub reference_fan_out: f64,
    /// What receiving a packet costs, nanoseconds, where it is copied less often than that.
    pub receive_ns: f64,
    /// Cost of a forwarded video packet.
    pub video: Curve,
    /// Packets a second of voice that one core forwarded without loss; none if not measured.
    pub lossless_pps_per_core: Option<f64>,
    /// Memory of a connected person.
    pub person_bytes: f64,
    /// Memory of a node without people.
    pub node_bytes: f64,
    /// People a second who can join (again), by one control plane; none if not measured.
    pub joins_per_second: Option<f64>,
}

/// A measured voice run.
struct Voice {
    sink: String,
    fan_out: f64,
    point: Point,
}

impl Figures {
    /// The figures that this release ships with, for a back end.
    ///
    /// # Errors
    /// Never but for a broken build.
    pub fn shipped(io: &str) -> anyhow::Result<Self> {
        let report = Report::parse(SHIPPED)?;
        Ok(Self::of(&report, "figures shipped with this release", io))
    }

    /// Takes the figures of a back end from a report.
    pub fn of(report: &Report, source: &str, io: &str) -> Self {
        let mut notes: Vec<String> = report.note.clone().into_iter().collect();
        let (io, voice) = voice_runs(report, io, &mut notes);
        let (sink, curve) = curve_of(&voice, &mut notes);
        let receive_ns = receive_ns(&voice, &sink, &curve).unwrap_or_else(|| {
            notes.push(format!(
                "no run with small rooms: receiving a packet is assumed to cost {} ns",
                assumed::RECEIVE_NS
            ));
            assumed::RECEIVE_NS
        });
        let video = video_curve(report, &io).unwrap_or_else(|| {
            notes.push(
                "no video run: a video packet is assumed to cost what a voice packet does".into(),
            );
            curve.clone()
        });
        let mut number = |group, path: &str, otherwise: f64, what: &str| {
            median(results(report, group).filter_map(|result| result.number(path)).collect())
                .unwrap_or_else(|| {
                    let bytes = short(otherwise);
                    notes.push(format!("not measured: {what} is assumed to be {bytes} bytes"));
                    otherwise
                })
        };
        let person_bytes = number(
            Group::Idle,
            "rss_bytes_per_peer",
            assumed::PERSON_BYTES,
            "the memory of a connected person",
        );
        let node_bytes = number(
            Group::Idle,
            "rss_empty_bytes",
            assumed::NODE_BYTES,
            "the memory of an empty node",
        );
        let lossless = results(report, Group::Sweep)
            .filter(|result| result.text("io").as_deref() == Some(io.as_str()))
            .filter_map(|result| Some(result.number("highest_lossless_pps")? / workers(&result)));
        let lossless_pps_per_core = median(lossless.collect()).filter(|&rate| rate > 0.0);
        let joins = results(report, Group::Join).filter_map(|r| r.number("joins_per_second"));
        Self {
            source: source.into(),
            io,
            sink,
            voice: curve,
            reference_fan_out: REFERENCE_FAN_OUT,
            receive_ns,
            video,
            lossless_pps_per_core,
            person_bytes,
            node_bytes,
            joins_per_second: median(joins.collect()).filter(|&rate| rate > 0.0),
            notes,
        }
    }
}

fn results(report: &Report, group: Group) -> impl Iterator<Item = Measured> + '_ {
    let measured = report
        .runs
        .iter()
        .filter(move |run| run.group == group && run.outcome == Outcome::Measured);
    measured.map(|run| run.result.clone())
}

fn workers(result: &Measured) -> f64 {
    result.number("workers").unwrap_or(1.0).max(1.0)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Runs with one worker by the back end that was asked for, or by the next best one.
fn voice_runs(report: &Report, io: &str, notes: &mut Vec<String>) -> (String, Vec<Voice>) {
    for candidate in [io, "uring", "socket", "floor"] {
        let runs: Vec<Voice> = report
            .runs
            .iter()
            .filter(|run| matches!(run.group, Group::Rate | Group::RoomSize))
            .flat_map(|run| run.halves())
            .filter(|half| half.text("io").as_deref() == Some(candidate))
            .filter_map(|half| voice_run(&half))
            .collect();
        if !runs.is_empty() {
            if candidate != io {
                notes.push(format!("the report has no run by {io}: {candidate} is taken instead"));
            }
            return (candidate.into(), runs);
        }
    }
    (io.into(), Vec::new())
}

fn voice_run(half: &Measured) -> Option<Voice> {
    let people = half.number("listeners")?;
    if workers(half) > 1.0 || people < 2.0 {
        return None;
    }
    Some(Voice {
        sink: half.text("sink").unwrap_or_else(|| "loopback".into()),
        fan_out: people - 1.0,
        point: Point {
            pps_per_core: half.number("forwarded_pps")?,
            ns_per_packet: half.number("cpu_ns_per_forwarded_packet")?,
        },
    })
}

/// The curve of the sink that was measured at most rates; of equals, the one closest to a NIC.
fn curve_of(voice: &[Voice], notes: &mut Vec<String>) -> (String, Curve) {
    let curve = |sink: &str| {
        let points = voice.iter().filter(|run| run.sink == sink && run.fan_out >= 20.0);
        Curve::new(points.map(|run| run.point).collect())
    };
    let curves = ["loopback", "veth", "ifb"].into_iter().filter_map(|s| Some((s, curve(s)?)));
    if let Some((sink, curve)) = curves.max_by_key(|(_, curve)| curve.points().len()) {
        return (sink.into(), curve);
    }
    notes.push(format!(
        "no run with rooms of 20 or more: a voice packet is assumed to cost {} ns",
        assumed::VOICE_NS
    ));
    let point = Point { pps_per_core: 1.0, ns_per_packet: assumed::VOICE_NS };
    ("none".into(), Curve::new(vec![point]).expect("one positive point"))
}

/// What a received packet costs: small rooms copy it less often, so their packets bear more of it.
/// Least squares of `cost - voice(rate) = receive * (1 / fan_out - 1 / reference)`.
fn receive_ns(voice: &[Voice], sink: &str, curve: &Curve) -> Option<f64> {
    let (mut products, mut squares) = (0.0, 0.0);
    for run in voice.iter().filter(|run| run.sink == sink && run.fan_out < 20.0) {
        let share = 1.0 / run.fan_out - 1.0 / REFERENCE_FAN_OUT;
        products += share * (run.point.ns_per_packet - curve.cost(run.point.pps_per_core).ns);
        squares += share * share;
    }
    (squares > 0.0).then(|| (products / squares).max(0.0))
}

fn video_curve(report: &Report, io: &str) -> Option<Curve> {
    let of = |io: &str| {
        let points = report
            .runs
            .iter()
            .filter(|run| run.group == Group::Video)
            .flat_map(|run| run.halves())
            .filter(|half| half.text("io").as_deref() == Some(io) && workers(half) <= 1.0)
            .filter_map(|half| {
                Some(Point {
                    pps_per_core: half.number("forwarded_pps")?,
                    ns_per_packet: half.number("cpu_ns_per_forwarded_packet")?,
                })
            });
        Curve::new(points.collect())
    };
    of(io).or_else(|| of("uring"))
}

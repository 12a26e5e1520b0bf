//! What a packet and a person cost on one machine, taken from a report of `hype bench report`.
//! What the report lacks is assumed, and said to be.

use serde::Serialize;

use super::curve::{Curve, Point};
use super::ledger::short;
use crate::report::result::{Group, Measured, Outcome, Report, Run};

/// The report that this release is planned with where no other is given.
const SHIPPED: &str = include_str!("../../figures.json");

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
    group: Group,
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
        let reference_fan_out =
            median(voice.iter().filter(|run| run.wide(&voice)).map(|run| run.fan_out).collect())
                .unwrap_or(50.0);
        let receive_ns =
            receive_ns(&voice, &sink, &curve, reference_fan_out).unwrap_or_else(|| {
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
        let mut number = |paths: &[&str], otherwise: f64, what: &str| {
            let of = |result: Measured| paths.iter().find_map(|path| result.number(path));
            median(results(report, Group::Idle).filter_map(of).collect()).unwrap_or_else(|| {
                let bytes = short(otherwise);
                notes.push(format!("not measured: {what} is assumed to be {bytes} bytes"));
                otherwise
            })
        };
        // The node's own memory is counted apart.
        let person_bytes = number(
            &["added_bytes_per_peer", "rss_bytes_per_peer"],
            assumed::PERSON_BYTES,
            "the memory of a connected person",
        );
        let node_bytes =
            number(&["rss_empty_bytes"], assumed::NODE_BYTES, "the memory of an empty node");
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
            reference_fan_out,
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

impl Voice {
    /// Whether a run tells of the rate alone. Rooms of other sizes differ by more than that, so
    /// they stand in only where no run was made for it.
    fn wide(&self, all: &[Self]) -> bool {
        let for_rate = |run: &Self| run.group != Group::RoomSize && run.fan_out >= 20.0;
        for_rate(self) || (self.fan_out >= 20.0 && !all.iter().any(for_rate))
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

/// Both halves of a comparison; of a sweep, the rates that it kept up with.
fn points(run: &Run) -> Vec<Measured> {
    if run.group != Group::Sweep || run.outcome != Outcome::Measured {
        return run.halves();
    }
    let mut steps = run.result.list("sweep");
    steps.retain(|step| step.number("loss_ratio") == Some(0.0));
    for step in &mut steps {
        for shape in ["io", "sink", "listeners", "workers"] {
            if let (Some(value), Some(step)) = (run.result.0.get(shape), step.0.as_object_mut()) {
                step.insert(shape.into(), value.clone());
            }
        }
    }
    steps
}

/// Runs with one worker by the back end that was asked for, or by the next best one.
fn voice_runs(report: &Report, io: &str, notes: &mut Vec<String>) -> (String, Vec<Voice>) {
    for candidate in [io, "uring", "socket", "floor"] {
        let runs: Vec<Voice> = report
            .runs
            .iter()
            .filter(|run| matches!(run.group, Group::Rate | Group::RoomSize | Group::Sweep))
            .flat_map(|run| points(run).into_iter().map(|half| (run.group, half)))
            .filter(|(_, half)| half.text("io").as_deref() == Some(candidate))
            .filter_map(|(group, half)| voice_run(group, &half))
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

fn voice_run(group: Group, half: &Measured) -> Option<Voice> {
    let fan_out = half.number("listeners")?;
    if workers(half) > 1.0 || fan_out < 1.0 {
        return None;
    }
    Some(Voice {
        group,
        sink: half.text("sink").unwrap_or_else(|| "loopback".into()),
        fan_out,
        point: Point {
            pps_per_core: half.number("forwarded_pps")?,
            ns_per_packet: half.number("cpu_ns_per_forwarded_packet")?,
        },
    })
}

/// The curve of the sink that was measured at most rates; of equals, the one closest to a NIC.
fn curve_of(voice: &[Voice], notes: &mut Vec<String>) -> (String, Curve) {
    let curve = |sink: &str| {
        let points = voice.iter().filter(|run| run.sink == sink && run.wide(voice));
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
fn receive_ns(voice: &[Voice], sink: &str, curve: &Curve, reference: f64) -> Option<f64> {
    let (mut products, mut squares) = (0.0, 0.0);
    for run in voice.iter().filter(|run| run.sink == sink && run.fan_out < 20.0) {
        let share = 1.0 / run.fan_out - 1.0 / reference;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::SAMPLE;

    fn of(io: &str) -> Figures {
        Figures::of(&Report::parse(SAMPLE).expect("the sample parses"), "sample", io)
    }

    #[test]
    fn figures_are_those_of_the_back_end_that_was_asked_for() {
        // Back end → back end, sink and the cost at 75,000 packets a second.
        for (io, found, sink, ns) in [
            ("uring", "uring", "loopback", 2000.0),
            ("socket", "socket", "loopback", 3800.0),
            ("xdp", "xdp", "veth", 1100.0),
        ] {
            let figures = of(io);
            assert_eq!((figures.io.as_str(), figures.sink.as_str()), (found, sink));
            assert!((figures.voice.cost(75_000.0).ns - ns).abs() < 1.0, "{:?}", figures.voice);
            assert!((figures.reference_fan_out - 50.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn everything_that_the_report_has_is_taken() {
        let figures = of("uring");
        // Sweep steps without loss lengthen the curve; those with loss do not count.
        let last = figures.voice.points().last().expect("points").pps_per_core;
        assert!((last - 231_000.0).abs() < 1.0, "{last}");
        assert_eq!(figures.lossless_pps_per_core, Some(231_000.0));
        assert_eq!(figures.joins_per_second, Some(310.0));
        assert!((figures.person_bytes - 13_900.0).abs() < 0.5, "what each adds");
        assert!(figures.receive_ns > 1000.0, "small rooms cost more: {}", figures.receive_ns);
        assert_eq!(figures.notes.len(), 1, "{:?}", figures.notes);
    }

    #[test]
    fn what_a_report_lacks_is_assumed_and_said() {
        let empty = Report { v: 1, ..Report::default() };
        let figures = Figures::of(&empty, "nothing", "uring");
        assert_eq!(figures.notes.len(), 5, "{:?}", figures.notes);
        assert!((figures.person_bytes - assumed::PERSON_BYTES).abs() < 0.5);
        let mut failed = Report::parse(SAMPLE).expect("the sample parses");
        for run in &mut failed.runs {
            run.outcome = Outcome::Failed;
        }
        assert_eq!(Figures::of(&failed, "nothing", "uring").voice, figures.voice);
    }

    #[test]
    fn another_back_end_stands_in_and_is_named() {
        let mut report = Report::parse(SAMPLE).expect("the sample parses");
        report.runs.retain(|run| run.id.contains("socket"));
        let figures = Figures::of(&report, "sample", "xdp");
        assert_eq!(figures.io, "socket");
        assert!(figures.notes.iter().any(|note| note.contains("no run by xdp: socket")));
    }
}

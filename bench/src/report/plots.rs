//! From runs to plots: which values of which runs go where. A plot without values has none, and
//! the page says so.

use super::result::{Group, Measured, Outcome, Report, Run};
use crate::plan::short;
use crate::plot::bars::Bars;
use crate::plot::lines::{Lines, Series};
use crate::plot::scale::Kind;
use crate::plot::spread::Spread;

/// A plot for the page.
pub struct Plot {
    /// Its heading.
    pub title: &'static str,
    /// What it shows.
    pub text: &'static str,
    /// None without any value.
    pub html: Option<String>,
    /// The commands that made its values.
    pub commands: Vec<String>,
}

const NS: &str = "CPU ns a forwarded packet";

fn of(report: &Report, groups: &[Group]) -> Vec<Run> {
    let in_groups = |run: &&Run| groups.contains(&run.group);
    report.runs.iter().filter(in_groups).cloned().collect()
}

/// The commands of those runs that have a result; of all, where none has one.
fn commands(runs: &[Run]) -> Vec<String> {
    let measured = runs.iter().filter(|run| run.outcome == Outcome::Measured);
    let mut commands: Vec<String> = measured.map(|run| run.command.clone()).collect();
    if commands.is_empty() {
        commands = runs.iter().map(|run| run.command.clone()).collect();
    }
    commands
}

/// Back end and sink, such as `xdp, veth`.
fn back_end(half: &Measured) -> Option<String> {
    let io = half.text("io")?;
    let sink = half.text("sink").unwrap_or_else(|| "loopback".into());
    Some(if sink == "loopback" { io } else { format!("{io}, {sink}") })
}

/// One line for each back end; of several results at one place, the median.
fn series(runs: &[Run], x: impl Fn(&Measured) -> Option<f64>) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for half in runs.iter().flat_map(Run::halves) {
        let (Some(name), Some(x)) = (back_end(&half), x(&half)) else { continue };
        let Some(y) = half.number("cpu_ns_per_forwarded_packet") else { continue };
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push((x, y)),
            None => series.push(Series { name, points: vec![(x, y)] }),
        }
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let groups = series.points.chunk_by(|a, b| b.0 <= a.0 * 1.03);
        series.points = groups.map(|group| group[group.len() / 2]).collect();
    }
    series
}

fn lines(
    (title, text): (&'static str, &'static str),
    x: (&str, Kind),
    runs: &[Run],
    series: Vec<Series>,
) -> Plot {
    let lines = Lines {
        x: (x.0.into(), x.1),
        y: (NS.into(), Kind::Linear),
        series,
        spans: Vec::new(),
        names: Vec::new(),
    };
    let html = (!lines.is_empty()).then(|| lines.html(title));
    Plot { title, text, html, commands: commands(runs) }
}

/// Cost against the rate.
pub fn cost_by_rate(report: &Report) -> Plot {
    let runs = of(report, &[Group::Rate]);
    let text = "Rooms of 1 to 30 speakers and 50 listeners, 160 bytes, one worker. All threads of the node \
                count, receiving included. Lower is better.";
    let series = series(&runs, |half| half.number("forwarded_pps"));
    lines(("Against the rate", text), ("forwarded packets a second", Kind::Log), &runs, series)
}

/// Cost against the size of rooms.
pub fn cost_by_room(report: &Report) -> Plot {
    let runs = of(report, &[Group::RoomSize]);
    let text = "Two speakers a room. A packet is received once and sent to every listener: in small \
                rooms each copy bears more of the receiving.";
    let series = series(&runs, |half| half.number("listeners"));
    lines(("Against the size of rooms", text), ("listeners in a room", Kind::Log), &runs, series)
}

/// Cost against workers.
pub fn cost_by_workers(report: &Report) -> Plot {
    let runs = of(report, &[Group::Workers]);
    let text = "The same rooms on more cores. A flat line means that workers do not disturb each \
                other.";
    let series = series(&runs, |half| half.number("workers"));
    let title = "Against workers";
    let workers = series.iter().flat_map(|series| series.points.iter().map(|(x, _)| *x));
    let mut names: Vec<(f64, String)> = workers.map(|x| (x, x.to_string())).collect();
    names.dedup();
    let lines = Lines {
        x: ("workers".into(), Kind::Linear),
        y: (NS.into(), Kind::Linear),
        series,
        spans: Vec::new(),
        names,
    };
    let html = (!lines.is_empty()).then(|| lines.html(title));
    Plot { title, text, html, commands: commands(&runs) }
}

/// What a run is called in a plot.
fn label(run: &Run, half: &Measured) -> String {
    let name = back_end(half).unwrap_or_else(|| run.id.clone());
    labelled(&name, run, half)
}

/// The same, with a name for what forwarded.
fn labelled(name: &str, run: &Run, half: &Measured) -> String {
    let number = |path| half.number(path).map(|value| value.to_string());
    let shape = match (run.group, number("speakers"), number("listeners")) {
        (Group::Video, _, Some(viewers)) => format!("video for {viewers}"),
        (_, Some(speakers), Some(listeners)) => format!("{speakers} × {listeners}"),
        _ => run.id.clone(),
    };
    let mut label = format!("{name}: {shape}");
    if let Some(rooms) = half.number("rooms").filter(|rooms| *rooms > 1.0) {
        label.push_str(&format!(" in {rooms} rooms"));
    }
    if half.text("payload").as_deref() == Some("vbr") {
        label.push_str(", 60–200 B");
    }
    if let Some(workers) = half.number("workers").filter(|workers| *workers > 1.0) {
        label.push_str(&format!(", {workers} workers"));
    }
    label
}

/// Ratios of `--against`.
pub fn ratio(report: &Report) -> Plot {
    let groups = [Group::Rate, Group::RoomSize, Group::Vbr, Group::Video];
    let runs: Vec<Run> = of(report, &groups)
        .into_iter()
        .filter(|run| run.outcome == Outcome::Measured && run.result.number("ratio").is_some())
        .collect();
    let rows = runs.iter().map(|run| {
        let other = run.halves().get(1).and_then(|half| half.text("io"));
        let other = other.unwrap_or_else(|| "the other".into());
        (format!("{} / {other}", label(run, &run.result)), vec![run.result.number("ratio")])
    });
    let bars = Bars {
        unit: "ratio of CPU a packet, median of interleaved pairs".into(),
        segments: vec!["ratio".into()],
        stacked: false,
        rows: rows.collect(),
        reference: Some((1.0, "1: as cheap as the other".into())),
    };
    Plot {
        title: "Ratio to the floor",
        text: "Speakers × listeners of a room, by a back end / against another in the same run. The \
               floor sends the same copies without engine and encryption.",
        html: (!bars.is_empty()).then(|| bars.html("ratio to the floor")),
        commands: commands(&runs),
    }
}

/// Latency by percentiles.
pub fn latency(report: &Report) -> Plot {
    let groups = [Group::Rate, Group::RoomSize, Group::Workers, Group::Vbr, Group::Video];
    let runs: Vec<Run> = of(report, &groups)
        .into_iter()
        .filter(|run| run.outcome == Outcome::Measured)
        .filter(|run| run.result.number("latency_us.p50").is_some())
        .collect();
    let percentiles = ["p50", "p99", "p999", "max"];
    let rows = runs.iter().map(|run| {
        let at = |name| run.result.number(&format!("latency_us.{name}"));
        (label(run, &run.result), percentiles.map(at).into())
    });
    let spread = Spread {
        unit: "µs from send call to arrival at the socket".into(),
        percentiles: ["median", "99 %", "99.9 %", "worst"].map(String::from).into(),
        rows: rows.collect(),
    };
    Plot {
        title: "Latency",
        text: "From a speaker's send call through the node to the listener's socket, where the \
               kernel notes the time; generator and receivers run on the same machine.",
        html: (!spread.is_empty()).then(|| spread.html("latency by percentiles")),
        commands: commands(&runs),
    }
}

/// Loss against the offered rate.
pub fn sweep(report: &Report) -> Plot {
    let runs = of(report, &[Group::Sweep]);
    let mut series = Vec::new();
    for run in runs.iter().filter(|run| run.outcome == Outcome::Measured) {
        let mut name = back_end(&run.result).unwrap_or_else(|| run.id.clone());
        if let Some(highest) = run.result.number("highest_lossless_pps") {
            name.push_str(&format!(" (no loss up to {}/s)", crate::plot::compact(highest)));
        }
        let points = run.result.list("sweep");
        let point = |step: &Measured| {
            Some((step.number("offered_pps")?, 100.0 * step.number("loss_ratio")?))
        };
        let mut points: Vec<(f64, f64)> = points.iter().filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        series.push(Series { name, points });
    }
    let lines = Lines {
        x: ("packets a second that should leave".into(), Kind::Linear),
        y: ("% lost".into(), Kind::Linear),
        series,
        spans: Vec::new(),
        names: Vec::new(),
    };
    Plot {
        title: "One core at its end",
        text: "The rate goes up until packets are lost.",
        html: (!lines.is_empty()).then(|| lines.html("loss against the rate")),
        commands: commands(&runs),
    }
}

/// Latency against the offered rate.
pub fn sweep_latency(report: &Report) -> Plot {
    let runs = of(report, &[Group::Sweep]);
    let mut series = Vec::new();
    for run in runs.iter().filter(|run| run.outcome == Outcome::Measured) {
        let name = back_end(&run.result).unwrap_or_else(|| run.id.clone());
        for (key, title) in [("p50", "median"), ("p99", "99 %")] {
            let steps = run.result.list("sweep");
            let point = |step: &Measured| {
                Some((step.number("offered_pps")?, step.number(&format!("latency_us.{key}"))?))
            };
            let mut points: Vec<(f64, f64)> = steps.iter().filter_map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            series.push(Series { name: format!("{name}, {title}"), points });
        }
    }
    let lines = Lines {
        x: ("packets a second that should leave".into(), Kind::Linear),
        y: ("µs from send call to arrival at the socket".into(), Kind::Log),
        series,
        spans: Vec::new(),
        names: Vec::new(),
    };
    Plot {
        title: "Latency up to the end",
        text: "The same runs: what the busier core costs in time.",
        html: (!lines.is_empty()).then(|| lines.html("latency against the rate")),
        commands: commands(&runs),
    }
}

/// The engine beside its bare seals.
pub fn engine(report: &Report) -> Plot {
    let runs = of(report, &[Group::Engine]);
    let rows = runs.iter().filter(|run| run.outcome == Outcome::Measured).map(|run| {
        let text = |path| run.result.text(path).unwrap_or_else(|| "?".into());
        let label = format!(
            "{} listeners, {} B, {}: {} allocations",
            text("listeners"),
            text("payload"),
            text("suite"),
            run.result.number("allocations_per_packet").map_or_else(|| "? ".into(), short)
        );
        let values = ["ns_per_packet", "seal_ns_per_packet"].map(|path| run.result.number(path));
        (label, values.into())
    });
    let bars = Bars {
        unit: "ns a forwarded packet".into(),
        segments: vec!["engine".into(), "bare seals".into()],
        stacked: false,
        rows: rows.collect(),
        reference: None,
    };
    Plot {
        title: "Engine beside bare seals",
        text: "The engine without any send, and the encryption that its work needs at least.",
        html: (!bars.is_empty()).then(|| bars.html("engine beside bare seals")),
        commands: commands(&runs),
    }
}

/// Cost of video: the node, the floor, which sends by segmentation offload as well, and plain
/// sendmmsg, which does not.
pub fn video(report: &Report) -> Plot {
    let runs = of(report, &[Group::Video]);
    let mut rows = Vec::new();
    for run in runs.iter().filter(|run| run.outcome == Outcome::Measured) {
        for half in run.halves() {
            let sends = half.number("packets_per_send");
            let sends = sends.map_or(String::new(), |sends| format!(", {sends:.1} packets a send"));
            let name = format!("{}{sends}", label(run, &half));
            rows.push((name, vec![half.number("cpu_ns_per_forwarded_packet")]));
        }
        if let Some(plain) = run.result.number("plain_cpu_ns") {
            rows.push((labelled("plain sendmmsg", run, &run.result), vec![Some(plain)]));
        }
    }
    let bars = Bars {
        unit: NS.into(),
        segments: vec!["cost".into()],
        stacked: false,
        rows,
        reference: None,
    };
    Plot {
        title: "Video",
        text: "Bursts of a frame. Packets of one size for one viewer leave by one call (UDP GSO), \
               those of the floor too; plain sendmmsg of 64 sends the same copies without engine, \
               encryption and GSO.",
        html: (!bars.is_empty()).then(|| bars.html("cost of a video packet")),
        commands: commands(&runs),
    }
}

/// Video by plain sendmmsg: the bar.
pub fn video_ratio(report: &Report) -> Plot {
    let runs: Vec<Run> = of(report, &[Group::Video])
        .into_iter()
        .filter(|run| run.outcome == Outcome::Measured)
        .filter(|run| run.result.number("ratio_to_plain").is_some())
        .collect();
    let rows =
        runs.iter().map(|run| (label(run, &run.result), vec![run.result.number("ratio_to_plain")]));
    let bars = Bars {
        unit: "ratio of CPU a packet, median of interleaved rounds".into(),
        segments: vec!["ratio".into()],
        stacked: false,
        rows: rows.collect(),
        reference: Some((0.6, "0.6: the bar".into())),
    };
    Plot {
        title: "Video by plain sendmmsg",
        text: "The node with engine, encryption and GSO, by plain sendmmsg of 64, which has none of \
               them, in the same run. Lower is better.",
        html: (!bars.is_empty()).then(|| bars.html("video by plain sendmmsg")),
        commands: commands(&runs),
    }
}

/// Memory of a person.
pub fn memory(report: &Report) -> Plot {
    let runs = of(report, &[Group::Idle]);
    let rows = runs.iter().filter(|run| run.outcome == Outcome::Measured).map(|run| {
        let people = run.result.text("people").unwrap_or_else(|| "?".into());
        let kib = |path| run.result.number(path).map(|bytes: f64| bytes / 1024.0);
        let values = ["rss_bytes_per_peer", "added_bytes_per_peer"].map(kib);
        (format!("{people} connected people, silent, after DTLS"), values.into())
    });
    let bars = Bars {
        unit: "KiB of resident memory a person".into(),
        segments: ["all of the node", "added by each"].map(String::from).into(),
        stacked: false,
        rows: rows.collect(),
        reference: Some((16.0, "16 KiB".into())),
    };
    Plot {
        title: "Memory of a person",
        text: "Resident memory of the node's process by the people connected to it.",
        html: (!bars.is_empty()).then(|| bars.html("memory of a person")),
        commands: commands(&runs),
    }
}

/// Times of joins.
pub fn joins(report: &Report) -> Plot {
    let runs = of(report, &[Group::Join]);
    let mut rows = Vec::new();
    for run in runs.iter().filter(|run| run.outcome == Outcome::Measured) {
        let rate = run.result.number("joins_per_second");
        let rate = rate.map_or(String::new(), |rate| format!(" ({rate:.0} joins/s)"));
        for (key, name) in [("join_ms", "answer"), ("first_packet_ms", "first packet heard")] {
            let at = |percentile| run.result.number(&format!("{key}.{percentile}"));
            rows.push((format!("{name}{rate}"), ["p50", "p99", "max"].map(at).into()));
        }
    }
    let spread = Spread {
        unit: "ms from the request".into(),
        percentiles: ["median", "99 %", "worst"].map(String::from).into(),
        rows,
    };
    Plot {
        title: "Joins",
        text: "Through the public API of a whole server (`hype up`), many at once.",
        html: (!spread.is_empty()).then(|| spread.html("times of joins")),
        commands: commands(&runs),
    }
}

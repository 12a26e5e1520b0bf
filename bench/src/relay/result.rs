//! What came of a relay benchmark, as a table and as JSON whose keys are stable. What could not be
//! measured is null, never zero.

use anyhow::ensure;
use clap::ValueEnum;
use serde::Serialize;

use super::media::{Payload, Traffic};
use super::subject::{Shape, Window};
use super::{Common, Io};
use crate::machine::Machine;
use crate::tally::percentile;

/// One subject's figures: medians over its windows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// What forwarded.
    pub subject: String,
    /// CPU time of all of its threads, and of the kernel's for it, by packet that listeners got.
    pub cpu_ns_per_forwarded_packet: Option<f64>,
    /// Packets that listeners got a second.
    pub forwarded_pps: Option<f64>,
    /// Packets that they should have got a second.
    pub expected_pps: Option<f64>,
    /// Datagrams of one send operation.
    pub packets_per_send: Option<f64>,
    /// Of all that should have come, 0–1.
    pub loss_ratio: Option<f64>,
    /// From just before the speaker's packet is sealed and sent to when the kernel had the copy for
    /// the listener's socket, by its own timestamps: how soon the generator reads it is not in it.
    pub latency_us: Option<Latency>,
    /// Resident memory of the whole process by connected person.
    pub rss_bytes_per_peer: Option<f64>,
    /// Packets that were not authentic, came twice, or were for nobody.
    pub bad_packets: Option<u64>,
}

/// Percentiles in microseconds over a sample of all packets, each the median over the windows.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Latency {
    p50: u32,
    p99: u32,
    p999: u32,
    max: u32,
}

impl Latency {
    fn new(windows: &[Window]) -> Option<Self> {
        let sorted = |window: &Window| {
            let mut all = window.latencies_us.clone();
            all.sort_unstable();
            all
        };
        let all: Vec<_> = windows.iter().map(sorted).filter(|all| !all.is_empty()).collect();
        let at = |share| {
            let mut values: Vec<_> = all.iter().map(|all| percentile(all, share)).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        Some(Self { p50: at(0.5)?, p99: at(0.99)?, p999: at(0.999)?, max: at(1.0)? })
    }
}

impl Figures {
    pub fn new(
        name: &str,
        windows: &[Window],
        packets_per_send: Option<f64>,
        people: usize,
    ) -> Self {
        let over = |pick: fn(&Window) -> f64| median(windows.iter().map(pick).collect());
        let sum = |pick: fn(&Window) -> Option<u64>| windows.iter().map(pick).sum::<Option<u64>>();
        let expected: u64 = windows.iter().map(|window| window.expected).sum();
        let rss = windows.last().map_or(0, |window| window.rss_bytes);
        Self {
            subject: name.to_owned(),
            cpu_ns_per_forwarded_packet: over(cost),
            forwarded_pps: over(|window| window.forwarded as f64 / window.seconds),
            expected_pps: over(|window| window.expected as f64 / window.seconds),
            packets_per_send,
            loss_ratio: sum(|window| window.lost).map(|lost| lost as f64 / expected.max(1) as f64),
            latency_us: Latency::new(windows),
            rss_bytes_per_peer: (rss > 0).then(|| rss as f64 / people as f64),
            bad_packets: sum(|window| window.bad),
        }
    }
}

/// Nanoseconds by forwarded packet.
fn cost(window: &Window) -> f64 {
    window.cpu_ns as f64 / window.forwarded.max(1) as f64
}

/// The middle one; none of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Cost by cost of windows that were taken next to each other.
pub fn ratios(ours: &[Window], theirs: &[Window]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| cost(ours) / cost(theirs)).collect()
}

/// Mean bytes of a packet that came.
pub fn length(windows: &[Window]) -> Option<f64> {
    let bytes: u64 = windows.iter().map(|window| window.bytes).sum::<Option<u64>>()?;
    let count: u64 = windows.iter().map(|window| window.forwarded).sum();
    (count > 0).then(|| bytes as f64 / count as f64)
}

/// A window in one line.
pub fn line(name: &str, window: &Window) -> String {
    let latency = Latency::new(std::slice::from_ref(window)).unwrap_or_default();
    format!(
        "{name}: {:.0} ns a packet, {:.0} of {:.0} packets/s, lost {}, bad {}, p50/p99 {}/{} us",
        cost(window),
        window.forwarded as f64 / window.seconds,
        window.expected as f64 / window.seconds,
        window.lost.map_or("?".into(), |lost| lost.to_string()),
        window.bad.map_or("?".into(), |bad| bad.to_string()),
        latency.p50,
        latency.p99,
    )
}

/// Two subjects.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The second.
    pub against: Figures,
    /// Cost of the first by that of the second, the median of pairs.
    pub ratio: Option<f64>,
}

/// One rate of a sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    speakers: usize,
    offered_pps: f64,
    forwarded_pps: f64,
    loss_ratio: Option<f64>,
    bad_packets: Option<u64>,
    cpu_ns_per_forwarded_packet: f64,
    latency_us: Option<Latency>,
}

impl Step {
    pub fn new(speakers: usize, window: &Window) -> Self {
        let lost = window.lost.map(|lost| lost as f64 / window.expected.max(1) as f64);
        Self {
            speakers,
            offered_pps: window.expected as f64 / window.seconds,
            forwarded_pps: window.forwarded as f64 / window.seconds,
            loss_ratio: lost,
            bad_packets: window.bad,
            cpu_ns_per_forwarded_packet: cost(window),
            latency_us: Latency::new(std::slice::from_ref(window)),
        }
    }

    /// Nothing lost, and no queue that grew.
    pub fn keeps_up(&self) -> bool {
        self.loss_ratio.is_none_or(|lost| lost == 0.0)
            && self.forwarded_pps >= self.offered_pps * 0.99
    }
}

/// The whole result.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    io: String,
    sink: String,
    speakers: u16,
    listeners: u16,
    rooms: u32,
    payload: String,
    seconds: u64,
    pairs: u16,
    slots: u8,
    workers: u16,
    parts: u16,
    suite: String,
    #[serde(flatten)]
    figures: Figures,
    #[serde(flatten)]
    pub comparison: Option<Comparison>,
    /// The floor by plain sendmmsg of 64; at most 1.1, else the run fails.
    pub floor_to_plain: Option<f64>,
    /// The first subject by plain sendmmsg of 64, which knows no GSO.
    pub ratio_to_plain: Option<f64>,
    /// Plain sendmmsg's cost.
    pub plain_cpu_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Vec<Step>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    highest_lossless_pps: Option<f64>,
    /// Whether a higher rate was tried and lost packets; else the highest is only what all people
    /// together could say.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_found: Option<bool>,
    machine: Machine,
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

impl Report {
    pub fn new(common: &Common, shape: &Shape, figures: Figures, machine: Machine) -> Self {
        let payload = match shape.traffic {
            Traffic::Voice(Payload::Bytes(bytes)) => bytes.to_string(),
            Traffic::Voice(Payload::Vbr) => "vbr".into(),
            Traffic::Video { frames, packets, bytes } => format!("{frames}x{packets}x{bytes}"),
        };
        Self {
            io: Io::name(common.io).to_owned(),
            sink: word(&common.sink),
            speakers: shape.speakers,
            listeners: shape.listeners,
            rooms: shape.rooms,
            payload,
            seconds: common.seconds,
            pairs: common.pairs,
            slots: shape.slots,
            workers: shape.workers,
            parts: shape.parts,
            suite: crate::suite::name(common.suite).to_owned(),
            figures,
            comparison: None,
            floor_to_plain: None,
            ratio_to_plain: None,
            plain_cpu_ns: None,
            sweep: None,
            highest_lossless_pps: None,
            limit_found: None,
            machine,
        }
    }

    pub fn set_sweep(&mut self, steps: Vec<Step>, good: usize) {
        let best = steps.iter().find(|step| step.speakers == good);
        self.highest_lossless_pps = best.map(|step| step.forwarded_pps);
        self.limit_found = Some(steps.iter().any(|step| step.speakers > good));
        self.sweep = Some(steps);
    }

    /// Fails on packets that must not be, and when nothing was forwarded.
    pub fn check(&self) -> anyhow::Result<()> {
        let steps = self.sweep.iter().flatten();
        let bad = steps.filter_map(|step| step.bad_packets).sum::<u64>();
        ensure!(bad == 0, "{}: {bad} packets were not what was sent", self.figures.subject);
        let both = [Some(&self.figures), self.comparison.as_ref().map(|both| &both.against)];
        for figures in both.into_iter().flatten() {
            let bad = figures.bad_packets.unwrap_or(0);
            ensure!(bad == 0, "{}: {bad} packets were not what was sent", figures.subject);
            ensure!(
                figures.forwarded_pps.is_some_and(|pps| pps > 0.0),
                "{} forwarded nothing, or nothing without loss",
                figures.subject
            );
        }
        Ok(())
    }

    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        println!(
            "{} speakers -> {} listeners, {} rooms, payload {}, {} on {}, {} workers",
            self.speakers,
            self.listeners,
            self.rooms,
            self.payload,
            self.suite,
            self.sink,
            self.workers
        );
        for step in self.sweep.iter().flatten() {
            let latency = step.latency_us.unwrap_or_default();
            println!(
                "{:>10.0} offered {:>10.0} forwarded  loss {:.5}  {:>6.0} ns  p50/p99 {}/{} us",
                step.offered_pps,
                step.forwarded_pps,
                step.loss_ratio.unwrap_or(f64::NAN),
                step.cpu_ns_per_forwarded_packet,
                latency.p50,
                latency.p99
            );
        }
        if let Some(best) = self.highest_lossless_pps {
            let limit = match self.limit_found {
                Some(false) => " (everybody spoke: more --rooms may find a higher one)",
                _ => "",
            };
            println!("highest rate without loss: {best:.0} packets/s{limit}; at 60 % of it:");
        }
        print_figures(&self.figures);
        if let Some(Comparison { against, ratio }) = &self.comparison {
            print_figures(against);
            println!("ratio                        {}", text(*ratio, 3));
        }
        if self.floor_to_plain.is_some() {
            println!("floor / plain sendmmsg       {}", text(self.floor_to_plain, 3));
            println!("node / plain sendmmsg        {}", text(self.ratio_to_plain, 3));
        }
        println!("{}", self.machine);
        Ok(())
    }
}

fn text(value: Option<f64>, digits: usize) -> String {
    value.map_or("unknown".into(), |value| format!("{value:.digits$}"))
}

fn print_figures(figures: &Figures) {
    println!("{}", figures.subject);
    println!("  CPU ns a forwarded packet  {}", text(figures.cpu_ns_per_forwarded_packet, 0));
    let (forwarded, expected) = (text(figures.forwarded_pps, 0), text(figures.expected_pps, 0));
    println!("  packets/s                  {forwarded} of {expected}");
    println!("  packets a send             {}", text(figures.packets_per_send, 2));
    println!("  loss                       {}", text(figures.loss_ratio, 6));
    if let Some(Latency { p50, p99, p999, max }) = figures.latency_us {
        println!("  latency p50/p99/p99.9/max  {p50} / {p99} / {p999} / {max} us");
    }
    println!("  RSS bytes a person         {}", text(figures.rss_bytes_per_peer, 0));
    println!("  bad packets                {}", text(figures.bad_packets.map(|bad| bad as f64), 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_are_of_neighbours() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        let window =
            |cpu_ns, forwarded| Window { cpu_ns, forwarded, seconds: 1.0, ..Window::default() };
        let (ours, theirs) = ([window(10, 1), window(90, 3)], [window(20, 2), window(20, 1)]);
        assert_eq!(ratios(&ours, &theirs), [1.0, 1.5]);
        let figures = Figures::new("x", &ours, None, 1);
        assert_eq!(figures.cpu_ns_per_forwarded_packet, Some(30.0));
        assert_eq!(figures.loss_ratio, None, "nobody received, so nobody knows");
    }
}

//! `hype bench engine`: the media engine alone, in this process, on one pinned core: no sockets and
//! no sends. Interleaved in short slices with the bare seals that the same work needs, so that
//! both see the same machine. Times are the thread's own CPU time; the engine's timers run at
//! their real pace and are part of it.

mod bare;
mod ring;
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hype_protocol::secret::SrtpProfile;
use perf_event::events::Hardware;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::machine::Machine;
use crate::suite;
use bare::{Bare, By};
use stage::{BATCH, Stage};

/// How long engine, then bare seals, run before the other one's turn.
const SLICE: Duration = Duration::from_millis(20);
/// Pairs of slices before any that counts: caches fill, the core's clock rises.
const WARM_UP: usize = 5;

/// What to load the engine with.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// People who only listen, 1–999.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=999))]
    pub listeners: u16,
    /// People who speak, 1–8; each of them hears the others.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub speakers: u16,
    /// Bytes of Opus in a packet, 3–1300.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u16).range(3..=1300))]
    pub payload: u16,
    /// `gcm`, `gcm256` or `cm`.
    #[arg(long, default_value = "gcm", value_parser = suite::parse)]
    pub suite: SrtpProfile,
    /// How long to measure, in seconds of CPU time, 0.1–600.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
    /// One JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0.1 to 600".into()),
    }
}

/// What came of it. The keys of the JSON form are stable.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// People who only listen.
    pub listeners: u16,
    /// People who speak.
    pub speakers: u16,
    /// Bytes of Opus in a packet.
    pub payload: u16,
    /// `gcm`, `gcm256` or `cm`.
    pub suite: &'static str,
    /// CPU time of all slices that count, in seconds.
    pub seconds: f64,
    /// Pairs of slices that count.
    pub pairs: usize,
    /// Copies that the engine made in them.
    pub packets: u64,
    /// The engine's CPU time for one copy, all that belongs to it included: the median slice.
    pub ns_per_packet: f64,
    /// The CPU time for one copy of bare seals by the library: the median slice.
    pub seal_ns_per_packet: f64,
    /// The one by the other within a pair: the median pair.
    pub ratio_to_seal: f64,
    /// The CPU time for one copy of bare seals by the kernel that the engine seals with: the median
    /// slice; null where there is none.
    pub kernel_ns_per_packet: Option<f64>,
    /// The engine's time by the kernel's within a round: the median; null where there is none.
    pub ratio_to_kernel: Option<f64>,
    /// Allocations of the engine for one copy, on the path of packets; null when the allocator does not count.
    pub allocations_per_packet: Option<f64>,
    /// Instructions of the engine for one copy; null where the machine cannot count them.
    pub instructions_per_packet: Option<f64>,
    /// Where it ran.
    pub machine: Machine,
}

/// Runs it until the end, or Ctrl-C, and prints the report.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let measuring = {
        let (options, stop) = (options.clone(), stop.clone());
        tokio::task::spawn_blocking(move || measure(&options, &stop))
    };
    tokio::pin!(measuring);
    let report = tokio::select! {
        report = &mut measuring => report??,
        () = crate::stop_signal() => {
            stop.store(true, Ordering::Relaxed);
            eprintln!("stopped early");
            measuring.await??
        }
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

/// What one slice took.
#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    time: Duration,
    packets: u64,
    allocations: u64,
    instructions: u64,
}

impl Slice {
    fn ns_per_packet(&self) -> f64 {
        self.time.as_nanos() as f64 / self.packets as f64
    }
}

/// Measures on the calling thread, which stays pinned to one core afterwards.
///
/// # Errors
/// When a packet did not arrive, or was not what was sent: then no figure means anything.
pub fn measure(options: &Options, stop: &AtomicBool) -> anyhow::Result<Report> {
    let machine = Machine::read();
    if let Some(core) = core_affinity::get_core_ids().unwrap_or_default().into_iter().last() {
        core_affinity::set_for_current(core);
    }
    let (speakers, listeners) = (usize::from(options.speakers), usize::from(options.listeners));
    let payload = usize::from(options.payload);
    let mut stage = Stage::new(speakers, listeners, payload, options.suite)?;
    let receivers = stage.receivers();
    let header = stage.header_of_newest()?;
    let bare = |by| Bare::new(by, options.suite, receivers, header.clone(), payload);
    let mut library = bare(By::Library)?.context("the library seals by every profile")?;
    let mut kernel = bare(By::Kernel)?;
    let mut counter = perf_event::Builder::new(Hardware::INSTRUCTIONS).build().ok();
    let budget = Duration::from_secs_f64(options.seconds);
    let (mut pairs, mut kernels, mut spent) = (Vec::new(), Vec::new(), Duration::ZERO);
    let (forwarded, dropped) = (stage.forwarded(), stage.dropped());
    let (mut sent, mut told) = (0, Instant::now());
    for round in 0.. {
        let engine = engine_slice(&mut stage, &mut counter)?;
        sent += engine.packets;
        let seals = seal_slice(&mut library, receivers)?;
        let kernel = kernel.as_mut().map(|kernel| seal_slice(kernel, receivers)).transpose()?;
        if round >= WARM_UP {
            spent += engine.time + seals.time;
            pairs.push((engine, seals));
            kernels.extend(kernel.map(|kernel| (engine, kernel)));
        }
        if !pairs.is_empty() && (spent >= budget || stop.load(Ordering::Relaxed)) {
            break;
        }
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            let spent = spent.as_secs_f64();
            eprintln!("{spent:.1} of {:.1} s: ratio {:.2}", options.seconds, ratio(&pairs));
        }
    }
    let made = stage.forwarded() - forwarded;
    ensure!(made == sent, "the engine forwarded {made} packets of {sent}");
    let dropped = stage.dropped() - dropped;
    if dropped > 0 {
        bail!("the engine dropped {dropped} packets");
    }
    let engine = pairs.iter().map(|(engine, _)| engine);
    let packets: u64 = engine.clone().map(|slice| slice.packets).sum();
    let each = |total: u64| total as f64 / packets as f64;
    let allocations = each(engine.clone().map(|slice| slice.allocations).sum());
    let instructions = each(engine.clone().map(|slice| slice.instructions).sum());
    Ok(Report {
        listeners: options.listeners,
        speakers: options.speakers,
        payload: options.payload,
        suite: suite::name(options.suite),
        seconds: spent.as_secs_f64(),
        pairs: pairs.len(),
        packets,
        ns_per_packet: median(engine.map(Slice::ns_per_packet)),
        seal_ns_per_packet: median(pairs.iter().map(|(_, seals)| seals.ns_per_packet())),
        ratio_to_seal: ratio(&pairs),
        kernel_ns_per_packet: kernel
            .is_some()
            .then(|| median(kernels.iter().map(|(_, seals)| seals.ns_per_packet()))),
        ratio_to_kernel: kernel.is_some().then(|| ratio(&kernels)),
        allocations_per_packet: hype_allocations::are_counted().then_some(allocations),
        instructions_per_packet: counter.is_some().then_some(instructions),
        machine,
    })
}

fn engine_slice(
    stage: &mut Stage,
    counter: &mut Option<perf_event::Counter>,
) -> anyhow::Result<Slice> {
    let mut slice = Slice::default();
    if let Some(counter) = counter {
        counter.reset()?;
    }
    while slice.time < SLICE {
        stage.prepare()?;
        if let Some(counter) = counter {
            counter.enable()?;
        }
        let began = cpu_time();
        slice.allocations += stage.turn();
        slice.time += cpu_time() - began;
        if let Some(counter) = counter {
            counter.disable()?;
        }
        slice.packets += (BATCH * stage.receivers()) as u64;
    }
    if let Some(counter) = counter {
        slice.instructions = counter.read()?;
    }
    Ok(slice)
}

fn seal_slice(bare: &mut Bare, receivers: usize) -> anyhow::Result<Slice> {
    let mut slice = Slice::default();
    while slice.time < SLICE {
        bare.prepare()?;
        let began = cpu_time();
        bare.turn()?;
        slice.time += cpu_time() - began;
        slice.packets += (BATCH * receivers) as u64;
    }
    Ok(slice)
}

/// The CPU time of this thread: other processes on the core do not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn ratio(pairs: &[(Slice, Slice)]) -> f64 {
    median(pairs.iter().map(|(engine, seals)| engine.ns_per_packet() / seals.ns_per_packet()))
}

/// The middle one, or the mean of the middle two; 0 of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn print(report: &Report) {
    let or_unknown = |value: Option<f64>| value.map_or("unknown".to_owned(), |v| format!("{v:.1}"));
    println!("machine               {}", report.machine);
    println!(
        "load                  {} speaking to {} listeners, {} B, {}",
        report.speakers, report.listeners, report.payload, report.suite
    );
    println!(
        "measured              {} packets in {} pairs of slices, {:.1} s",
        report.packets, report.pairs, report.seconds
    );
    println!("engine                {:.1} ns a packet", report.ns_per_packet);
    println!("bare seals            {:.1} ns a packet", report.seal_ns_per_packet);
    println!("ratio                 {:.2}", report.ratio_to_seal);
    if let (Some(kernel), Some(ratio)) = (report.kernel_ns_per_packet, report.ratio_to_kernel) {
        println!("bare seals by kernel  {kernel:.1} ns a packet");
        println!("ratio                 {ratio:.2}");
    }
    println!("allocations           {} a packet", or_unknown(report.allocations_per_packet));
    println!("instructions          {} a packet", or_unknown(report.instructions_per_packet));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }
}

//! `hype bench relay` and `hype bench video`: a real node process forwards what a separate generator
//! sends, every packet that comes out is counted and a sample of them authenticated; the CPU time
//! of the node is told by packet forwarded. With `--against`, windows of two subjects alternate in
//! one run, so that the ratio holds on a noisy machine. Absolute times do not compare across runs.

mod audience;
pub(crate) mod endpoint;
mod generator;
mod media;
mod meter;
mod network;
mod result;
mod subject;

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use hype_protocol::secret::SrtpProfile;

use crate::machine::Machine;
use crate::{suite, until_stopped};
use media::{Payload, Traffic};
use network::{Network, Sink};
use result::{Comparison, Figures, Report, median};
use subject::{Shape, Subject};

/// The floor may be at most this much dearer than plain sendmmsg.
const HONEST: f64 = 1.10;
/// That is the floor of this name.
const PLAIN: &str = "floor_socket";

/// What forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Io {
    /// A node with io_uring.
    Uring,
    /// A node with recvmmsg and sendmmsg.
    Socket,
    /// A node with AF_XDP (not on loopback).
    Xdp,
    /// No node: the same sends by the same back end, without engine and crypto.
    Floor,
}

impl Io {
    fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Socket => "socket",
            Self::Xdp => "xdp",
            Self::Floor => "floor",
        }
    }
}

/// Flags that all relays share.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// What forwards.
    #[arg(long, default_value = "uring")]
    io: Io,
    /// Where packets travel.
    #[arg(long, default_value = "loopback")]
    sink: Sink,
    /// People who receive in each room, 1–2000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=2000))]
    listeners: u16,
    /// Rooms, 1–1000.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rooms: u32,
    /// Length of one window in seconds, 1–600.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Windows of each subject; figures are medians over them, 1–100.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pairs: u16,
    /// Workers of the node, one core each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// In how many parts each room lies, on as many workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    parts: u16,
    /// `gcm`, `gcm256` or `cm`.
    #[arg(long, default_value = "gcm", value_parser = suite::parse)]
    suite: SrtpProfile,
    /// A second subject, whose windows alternate with the first's.
    #[arg(long)]
    against: Option<Io>,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

/// Voice.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// People who speak in each room, 1–64, all of them all the time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    speakers: u16,
    /// Bytes of a packet's payload, or `vbr`: 60–200.
    #[arg(long, default_value = "160")]
    payload: Payload,
    /// How many are heard at once; by default all who speak.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    slots: Option<u8>,
    /// Finds the highest rate without loss, by letting more and more of the people speak; the other
    /// figures are then those at 60 % of it.
    #[arg(long, conflicts_with = "against")]
    sweep: bool,
}

/// Screen shares.
#[derive(Debug, Clone, Args)]
pub struct VideoOptions {
    #[command(flatten)]
    common: Common,
    /// Frames a second, 1–120.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    frames: u32,
    /// Packets of a frame, 1–100: 10 of 1,100 B at 30 a second are 2.6 Mbit/s.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    packets: u32,
    /// Payload of each packet in bytes, about: those of a frame differ by at most one.
    #[arg(long, default_value_t = 1100, value_parser = clap::value_parser!(u16).range(100..=1180))]
    bytes: u16,
}

/// Runs `hype bench relay`.
///
/// # Errors
/// When the setup is not possible here, packets are bad, or the floor is not honest.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let speakers = options.speakers;
    ensure!(
        options.slots.is_none_or(|slots| u16::from(slots) >= speakers),
        "--slots must be at least --speakers ({speakers}): what is not forwarded cannot be measured"
    );
    let shape = Shape {
        rooms: options.common.rooms,
        speakers,
        listeners: options.common.listeners,
        traffic: Traffic::Voice(options.payload),
        slots: options.slots.unwrap_or(u8::try_from(speakers).unwrap_or(64)),
        workers: options.common.workers,
        parts: options.common.parts,
        suite: options.common.suite,
    };
    if options.sweep {
        return until_stopped(sweep(&options.common, &shape)).await;
    }
    until_stopped(compare(&options.common, &shape)).await
}

/// Runs `hype bench video`.
///
/// # Errors
/// As [`run`].
pub async fn run_video(options: VideoOptions) -> anyhow::Result<()> {
    let shape = Shape {
        rooms: options.common.rooms,
        speakers: 1,
        listeners: options.common.listeners,
        traffic: Traffic::Video {
            frames: options.frames,
            packets: options.packets,
            bytes: usize::from(options.bytes),
        },
        slots: 1,
        workers: options.common.workers,
        parts: options.common.parts,
        suite: options.common.suite,
    };
    until_stopped(compare(&options.common, &shape)).await
}

/// Opens a subject in a network of its own; a floor forwards by the back end of `other`.
async fn open(io: Io, other: Io, shape: &Shape, network: Network) -> anyhow::Result<Subject> {
    match (io, other) {
        (Io::Floor, Io::Uring | Io::Floor) => Subject::floor("uring", shape, network).await,
        (Io::Floor, Io::Socket) => Subject::floor("socket", shape, network).await,
        (Io::Floor, Io::Xdp) | (Io::Xdp, _) if network.sink == Sink::Loopback => {
            bail!("AF_XDP needs an interface with queues: --sink veth or --sink ifb")
        }
        (Io::Floor, Io::Xdp) => Subject::floor("xdp", shape, network).await,
        (io, _) => Subject::node(io.name(), shape, network).await,
    }
}

async fn compare(common: &Common, shape: &Shape) -> anyhow::Result<()> {
    let machine = Machine::read();
    let network = |number| Network::new(common.sink, number, common.workers);
    let (io, against) = (common.io, common.against);
    let mut subjects = vec![open(io, against.unwrap_or(io), shape, network(0)?).await?];
    if let Some(against) = against {
        subjects.push(open(against, io, shape, network(1)?).await?);
    }
    // A floor by another back end is itself measured by plain sendmmsg.
    let is_floor = |subject: &Subject| subject.name.starts_with("floor_");
    let checked = subjects.iter().position(|it| is_floor(it) && it.name != PLAIN);
    let node = subjects.iter().position(|it| !is_floor(it));
    let plain = subjects.len();
    if checked.is_some() {
        subjects.push(Subject::floor("socket", shape, network(2)?).await?);
    }
    let duration = Duration::from_secs(common.seconds);
    let mut windows: Vec<Vec<_>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..common.pairs {
        for (subject, windows) in subjects.iter_mut().zip(&mut windows) {
            let window = subject.window(shape.all_speakers(), duration).await?;
            eprintln!("{}/{} {}", round + 1, common.pairs, result::line(&subject.name, &window));
            windows.push(window);
        }
    }
    let figures = |index: usize| {
        let (subject, windows) = (subjects.get(index)?, windows.get(index)?);
        Some(Figures::new(&subject.name, windows, subject.packets_per_send(), shape.people()))
    };
    let mut report = Report::new(common, shape, figures(0).unwrap_or_default(), machine);
    if against.is_some()
        && let Some(against) = figures(1)
    {
        let ratio = median(result::ratios(&windows[0], &windows[1]));
        report.comparison = Some(Comparison { against, ratio });
    }
    if checked.is_some() {
        [report.floor_to_plain, report.ratio_to_plain] =
            [checked, node].map(|index| median(result::ratios(&windows[index?], &windows[plain])));
        report.plain_cpu_ns = figures(plain).and_then(|plain| plain.cpu_ns_per_forwarded_packet);
    }
    let lengths = windows.first().zip(windows.get(1));
    let lengths = lengths.and_then(|(a, b)| result::length(a).zip(result::length(b)));
    drop(windows);
    for subject in subjects {
        subject.stop().await?;
    }
    report.print(common.json)?;
    if let Some((ours, theirs)) = lengths {
        let allowed = match shape.traffic {
            Traffic::Voice(Payload::Bytes(_)) => 2.0,
            // Of few packets of random lengths the mean is far from the middle.
            Traffic::Voice(Payload::Vbr) => 40.0,
            // Padded by up to 15 bytes.
            Traffic::Video { .. } => 16.0,
        };
        ensure!(
            (ours - theirs).abs() < allowed,
            "the subjects do not send packets of one length: {ours:.1} B and {theirs:.1} B"
        );
    }
    // What was not optimised says nothing of a floor.
    if let Some(ratio) = report.floor_to_plain.filter(|_| !cfg!(debug_assertions)) {
        ensure!(
            ratio <= HONEST,
            "the floor takes {ratio:.3} of what plain sendmmsg takes: it is no floor (at most \
             {HONEST})"
        );
    }
    report.check()
}

async fn sweep(common: &Common, shape: &Shape) -> anyhow::Result<()> {
    let machine = Machine::read();
    let network = Network::new(common.sink, 0, common.workers)?;
    let mut subject = open(common.io, common.io, shape, network).await?;
    let duration = Duration::from_secs(common.seconds);
    let all = shape.all_speakers();
    let mut steps: Vec<result::Step> = Vec::new();
    // From a tenth up until it breaks, then between the last two.
    let (mut good, mut bad) = (0, all + 1);
    let mut next = (all / 10).max(1);
    while next > good && next < bad {
        let window = subject.window(next, duration).await?;
        eprintln!("{next} speakers: {}", result::line(&subject.name, &window));
        let step = result::Step::new(next, &window);
        if step.keeps_up() {
            good = next
        } else {
            bad = next
        }
        steps.push(step);
        let stride = (all / 10).max(1);
        next = if bad > all { (good + stride).min(all) } else { usize::midpoint(good, bad) };
        if bad <= all && bad - good <= (all / 40).max(1) {
            break;
        }
    }
    // How it fares well below the limit.
    let mut windows = Vec::new();
    for round in 0..if good > 0 { common.pairs } else { 0 } {
        let window = subject.window((good * 6 / 10).max(1), duration).await?;
        let line = result::line(&subject.name, &window);
        eprintln!("60 %, {}/{} {line}", round + 1, common.pairs);
        windows.push(window);
    }
    let figures = Figures::new(&subject.name, &windows, subject.packets_per_send(), shape.people());
    subject.stop().await?;
    let mut report = Report::new(common, shape, figures, machine);
    report.set_sweep(steps, good);
    report.print(common.json)?;
    report.check()
}

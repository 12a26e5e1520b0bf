//! One thread that is everybody: it sends what speakers say at random phases, listens for all
//! listeners, and keeps their ICE checks going. One wildcard socket stands for all addresses; who
//! is meant is told by the packet's destination.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use super::audience::{Audience, Heard};
use super::endpoint::{BATCH, Endpoint};
use super::media::{Person, Source, Traffic};

/// Between two ICE checks of one person: the node lets go of whoever is silent for 8 s.
const CHECK_INTERVAL: Duration = Duration::from_secs(4);
/// Samples that are kept of one window.
const MAX_LATENCIES: usize = 1 << 20;
/// How long it sleeps when nothing is there: whoever polls an empty queue all the time is in the
/// way of who fills it, and what came is told by the kernel's own clock.
const PACE: Duration = Duration::from_micros(200);

/// Who takes part, and where the node expects them.
#[derive(Debug, Clone, Default)]
pub struct Cast {
    /// People who send, each with the node's address for it.
    pub speakers: Vec<(Person, SocketAddrV4)>,
    /// People who receive, in the order of their addresses from `first_listener` on.
    pub listeners: Vec<(Person, SocketAddrV4)>,
    /// Copies of each packet, by speaker.
    pub copies: u64,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets that speakers sent, times the listeners of each.
    pub expected: AtomicU64,
    /// Packets that listeners received.
    pub received: AtomicU64,
    /// Their bytes of UDP payload.
    pub bytes: AtomicU64,
    /// Packets for nobody, twice the same, or not authentic.
    pub bad: AtomicU64,
    /// Answers to ICE checks.
    pub answered: AtomicU64,
    latencies_us: Mutex<Vec<u32>>,
}

impl Tally {
    /// Takes the latencies of all samples since the last call, in microseconds, unsorted.
    pub fn take_latencies(&self) -> Vec<u32> {
        std::mem::take(&mut *self.latencies_us.lock().expect("no holder panics"))
    }

    /// Keeps the latency of a sample.
    pub(super) fn note_latency(&self, latency: Duration) {
        let mut latencies = self.latencies_us.lock().expect("no holder panics");
        if latencies.len() < MAX_LATENCIES {
            latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }
}

#[derive(Debug, Default)]
struct Switches {
    /// How many speak.
    speaking: AtomicUsize,
    stop: AtomicBool,
}

/// The thread. It stops when dropped.
#[derive(Debug)]
pub struct Generator {
    /// What it counted.
    pub tally: Arc<Tally>,
    /// The port of everybody's address.
    pub port: u16,
    cast: mpsc::Sender<Cast>,
    switches: Arc<Switches>,
    thread: Option<JoinHandle<()>>,
}

/// How a generator is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace to be in, as a path.
    pub namespace: Option<String>,
    /// Its core.
    pub core: Option<usize>,
    /// What speakers send.
    pub traffic: Traffic,
    /// The address before the first listener's.
    pub listeners: Ipv4Addr,
    /// SSRCs that may come.
    pub ssrcs: std::ops::Range<u32>,
}

impl Generator {
    /// Starts the thread and binds its socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let (tally, switches) = (Arc::<Tally>::default(), Arc::<Switches>::default());
        let (cast, casts) = mpsc::channel();
        let (report, bound) = mpsc::channel();
        let (counted, switched) = (Arc::clone(&tally), Arc::clone(&switches));
        let thread = std::thread::Builder::new().name("generator".into()).spawn(move || {
            match open(&settings) {
                Ok((endpoint, port)) => {
                    // The starter waits for it.
                    let _ = report.send(Ok(port));
                    let Ok(cast) = casts.recv() else { return };
                    match Everybody::new(settings, endpoint, cast, counted, switched) {
                        Ok(everybody) => everybody.run(),
                        Err(error) => eprintln!("generator: {error:#}"),
                    }
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        })?;
        let port = bound.recv().context("the generator ended at its start")??;
        Ok(Self { tally, port, cast, switches, thread: Some(thread) })
    }

    /// Tells who takes part; their ICE checks begin. To be called once.
    pub fn people(&self, cast: Cast) {
        // It fails only when the thread has ended, which the counts show.
        let _ = self.cast.send(cast);
    }

    /// From now on the first `speakers` of the cast speak.
    pub fn speak(&self, speakers: usize) {
        self.switches.speaking.store(speakers, Ordering::Release);
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.switches.stop.store(true, Ordering::Release);
        let (closed, _) = mpsc::channel();
        self.cast = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(settings: &Settings) -> anyhow::Result<(Endpoint, u16)> {
    if let Some(path) = &settings.namespace {
        let file = std::fs::File::open(path).with_context(|| path.clone())?;
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).context("setns")?;
    }
    if let Some(core) = settings.core {
        let mut set = nix::sched::CpuSet::new();
        set.set(core)?;
        // Without it the figures are only less steady.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
    // Speakers should not be late by the default slack of 50 us; if they are, it counts for nobody.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
    let joined = matches!(settings.traffic, Traffic::Video { .. });
    let endpoint = Endpoint::bind(joined)?;
    let port = endpoint.port()?;
    Ok((endpoint, port))
}

/// The time of day: the kernel notes arrivals by the same clock.
fn today() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

struct Everybody {
    settings: Settings,
    endpoint: Endpoint,
    sources: Vec<Source>,
    audience: Audience,
    cast: Cast,
    /// When in each interval a speaker sends, in order.
    phases: Vec<(Duration, usize)>,
    tally: Arc<Tally>,
    switches: Arc<Switches>,
    checks: u64,
    began: Instant,
}

impl Everybody {
    fn new(
        settings: Settings,
        endpoint: Endpoint,
        cast: Cast,
        tally: Arc<Tally>,
        switches: Arc<Switches>,
    ) -> anyhow::Result<Self> {
        let traffic = settings.traffic;
        let sources = cast.speakers.iter().map(|(person, _)| Source::new(traffic, person));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let (before, ssrcs) = (settings.listeners, settings.ssrcs.clone());
        let audience = Audience::new(&cast, traffic, before, ssrcs, Arc::clone(&tally))?;
        let mut phases: Vec<_> = (0..sources.len())
            .map(|speaker| (traffic.interval().mul_f64(rand::random()), speaker))
            .collect();
        phases.sort_unstable();
        Ok(Self {
            settings,
            endpoint,
            sources,
            audience,
            cast,
            phases,
            tally,
            switches,
            checks: 0,
            began: Instant::now(),
        })
    }

    fn run(mut self) {
        let mut next: Option<(Instant, usize)> = None;
        let interval = self.settings.traffic.interval();
        while !self.switches.stop.load(Ordering::Acquire) {
            let received = self.receive();
            self.check();
            let speaking = self.switches.speaking.load(Ordering::Acquire);
            if speaking == 0 {
                next = None;
                self.sources.iter_mut().for_each(Source::rest);
                if received < BATCH {
                    std::thread::sleep(Duration::from_millis(1));
                }
                continue;
            }
            let (mut round, mut place) = next.unwrap_or((Instant::now(), 0));
            let now = Instant::now();
            let mut due = round + self.phases.get(place).map_or(interval, |(phase, _)| *phase);
            while due <= now && !self.phases.is_empty() {
                let speaker = self.phases[place].1;
                if speaker < speaking {
                    self.burst(speaker);
                }
                place += 1;
                if place == self.phases.len() {
                    (round, place) = (round + interval, 0);
                }
                due = round + self.phases[place].0;
            }
            next = Some((round, place));
            if received < BATCH {
                std::thread::sleep(due.saturating_duration_since(Instant::now()).min(PACE));
            }
        }
    }

    fn burst(&mut self, speaker: usize) {
        let (person, node) = &self.cast.speakers[speaker];
        let (from, to) = (person.ip, *node);
        let (endpoint, mut sent) = (&self.endpoint, 0);
        self.sources[speaker].burst(today(), |datagram| {
            endpoint.send(from, to, datagram);
            sent += 1;
        });
        self.tally.expected.fetch_add(sent * self.cast.copies, Ordering::Relaxed);
    }

    /// Sends the ICE checks that are due: all within a second at first, later spread evenly.
    fn check(&mut self) {
        let people = self.cast.speakers.len() + self.cast.listeners.len();
        let elapsed = self.began.elapsed();
        let first = Duration::from_secs(1).max(Duration::from_micros(200) * people as u32);
        let share = if elapsed < first {
            elapsed.as_secs_f64() / first.as_secs_f64()
        } else {
            1.0 + (elapsed - first).as_secs_f64() / CHECK_INTERVAL.as_secs_f64()
        };
        let due = (share * people as f64) as u64;
        while self.checks < due {
            let number = (self.checks % people as u64) as usize;
            self.checks += 1;
            let speakers = self.cast.speakers.len();
            let person = match number.checked_sub(speakers) {
                None => &self.cast.speakers[number],
                Some(number) => &self.cast.listeners[number],
            };
            let (person, node) = person;
            let mut buffer = [0; 256];
            if let Some(check) = person.credentials.check(&mut buffer) {
                self.endpoint.send(person.ip, *node, check);
            }
        }
    }

    /// Takes what one receive call gets, and returns how many messages that were.
    fn receive(&mut self) -> usize {
        let (audience, mut heard) = (&mut self.audience, Heard::default());
        let count = self.endpoint.receive(|arrival| audience.hear(&arrival, &mut heard));
        audience.tell(&heard);
        count
    }
}

//! One thread that is everybody: it sends what speakers say at random phases, answers for all
//! listeners, keeps their ICE checks going, counts every packet and authenticates a sample. One
//! wildcard socket stands for all addresses; who is meant is told by the packet's destination.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockFlag, SockType,
    SockaddrIn, bind, getsockname, recvmmsg, sendmsg, setsockopt, socket, sockopt,
};

use super::media::{Ear, Person, Source, Traffic};

/// Datagrams of one receive call.
const BATCH: usize = 64;
/// Each packet of this many is authenticated, and its latency kept.
const SAMPLE: u64 = 16;
/// Between two ICE checks of one person: the node lets go of whoever is silent for 8 s.
const CHECK_INTERVAL: Duration = Duration::from_secs(4);
/// Samples that are kept of one window.
const MAX_LATENCIES: usize = 1 << 20;
/// Room for the largest datagram.
const LARGEST: usize = 1600;

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
    /// Never sleep while somebody speaks: right where no worker needs the core.
    pub spin: bool,
    /// The zero of sending times.
    pub epoch: Instant,
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
                Ok((socket, port)) => {
                    // The starter waits for it.
                    let _ = report.send(Ok(port));
                    let Ok(cast) = casts.recv() else { return };
                    match Everybody::new(settings, socket, cast, counted, switched) {
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

fn open(settings: &Settings) -> anyhow::Result<(OwnedFd, u16)> {
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
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    if setsockopt(&fd, sockopt::RcvBufForce, &(32 << 20)).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &(4 << 20))?;
    }
    bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 0))?;
    let address: SockaddrIn = getsockname(fd.as_raw_fd())?;
    Ok((fd, address.port()))
}

/// Sends from one of the addresses that the wildcard socket stands for.
fn send(fd: RawFd, from: Ipv4Addr, to: SocketAddrV4, datagram: &[u8]) {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let to = SockaddrIn::from(to);
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    // What the kernel refuses shows up as a loss.
    let _ = sendmsg(fd, &[IoSlice::new(datagram)], &control, MsgFlags::MSG_DONTWAIT, Some(&to));
}

struct Everybody {
    settings: Settings,
    socket: OwnedFd,
    sources: Vec<Source>,
    ears: Vec<Ear>,
    cast: Cast,
    /// When in each interval a speaker sends, in order.
    phases: Vec<(Duration, usize)>,
    /// By listener and slot: the last sequence number.
    last: Vec<Option<u16>>,
    tally: Arc<Tally>,
    switches: Arc<Switches>,
    seen: u64,
    checks: u64,
    began: Instant,
}

impl Everybody {
    fn new(
        settings: Settings,
        socket: OwnedFd,
        cast: Cast,
        tally: Arc<Tally>,
        switches: Arc<Switches>,
    ) -> anyhow::Result<Self> {
        let traffic = settings.traffic;
        let sources = cast.speakers.iter().map(|(person, _)| Source::new(traffic, person));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let ears = cast.listeners.iter().map(|(person, _)| Ear::new(traffic, person));
        let ears = ears.collect::<Result<Vec<_>, _>>()?;
        let mut phases: Vec<_> = (0..sources.len())
            .map(|speaker| (traffic.interval().mul_f64(rand::random()), speaker))
            .collect();
        phases.sort_unstable();
        let last = vec![None; ears.len() * settings.ssrcs.len()];
        Ok(Self {
            settings,
            socket,
            sources,
            ears,
            cast,
            phases,
            last,
            tally,
            switches,
            seen: 0,
            checks: 0,
            began: Instant::now(),
        })
    }

    fn run(mut self) {
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(
            BATCH,
            Some(nix::cmsg_space!(libc::in_pktinfo)),
        );
        let mut buffers = vec![[0; LARGEST]; BATCH];
        let mut next: Option<(Instant, usize)> = None;
        let interval = self.settings.traffic.interval();
        while !self.switches.stop.load(Ordering::Acquire) {
            let received = self.receive(&mut headers, &mut buffers);
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
            if received == 0 && !self.settings.spin {
                let wait = due.saturating_duration_since(Instant::now());
                std::thread::sleep(wait.min(Duration::from_micros(100)));
            }
        }
    }

    fn burst(&mut self, speaker: usize) {
        let (person, node) = &self.cast.speakers[speaker];
        let (from, to) = (person.ip, *node);
        let fd = self.socket.as_raw_fd();
        let mut sent = 0;
        self.sources[speaker].burst(self.settings.epoch.elapsed(), |datagram| {
            send(fd, from, to, datagram);
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
            let check = person.credentials.as_ref().and_then(|ours| ours.check(&mut buffer));
            if let Some(check) = check {
                send(self.socket.as_raw_fd(), person.ip, *node, check);
            }
        }
    }

    fn receive(
        &mut self,
        headers: &mut MultiHeaders<SockaddrIn>,
        buffers: &mut [[u8; LARGEST]],
    ) -> usize {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let Ok(results) = recvmmsg(fd, headers, slices.iter_mut(), flags, None) else { return 0 };
        let mut count = 0;
        let (mut good, mut bytes, mut bad) = (0, 0, 0);
        for message in results {
            count += 1;
            let destination = message.cmsgs().ok().and_then(|mut controls| {
                controls.find_map(|control| match control {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        Some(u32::from_be(info.ipi_addr.s_addr))
                    }
                    _ => None,
                })
            });
            let Some(datagram) = message.iovs().next() else { continue };
            let Some(first) = datagram.first() else { continue };
            if *first < 4 {
                self.tally.answered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            // RTCP shares the port (RFC 5761 §4).
            if datagram.get(1).is_some_and(|kind| (192..=223).contains(kind)) {
                continue;
            }
            let listener = destination.and_then(|ip| {
                ip.checked_sub(u32::from(self.settings.listeners) + 1).map(|index| index as usize)
            });
            if self.count(listener, datagram) {
                good += 1;
                bytes += datagram.len() as u64;
            } else {
                bad += 1;
            }
        }
        self.tally.received.fetch_add(good, Ordering::Relaxed);
        self.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        if bad > 0 {
            self.tally.bad.fetch_add(bad, Ordering::Relaxed);
        }
        count
    }

    /// One media packet; false when something is wrong with it.
    fn count(&mut self, listener: Option<usize>, datagram: &[u8]) -> bool {
        let Some(index) = listener.filter(|index| *index < self.ears.len()) else { return false };
        let Some(header) = datagram.first_chunk::<12>() else { return false };
        let sequence_number = u16::from_be_bytes([header[2], header[3]]);
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let authentic = self.cast.listeners[index].0.keying.is_some();
        if authentic {
            // Against the floor, packets keep their speakers' SSRCs.
            if !self.settings.ssrcs.contains(&ssrc) {
                return false;
            }
            let slot = (ssrc - self.settings.ssrcs.start) as usize;
            let last = &mut self.last[index * self.settings.ssrcs.len() + slot];
            if last.replace(sequence_number) == Some(sequence_number) {
                return false;
            }
        }
        self.seen += 1;
        if !self.seen.is_multiple_of(SAMPLE) {
            return true;
        }
        let Some(sent) = self.ears[index].check(datagram) else { return false };
        let latency = self.settings.epoch.elapsed().saturating_sub(sent).as_micros();
        let mut latencies = self.tally.latencies_us.lock().expect("no holder panics");
        if latencies.len() < MAX_LATENCIES {
            latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
        true
    }
}

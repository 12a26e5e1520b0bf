//! A process under test with the generator that loads it: a real node, or the floor that it is
//! compared with. Windows of measurement are taken one subject at a time, the others rest.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hype_protocol::bench::{FloorRoutes, FloorServing, FloorStarted};
use hype_protocol::id::{SessionId, UserId, WorkerId};
use hype_protocol::media::SourceKind;
use hype_protocol::observation::{
    FromNode, Keying, OpenSession, ToNode, View, ViewState, VoiceFlags,
};
use hype_protocol::pipe;
use hype_protocol::secret::SrtpProfile;
use tokio::net::unix::pipe as unix_pipe;
use tokio::sync::mpsc;

use super::generator::{Cast, Generator, Settings};
use super::media::{FIRST_SLOT, Person, Traffic};
use super::meter::Meter;
use super::network::{Network, Sink};
use crate::ice;
use crate::node_process::{self, NodeProcess};

/// How long sessions may take to connect.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for what is still under way after a window, and how many looks in a row
/// that find nothing end it. Looks are counted, not time: a machine that stands still counts none.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: u32 = 300;
/// What the engine adds to a packet on its way: the CSRC by which listeners know the speaker.
const GROWTH: usize = 4;

/// Who speaks to whom.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Rooms.
    pub rooms: u32,
    /// People who speak in each; they do not listen.
    pub speakers: u16,
    /// People who listen in each; they do not speak.
    pub listeners: u16,
    /// What is said.
    pub traffic: Traffic,
    /// How many are heard at once.
    pub slots: u8,
    /// Workers of the process under test.
    pub workers: u16,
    /// In how many parts each room lies, on as many workers.
    pub parts: u16,
    /// How media is sealed.
    pub suite: SrtpProfile,
}

impl Shape {
    /// All people.
    pub fn people(&self) -> usize {
        self.rooms as usize * usize::from(self.speakers + self.listeners)
    }

    /// All who speak.
    pub fn all_speakers(&self) -> usize {
        self.rooms as usize * usize::from(self.speakers)
    }
}

/// What one window showed.
#[derive(Debug, Clone, Default)]
pub struct Window {
    pub seconds: f64,
    pub cpu_ns: u64,
    pub expected: u64,
    pub forwarded: u64,
    /// Bytes of UDP payload; none where nobody received.
    pub bytes: Option<u64>,
    /// Never came, also not after the window's end.
    pub lost: Option<u64>,
    pub bad: Option<u64>,
    pub latencies_us: Vec<u32>,
    pub rss_bytes: u64,
}

enum Process {
    Node(Box<NodeProcess>),
    Floor(node_process::Process, unix_pipe::Sender),
}

/// A process under test.
pub struct Subject {
    /// As in `--io`; the floor's begins with `floor`.
    pub name: String,
    /// Its own: AF_XDP takes an interface for one process.
    network: Network,
    process: Process,
    generator: Generator,
    meter: Meter,
    /// Packets and sends a second, summed over the node's reports.
    load: Arc<[AtomicU64; 2]>,
}

fn generator(shape: &Shape, network: &Network) -> anyhow::Result<Generator> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ssrcs = match shape.traffic {
        Traffic::Voice(_) => FIRST_SLOT..FIRST_SLOT + u32::from(shape.slots),
        Traffic::Video { .. } => 2000..2002,
    };
    let spare = cores > usize::from(shape.workers);
    Generator::start(Settings {
        namespace: network.peer_namespace(),
        // Workers have the last cores.
        core: spare.then_some(0),
        traffic: shape.traffic,
        listeners: network.listeners,
        ssrcs,
    })
}

fn meter(pid: u32, shape: &Shape, network: &Network) -> Meter {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Meter::new(pid, &network.interfaces, cores, usize::from(shape.workers))
}

fn after(base: Ipv4Addr, number: usize) -> anyhow::Result<Ipv4Addr> {
    let number = u32::try_from(number)?;
    // Behind that many begin other people's addresses.
    ensure!(number < 1 << 14, "at most 16384 people of a kind");
    Ok(Ipv4Addr::from(u32::from(base) + 1 + number))
}

impl Subject {
    /// A real node whose people are all connected.
    ///
    /// # Errors
    /// When it does not start, refuses somebody, or does not connect all within a minute.
    pub async fn node(io: &str, shape: &Shape, network: Network) -> anyhow::Result<Self> {
        let mut command = node_process::command()?;
        let max_peers = u32::from(shape.speakers + shape.listeners);
        let flags = [
            ("--udp-port", "0".to_owned()),
            ("--announce", network.node.to_string()),
            ("--io", io.to_owned()),
            ("--workers", shape.workers.to_string()),
            ("--rooms", shape.rooms.to_string()),
            ("--max-peers", max_peers.to_string()),
            ("--parts", shape.parts.to_string()),
            ("--max-sessions", shape.people().to_string()),
            ("--voice-slots", shape.slots.to_string()),
        ];
        for (flag, value) in flags {
            command.arg(flag).arg(value);
        }
        if io == "xdp" {
            command.arg("--interface").arg(network.interfaces.join(","));
        }
        let mut node = NodeProcess::spawn(&mut network.on_node_side(&command)).await?;
        ensure_back_end(io, &node.started.back_ends)?;
        let generator = generator(shape, &network)?;
        let (cast, opens) = gather(&node, shape, &network)?;
        let load = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (events, connected) = mpsc::unbounded_channel();
        let from_node = std::mem::replace(&mut node.from_node, mpsc::channel(1).1);
        tokio::spawn(listen(from_node, events, Arc::clone(&load)));
        for open in opens {
            node.to_node.send(ToNode::Open(Box::new(open))).await.context("the node ended")?;
        }
        generator.people(cast.clone());
        wait_for(connected, &node, &cast, shape, &generator).await?;
        // `ip netns exec` becomes the program that it runs: the number is the node's.
        let meter = meter(node.pid(), shape, &network);
        let process = Process::Node(Box::new(node));
        Ok(Self { name: io.to_owned(), network, process, generator, meter, load })
    }

    /// The floor, by a back end.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn floor(io: &str, shape: &Shape, network: Network) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--log", "warn", "bench-floor", "--io", io]);
        command.args(["--announce", &network.node.to_string()]);
        command.args(["--workers", &shape.workers.to_string(), "--grow", &GROWTH.to_string()]);
        if io == "xdp" {
            command.arg("--interface").arg(network.interfaces.join(","));
        }
        let mut command = network.on_node_side(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = node_process::Process(command.spawn().context("cannot start the floor")?);
        let output = child.0.stdout.take().context("it is piped")?;
        let input = child.0.stdin.take().context("it is piped")?;
        let mut output = unix_pipe::Receiver::from_owned_fd(output.into())?;
        let mut input = unix_pipe::Sender::from_owned_fd(input.into())?;
        let started: FloorStarted =
            pipe::read(&mut output).await?.context("the floor ended at its start")?;
        let generator = generator(shape, &network)?;
        let mut cast = Cast { copies: u64::from(shape.listeners), ..Cast::default() };
        let mut routes = vec![Vec::new(); started.workers.len()];
        let mut speakers = Vec::new();
        for room in 0..shape.rooms as usize {
            let worker = room % started.workers.len();
            let node = v4(started.workers[worker])?;
            let mut destinations = Vec::new();
            for _ in 0..shape.listeners {
                let ip = after(network.listeners, cast.listeners.len())?;
                destinations.push(SocketAddr::from((ip, generator.port)));
                cast.listeners.push((nobody(ip, cast.listeners.len()), node));
            }
            for turn in 0..usize::from(shape.speakers) {
                let ip = after(network.speakers, speakers.len())?;
                let source = SocketAddr::from((ip, generator.port));
                routes[worker].push((source, destinations.clone()));
                speakers.push((turn, (nobody(ip, speakers.len()), node)));
            }
        }
        cast.speakers = in_turn(speakers);
        pipe::write(&mut input, &FloorRoutes { workers: routes }).await?;
        let serving: FloorServing = pipe::read(&mut output).await?.context("the floor ended")?;
        ensure_back_end(io, &serving.back_ends)?;
        generator.people(cast);
        let pid = child.0.id();
        Ok(Self {
            name: format!("floor_{io}"),
            meter: meter(pid, shape, &network),
            network,
            // It ends with its standard input, so that stays open as long as it is needed.
            process: Process::Floor(child, input),
            generator,
            load: Arc::default(),
        })
    }

    /// Lets the first `speakers` speak and measures for that long.
    pub async fn window(&mut self, speakers: usize, duration: Duration) -> anyhow::Result<Window> {
        let tally = Arc::clone(&self.generator.tally);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let before = (read(&tally.expected), read(&tally.received), read(&tally.bad));
        self.generator.speak(speakers);
        // Every stream is known and every cache is warm before anything counts.
        tokio::time::sleep(Duration::from_millis(300)).await;
        tally.take_latencies();
        let state = || (read(&tally.expected), read(&tally.received), read(&tally.bytes));
        let sunk = || self.network.sunk_packets();
        let (start, cpu, first, sunk_first) =
            (Instant::now(), self.meter.cpu_ns(), state(), sunk());
        tokio::time::sleep(duration).await;
        let (last, cpu_ns, elapsed, sunk_last) =
            (state(), self.meter.cpu_ns() - cpu, start.elapsed(), sunk());
        let latencies_us = tally.take_latencies();
        self.generator.speak(0);
        let missing =
            || (read(&tally.expected) - before.0).checked_sub(read(&tally.received) - before.1);
        let (mut quiet, mut last_missing) = (0, None);
        while self.network.sink != Sink::Ifb
            && missing().is_some_and(|missing| missing > 0)
            && quiet < LOOKS
        {
            let now = missing();
            quiet = if now == last_missing { quiet + 1 } else { 0 };
            last_missing = now;
            tokio::time::sleep(LOOK).await;
        }
        let received = self.network.sink != Sink::Ifb;
        let forwarded = match sunk_last.zip(sunk_first) {
            Some((last, first)) => last - first,
            None => last.1 - first.1,
        };
        Ok(Window {
            seconds: elapsed.as_secs_f64(),
            cpu_ns,
            expected: last.0 - first.0,
            forwarded,
            bytes: received.then_some(last.2 - first.2),
            lost: received.then(|| missing().unwrap_or(0)),
            bad: received.then(|| read(&tally.bad) - before.2),
            latencies_us,
            rss_bytes: self.rss_bytes(),
        })
    }

    /// Datagrams of one send operation, by the node's reports.
    pub fn packets_per_send(&self) -> Option<f64> {
        let [packets, sends] = &*self.load;
        let (packets, sends) = (packets.load(Ordering::Relaxed), sends.load(Ordering::Relaxed));
        (sends > 0).then(|| packets as f64 / sends as f64)
    }

    fn rss_bytes(&self) -> u64 {
        match &self.process {
            Process::Node(node) => node.rss_bytes().unwrap_or(0),
            Process::Floor(..) => 0,
        }
    }

    /// Ends the process.
    ///
    /// # Errors
    /// When it ends with an error.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self.process {
            Process::Node(node) => node.stop().await,
            Process::Floor(mut child, input) => {
                drop(input);
                for _ in 0..2000 {
                    if let Some(status) = child.0.try_wait()? {
                        ensure!(status.success(), "the floor ended with {status}");
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                bail!("the floor did not stop within 20 s and was killed")
            }
        }
    }
}

/// A node goes on by another back end where the wanted one does not work; a figure for it would be
/// false.
fn ensure_back_end(wanted: &str, got: &[String]) -> anyhow::Result<()> {
    let other = got.iter().find(|name| *name != wanted);
    ensure!(
        other.is_none(),
        "{wanted} does not work here (the log above says why): it would be {}",
        other.map_or("another back end", String::as_str)
    );
    Ok(())
}

fn v4(address: SocketAddr) -> anyhow::Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(v4) => Ok(v4),
        SocketAddr::V6(v6) => bail!("{v6} is no IPv4 address"),
    }
}

/// Somebody whose checks are as many and as long as those that a node gets, so that both are asked to
/// receive the same.
fn nobody(ip: Ipv4Addr, number: usize) -> Person {
    let session = SessionId(number as u64 + 1);
    let credentials = ice::Credentials::new("node/worker/session/mac1", "nobody".into(), "test");
    Person { session, ip, credentials, keying: None }
}

/// One speaker of each room first, then the second of each: the first few are spread evenly.
fn in_turn<T>(mut speakers: Vec<(usize, T)>) -> Vec<T> {
    speakers.sort_by_key(|(turn, _)| *turn);
    speakers.into_iter().map(|(_, speaker)| speaker).collect()
}

/// Everybody's credentials, and the messages that open their sessions.
fn gather(
    node: &NodeProcess,
    shape: &Shape,
    network: &Network,
) -> anyhow::Result<(Cast, Vec<OpenSession>)> {
    let media = shape.traffic.session_media(usize::from(shape.slots));
    let mut cast = Cast { copies: u64::from(shape.listeners), ..Cast::default() };
    let (mut opens, mut speakers) = (Vec::new(), Vec::new());
    let run = rand::random::<u32>();
    let person = |ip: Ipv4Addr, worker: WorkerId, speaks: bool, room: &_, opens: &mut Vec<_>| {
        let assignment: &hype_protocol::record::Assignment = room;
        // Sources, the low halves, must differ within a room.
        let session = SessionId(u64::from(run) << 32 | (opens.len() as u64 + 1));
        let (ufrag, password) = node.ice_credentials(worker, session);
        let keying = node.keys.native_keying(worker, session, shape.suite);
        opens.push(OpenSession {
            boot: node.started.live.boot,
            room: assignment.room,
            generation: assignment.generation,
            worker,
            session,
            user: UserId(opens.len() as u64 + 1),
            remote_ufrag: "bench".into(),
            keying: Keying::Native { profile: shape.suite },
            flags: VoiceFlags { self_mute: !speaks, self_deaf: speaks, ..VoiceFlags::default() },
            media: media.clone(),
        });
        let credentials = ice::Credentials::new(&ufrag, password, "bench");
        Person { session, ip, credentials, keying: Some(keying) }
    };
    for assignment in &node.started.rooms {
        // People of a room with several parts are spread over them in turn.
        let seat = |number: usize| {
            let parts = &assignment.parts;
            let part = number.checked_rem(parts.len()).and_then(|place| parts.get(place));
            let worker = part.map_or(assignment.worker, |part| part.worker);
            let addresses = node.started.live.workers.get(usize::from(worker.0));
            let address = addresses.into_iter().flatten().find(|address| address.is_ipv4());
            let address = address.context("the node announced no IPv4 address")?;
            anyhow::Ok((worker, v4(*address)?))
        };
        for number in 0..usize::from(shape.listeners) {
            let (worker, address) = seat(number)?;
            let ip = after(network.listeners, cast.listeners.len())?;
            cast.listeners.push((person(ip, worker, false, assignment, &mut opens), address));
        }
        for turn in 0..usize::from(shape.speakers) {
            let (worker, address) = seat(turn)?;
            let ip = after(network.speakers, speakers.len())?;
            let speaker = person(ip, worker, true, assignment, &mut opens);
            speakers.push((turn, (speaker, address)));
        }
    }
    cast.speakers = in_turn(speakers);
    Ok((cast, opens))
}

enum News {
    Connected(SessionId),
    Live,
    Refused(String),
}

/// Reads what the node says as long as it lives.
async fn listen(
    mut from_node: mpsc::Receiver<FromNode>,
    news: mpsc::UnboundedSender<News>,
    load: Arc<[AtomicU64; 2]>,
) {
    while let Some(message) = from_node.recv().await {
        let item = match message {
            FromNode::Session(status) if status.connected => News::Connected(status.session),
            FromNode::View { state: ViewState::Live, .. } => News::Live,
            FromNode::Refused { reason, .. } => News::Refused(format!("{reason:?}")),
            FromNode::Stats { load: now, .. } => {
                load[0].fetch_add(now.packets_per_second, Ordering::Relaxed);
                load[1].fetch_add(now.sends_per_second, Ordering::Relaxed);
                continue;
            }
            _ => continue,
        };
        // After the start nobody listens any more.
        let _ = news.send(item);
    }
}

async fn wait_for(
    mut news: mpsc::UnboundedReceiver<News>,
    node: &NodeProcess,
    cast: &Cast,
    shape: &Shape,
    generator: &Generator,
) -> anyhow::Result<()> {
    let mut waiting: HashMap<SessionId, ()> = cast
        .speakers
        .iter()
        .chain(&cast.listeners)
        .map(|(person, _)| (person.session, ()))
        .collect();
    let everybody = waiting.len();
    let mut live = 0;
    let viewers = match shape.traffic {
        Traffic::Voice(_) => 0,
        Traffic::Video { .. } => cast.listeners.len(),
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !waiting.is_empty() || live < viewers {
        let item = tokio::time::timeout_at(deadline, news.recv()).await.with_context(|| {
            format!("{} of {everybody} people did not connect, {live} see", waiting.len())
        })?;
        match item.context("the node ended")? {
            News::Connected(session) => {
                waiting.remove(&session);
                if waiting.is_empty() && viewers > 0 {
                    watch(node, cast, shape).await?;
                    generator.speak(cast.speakers.len());
                }
            }
            News::Live => live += 1,
            News::Refused(reason) => bail!("the node refused a session: {reason}"),
        }
    }
    generator.speak(0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}

/// Everybody watches the screen of the room's first speaker.
async fn watch(node: &NodeProcess, cast: &Cast, shape: &Shape) -> anyhow::Result<()> {
    for (number, (person, _)) in cast.listeners.iter().enumerate() {
        let room = number / usize::from(shape.listeners);
        let (publisher, _) = cast.speakers.get(room).context("every room has a publisher")?;
        let view =
            View { source: publisher.session.source(), kind: SourceKind::Screen, height: None };
        let message = ToNode::View { session: person.session, slot: 0, view: Some(view) };
        node.to_node.send(message).await.context("the node ended")?;
    }
    Ok(())
}

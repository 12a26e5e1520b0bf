//! `hype bench idle`: how much memory a node needs for people who are connected and silent. Starts
//! a real node process alone, connects peers through real ICE and DTLS, and reads the process's
//! resident memory before and after. It never counts the memory of the clients.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hype_protocol::bench::Started;
use hype_protocol::id::{SessionId, UserId};
use hype_protocol::observation::{FromNode, Keying, OpenSession, ToNode, VoiceFlags};
use hype_protocol::secret::{BootKeys, SrtpProfile};
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::browser::{self, Browser, Certificate};
use crate::ice::Credentials;
use crate::machine::Machine;
use crate::node_process::{self, NodeProcess};

/// Handshakes under way at once.
const AT_ONCE: usize = 32;
/// How long the node gets to say that the last ones are connected, and then to come to rest: its
/// statistics go out every 2 s.
const LAST: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(5);
/// Peers from one loopback address: it has fewer ports than people may come.
const PER_ADDRESS: u32 = 10_000;
/// The client's half of the ICE user name.
const UFRAG: &str = "idle";

/// What to load.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// People who connect, 1–50000.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub people: u32,
    /// Rooms that they are spread over, 1–10000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rooms: u32,
    /// Workers of the node; by default all cores but one.
    #[arg(long)]
    pub workers: Option<u16>,
    /// How the node's datagrams come and go: `auto`, `uring` or `socket`.
    #[arg(long, default_value = "auto")]
    pub io: String,
    /// One JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// What came of it. The keys of the JSON form are stable.
#[derive(Debug, Serialize)]
struct Report {
    /// Who connected.
    people: u32,
    rooms: u32,
    /// Who did not.
    failed: u32,
    /// What DTLS agreed on.
    profile: Option<SrtpProfile>,
    /// From the first to the last, ICE and DTLS, clients on the same machine.
    handshakes_per_second: f64,
    /// Resident memory of the node's process with all of them connected and at rest.
    rss_bytes: u64,
    /// All of it by person: a node without anybody counts, too.
    rss_bytes_per_peer: f64,
    /// Before the first one came.
    rss_empty_bytes: u64,
    /// What each one added.
    added_bytes_per_peer: f64,
    machine: Machine,
}

/// Runs it; prints the result to standard output.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let report = crate::until_stopped(measure(&options)).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    if report.failed > 0 {
        bail!("{} people did not get connected", report.failed);
    }
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let machine = Machine::read();
    let mut command = node_process::command()?;
    command.args(["--udp-port", "0", "--announce", "127.0.0.1", "--io", &options.io]);
    command.args(["--rooms", &options.rooms.to_string()]);
    command.args(["--max-peers", &options.people.div_ceil(options.rooms).to_string()]);
    command.args(["--max-sessions", &options.people.to_string()]);
    if let Some(workers) = options.workers {
        command.args(["--workers", &workers.to_string()]);
    }
    let mut node = NodeProcess::spawn(&mut command).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rss_empty_bytes = node.rss_bytes()?;

    let began = Instant::now();
    let (replaced, _) = mpsc::channel(1);
    let (_, nothing) = mpsc::channel(1);
    let to_node = std::mem::replace(&mut node.to_node, replaced);
    let mut from_node = std::mem::replace(&mut node.from_node, nothing);
    let connected: Arc<Mutex<HashSet<SessionId>>> = Arc::default();
    let seen = Arc::clone(&connected);
    let listening = tokio::spawn(async move {
        while let Some(message) = from_node.recv().await {
            if let FromNode::Session(status) = message
                && status.connected
            {
                seen.lock().await.insert(status.session);
            }
        }
    });
    let people = connect_all(options.people, &node.started, &node.keys, &to_node).await?;
    let handshakes = began.elapsed();
    let deadline = Instant::now() + LAST;
    while connected.lock().await.len() < people.staying.len() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("{} connected; the node comes to rest", people.staying.len());
    tokio::time::sleep(REST).await;
    let rss_bytes = node.rss_bytes()?;
    let count = u32::try_from(connected.lock().await.len()).unwrap_or(u32::MAX);
    drop(to_node);
    node.stop().await?;
    listening.abort();
    let per_peer = |bytes: u64| bytes as f64 / f64::from(count.max(1));
    Ok(Report {
        people: count,
        rooms: options.rooms,
        failed: options.people.saturating_sub(count),
        profile: people.profile,
        handshakes_per_second: f64::from(count) / handshakes.as_secs_f64(),
        rss_bytes,
        rss_bytes_per_peer: per_peer(rss_bytes),
        rss_empty_bytes,
        added_bytes_per_peer: per_peer(rss_bytes.saturating_sub(rss_empty_bytes)),
        machine,
    })
}

/// Those who are connected. Dropping it ends them all.
struct People {
    staying: JoinSet<()>,
    profile: Option<SrtpProfile>,
}

async fn connect_all(
    count: u32,
    started: &Started,
    keys: &BootKeys,
    to_node: &mpsc::Sender<ToNode>,
) -> anyhow::Result<People> {
    let certificate = Arc::new(Certificate::generate()?);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut connecting = JoinSet::new();
    let mut people = People { staying: JoinSet::new(), profile: None };
    let mut take = |outcome: anyhow::Result<Browser>| match outcome {
        Ok(browser) => {
            people.profile = Some(browser.profile);
            people.staying.spawn(browser.stay());
            if people.staying.len().is_multiple_of(500) {
                eprintln!("{} of {count} connected", people.staying.len());
            }
        }
        Err(error) => eprintln!("not connected: {error:#}"),
    };
    for number in 0..count {
        let turn = Arc::clone(&turns).acquire_owned().await?;
        let open = open(number, started, &certificate);
        let node = started.live.workers.get(usize::from(open.worker.0));
        let to = *node.and_then(|addresses| addresses.first()).context("a worker's address")?;
        let ufrag = keys.ufrag(open.worker, open.session);
        let credentials = Credentials::new(&ufrag, keys.ice_password(open.session), UFRAG);
        let certificate = Arc::clone(&certificate);
        let fingerprint = started.live.fingerprint.clone();
        let last = 1 + u8::try_from(number / PER_ADDRESS).unwrap_or(0);
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        to_node.send(ToNode::Open(Box::new(open))).await.context("the node has ended")?;
        connecting.spawn(async move {
            let _turn = turn;
            Browser::connect(from, to, credentials, &certificate, &fingerprint).await
        });
        while let Some(outcome) = connecting.try_join_next() {
            take(outcome?);
        }
    }
    while let Some(outcome) = connecting.join_next().await {
        take(outcome?);
    }
    Ok(people)
}

fn open(number: u32, started: &Started, certificate: &Certificate) -> OpenSession {
    let rooms = &started.rooms;
    let assignment = &rooms[number as usize % rooms.len()];
    OpenSession {
        boot: started.live.boot,
        room: assignment.room,
        generation: assignment.generation,
        worker: assignment.worker,
        // The low half, by which a room tells people apart, never comes twice.
        session: SessionId(u64::from(rand::random::<u32>()) << 32 | u64::from(number + 1)),
        user: UserId(u64::from(number) + 1),
        remote_ufrag: UFRAG.to_owned(),
        keying: Keying::Dtls { fingerprint: certificate.fingerprint },
        flags: VoiceFlags::default(),
        media: browser::media(),
    }
}

fn print(report: &Report) {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("people, rooms         {}, {}", report.people, report.rooms);
    println!("not connected         {}", report.failed);
    println!("handshakes            {:.0}/s ({:?})", report.handshakes_per_second, report.profile);
    println!("resident, empty       {:.1} MiB", mebibytes(report.rss_empty_bytes));
    println!("resident, all there   {:.1} MiB", mebibytes(report.rss_bytes));
    println!("of it by person       {:.2} KiB", report.rss_bytes_per_peer / 1024.0);
    println!("added by each         {:.2} KiB", report.added_bytes_per_peer / 1024.0);
    println!("machine               {}", report.machine);
}

//! `hype bench voice`: one channel of native clients, some of whom speak. Checks that everybody
//! hears each speaker but himself, exactly once and complete; reports rates and latency.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hype_protocol::gateway::{Event, JoinedNative, Request};
use hype_protocol::id::ChannelId;
use hype_protocol::secret::SrtpProfile;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::api::Account;
use crate::gateway::Gateway;
use crate::machine::Machine;
use crate::peer::{PACKET_TIME, Peer};
use crate::suite;
use crate::tally::percentile;

/// What to load.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The server under test.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// People in the channel, 2–1000.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub people: u16,
    /// How many of them speak all the time.
    #[arg(long, default_value_t = 3)]
    pub speakers: u16,
    /// How long they speak, in seconds, 1–600.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// `gcm`, `gcm256` or `cm`.
    #[arg(long, default_value = "gcm", value_parser = suite::parse)]
    pub suite: SrtpProfile,
    /// One JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// What came of it. The keys of the JSON form are stable.
#[derive(Debug, Serialize)]
struct Report {
    people: usize,
    speakers: usize,
    seconds: f64,
    /// Packets that listeners should have received: each speaker's by everybody else.
    expected: u64,
    received: u64,
    lost: u64,
    duplicates: u64,
    bad_packets: u64,
    own_voice: u64,
    received_pps: f64,
    longest_gap_ms: f64,
    /// From the speaker's send call to the listener's receive call, through the node.
    latency_us: Latency,
    machine: Machine,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: u32,
    p99: u32,
    p999: u32,
    max: u32,
}

/// How often, and how many times, it is looked for what is still under way at the end. Looks are
/// counted, not time: a machine that stands still counts none.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 40;

struct Client {
    gateway: Gateway,
    events: mpsc::UnboundedReceiver<Event>,
    peer: Peer,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    if options.speakers > options.people {
        bail!("--speakers must be at most --people ({})", options.people);
    }
    let (machine, epoch) = (Machine::read(), Instant::now());
    let clients = gather(&options, epoch).await?;
    let speakers = usize::from(options.speakers);
    for client in &clients[..speakers] {
        client.peer.speak(true);
    }
    // Let every stream be known everywhere before counting.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first: Vec<u32> = clients[..speakers].iter().map(|client| client.peer.sent()).collect();
    let began = Instant::now();
    tokio::select! {
        () = show_progress(&clients, options.seconds) => {}
        () = crate::stop_signal() => eprintln!("stopped early"),
    }
    let last: Vec<u32> = clients[..speakers].iter().map(|client| client.peer.sent()).collect();
    let elapsed = began.elapsed();
    for client in &clients {
        client.peer.speak(false);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..LOOKS {
        if missing(&clients, &first, &last) == 0 {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let report = report(&clients, &first, &last, elapsed, machine);
    for client in clients {
        drop(client.events);
        drop(client.gateway);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    if report.lost + report.duplicates + report.bad_packets + report.own_voice > 0 {
        bail!("not every packet came exactly once to everybody it should");
    }
    Ok(())
}

/// Says once a second, for so many of them, how much came.
async fn show_progress(clients: &[Client], seconds: u64) {
    for second in 1..=seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut packets = 0;
        for client in clients {
            client.peer.tally(|tally| {
                packets += tally.heard.values().map(|heard| heard.packets).sum::<u64>();
            });
        }
        eprintln!("{second}/{seconds} s: {packets} packets came so far");
    }
}

async fn gather(options: &Options, epoch: Instant) -> anyhow::Result<Vec<Client>> {
    let run: u32 = rand::random();
    let urls: Arc<[String]> = Arc::from([options.url.clone()]);
    let owner = Account::register(&urls, &format!("bench {run:08x} 0")).await?;
    let guild = owner.create_guild(&format!("bench {run:08x}")).await?;
    let channel = owner.create_voice(guild.id, "bench").await?;
    let code = owner.invite(guild.id).await?;
    let mut clients = vec![join(options, &owner, channel.id, epoch).await?];
    for number in 1..options.people {
        let account = Account::register(&urls, &format!("bench {run:08x} {number}")).await?;
        account.accept(&code).await?;
        let client = join(options, &account, channel.id, epoch).await;
        clients.push(client.with_context(|| format!("person {number}"))?);
        if number % 10 == 9 {
            eprintln!("{} of {} joined", number + 1, options.people);
        }
    }
    Ok(clients)
}

async fn join(
    options: &Options,
    account: &Account,
    channel_id: ChannelId,
    epoch: Instant,
) -> anyhow::Result<Client> {
    let (sender, events) = mpsc::unbounded_channel();
    let gateway = Gateway::connect(&options.url, account.token.clone(), sender).await?;
    let ufrag = format!("b{:07x}", account.user.id.0 & 0xfff_ffff);
    let request = Request::VoiceJoinNative {
        channel_id,
        self_mute: false,
        self_deaf: false,
        profile: options.suite,
        ufrag: ufrag.clone(),
    };
    let joined: JoinedNative = gateway.request(request).await.context("voice.join_native")?;
    let peer = Peer::connect(joined, &ufrag, epoch).await?;
    Ok(Client { gateway, events, peer })
}

/// Packets that did not come yet.
fn missing(clients: &[Client], first: &[u32], last: &[u32]) -> u64 {
    let mut missing = 0;
    for (listener, client) in clients.iter().enumerate() {
        client.peer.tally(|tally| {
            for (speaker, (first, last)) in first.iter().zip(last).enumerate() {
                let heard = tally.heard.get(&clients[speaker].peer.source());
                if speaker != listener {
                    let all = u64::from(last - first);
                    missing += heard.map_or(all, |heard| heard.missing(*first, *last));
                }
            }
        });
    }
    missing
}

fn report(
    clients: &[Client],
    first: &[u32],
    last: &[u32],
    elapsed: Duration,
    machine: Machine,
) -> Report {
    let mut latencies = Vec::new();
    let mut report = Report {
        people: clients.len(),
        speakers: first.len(),
        seconds: elapsed.as_secs_f64(),
        expected: 0,
        received: 0,
        lost: 0,
        duplicates: 0,
        bad_packets: 0,
        own_voice: 0,
        received_pps: 0.0,
        longest_gap_ms: 0.0,
        latency_us: Latency { p50: 0, p99: 0, p999: 0, max: 0 },
        machine,
    };
    for (listener, client) in clients.iter().enumerate() {
        client.peer.tally(|tally| {
            latencies.append(&mut tally.latencies_us);
            report.bad_packets += tally.bad;
            for (speaker, (first, last)) in first.iter().zip(last).enumerate() {
                let heard = tally.heard.remove(&clients[speaker].peer.source()).unwrap_or_default();
                if speaker == listener {
                    report.own_voice += heard.packets;
                    continue;
                }
                let expected = u64::from(last - first);
                let missing = heard.missing(*first, *last);
                report.expected += expected;
                report.received += expected - missing;
                report.lost += missing;
                report.duplicates += heard.duplicates;
                let gap = heard.longest_gap.as_secs_f64() * 1e3;
                report.longest_gap_ms = report.longest_gap_ms.max(gap);
            }
        });
    }
    latencies.sort_unstable();
    report.received_pps = report.received as f64 / report.seconds;
    report.latency_us = Latency {
        p50: percentile(&latencies, 0.5),
        p99: percentile(&latencies, 0.99),
        p999: percentile(&latencies, 0.999),
        max: latencies.last().copied().unwrap_or(0),
    };
    report
}

fn print(report: &Report) {
    let nominal =
        report.speakers as f64 * (report.people as f64 - 1.0) * (1.0 / PACKET_TIME.as_secs_f64());
    println!("people, speakers      {}, {}", report.people, report.speakers);
    println!("measured              {:.1} s", report.seconds);
    println!("packets expected      {} ({nominal:.0}/s)", report.expected);
    println!("packets received      {} ({:.0}/s)", report.received, report.received_pps);
    println!(
        "lost, doubled, bad    {}, {}, {}",
        report.lost, report.duplicates, report.bad_packets
    );
    println!("own voice heard       {} packets", report.own_voice);
    println!("longest gap           {:.1} ms", report.longest_gap_ms);
    let Latency { p50, p99, p999, max } = report.latency_us;
    println!("latency p50/p99/p99.9 {p50} / {p99} / {p999} us, at most {max} us");
    println!("{}", report.machine);
}

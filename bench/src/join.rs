//! `hype bench join`: how fast people get into a voice channel through the public API of a running
//! server, and how soon they hear somebody who speaks there. Accounts are made beforehand and not
//! counted: hashing their passwords is slow on purpose.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hype_protocol::gateway::{JoinedNative, Request};
use hype_protocol::id::ChannelId;
use hype_protocol::secret::SrtpProfile;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::Account;
use crate::gateway::Gateway;
use crate::machine::Machine;
use crate::peer::Peer;
use crate::tally::percentile;

/// How long somebody waits to hear the speaker.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether something was heard; when that was is known exactly.
const LOOK: Duration = Duration::from_millis(10);

/// What to load.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The server under test.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// People who join, 1–999; one more speaks.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=999))]
    pub people: u16,
    /// How many join at the same time, 1–999.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=999))]
    pub at_once: u16,
    /// One JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// What came of it. The keys of the JSON form are stable.
#[derive(Debug, Serialize)]
struct Report {
    /// Who joined and heard the speaker.
    people: usize,
    /// Who did not.
    failed: usize,
    at_once: u16,
    /// From the first request to the last first packet.
    joins_per_second: f64,
    /// From the request to its reply.
    join_ms: Spread,
    /// From the request to the first packet heard: ICE, keys and the speaker's next packet
    /// included, of which there is one every 20 ms.
    first_packet_ms: Spread,
    machine: Machine,
}

#[derive(Debug, Serialize)]
struct Spread {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        let ms = |micros: u32| f64::from(micros) / 1e3;
        Self {
            p50: ms(percentile(&times, 0.5)),
            p99: ms(percentile(&times, 0.99)),
            max: ms(times.last().copied().unwrap_or(0)),
        }
    }
}

/// Somebody who is signed in, online, and in no channel yet.
struct Waiting {
    gateway: Gateway,
    ufrag: String,
}

/// Somebody who is in. Dropping it ends the connection.
struct Inside {
    _peer: Peer,
    _waiting: Waiting,
    joined: Duration,
    heard: Duration,
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
        bail!("{} people did not get in or heard nothing", report.failed);
    }
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let machine = Machine::read();
    let epoch = Instant::now();
    let run: u32 = rand::random();
    let urls: Arc<[String]> = Arc::from([options.url.clone()]);
    let name = |number: u16| format!("bench {run:08x} {number}");
    let owner = Account::register(&urls, &name(0)).await?;
    let guild = owner.create_guild(&format!("bench {run:08x}")).await?;
    let channel = owner.create_voice(guild.id, "bench").await?.id;
    let code = owner.invite(guild.id).await?;
    let speaker = wait(options, &owner).await?;
    let speaker = enter(speaker, channel, epoch).await.context("the speaker")?;
    speaker.1.speak(true);

    let mut waiting = VecDeque::new();
    for number in 1..=options.people {
        let account = Account::register(&urls, &name(number)).await?;
        account.accept(&code).await?;
        waiting.push_back(wait(options, &account).await?);
        if number % 50 == 0 {
            eprintln!("{number} of {} are online", options.people);
        }
    }
    let began = Instant::now();
    let (inside, failed) = let_in(waiting, options.at_once, channel, epoch).await?;
    let elapsed = began.elapsed();
    let micros = |time: fn(&Inside) -> Duration| {
        let times = inside.iter().map(time);
        times.map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX)).collect()
    };
    Ok(Report {
        people: inside.len(),
        failed,
        at_once: options.at_once,
        joins_per_second: inside.len() as f64 / elapsed.as_secs_f64(),
        join_ms: Spread::of(micros(|inside| inside.joined)),
        first_packet_ms: Spread::of(micros(|inside| inside.heard)),
        machine,
    })
}

async fn wait(options: &Options, account: &Account) -> anyhow::Result<Waiting> {
    // Nobody listens to events: there are as many a person as people who join.
    let (sender, _) = mpsc::unbounded_channel();
    let gateway = Gateway::connect(&options.url, account.token.clone(), sender).await?;
    let ufrag = format!("b{:07x}", account.user.id.0 & 0xfff_ffff);
    Ok(Waiting { gateway, ufrag })
}

/// Asks to join, then connects; also tells how long the reply took.
async fn enter(
    waiting: Waiting,
    channel_id: ChannelId,
    epoch: Instant,
) -> anyhow::Result<(Waiting, Peer, Duration)> {
    let request = Request::VoiceJoinNative {
        channel_id,
        self_mute: false,
        self_deaf: false,
        profile: SrtpProfile::AeadAes128Gcm,
        ufrag: waiting.ufrag.clone(),
    };
    let asked = Instant::now();
    let joined: JoinedNative =
        waiting.gateway.request(request).await.context("voice.join_native")?;
    let replied = asked.elapsed();
    let peer = Peer::connect(joined, &waiting.ufrag, epoch).await?;
    Ok((waiting, peer, replied))
}

/// Lets everybody in, some at the same time; returns also how many failed.
async fn let_in(
    mut waiting: VecDeque<Waiting>,
    at_once: u16,
    channel: ChannelId,
    epoch: Instant,
) -> anyhow::Result<(Vec<Inside>, usize)> {
    let (mut inside, mut failed) = (Vec::new(), 0);
    let mut entering = JoinSet::new();
    loop {
        while entering.len() < usize::from(at_once)
            && let Some(next) = waiting.pop_front()
        {
            entering.spawn(hear(next, channel, epoch));
        }
        match entering.join_next().await {
            Some(Ok(Ok(one))) => inside.push(one),
            Some(Ok(Err(error))) => {
                failed += 1;
                eprintln!("not in: {error:#}");
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Ok((inside, failed)),
        }
        let done = inside.len() + failed;
        if done.is_multiple_of(50) {
            eprintln!("{done} joined");
        }
    }
}

async fn hear(waiting: Waiting, channel: ChannelId, epoch: Instant) -> anyhow::Result<Inside> {
    let asked = Instant::now();
    let (waiting, peer, joined) = enter(waiting, channel, epoch).await?;
    while asked.elapsed() < PATIENCE {
        if let Some(first) = peer.tally(|tally| tally.first_at) {
            let heard = first.duration_since(asked);
            return Ok(Inside { _peer: peer, _waiting: waiting, joined, heard });
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("nothing heard within {PATIENCE:?}")
}

fn print(report: &Report) {
    println!("joined, failed        {}, {}", report.people, report.failed);
    println!("joins                 {:.0}/s, {} at once", report.joins_per_second, report.at_once);
    let Spread { p50, p99, max } = report.join_ms;
    println!("reply p50/p99         {p50:.1} / {p99:.1} ms, at most {max:.1} ms");
    let Spread { p50, p99, max } = report.first_packet_ms;
    println!("first packet p50/p99  {p50:.1} / {p99:.1} ms, at most {max:.1} ms");
    println!("machine               {}", report.machine);
}

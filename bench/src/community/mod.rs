//! `hype bench community`: members of one guild chat and talk while whoever runs it kills replicas.
//! It fails unless every acknowledged message is stored once and shown once and in order by each
//! client, and unless people in voice heard each other without a gap.

mod member;
mod seen;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hype_protocol::gateway::ChannelKind;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::api::Account;
use crate::machine::Machine;
use crate::peer::Peer;
use member::{Member, Voice};
use seen::{Counts, Seen};

/// How long the last messages may take to reach everybody, and people to get ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// A longer silence between two packets of somebody who speaks is a gap that people hear.
const AUDIBLE: Duration = Duration::from_millis(1000);

/// What to do.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The replicas; may be given several times.
    #[arg(long, required = true)]
    pub url: Vec<String>,
    /// Members, 2–2,000.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..=2000))]
    pub people: u16,
    /// For how long they chat, in seconds, 1–3,600.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// How many of them are in voice; by default all. 0 needs no node.
    #[arg(long)]
    pub voice: Option<u16>,
    /// How many of those speak all the time.
    #[arg(long, default_value_t = 2)]
    pub speakers: u16,
    /// Messages of each member in a minute, 1–60.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub per_minute: u64,
    /// One JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// What came of it. The keys of the JSON form are stable.
#[derive(Debug, Serialize)]
struct Report {
    people: usize,
    seconds: f64,
    /// Messages that a replica acknowledged.
    acknowledged: usize,
    /// Messages that none acknowledged: they may have been stored or not.
    unanswered: u64,
    /// Acknowledged messages that are not stored.
    lost: u64,
    /// Messages that are stored twice.
    stored_twice: u64,
    /// Acknowledged messages that a client did not show, over all clients.
    not_shown: u64,
    #[serde(flatten)]
    counts: Counts,
    voice: VoiceReport,
    machine: Machine,
}

#[derive(Debug, Default, Serialize)]
struct VoiceReport {
    people: usize,
    speakers: usize,
    /// Packets that listeners should have received.
    expected: u64,
    lost: u64,
    longest_gap_ms: f64,
    /// Listeners who heard a speaker fall silent for a second or more.
    gaps: u64,
}

impl Report {
    fn faults(&self) -> u64 {
        let Counts { doubled, misordered, voice_ended, .. } = self.counts;
        let messages = self.lost + self.stored_twice + self.not_shown + doubled + misordered;
        messages + voice_ended + self.voice.gaps
    }
}

/// Runs it; prints the result to standard output.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let report = crate::until_stopped(measure(&options)).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    if report.faults() > 0 {
        bail!("not everything came once and in order to everybody");
    }
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let machine = Machine::read();
    let (members, peers) = gather(options).await?;
    eprintln!("{} members are there; chatting for {} s", members.len(), options.seconds);
    let speakers = peers.len().min(usize::from(options.speakers));
    peers[..speakers].iter().for_each(|peer| peer.speak(true));
    // ICE and the choice of speakers settle.
    sleep(Duration::from_secs(u64::from(speakers > 0))).await;
    for peer in &peers {
        peer.tally(|tally| *tally = crate::tally::Tally::default());
    }
    let first: Vec<u32> = peers[..speakers].iter().map(Peer::sent).collect();

    let began = Instant::now();
    let (acknowledged, unanswered) = chat(options, &members).await;
    let elapsed = began.elapsed();
    let last: Vec<u32> = peers[..speakers].iter().map(Peer::sent).collect();
    sleep(Duration::from_millis(500)).await;
    let voice = heard(&peers, &first, &last);

    let waited = Instant::now();
    let missing = |member: &Member| member.seen().missing(&acknowledged);
    while waited.elapsed() < PATIENCE && members.iter().any(|member| missing(member) > 0) {
        sleep(Duration::from_millis(200)).await;
    }
    let not_shown = members.iter().map(missing).sum();
    let (lost, stored_twice) = stored(&members[0], &acknowledged).await?;
    let mut counts = Counts::default();
    for member in &members {
        counts.add(&member.seen().counts);
    }
    Ok(Report {
        people: members.len(),
        seconds: elapsed.as_secs_f64(),
        acknowledged: acknowledged.len(),
        unanswered,
        lost,
        stored_twice,
        not_shown,
        counts,
        voice,
        machine,
    })
}

/// Makes accounts and a guild; everybody is online when it returns. Their tasks end with the run.
async fn gather(options: &Options) -> anyhow::Result<(Vec<Member>, Vec<Peer>)> {
    let run: u32 = rand::random();
    let urls: Arc<[String]> =
        options.url.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
    let http = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(5))
        .build()?;
    let owner = Account::register(&urls, &format!("bench {run:08x} 0")).await?;
    let guild = owner.create_guild(&format!("bench {run:08x}")).await?;
    let text = guild.channels.iter().find(|channel| channel.kind == ChannelKind::Text);
    let channel = text.context("a new guild has a text channel")?.id;
    let voice = owner.create_voice(guild.id, "bench").await?.id;
    let code = owner.invite(guild.id).await?;
    let in_voice = options.voice.unwrap_or(options.people).min(options.people);
    let epoch = Instant::now();
    let (mut members, mut peers) = (Vec::new(), Vec::new());
    for number in 0..options.people {
        let token = if number == 0 {
            owner.token.clone()
        } else {
            let account = Account::register(&urls, &format!("bench {run:08x} {number}")).await?;
            account.accept(&code).await?;
            account.token
        };
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let member = Member { urls: urls.clone(), http: http.clone(), token, channel, seen };
        let (ready, is_ready) = oneshot::channel();
        let ufrag = format!("c{run:04x}{number:04x}");
        let (joined, is_joined) = oneshot::channel();
        let joins = number < in_voice;
        let voice = joins.then(|| Voice { channel: voice, ufrag: ufrag.clone(), joined });
        tokio::spawn(member.clone().stay(number.into(), voice, ready));
        timeout(PATIENCE, is_ready).await.context("the gateway did not become ready")??;
        if joins {
            let joined = timeout(PATIENCE, is_joined).await.context("voice was not joined")??;
            peers.push(Peer::connect(joined, &ufrag, epoch).await?);
        }
        members.push(member);
        if number % 50 == 49 {
            eprintln!("{} of {} are online", number + 1, options.people);
        }
    }
    Ok((members, peers))
}

/// Everybody writes for a while; the acknowledged ids, and how many were not acknowledged.
async fn chat(options: &Options, members: &[Member]) -> (Vec<u64>, u64) {
    let acknowledged: Arc<Mutex<Vec<u64>>> = Arc::default();
    let unanswered = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let pause_ms = 60_000 / options.per_minute;
    let mut writers = JoinSet::new();
    for (number, member) in members.iter().cloned().enumerate() {
        let (acknowledged, unanswered, over) =
            (acknowledged.clone(), unanswered.clone(), over.clone());
        writers.spawn(async move {
            let mut turn = number;
            for count in 0.. {
                sleep(Duration::from_millis(rand::random_range(0..2 * pause_ms))).await;
                if over.load(Ordering::Relaxed) {
                    return;
                }
                match member.write(turn, &format!("{number}/{count}")).await {
                    Some(id) => {
                        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                    }
                    None => {
                        unanswered.fetch_add(1, Ordering::Relaxed);
                        turn += 1;
                    }
                }
            }
        });
    }
    sleep(Duration::from_secs(options.seconds)).await;
    over.store(true, Ordering::Relaxed);
    // Who is writing now finishes; who is waiting to has nothing under way.
    let _ = timeout(Duration::from_millis(2 * pause_ms + 6000), async {
        while writers.join_next().await.is_some() {}
    })
    .await;
    let ids = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (ids, unanswered.load(Ordering::Relaxed))
}

/// How many acknowledged messages are not stored, and how many are twice.
async fn stored(member: &Member, acknowledged: &[u64]) -> anyhow::Result<(u64, u64)> {
    let mut found: HashMap<u64, u64> = HashMap::new();
    let mut texts: HashMap<String, u64> = HashMap::new();
    let mut before = String::new();
    loop {
        let page = member.page(&before).await?;
        let Some(oldest) = page.iter().map(|message| message.id.0).min() else { break };
        for message in page {
            *found.entry(message.id.0).or_default() += 1;
            *texts.entry(message.content).or_default() += 1;
        }
        before = format!("before={oldest}");
    }
    let lost = acknowledged.iter().filter(|id| !found.contains_key(id)).count();
    let twice = texts.values().chain(found.values()).filter(|count| **count > 1).count();
    Ok((lost as u64, twice as u64))
}

fn heard(peers: &[Peer], first: &[u32], last: &[u32]) -> VoiceReport {
    let mut report =
        VoiceReport { people: peers.len(), speakers: first.len(), ..VoiceReport::default() };
    for (listener, peer) in peers.iter().enumerate() {
        peer.tally(|tally| {
            for (speaker, (first, last)) in first.iter().zip(last).enumerate() {
                if speaker == listener {
                    continue;
                }
                let heard = tally.heard.remove(&peers[speaker].source()).unwrap_or_default();
                report.expected += u64::from(last - first);
                report.lost += heard.missing(*first, *last);
                let gap_ms = heard.longest_gap.as_secs_f64() * 1e3;
                report.longest_gap_ms = report.longest_gap_ms.max(gap_ms);
                let silent = heard.packets == 0 && last > first;
                report.gaps += u64::from(silent || heard.longest_gap >= AUDIBLE);
            }
        });
    }
    report
}

fn print(report: &Report) {
    let Counts { cuts, resumed, reloaded, repeated, doubled, misordered, voice_ended } =
        report.counts;
    println!("people                 {}", report.people);
    println!("chatted                {:.1} s", report.seconds);
    println!(
        "acknowledged           {} messages, {} unanswered",
        report.acknowledged, report.unanswered
    );
    println!("lost, stored twice     {}, {}", report.lost, report.stored_twice);
    println!("not shown              {}", report.not_shown);
    println!("doubled, misordered    {doubled}, {misordered}");
    println!("cuts                   {cuts}: {resumed} resumed, {reloaded} reloaded");
    println!("known by position      {repeated}");
    let voice = &report.voice;
    println!("voice                  {} people, {} speak", voice.people, voice.speakers);
    println!("packets lost           {} of {}", voice.lost, voice.expected);
    println!("longest gap            {:.1} ms, {} over 1 s", voice.longest_gap_ms, voice.gaps);
    println!("voice sessions ended   {voice_ended}");
    println!("machine                {}", report.machine);
}

//! Guilds that move between two PostgreSQL databases and back while people write in them, by real
//! processes: two replicas, and `hype shard move`, killed at one step or another before it is run to
//! its end. What was acknowledged is there once and in order, and nobody waits for long.

#[path = "../protocol/tests/etcd_process/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod etcd_process;
#[path = "../controlplane/tests/nats_process/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod nats_process;
#[path = "../controlplane/tests/postgres_process/mod.rs"]
mod postgres_process;
mod replica;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hype_bench::api::Account;
use hype_control::store::shard_copy;
use hype_protocol::gateway::{ChannelKind, Message};
use hype_protocol::id::{ChannelId, GuildId};
use replica::{PATIENCE, Replica};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::sleep;

/// When a first move of each guild is killed: so long after it has said this.
const DEATHS: [(&str, Duration); 5] = [
    ("", Duration::from_millis(1000)),
    ("all replicas look into the directory", Duration::from_millis(30)),
    ("all is copied", Duration::ZERO),
    ("the guild has moved", Duration::ZERO),
    ("the directory says so", Duration::ZERO),
];
/// Who writes in each guild.
const WRITERS: usize = 2;
/// How long a guild is left as a killed move left it: longer than a replica remembers where it was.
const LIMBO: Duration = Duration::from_millis(3500);
/// Nobody waits longer than 2 s on a machine that is not busy otherwise.
const LONGEST_WRITE: Duration = Duration::from_secs(10);
/// Shorter than a guild is in limbo, with the beginning of the next move.
const LONGEST_READ: Duration = Duration::from_secs(6);

/// A variable of the environment and its value.
type Setting = (&'static str, String);

fn shard_command(stores: &[Setting], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hype"));
    command
        .arg("shard")
        .args(arguments)
        .args(["--for", "control"])
        .envs(stores.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Ends with the test, however it does.
struct Mover(Child);

impl Drop for Mover {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Mover {
    fn start(stores: &[Setting], guild: GuildId, shard: usize) -> Self {
        let arguments = ["move", &guild.to_string(), &shard.to_string()];
        Self(shard_command(stores, &arguments).spawn().expect("it starts"))
    }

    /// Waits until it says something and a little longer, then kills it.
    fn die(mut self, last_words: &str, later: Duration) {
        let told = BufReader::new(self.0.stderr.take().expect("it is piped"));
        if !last_words.is_empty() {
            let mut lines = told.lines().map_while(Result::ok);
            assert!(lines.any(|line| line.contains(last_words)), "it ended before {last_words}");
        }
        std::thread::sleep(later);
    }

    fn finish(mut self) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().expect("it is ours") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "the move does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut told = String::new();
        self.0.stderr.take().expect("it is piped").read_to_string(&mut told).expect("text");
        assert!(status.success(), "{told}");
    }
}

/// Somebody who writes one message after another in one guild at one replica, and looks for each at
/// the other one.
struct Writer {
    account: Account,
    http: reqwest::Client,
    number: usize,
    channel: ChannelId,
    at: String,
    other: String,
}

/// What a writer has seen.
#[derive(Default)]
struct Seen {
    /// In order.
    acknowledged: Vec<(u64, String)>,
    /// Tries that were refused or failed.
    refused: u64,
    /// From the first try to the acknowledgement.
    writes: Vec<Duration>,
    /// From the acknowledgement until it was found at the other replica.
    reads: Vec<Duration>,
}

impl Writer {
    async fn write(self, over: Arc<AtomicBool>) -> Seen {
        let mut seen = Seen::default();
        while !over.load(Ordering::Relaxed) {
            let content = format!("{} {}", self.number, seen.acknowledged.len());
            let began = Instant::now();
            let id = loop {
                match self.send(&content).await {
                    Some(id) => break id,
                    None => seen.refused += 1,
                }
                assert!(began.elapsed() < PATIENCE, "{content} is not taken");
                sleep(Duration::from_millis(100)).await;
            };
            seen.writes.push(began.elapsed());
            let began = Instant::now();
            while !self.finds(id).await {
                assert!(began.elapsed() < PATIENCE, "{content} is not found");
                sleep(Duration::from_millis(100)).await;
            }
            seen.reads.push(began.elapsed());
            seen.acknowledged.push((id, content));
            sleep(Duration::from_millis(50)).await;
        }
        seen
    }

    /// The same request under the same key, as often as it is tried.
    async fn send(&self, content: &str) -> Option<u64> {
        let url = format!("{}/api/v1/channels/{}/messages", self.at, self.channel);
        let request = self.http.post(url).bearer_auth(self.account.token.now());
        let request = request.header("Idempotency-Key", content.replace(' ', "-"));
        let response = request.json(&json!({ "content": content })).send().await.ok()?;
        let message: Message = response.error_for_status().ok()?.json().await.ok()?;
        Some(message.id.0)
    }

    async fn finds(&self, id: u64) -> bool {
        let which = format!("after={}&limit=1", id - 1);
        let url = format!("{}/api/v1/channels/{}/messages?{which}", self.other, self.channel);
        let answer = self.http.get(url).bearer_auth(self.account.token.now()).send().await;
        let Ok(Ok(answer)) = answer.map(reqwest::Response::error_for_status) else { return false };
        let found: Vec<Message> = answer.json().await.unwrap_or_default();
        found.first().is_some_and(|message| message.id.0 == id)
    }
}

/// A guild that moves, and its owner.
struct Place {
    owner: Account,
    guild: GuildId,
    channel: ChannelId,
    home: usize,
}

impl Place {
    async fn all(&self) -> Vec<(u64, String)> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/channels/{}/messages?limit=100&after={after}", self.channel);
            let mut page: Vec<Message> =
                self.owner.call(Method::GET, &path, &Value::Null).await.expect("a page");
            page.sort_by_key(|message| message.id);
            let Some(last) = page.last() else { return all };
            after = last.id.0;
            all.extend(page.into_iter().map(|message| (message.id.0, message.content)));
        }
    }
}

/// How many rows of a guild a database has.
async fn rows(database: &str, guild: GuildId) -> i64 {
    let mut connection = PgConnection::connect(database).await.expect("it is there");
    let mut all = 0;
    let tables = shard_copy::tables().into_iter().map(|table| (table, "guild_id"));
    for (table, column) in tables.chain([("guilds", "id")]) {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} = {guild}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await
            .expect("it answers");
        all += count;
    }
    all
}

/// A first move is killed, a second one ends it, and a third one brings the guild back.
async fn there_and_back(stores: Vec<Setting>, shards: [String; 2], place: &Place, death: usize) {
    let (guild, home) = (place.guild, place.home);
    let (words, later) = DEATHS[death];
    let step = |target: usize, killed: bool| {
        let stores = stores.clone();
        tokio::task::spawn_blocking(move || {
            let mover = Mover::start(&stores, guild, target);
            if killed { mover.die(words, later) } else { mover.finish() }
        })
    };
    step(1 - home, true).await.expect("killed");
    sleep(LIMBO).await;
    step(1 - home, false).await.expect("moved");
    assert_eq!(rows(&shards[home], guild).await, 0, "nothing is left, killed at {words:?}");
    step(home, false).await.expect("moved back");
    assert_eq!(rows(&shards[1 - home], guild).await, 0, "nothing is left, killed at {words:?}");
}

fn guilds_by_shard(stores: &[Setting]) -> Vec<u64> {
    let output = shard_command(stores, &["list"]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).expect("text");
    let count = |line: &str| line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    told.lines().map(|line| count(line).expect("a number of guilds")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn guilds_move_there_and_back_while_people_write() {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().expect("nothing installed one before");
    let postgres = postgres_process::Postgres::start("-c fsync=off");
    let nats = nats_process::NatsProcess::start();
    let etcd = etcd_process::EtcdProcess::start(0);
    etcd.store().await;
    let accounts = postgres.database().await;
    let shards = [postgres.database().await, postgres.database().await];
    let stores = vec![
        ("HYPE_STORE_ACCOUNTS", accounts.clone()),
        ("HYPE_STORE_SHARDS", shards.join(",")),
        ("HYPE_BUS_NATS", nats.url()),
        ("HYPE_ETCD", etcd.endpoint()),
        ("HYPE_SECRETS_SEALING_KEY", "5a".repeat(32)),
        ("HYPE_LIMITS_MESSAGE_PER_MINUTE", "100000".to_owned()),
        ("HYPE_LIMITS_USER_PER_MINUTE", "100000".to_owned()),
    ];
    let mut replicas = [Replica::new("one", 1, &stores), Replica::new("two", 2, &stores)];
    replicas.iter_mut().for_each(Replica::start);

    let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("no TLS is needed");
    let over = Arc::new(AtomicBool::new(false));
    let (mut places, mut writers) = (Vec::new(), Vec::new());
    let mut directory = PgConnection::connect(&accounts).await.expect("it is there");
    for number in 0..DEATHS.len() {
        let (at, other) = (replicas[number % 2].url(), replicas[1 - number % 2].url());
        let both = [at.clone(), other.clone()].into();
        let owner = Account::register(&both, &format!("owner {number}")).await.expect("registered");
        let guild = owner.create_guild("moving").await.expect("a guild");
        let text = guild.channels.iter().find(|channel| channel.kind == ChannelKind::Text);
        let channel = text.expect("a new guild has one").id;
        let code = owner.invite(guild.id).await.expect("an invite");
        for writer in 0..WRITERS {
            let account = Account::register(&both, &format!("writer {number} {writer}")).await;
            let account = account.expect("registered");
            account.accept(&code).await.expect("joined");
            let (at, other, http) = (at.clone(), other.clone(), http.clone());
            let writer = Writer { account, http, number: writer, channel, at, other };
            writers.push((number, tokio::spawn(writer.write(Arc::clone(&over)))));
        }
        let sql = format!("SELECT shard FROM guild_directory WHERE guild_id = {}", guild.id);
        let home: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut directory)
            .await
            .expect("it lives somewhere");
        let home = usize::try_from(home).expect("a shard's number");
        places.push(Arc::new(Place { owner, guild: guild.id, channel, home }));
    }
    let before = guilds_by_shard(&stores);
    let moves: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(death, place)| {
            let (stores, shards, place) = (stores.clone(), shards.clone(), Arc::clone(place));
            tokio::spawn(async move { there_and_back(stores, shards, &place, death).await })
        })
        .collect();
    for each in moves {
        each.await.expect("there and back");
    }
    over.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for (number, writer) in writers {
        seen.push((number, writer.await.expect("everything was taken")));
    }
    assert_eq!(guilds_by_shard(&stores), before);
    let mut sent = 0;
    for (number, place) in places.iter().enumerate() {
        let stored = place.all().await;
        assert!(stored.is_sorted_by(|one, next| one.0 < next.0), "in order");
        let contents: HashSet<_> = stored.iter().map(|(_, content)| content).collect();
        assert_eq!(contents.len(), stored.len(), "each once");
        let of_it = seen.iter().filter(|(it, _)| *it == number);
        let mut acknowledged: Vec<_> =
            of_it.flat_map(|(_, seen)| seen.acknowledged.iter().cloned()).collect();
        acknowledged.sort();
        assert_eq!(stored, acknowledged, "all that was acknowledged, and nothing else");
        sent += stored.len();
    }
    assert!(sent > 100, "{sent}");
    let refused: u64 = seen.iter().map(|(_, seen)| seen.refused).sum();
    // Each writer's second slowest: a machine that stands still delays one of each at a time, a move
    // that holds a guild up all who write there again and again.
    let (write, slowest_write) = second_slowest(seen.iter().map(|(_, seen)| &seen.writes));
    let (read, slowest_read) = second_slowest(seen.iter().map(|(_, seen)| &seen.reads));
    println!(
        "{sent} messages, {refused} tries refused; the slowest was taken after {slowest_write:?}, \
         and found at the other replica {slowest_read:?} later"
    );
    assert!(write < LONGEST_WRITE, "{write:?}, {slowest_write:?}");
    assert!(read < LONGEST_READ, "{read:?}, {slowest_read:?}");
}

/// The longest of the lists' second longest times, and the longest of all.
fn second_slowest<'a>(lists: impl Iterator<Item = &'a Vec<Duration>>) -> (Duration, Duration) {
    let two = lists.map(|times| {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let mut down = sorted.into_iter().rev();
        let slowest = down.next().unwrap_or_default();
        (down.next().unwrap_or_default(), slowest)
    });
    two.fold(Default::default(), |worst: (Duration, Duration), (second, slowest)| {
        (worst.0.max(second), worst.1.max(slowest))
    })
}

//! Whoever may no longer speak is not heard any more: real people in a channel, one of whom speaks
//! while roles, overwrites and a moderator take that from him and give it back. Measured from the
//! moment a request is sent to the last packet that a listener got. One test at a time.

#[path = "../protocol/tests/etcd_process/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod etcd_process;
#[path = "../controlplane/tests/nats_process/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod nats_process;
#[path = "../controlplane/tests/postgres_process/mod.rs"]
mod postgres_process;
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod replica;
mod server;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hype_bench::api::Account;
use hype_bench::gateway::Gateway;
use hype_bench::peer::Peer;
use hype_protocol::gateway::{Event, Guild, JoinedNative, Request};
use hype_protocol::id::ChannelId;
use hype_protocol::permission::Permissions;
use hype_protocol::secret::SrtpProfile;
use replica::{Replica, free_address};
use reqwest::Method;
use serde_json::{Value, json};
use server::Server;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(60);
/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::const_new(());
/// How often each of the three is taken and given back.
const ROUNDS: usize = 5;
/// So many packets in a row that are sent and not heard: half a second.
const SILENT: u32 = 25;
/// For half of them, on a machine that is busy with other tests. On a quiet one all are below 500 ms.
const LONGEST: Duration = Duration::from_secs(3);

/// Somebody in voice. Events go unread, but somebody must be there for them.
struct Inside {
    account: Account,
    peer: Peer,
    _gateway: Gateway,
    _events: UnboundedReceiver<Event>,
}

async fn enter(url: &str, account: Account, channel_id: ChannelId, epoch: Instant) -> Inside {
    let (sender, events) = unbounded_channel();
    let gateway = Gateway::connect(url, account.token.clone(), sender).await.expect("online");
    let ufrag = format!("e{:07x}", account.user.id.0 & 0xfff_ffff);
    let request = Request::VoiceJoinNative {
        channel_id,
        self_mute: false,
        self_deaf: false,
        profile: SrtpProfile::AeadAes128Gcm,
        ufrag: ufrag.clone(),
    };
    let joined: JoinedNative = gateway.request(request).await.expect("joined");
    let peer = Peer::connect(joined, &ufrag, epoch).await.expect("connected");
    Inside { account, peer, _gateway: gateway, _events: events }
}

/// The owner listens, who may do everything, and a member speaks.
struct Room {
    guild: Guild,
    channel: ChannelId,
    owner: Inside,
    speaker: Inside,
}

/// How somebody loses the right to be heard, and gets it back.
#[derive(Debug, Clone, Copy)]
enum Means {
    Overwrite,
    Role,
    Moderator,
}

impl Room {
    async fn fill(url: &str) -> Self {
        // The other test of this process may have done it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let urls = [url.to_owned()].into();
        let owner = Account::register(&urls, "owner").await.expect("registered");
        let guild = owner.create_guild("rights").await.expect("a guild");
        let channel = owner.create_voice(guild.id, "voice").await.expect("a channel").id;
        let speaker = Account::register(&urls, "speaker").await.expect("registered");
        let code = owner.invite(guild.id).await.expect("an invite");
        speaker.accept(&code).await.expect("a member");
        let epoch = Instant::now();
        let owner = enter(url, owner, channel, epoch).await;
        let speaker = enter(url, speaker, channel, epoch).await;
        speaker.peer.speak(true);
        Self { guild, channel, owner, speaker }
    }

    /// The newest of the speaker's packets that was heard, and when.
    fn heard(&self) -> Option<(u32, Instant)> {
        let source = self.speaker.peer.source();
        self.owner.peer.tally(|tally| {
            let heard = tally.heard.get(&source)?;
            Some((heard.range?.1, heard.last?))
        })
    }

    async fn until_heard(&self) {
        let (first, began) = (self.speaker.peer.sent(), Instant::now());
        while self.heard().is_none_or(|(newest, _)| newest <= first) {
            assert!(began.elapsed() < PATIENCE, "nobody hears him");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// When the last packet was heard.
    async fn until_silent(&self) -> Instant {
        let began = Instant::now();
        loop {
            let (newest, last) = self.heard().expect("he was heard before");
            if self.speaker.peer.sent() > newest + SILENT {
                return last;
            }
            assert!(began.elapsed() < PATIENCE, "he is heard for ever");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn may_speak(&self, by: Means, may: bool) {
        let (guild, channel, user) = (self.guild.id, self.channel, self.speaker.account.user.id);
        // The role of everybody has the guild's id.
        let (method, path, body) = match (by, may) {
            (Means::Overwrite, false) => (
                Method::PUT,
                format!("/channels/{channel}/overwrites/{guild}"),
                json!({ "kind": "role", "allow": Permissions::NONE, "deny": Permissions::SPEAK }),
            ),
            (Means::Overwrite, true) => {
                (Method::DELETE, format!("/channels/{channel}/overwrites/{guild}"), Value::Null)
            }
            (Means::Role, may) => {
                let everybody = self.guild.roles.iter().find(|role| role.id.0 == guild.0);
                let all = everybody.expect("each guild has it").permissions;
                let permissions = if may { all } else { all & !Permissions::SPEAK };
                let path = format!("/guilds/{guild}/roles/{guild}");
                (Method::PATCH, path, json!({ "permissions": permissions }))
            }
            (Means::Moderator, may) => (
                Method::PATCH,
                format!("/guilds/{guild}/members/{user}/voice"),
                json!({ "server_mute": !may }),
            ),
        };
        let _: Value = self.owner.account.call(method, &path, &body).await.expect("done");
    }

    /// Prints how long each took.
    async fn measure(&self, server: &str) {
        self.until_heard().await;
        for by in [Means::Overwrite, Means::Role, Means::Moderator] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let asked = Instant::now();
                self.may_speak(by, false).await;
                let last = self.until_silent().await;
                times.push(last.saturating_duration_since(asked));
                self.may_speak(by, true).await;
                self.until_heard().await;
            }
            println!("{server}, {by:?}: last heard after {times:.1?}");
            times.sort_unstable();
            assert!(times[ROUNDS / 2] < LONGEST, "{by:?}: {times:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_no_longer_speak_is_not_heard_in_one_process() {
    let _alone = ALONE.lock().await;
    let server = Server::start("enforce");
    Room::fill(&server.url).await.measure("hype up").await;
}

/// Ends with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn start(replica: &Replica, etcd: &str) -> Self {
        let hype = || Command::new(env!("CARGO_BIN_EXE_hype"));
        let token = hype()
            .args(["cert", "token", "--node", "node-1", "--pki-dir"])
            .arg(replica.folder.join("pki"))
            .output()
            .expect("it runs");
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
        let token = String::from_utf8(token.stdout).expect("text");
        let admin = free_address(3);
        let child = hype()
            .args(["--log", "warn", "node", "--node-id", "node-1", "--etcd", etcd])
            .args(["--enroll", token.trim(), "--control", &replica.url(), "--udp-port", "0"])
            .args(["--announce", &admin.ip().to_string(), "--admin", &admin.to_string()])
            .arg("--data-dir")
            .arg(replica.folder.join("node"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        Self(child)
    }
}

/// The change goes by one replica's database and NATS, and the order by a link to the node.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_no_longer_speak_is_not_heard_in_a_fleet() {
    let _alone = ALONE.lock().await;
    let postgres = postgres_process::Postgres::start("");
    let nats = nats_process::NatsProcess::start();
    let etcd = etcd_process::EtcdProcess::start(0);
    etcd.store().await;
    let stores = [
        ("HYPE_STORE_ACCOUNTS", postgres.database().await),
        ("HYPE_BUS_NATS", nats.url()),
        ("HYPE_ETCD", etcd.endpoint()),
    ];
    let mut replica = Replica::new("enforce", 1, &stores);
    replica.start();
    let _node = Node::start(&replica, &etcd.endpoint());
    Room::fill(&replica.url()).await.measure("hype control and hype node").await;
}

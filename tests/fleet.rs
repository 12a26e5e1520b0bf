//! Two replicas over a real PostgreSQL, NATS and etcd, one or the other killed again and again while a
//! guild chats: every acknowledged message is stored once, and shown once and in order to everybody.

#[path = "../protocol/tests/etcd_process/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod etcd_process;
#[path = "../controlplane/tests/nats_process/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod nats_process;
#[path = "../controlplane/tests/postgres_process/mod.rs"]
mod postgres_process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);
/// How long a replica is left alone between two deaths.
const LIFE: Duration = Duration::from_millis(2500);

/// A control replica that is killed and comes again.
struct Replica {
    name: &'static str,
    folder: PathBuf,
    http: SocketAddr,
    link: SocketAddr,
    stores: Vec<(&'static str, String)>,
    child: Option<Child>,
}

fn free_address(number: u8) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 0x80, low, number);
    let listener = TcpListener::bind((ip, 0)).expect("loopback addresses can be bound");
    listener.local_addr().expect("it is bound")
}

impl Replica {
    fn new(name: &'static str, number: u8, stores: &[(&'static str, String)]) -> Self {
        let folder = format!("hype-fleet-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let (http, link) = (free_address(number), free_address(number + 100));
        Self { name, folder, http, link, stores: stores.to_vec(), child: None }
    }

    fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.folder.join("log")).expect("it can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hype"));
        command
            .args(["--log", "warn", "control", "--control-id", self.name])
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .arg("--pki-dir")
            .arg(self.folder.join("pki"))
            .args(["--http", &self.http.to_string(), "--link", &self.link.to_string()])
            .envs(self.stores.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().expect("it starts"));
        self.until_serving();
    }

    fn until_serving(&self) {
        let began = Instant::now();
        while !self.serves() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{} does not serve: {log}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It listens before it serves, so it is asked for something.
    fn serves(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.http) else { return false };
        let request = format!(
            "GET /api/v1/openapi.json HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.http
        );
        let mut status = [0; 12];
        let asked = stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .and_then(|()| stream.write_all(request.as_bytes()))
            .and_then(|()| stream.read_exact(&mut status));
        asked.is_ok() && &status == b"HTTP/1.1 200"
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have died of itself, which the restart tells.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_shown_once_and_in_order_whoever_dies() {
    let postgres = postgres_process::Postgres::start("-c fsync=off");
    let nats = nats_process::NatsProcess::start();
    let etcd = etcd_process::EtcdProcess::start(0);
    etcd.store().await;
    let stores = [
        ("HYPE_STORE_ACCOUNTS", postgres.database().await),
        ("HYPE_BUS_NATS", nats.url()),
        ("HYPE_ETCD", etcd.endpoint()),
        // The same for both, so that each takes the other's tokens.
        ("HYPE_SECRETS_SEALING_KEY", "4f".repeat(32)),
    ];
    let mut east = Replica::new("east", 1, &stores);
    let mut west = Replica::new("west", 2, &stores);
    east.start();
    share_token_key(&east, &west);
    west.start();

    let mut bench = Command::new(env!("CARGO_BIN_EXE_hype"))
        .args(["bench", "community", "--people", "40", "--seconds", "20", "--voice", "0"])
        .args(["--per-minute", "30", "--json", "--url", &east.url(), "--url", &west.url()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let told = BufReader::new(bench.stderr.take().expect("it is piped"));
    let (begun, has_begun) = std::sync::mpsc::channel();
    let teller = std::thread::spawn(move || {
        let mut all = String::new();
        for line in told.lines().map_while(Result::ok) {
            if line.contains("chatting") {
                // The test may be over already.
                let _ = begun.send(());
            }
            all.push_str(&line);
            all.push('\n');
        }
        all
    });
    if has_begun.recv_timeout(2 * PATIENCE).is_err() {
        let _ = bench.kill();
        panic!("not everybody got online: {}", teller.join().expect("it only reads"));
    }
    let mut deaths = 0;
    let began = Instant::now();
    while bench.try_wait().expect("it is ours").is_none() {
        assert!(began.elapsed() < 3 * PATIENCE, "the bench does not end");
        // The last seconds are for the clients to get what they missed.
        if began.elapsed() < Duration::from_secs(20) {
            let dying = if deaths % 2 == 0 { &mut east } else { &mut west };
            dying.kill();
            std::thread::sleep(Duration::from_millis(500));
            dying.start();
            deaths += 1;
            std::thread::sleep(LIFE);
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let mut json = String::new();
    bench.stdout.take().expect("it is piped").read_to_string(&mut json).expect("text");
    let status = bench.wait().expect("it is ours");
    let told = teller.join().expect("it only reads");
    assert!(status.success(), "{told}{json}");
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON and nothing else");
    let count = |name: &str| report[name].as_u64().expect("a number");
    println!("{deaths} deaths: {report}");
    // On a machine with time for it there are five, each of which cuts half of the people.
    assert!(deaths >= 2, "{deaths}");
    assert!(count("acknowledged") >= 50, "{report}");
    assert!(count("cuts") >= 20 && count("resumed") >= 20, "{report}");
}

/// Access tokens of one replica hold at the other: a key in a file is copied, where there is one.
fn share_token_key(from: &Replica, to: &Replica) {
    let key = from.folder.join("data/token.key");
    if key.exists() {
        std::fs::create_dir_all(to.folder.join("data")).expect("it can be written");
        std::fs::copy(key, to.folder.join("data/token.key")).expect("it can be copied");
    }
}

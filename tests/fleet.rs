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
mod replica;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use replica::{PATIENCE, Replica};

/// How long a replica is left alone between two deaths.
const LIFE: Duration = Duration::from_millis(2500);

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

//! The benchmarks' node process, as `hype bench` starts it: correctness only, no speed. One test at a
//! time: each loads the whole machine, and packets of two that share it are lost.

mod server;

use std::collections::HashSet;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hype_bench::node_process::NodeProcess;
use hype_protocol::id::{RoomId, SessionId, UserId, WorkerId};
use hype_protocol::media::SessionMedia;
use hype_protocol::observation::{FromNode, Keying, OpenSession, RefuseReason, ToNode, VoiceFlags};
use hype_protocol::secret::SrtpProfile;
use server::Server;
use tokio::sync::Mutex;

const PATIENCE: Duration = Duration::from_secs(60);
/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::const_new(());
/// A machine that stands still for a second loses packets by itself, but hardly each time.
const TRIES: u32 = 3;

fn node(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hype"));
    command.args(["--log", "warn", "bench-node", "--udp-port", "0", "--announce", "127.0.0.1"]);
    command.args(flags);
    command
}

/// What the node says of a session first, leaving out what it says of itself.
async fn fate(node: &mut NodeProcess, session: SessionId) -> Result<RoomId, RefuseReason> {
    let wanted = async {
        loop {
            match node.from_node.recv().await.expect("the node is there") {
                FromNode::Session(status) if status.session == session => return Ok(status.room),
                FromNode::Refused { session: refused, reason, .. } if refused == session => {
                    return Err(reason);
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, wanted).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_process_serves_its_rooms_and_ends_with_its_benchmark() {
    let _alone = ALONE.lock().await;
    let flags = ["--workers", "2", "--rooms", "3", "--max-peers", "1"];
    let mut node = NodeProcess::spawn(&mut node(&flags)).await.expect("it starts");
    let placed: Vec<_> = node.started.rooms.iter().map(|a| (a.room, a.worker)).collect();
    let expected = [(1, 0), (2, 1), (3, 0)].map(|(room, on)| (RoomId(room), WorkerId(on)));
    assert_eq!(placed, expected);
    assert_eq!(node.started.live.workers.len(), 2);
    assert!(node.rss_bytes().expect("it runs") > 1 << 20);
    for (number, expected) in [(1, Ok(RoomId(2))), (2, Err(RefuseReason::Full))] {
        let assignment = node.started.rooms[1].clone();
        let open = OpenSession {
            boot: node.started.live.boot,
            room: assignment.room,
            generation: assignment.generation,
            worker: assignment.worker,
            session: SessionId(number),
            user: UserId(number),
            remote_ufrag: "test".to_owned(),
            keying: Keying::Native { profile: SrtpProfile::AeadAes128Gcm },
            flags: VoiceFlags::default(),
            media: SessionMedia::default(),
        };
        node.to_node.send(ToNode::Open(Box::new(open))).await.expect("the node listens");
        assert_eq!(fate(&mut node, SessionId(number)).await, expected);
    }
    let pid = node.pid();
    node.stop().await.expect("a clean end");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

fn output(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hype")).args(arguments).output().expect("it runs")
}

/// The JSON that a bench prints, each key of which its help explains, or what it says that is wrong.
fn run(arguments: &[&str]) -> Result<serde_json::Value, String> {
    let printed = output(arguments);
    if !printed.status.success() {
        return Err(String::from_utf8_lossy(&printed.stderr).into_owned());
    }
    let report: serde_json::Value =
        serde_json::from_slice(&printed.stdout).expect("JSON and nothing else");
    let help = output(&[&arguments[..2], &["--help"]].concat());
    let help = String::from_utf8(help.stdout).expect("help is text");
    let words: HashSet<&str> = help.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut values = vec![&report];
    while let Some(value) = values.pop() {
        for (key, value) in value.as_object().into_iter().flatten() {
            assert!(words.contains(key.as_str()), "{arguments:?}: its help has no {key}");
            values.push(value);
        }
        values.extend(value.as_array().into_iter().flatten());
    }
    Ok(report)
}

/// The same of a bench that nothing but the machine keeps from a result.
fn bench(arguments: &[&str]) -> serde_json::Value {
    for left in (0..TRIES).rev() {
        match run(arguments) {
            Ok(report) => return report,
            Err(told) => assert!(left > 0, "{arguments:?}: {told}"),
        }
    }
    unreachable!("the last try returned or failed")
}

#[test]
fn idle_counts_the_memory_of_people_who_are_connected() {
    let _alone = ALONE.blocking_lock();
    let report = bench(&["bench", "idle", "--people", "20", "--rooms", "2", "--json"]);
    assert_eq!((&report["people"], &report["failed"]), (&20.into(), &0.into()), "{report}");
    assert_eq!(report["profile"], "aead_aes256_gcm", "real DTLS: {report}");
    let number = |key: &str| report[key].as_f64().expect(key);
    assert!(number("rss_bytes") > number("rss_empty_bytes"), "{report}");
    assert!((number("rss_bytes_per_peer") - number("rss_bytes") / 20.0).abs() < 1.0, "{report}");
    assert!(number("handshakes_per_second") > 0.0, "{report}");
    assert!(report["machine"]["cores"].as_u64() > Some(0), "{report}");
}

/// What a relay benchmark prints, once it had time to do what it is for.
fn relay(arguments: &[&str], received: bool) -> serde_json::Value {
    for left in (0..TRIES).rev() {
        let fault = match run(arguments) {
            Ok(report) => match fault(&report, received) {
                None => return report,
                Some(fault) => format!("{fault}: {report}"),
            },
            Err(told) => {
                assert!(!told.contains("were not what was sent"), "{arguments:?}: {told}");
                told
            }
        };
        println!("{arguments:?}: {fault}");
        assert!(left > 0, "{arguments:?}: {fault}");
    }
    unreachable!("the last try returned or failed")
}

/// What is wrong with a result that may be the machine's fault. Nothing that came may be bad, and of
/// what was sent next to nothing may be lost: of a stream that loses only its first packet, 1.5 %
/// is missing.
fn fault(report: &serde_json::Value, received: bool) -> Option<String> {
    for figures in [report, &report["against"]] {
        if figures.is_null() {
            continue;
        }
        let number = |key: &str| figures[key].as_f64();
        let mut positive = vec![number("cpu_ns_per_forwarded_packet"), number("forwarded_pps")];
        if received {
            assert_eq!(figures["bad_packets"], 0, "{report}");
            let lost = number("loss_ratio").expect("who received knows what was lost");
            if lost >= 0.01 {
                return Some(format!("{lost} lost"));
            }
            positive.push(figures["latency_us"]["p99"].as_f64());
        } else {
            assert!(figures["loss_ratio"].is_null() && figures["latency_us"].is_null());
        }
        if positive.iter().any(|figure| *figure <= Some(0.0)) {
            return Some("nothing was measured".to_owned());
        }
    }
    None
}

const SHORT: [&str; 5] = ["--seconds", "1", "--pairs", "1", "--json"];

#[test]
fn relay_counts_every_packet_on_loopback() {
    let _alone = ALONE.blocking_lock();
    let shape = ["bench", "relay", "--speakers", "9", "--listeners", "11", "--payload", "vbr"];
    for flags in [
        &["--io", "uring", "--against", "socket", "--suite", "cm"][..],
        &["--io", "uring", "--workers", "2", "--rooms", "2", "--parts", "2"],
        &["--io", "floor", "--workers", "2", "--rooms", "3"],
        &["--io", "socket", "--workers", "2", "--rooms", "3", "--suite", "gcm256"],
    ] {
        let report = relay(&[&shape[..], flags, &SHORT].concat(), true);
        assert_eq!(report["ratio"].is_null(), !flags.contains(&"--against"), "{report}");
        let checked = !report["floor_to_plain"].is_null();
        assert_eq!(checked, flags.contains(&"floor"), "{report}");
    }
}

#[test]
fn relay_makes_its_own_networks() {
    let _alone = ALONE.blocking_lock();
    for (sink, received) in [("veth", true), ("ifb", false)] {
        let flags = ["bench", "relay", "--sink", sink, "--speakers", "2", "--listeners", "9"];
        let against = ["--io", "xdp", "--against", "uring"];
        relay(&[&flags[..], &against, &SHORT].concat(), received);
    }
}

#[test]
fn relay_sweeps_to_a_highest_rate() {
    let _alone = ALONE.blocking_lock();
    let flags = ["bench", "relay", "--speakers", "2", "--listeners", "3", "--sweep"];
    for left in (0..TRIES).rev() {
        match run(&[&flags[..], &SHORT].concat()) {
            Ok(report) => {
                assert!(report["highest_lossless_pps"].as_f64() > Some(0.0), "{report}");
                let steps = report["sweep"].as_array();
                assert!(steps.is_some_and(|steps| steps.len() >= 2), "{report}");
                return;
            }
            // A machine that stands still at the first step keeps up with nothing.
            Err(told) => assert!(left > 0 && told.contains("nothing without loss"), "{told}"),
        }
    }
}

#[test]
fn video_comes_whole_and_by_fewer_sends() {
    let _alone = ALONE.blocking_lock();
    let flags = ["bench", "video", "--listeners", "4", "--rooms", "2", "--against", "socket"];
    relay(&[&flags[..], &SHORT].concat(), true);
}

#[test]
fn join_times_people_until_they_hear_somebody() {
    let _alone = ALONE.blocking_lock();
    let server = Server::start("join");
    let report = bench(&[
        "bench",
        "join",
        "--people",
        "6",
        "--at-once",
        "3",
        "--url",
        &server.url,
        "--json",
    ]);
    assert_eq!((&report["people"], &report["failed"]), (&6.into(), &0.into()), "{report}");
    let number = |key: &str, part: &str| report[key][part].as_f64().expect(key);
    for part in ["p50", "p99", "max"] {
        let (joined, heard) = (number("join_ms", part), number("first_packet_ms", part));
        assert!(0.0 < joined && joined < heard, "{part}: {report}");
    }
    assert!(report["joins_per_second"].as_f64() > Some(0.0), "{report}");
}

#[tokio::test]
async fn a_node_that_cannot_start_is_an_error_and_no_wait() {
    let _alone = ALONE.lock().await;
    let error = NodeProcess::spawn(&mut node(&["--rooms", "0"])).await.expect_err("a bad flag");
    assert!(error.to_string().contains("ended at its start"), "{error:#}");
}

#[test]
fn a_report_shows_what_its_benches_measured() {
    let _alone = ALONE.blocking_lock();
    let folder = std::env::temp_dir().join(format!("hype-report-{}", std::process::id()));
    let out = folder.display().to_string();
    let made =
        output(&["bench", "report", "--quick", "--only", "engine,video,idle", "--out", &out]);
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("it was written");
    let (page, report) = (read("report.html"), read("report.json"));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let runs = report["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 3, "{said}");
    for run in runs {
        assert_eq!(run["outcome"], "measured", "{run}");
        assert!(page.contains(run["id"].as_str().expect("a name")), "{run}");
    }
    std::fs::remove_dir_all(folder).expect("it is ours");
}

/// Network namespaces of a process's benches.
fn namespaces(pid: u32) -> usize {
    let list = Command::new("ip").args(["netns", "list"]).output().expect("iproute2 is there");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let of_it = [format!("hbn{pid}"), format!("hbp{pid}")];
    list.lines().filter(|line| of_it.iter().any(|name| line.starts_with(name))).count()
}

#[test]
fn a_bench_that_is_stopped_takes_its_networks_along() {
    let _alone = ALONE.blocking_lock();
    let mut bench = Command::new(env!("CARGO_BIN_EXE_hype"))
        .args(["bench", "relay", "--sink", "veth", "--seconds", "600"])
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let pid = bench.id();
    let began = Instant::now();
    while namespaces(pid) < 2 {
        assert!(began.elapsed() < PATIENCE, "no namespaces: is this root?");
        assert!(bench.try_wait().expect("it is ours").is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Command::new("kill").arg(pid.to_string()).status().expect("kill is there");
    assert!(told.success());
    assert!(!bench.wait().expect("it is ours").success(), "there was no result");
    assert_eq!(namespaces(pid), 0);
}

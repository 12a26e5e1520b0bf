//! The benchmarks' node process, as `hype bench` starts it: correctness only, no speed.

use std::process::Command;
use std::time::Duration;

use hype_bench::node_process::NodeProcess;
use hype_protocol::id::{RoomId, SessionId, UserId, WorkerId};
use hype_protocol::media::SessionMedia;
use hype_protocol::observation::{FromNode, Keying, OpenSession, RefuseReason, ToNode, VoiceFlags};
use hype_protocol::secret::SrtpProfile;

const PATIENCE: Duration = Duration::from_secs(20);

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

#[tokio::test]
async fn a_node_that_cannot_start_is_an_error_and_no_wait() {
    let error = NodeProcess::spawn(&mut node(&["--rooms", "0"])).await.expect_err("a bad flag");
    assert!(error.to_string().contains("ended at its start"), "{error:#}");
}

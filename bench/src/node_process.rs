//! A real node process under test, alone: `hype bench-node`, started as a child. The benchmark is
//! its control plane, over pipes. The child has a process group of its own, so that Ctrl-C reaches
//! only the benchmark; it ends with its standard input, so also when the benchmark dies.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hype_protocol::bench::Started;
use hype_protocol::id::{SessionId, WorkerId};
use hype_protocol::observation::{FromNode, ToNode};
use hype_protocol::pipe::{self, ControlEnd, NodeEnd};
use hype_protocol::secret::BootKeys;
use tokio::net::unix::pipe as unix_pipe;
use tokio::sync::mpsc;

use crate::machine;

/// How long a node may take to start, or to stop after it was told to.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running node. Dropping it kills the process; [`NodeProcess::stop`] ends it cleanly.
#[derive(Debug)]
pub struct NodeProcess {
    process: Process,
    /// Its addresses, fingerprint and rooms.
    pub started: Started,
    /// From which the ICE credentials and native SRTP keys of its sessions derive.
    pub keys: BootKeys,
    /// To the node, as a control replica.
    pub to_node: mpsc::Sender<ToNode>,
    /// From the node. It must be read all the time: a node cuts off who falls behind by more than
    /// [`pipe::CAPACITY`] messages, and then this ends.
    pub from_node: mpsc::Receiver<FromNode>,
}

/// The command that starts a node from this very binary. Give it the flags of `hype bench-node`
/// (`--udp-port 0`, `--announce 127.0.0.1`, `--rooms K`, …) and pass it to [`NodeProcess::spawn`].
///
/// # Errors
/// When the running binary cannot be found.
pub fn command() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this binary")?);
    command.args(["--log", "warn", "bench-node"]);
    Ok(command)
}

impl NodeProcess {
    /// Starts the node and waits until it serves. The command may also be another program that
    /// becomes the node (`ip netns exec NAME hype bench-node …`).
    ///
    /// # Errors
    /// When it does not start within 20 s, or ends; why is on its standard error.
    pub async fn spawn(command: &mut Command) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut process = Process(child);
        let input = process.0.stdin.take().context("its standard input is piped")?;
        let output = process.0.stdout.take().context("its standard output is piped")?;
        let input = unix_pipe::Sender::from_owned_fd(input.into())?;
        let mut output = unix_pipe::Receiver::from_owned_fd(output.into())?;
        let connected = async {
            let started: Started =
                pipe::read(&mut output).await?.context("the node ended at its start")?;
            let (node, mut control) = pipe::pair();
            tokio::spawn(carry(node, input, output));
            let keys = hello(&started, &mut control).await?;
            anyhow::Ok((started, keys, control))
        };
        let (started, keys, control) = tokio::time::timeout(PATIENCE, connected)
            .await
            .with_context(|| format!("the node did not start within {PATIENCE:?}"))??;
        let ControlEnd { sender: to_node, receiver: from_node } = control;
        Ok(Self { process, started, keys, to_node, from_node })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        machine::kibibytes(&status, "VmRSS").context("the node is gone: see its standard error")
    }

    /// The node's ICE ufrag and password for a session.
    pub fn ice_credentials(&self, worker: WorkerId, session: SessionId) -> (String, String) {
        (self.keys.ufrag(worker, session), self.keys.ice_password(session))
    }

    /// Ends the node and waits for it.
    ///
    /// # Errors
    /// When it ends with an error, or not within 20 s (it is killed then).
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop((self.to_node, self.from_node));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if let Some(status) = self.process.0.try_wait()? {
                ensure!(ExitStatus::success(&status), "the node ended with {status}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the node did not stop within {PATIENCE:?} and was killed")
    }
}

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn carry(end: NodeEnd, input: unix_pipe::Sender, output: unix_pipe::Receiver) {
    // Whoever holds the other end sees that it ended; the child says why on its standard error.
    if let Err(error) = pipe::carry(end, input, output).await {
        eprintln!("the node's pipe broke: {error}");
    }
}

/// Reads the snapshot of a node that has no sessions yet.
async fn hello(started: &Started, control: &mut ControlEnd) -> anyhow::Result<BootKeys> {
    let first = control.receiver.recv().await.context("the node ended at its start")?;
    let FromNode::Hello { node, boot, secret } = first else {
        bail!("the node's first message is no hello: {first:?}");
    };
    ensure!(node == started.live.node && boot == started.live.boot, "another node says hello");
    let second = control.receiver.recv().await;
    ensure!(second == Some(FromNode::SnapshotEnd), "a new node has sessions already: {second:?}");
    Ok(BootKeys::new(&node, &secret))
}

//! `hype bench-node`: a real node process for benchmarks, without etcd and control plane. It assigns
//! rooms to itself and talks the observation messages over standard input and output with the
//! benchmark that started it. It ends when standard input does, and is no way to run a node.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, ensure};
use clap::Args;
use hype_node::{Links, Node};
use hype_protocol::bench::Started;
use hype_protocol::coordination::{MAX_OPERATIONS, Outcome, Store, Transaction, memory::Memory};
use hype_protocol::id::{Generation, PartId, RoomId, WorkerId};
use hype_protocol::record::{AssignedPart, Assignment, NodeLive};
use hype_protocol::{key, pipe};
use tokio::net::unix::pipe as unix_pipe;
use tokio::sync::{mpsc, oneshot};

use crate::settings::{Flags, flags};

/// Flags of the role.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags<flags::BenchNode>,
    /// Rooms 1 to this, spread over the workers in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rooms: u32,
    /// The most peers in each room.
    #[arg(long, default_value_t = 1_000)]
    max_peers: u32,
    /// In how many parts each room lies, on as many workers.
    #[arg(long, default_value_t = 1)]
    parts: u16,
    /// How many are heard at once.
    #[arg(long, default_value_t = 8)]
    voice_slots: u8,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let input = unix_pipe::Receiver::from_owned_fd(duplicate(std::io::stdin())?)
        .context("standard input is no pipe: this role is started by `hype bench`")?;
    let mut output = unix_pipe::Sender::from_owned_fd(duplicate(std::io::stdout())?)
        .context("standard output is no pipe: this role is started by `hype bench`")?;
    let config = hype_node::Config {
        announce_loopback: true,
        voice_slots: options.voice_slots,
        ..options.flags.settings()?.media()
    };
    let node = Node::start(config)?;
    let store = Store::Memory(Memory::new());
    ensure!(
        (1..=node.live().workers.len()).contains(&usize::from(options.parts)),
        "--parts must be 1 to --workers: each part of a room has a worker of its own"
    );
    let rooms = assignments(node.live(), &options);
    assign(&store, node.live(), &rooms).await?;
    let back_ends = node.back_ends().into_iter().map(str::to_owned).collect();
    let started = Started { live: node.live().clone(), rooms, back_ends };

    let (connector, mut connections) = mpsc::channel(1);
    let (stop, stopping) = oneshot::channel::<()>();
    let node = node.run(store, Links::InProcess(connector), async {
        // An error means that the other side is gone, which is an end as well.
        let _ended = stopping.await;
    });
    let talk = async move {
        let _stop = stop;
        let end = connections.recv().await.context("the node ended before it was connected")?;
        pipe::write(&mut output, &started).await?;
        drop(started);
        pipe::carry(end, output, input).await?;
        anyhow::Ok(())
    };
    let (served, talked) = tokio::join!(node, talk);
    served?;
    talked
}

/// One of the standard streams, to be read or written without a thread of its own.
fn duplicate(stream: impl AsFd) -> std::io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

fn assignments(live: &NodeLive, options: &Options) -> Vec<Assignment> {
    let workers = u32::try_from(live.workers.len()).unwrap_or(u32::MAX).max(1);
    let generation = Generation(1);
    let worker = |number: u32| WorkerId(u16::try_from(number % workers).unwrap_or(0));
    let part = |room: u32, part: u16| AssignedPart {
        part: PartId(part),
        worker: worker(room + u32::from(part)),
        since: generation,
    };
    let assignment = |number: u32| Assignment {
        room: RoomId(u64::from(number) + 1),
        generation,
        part: PartId(0),
        worker: worker(number),
        max_peers: options.max_peers,
        parts: match options.parts {
            1 => Vec::new(),
            parts => (0..parts).map(|index| part(number, index)).collect(),
        },
    };
    (0..options.rooms).map(assignment).collect()
}

async fn assign(store: &Store, live: &NodeLive, rooms: &[Assignment]) -> anyhow::Result<()> {
    for some in rooms.chunks(MAX_OPERATIONS) {
        let put = some.iter().fold(Transaction::new(), |put, assignment| {
            put.put(key::assignment(&live.node, assignment.room), assignment)
        });
        let outcome = store.transact(put).await?;
        ensure!(
            matches!(outcome, Outcome::Committed { .. }),
            "an own store that refuses: {outcome:?}"
        );
    }
    Ok(())
}

//! `hype bench-floor`: the floor that `hype bench relay` compares a node with. It forwards by the
//! node's own back ends without an engine, and serves nobody.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use clap::Args;
use hype_node::io::{self, IoKind};
use hype_node::{cores, floor};
use hype_protocol::bench::{FloorRoutes, FloorServing, FloorStarted};
use hype_protocol::pipe;
use tokio::io::AsyncReadExt;

/// Flags of the role.
#[derive(Debug, Args)]
pub struct Options {
    /// `uring`, `socket`, `xdp` or `auto`.
    #[arg(long, default_value = "auto", value_parser = super::io_kind)]
    io: IoKind,
    /// Workers, one core each.
    #[arg(long, default_value_t = 1)]
    workers: u16,
    /// The address that all of them bind.
    #[arg(long)]
    announce: IpAddr,
    /// Interfaces for AF_XDP.
    #[arg(long = "interface", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// How much longer copies are than what came, in bytes.
    #[arg(long, default_value_t = 0)]
    grow: usize,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let sockets: Vec<_> = (0..options.workers)
        .map(|_| io::bind(SocketAddr::new(options.announce, 0)))
        .collect::<Result<_, _>>()
        .context("cannot bind")?;
    let addresses = sockets.iter().map(std::net::UdpSocket::local_addr);
    let started = FloorStarted { workers: addresses.collect::<Result<_, _>>()? };
    pipe::write(&mut output, &started).await?;
    tokio::io::AsyncWriteExt::flush(&mut output).await?;
    let routes: FloorRoutes =
        pipe::read(&mut input).await?.context("no routes came: `hype bench relay` sends them")?;
    let cores = cores(options.workers);
    let mut workers = Vec::new();
    let shown: Vec<_> = sockets.iter().map(std::slice::from_ref).collect();
    let settings = io::prepare(options.io, &options.interfaces, &shown);
    let parts = sockets.into_iter().zip(settings).zip(routes.workers);
    for (number, ((socket, settings), routes)) in parts.enumerate() {
        let core = cores.get(number).copied();
        let routes = routes.into_iter().collect();
        workers.push(floor::start(settings, socket, core, routes, options.grow)?);
    }
    let back_ends = workers.iter().map(|worker| worker.back_end.to_owned()).collect();
    pipe::write(&mut output, &FloorServing { back_ends }).await?;
    tokio::io::AsyncWriteExt::flush(&mut output).await?;
    // It ends with its standard input.
    let mut rest = Vec::new();
    input.read_to_end(&mut rest).await?;
    drop(workers);
    Ok(())
}

//! `hype up`: the whole system in one process, with its own stores, on one machine.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use hype_control::config::{Roles, Tls};
use hype_control::{Environment, Nodes};
use hype_node::{Links, Node};
use hype_protocol::coordination::{Store, memory::Memory};
use tokio::sync::{mpsc, watch};

use crate::settings::{Flags, flags};
use crate::telemetry;

/// Flags of the role.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags<flags::Up>,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let settings = options.flags.settings()?;
    let node_config = hype_node::Config { announce_loopback: true, ..settings.media() };
    let control_config = hype_control::Config { roles: Roles::ALL, ..settings.control };
    let metrics = telemetry::metrics()?;
    // Ports first: what can be taken is told before anything is made.
    let node = Node::start(node_config)?;
    let media = hype_node::announced(&node);
    let store = Store::Memory(Memory::default());
    // The node hands over one end after the other, so that a link that broke is made anew.
    let (connector, connections) = mpsc::channel(1);
    let environment =
        Environment { coordination: store.clone(), nodes: Nodes::InProcess(connections), metrics };

    let (stop, stopping) = watch::channel(false);
    let stopped = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is an end as well.
        let _ended = stopping.wait_for(|stop| *stop).await;
    };
    let tls = control_config.tls.clone();
    let control = hype_control::run(
        control_config,
        environment,
        |address| announce(&tls, address, &media),
        stopped(stopping.clone()),
    );
    let node = node.run(store, Links::InProcess(connector), stopped(stopping));
    tokio::pin!(control, node);
    // Whatever ends first takes the other one along.
    tokio::select! {
        () = super::stop_signal() => {
            stop.send_replace(true);
            let (control, node) = tokio::join!(control, node);
            control?;
            node?;
        }
        outcome = &mut control => {
            stop.send_replace(true);
            let _node = node.await;
            outcome?;
        }
        outcome = &mut node => {
            stop.send_replace(true);
            let _control = control.await;
            outcome?;
        }
    }
    Ok(())
}

/// Prints where the page is: first the address on which browsers give out the microphone.
fn announce(tls: &Tls, bound: SocketAddr, media: &[IpAddr]) {
    let port = bound.port();
    let scheme = if *tls == Tls::Off { "http" } else { "https" };
    println!("Hype is up:");
    if bound.ip().is_unspecified() {
        println!("  {scheme}://localhost:{port}");
        for ip in media.iter().filter(|ip| !ip.is_loopback()) {
            println!("  {scheme}://{}", SocketAddr::new(*ip, port));
        }
    } else if bound.ip() == IpAddr::from([127, 0, 0, 1]) {
        println!("  {scheme}://localhost:{port}");
    } else {
        println!("  {scheme}://{bound}");
    }
    if *tls == Tls::Off && !bound.ip().is_loopback() {
        println!("From other machines, browsers give out the microphone only on https:");
        println!("  hype up --tls self-signed   (or --tls CERT,KEY)");
    }
}

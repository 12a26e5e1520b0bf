//! Where nodes connect: a QUIC listener with mutual authentication, announced in the coordination
//! store as `control/{id}/live` under a lease. Each connection carries one bidirectional stream
//! that the node opens; a certificate of any other role than a node's gets nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hype_protocol::coordination::{self, Lease, Outcome, Transaction};
use hype_protocol::identity::{self, Identity, Subject};
use hype_protocol::record::ControlLive;
use hype_protocol::{key, pipe};
use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::Voice;

/// How long our announcement outlives us. Nodes go on dialing whom they know.
const TIME_TO_LIVE: Duration = Duration::from_secs(10);
/// Handshake, and the node's stream.
const SETUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The most connections: several for each node of a large fleet.
const MAX_CONNECTIONS: usize = 4_096;
/// How long an end takes at most.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(500);
/// Why we close connections; the number means nothing to nodes, which dial again anyway.
const CLOSED: VarInt = VarInt::from_u32(0);

/// Why nodes cannot connect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The UDP port cannot be used.
    #[error("cannot listen for nodes on {address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// No address to announce was found.
    #[error("this machine has no address that nodes could dial; announce one")]
    NoAddress,
}

/// A running listener.
pub(super) struct Listener {
    endpoint: Endpoint,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    announcing: JoinHandle<()>,
}

/// Begins to listen and to announce it.
pub(super) fn listen(
    voice: Voice,
    identity: &Identity,
    address: SocketAddr,
    announce: Vec<SocketAddr>,
) -> Result<Listener, Error> {
    let config = identity.server_config()?;
    let failed = |source| Error::Bind { address, source };
    let endpoint = Endpoint::server(config, address).map_err(failed)?;
    let address = endpoint.local_addr().map_err(failed)?;
    let announce = if announce.is_empty() { own_addresses(address) } else { announce };
    if announce.is_empty() {
        return Err(Error::NoAddress);
    }
    let live = ControlLive {
        control: voice.control().clone(),
        link: announce,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    tracing::info!(%address, announced = ?live.link, "listening for nodes");
    let (stop, stopping) = watch::channel(false);
    let store = voice.coordination().clone();
    Ok(Listener {
        address,
        accepting: tokio::spawn(accept(voice, endpoint.clone(), stopping.clone())),
        announcing: tokio::spawn(announcing(store, live, stopping)),
        endpoint,
        stop,
    })
}

impl Listener {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the announcement back and closes all connections.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.endpoint.close(CLOSED, b"this replica stops");
        let ended = async {
            // A task that panicked has ended too.
            let _ = self.announcing.await;
            let _ = self.accepting.await;
            self.endpoint.wait_idle().await;
        };
        if timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::debug!("links did not close in time; nodes notice by themselves");
        }
    }
}

/// The addresses by which this machine's listener can be dialed.
fn own_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<IpAddr> =
        interfaces.into_iter().map(|interface| interface.ip()).collect();
    addresses.retain(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        // A socket bound to 0.0.0.0 takes no IPv6; a link-local address needs a zone.
        IpAddr::V6(ip) => bound.is_ipv6() && !ip.is_unicast_link_local(),
    });
    // Nodes try them in order: those on this machine only come last.
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    addresses.truncate(16);
    addresses.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

/// Returns once this listener stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the listener is gone, which is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Keeps our record in the store for as long as we run.
async fn announcing(
    store: coordination::Store,
    live: ControlLive,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let attempt = announce(&store, &live);
        let announced = tokio::select! {
            announced = attempt => announced,
            () = stopped(&mut stopping) => return,
        };
        match announced {
            Ok(lease) => {
                tokio::select! {
                    () = lease.lost() => tracing::warn!("our record is lost; announcing again"),
                    () = stopped(&mut stopping) => {
                        if let Ok(Err(error)) = timeout(STOP_TIMEOUT, lease.revoke()).await {
                            tracing::debug!(%error, "our record stays until its lease ends");
                        }
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "nodes cannot be told where we are; trying again");
                tokio::select! {
                    () = sleep(RETRY) => {}
                    () = stopped(&mut stopping) => return,
                }
            }
        }
    }
}

async fn announce(
    store: &coordination::Store,
    live: &ControlLive,
) -> Result<Lease, coordination::Error> {
    let lease = store.lease(TIME_TO_LIVE).await?;
    let put = Transaction::new().put_leased(key::control_live(&live.control), live, lease.id());
    match store.transact(put).await? {
        Outcome::Committed { .. } | Outcome::Conflict => Ok(lease),
    }
}

async fn accept(voice: Voice, endpoint: Endpoint, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        connections.spawn(serve(voice.clone(), incoming, place));
                    }
                    Err(_) => incoming.refuse(),
                }
            }
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stopping) => break,
        }
    }
    connections.shutdown().await;
}

async fn serve(voice: Voice, incoming: Incoming, _place: OwnedSemaphorePermit) {
    let remote = incoming.remote_address();
    let connection = match timeout(SETUP_TIMEOUT, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::warn!(%remote, %error, "a node's handshake failed");
            return;
        }
        Err(_) => {
            tracing::warn!(%remote, "a node's handshake took too long");
            return;
        }
    };
    let node = match identity::peer(&connection) {
        Ok(Subject::Node(node)) => node,
        Ok(Subject::Control(other)) => {
            tracing::warn!(%remote, control = %other, "a certificate of another role; refused");
            connection.close(CLOSED, b"this certificate is not a node's");
            return;
        }
        Err(error) => {
            tracing::warn!(%remote, %error, "a certificate without a name of the fleet; refused");
            connection.close(CLOSED, b"this certificate names nobody of the fleet");
            return;
        }
    };
    let Ok(Ok((writer, reader))) = timeout(SETUP_TIMEOUT, connection.accept_bi()).await else {
        tracing::warn!(%remote, %node, "the node opened no stream");
        return;
    };
    let (node_end, control_end) = pipe::pair();
    voice.attach_from(control_end, node.clone());
    if let Err(error) = pipe::carry(node_end, writer, reader).await {
        tracing::warn!(%remote, %node, %error, "a node's connection broke");
    }
    connection.close(CLOSED, b"the observation ended");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_address_is_announced_itself_and_a_wildcard_never() {
        let bound: SocketAddr = "127.0.0.9:7000".parse().expect("an address");
        assert_eq!(own_addresses(bound), [bound]);
        for wildcard in ["0.0.0.0:7000", "[::]:7000"] {
            let wildcard: SocketAddr = wildcard.parse().expect("an address");
            let addresses = own_addresses(wildcard);
            assert!(!addresses.is_empty(), "there is loopback at least");
            for address in addresses {
                assert!(!address.ip().is_unspecified() && address.port() == 7000, "{address}");
                assert!(wildcard.is_ipv6() || address.is_ipv4(), "{address}");
            }
        }
    }
}

//! Dials every live control replica by QUIC (DESIGN rule 1) and hands the agent its end of each
//! connection. Replicas announce themselves in the store; while that is away the known ones are
//! still dialed. Only who shows the certificate of the announced replica gets to talk.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hype_protocol::coordination::{Change, Entry, Store};
use hype_protocol::id::ControlId;
use hype_protocol::identity::{self, Identity, Subject};
use hype_protocol::record::ControlLive;
use hype_protocol::{key, pipe, record};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout, timeout_at};

use super::Input;
use super::backoff::{Backoff, LONGEST};
use super::follow::{self, Update};

const MAX_REPLICAS: usize = 64;
/// One address is tried no longer than this.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection that ends waits for its last bytes to arrive.
const LINGER: Duration = Duration::from_millis(300);

/// Why a replica could not be reached, or the connection ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("it announces no address")]
    NoAddress,
    #[error("{0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Dial(#[from] quinn::ConnectError),
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("no answer within {CONNECT:?}")]
    Timeout,
    #[error("{0}")]
    Identity(#[from] identity::Error),
    #[error("{0}")]
    Frame(#[from] pipe::FrameError),
}

/// Keeps a connection to every replica until nobody listens to the agent's inbox any more; then
/// gives the connections, whose pipes have ended, time for their last bytes.
pub async fn dial_replicas(store: Store, identity: Identity, inbox: mpsc::Sender<Input>) {
    let (updates, mut changes) = mpsc::channel(16);
    let follow = follow::follow(store, key::CONTROLS.to_owned(), updates, |update| update);
    let mut dialers = Dialers { identity, inbox: inbox.clone(), known: HashMap::new() };
    let run = async {
        while let Some(update) = changes.recv().await {
            dialers.update(update);
        }
    };
    tokio::select! {
        () = follow => {}
        () = run => {}
        () = inbox.closed() => {}
    }
    let deadline = tokio::time::Instant::now() + LINGER;
    for dialer in dialers.known.values_mut() {
        let _ = timeout_at(deadline, &mut dialer.task).await;
    }
}

struct Dialer {
    live: watch::Sender<Option<ControlLive>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Dialer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Dialers {
    identity: Identity,
    inbox: mpsc::Sender<Input>,
    known: HashMap<ControlId, Dialer>,
}

impl Dialers {
    fn update(&mut self, update: Update) {
        match update {
            Update::Reload(entries) => {
                let named: Vec<ControlId> =
                    entries.iter().filter_map(|entry| self.announced(entry)).collect();
                for (control, dialer) in &self.known {
                    if !named.contains(control) {
                        dialer.live.send_replace(None);
                    }
                }
            }
            Update::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Put(entry) => {
                            self.announced(&entry);
                        }
                        Change::Delete { key, .. } => {
                            if let Some(dialer) =
                                control_of(&key).and_then(|control| self.known.get(&control))
                            {
                                dialer.live.send_replace(None);
                            }
                        }
                    }
                }
            }
        }
    }

    /// A replica's record stands there; returns whose.
    fn announced(&mut self, entry: &Entry) -> Option<ControlId> {
        let control = control_of(&entry.key)?;
        let live = match record::decode::<ControlLive>(&entry.value) {
            Ok(live) if live.control == control => live,
            Ok(_) => {
                tracing::error!(key = entry.key, "the record names another replica");
                return Some(control);
            }
            Err(error) => {
                tracing::error!(key = entry.key, %error, "a replica's record cannot be read");
                return Some(control);
            }
        };
        self.known.retain(|_, dialer| !dialer.task.is_finished());
        if let Some(dialer) = self.known.get(&control) {
            dialer.live.send_if_modified(|known| {
                let changed = known.as_ref() != Some(&live);
                *known = Some(live);
                changed
            });
        } else if self.known.len() < MAX_REPLICAS {
            let (sender, receiver) = watch::channel(Some(live));
            let dial = dial(control.clone(), self.identity.clone(), self.inbox.clone(), receiver);
            let dialer = Dialer { live: sender, task: tokio::spawn(dial) };
            self.known.insert(control.clone(), dialer);
        } else {
            tracing::error!(%control, "more than {MAX_REPLICAS} control replicas: not dialed");
        }
        Some(control)
    }
}

fn control_of(key: &str) -> Option<ControlId> {
    key.strip_prefix(key::CONTROLS)?.strip_suffix("/live")?.parse().ok()
}

/// Connects to one replica again and again for as long as its record stands.
async fn dial(
    control: ControlId,
    identity: Identity,
    inbox: mpsc::Sender<Input>,
    mut live: watch::Receiver<Option<ControlLive>>,
) {
    let mut backoff = Backoff::new();
    loop {
        // A running connection outlives its record, which may have vanished with a lease only.
        let Some(record) = live.borrow_and_update().clone() else { return };
        let begun = Instant::now();
        let outcome = connect(&control, &record, &identity, &inbox).await;
        if inbox.is_closed() {
            return;
        }
        match outcome {
            Ok(()) => tracing::info!(%control, "the control connection ended"),
            Err(error) => tracing::warn!(%control, %error, "no control connection"),
        }
        if begun.elapsed() > 2 * LONGEST {
            backoff.reset();
        }
        tokio::select! {
            () = sleep(backoff.wait()) => {}
            _ = live.changed() => backoff.reset(),
        }
    }
}

async fn connect(
    control: &ControlId,
    record: &ControlLive,
    identity: &Identity,
    inbox: &mpsc::Sender<Input>,
) -> Result<(), Error> {
    let expected = Subject::Control(control.clone());
    let mut outcome = Err(Error::NoAddress);
    for address in &record.link {
        let endpoint = quinn::Endpoint::client(local_for(*address))?;
        let connecting =
            endpoint.connect_with(identity.client_config()?, *address, &expected.dns_name())?;
        match timeout(CONNECT, connecting).await {
            Ok(Ok(connection)) => return serve(connection, &expected, inbox).await,
            Ok(Err(error)) => outcome = Err(error.into()),
            Err(_) => outcome = Err(Error::Timeout),
        }
    }
    outcome
}

async fn serve(
    connection: quinn::Connection,
    expected: &Subject,
    inbox: &mpsc::Sender<Input>,
) -> Result<(), Error> {
    // TLS checked the name already; this also holds if it had more than one.
    let found = identity::peer(&connection)?;
    if found != *expected {
        let (expected, found) = (expected.to_string(), found.to_string());
        return Err(identity::Error::WrongName { expected, found }.into());
    }
    let (mut send, mut receive) = connection.open_bi().await?;
    let (node, control) = pipe::pair();
    if inbox.send(Input::Attached(node)).await.is_err() {
        return Ok(());
    }
    tracing::info!(replica = %found, address = %connection.remote_address(), "control connected");
    let outcome = pipe::carry(control, &mut send, &mut receive).await;
    // The last messages (sessions that end with this node) shall arrive before the end does.
    if send.finish().is_ok() {
        let _ = timeout(LINGER, send.stopped()).await;
    }
    connection.close(0u32.into(), b"");
    Ok(outcome?)
}

/// Where a connection to `address` starts: on loopback only when it goes there.
fn local_for(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    (ip, 0).into()
}

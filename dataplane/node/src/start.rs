//! Starts a node: secrets of this boot, sockets, workers, DTLS threads; then hands all of it to the
//! agent. Nothing here is done twice in a process's life.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use hype_protocol::coordination::Store;
use hype_protocol::id::{BootId, WorkerId};
use hype_protocol::identity::Subject;
use hype_protocol::record::NodeLive;
use hype_protocol::secret::{BootKeys, BootSecret};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use crate::agent::{self, dtls};
use crate::config::{self, Config};
use crate::io;
use crate::worker::{self, Handle, Settings};
use crate::{Error, Links};

/// A node whose workers serve already, but that nobody knows of yet.
pub struct Node {
    live: NodeLive,
    secret: BootSecret,
    certificate: dtls::Certificate,
    workers: Vec<Handle>,
    admin: Option<TcpListener>,
    metrics: Option<PrometheusHandle>,
    ready: watch::Sender<bool>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Node {
    /// Binds the ports and starts the workers.
    ///
    /// # Errors
    /// [`Error`] says which setting, port or part failed.
    pub fn start(config: Config) -> Result<Self, Error> {
        config.validate()?;
        let boot = BootId(u64::from_be_bytes(random()?));
        let secret = BootSecret(random()?);
        let keys = BootKeys::new(&config.node, &secret);
        let certificate = dtls::Certificate::generate().map_err(Error::Certificate)?;
        let addresses = config::plan(&config).map_err(Error::Addresses)?;
        // One canonical name for one run (RFC 7022 §4.2), the same on all of its workers.
        let cname = random::<12>()?.map(|byte| format!("{byte:02x}")).concat();
        let cores = if config.pin { cores(config.workers) } else { Vec::new() };
        let mut sockets = Vec::new();
        for number in 0..config.workers {
            sockets.push(bind(&config, &addresses, WorkerId(number))?);
        }
        // For all workers at once: they share the interfaces.
        let shown: Vec<&[UdpSocket]> = sockets.iter().map(Vec::as_slice).collect();
        let io = io::prepare(config.io, &config.interfaces, &shown);
        let mut settings = Vec::new();
        let mut announced = Vec::new();
        for (number, (sockets, io)) in (0..config.workers).zip(sockets.into_iter().zip(io)) {
            let id = WorkerId(number);
            announced.push(announce(&config, &addresses, id, &sockets));
            let engine = hype_sfu::Config {
                node: config.node.clone(),
                worker: id,
                boot_keys: keys.clone(),
                max_sessions: config.max_sessions,
                voice_slots: config.voice_slots,
                seed: u64::from_be_bytes(random()?),
                unix_at_zero: std::time::Duration::ZERO,
                cname: cname.clone(),
            };
            let core = cores.get(usize::from(number)).copied();
            settings.push(Settings { id, core, sockets, io, engine });
        }
        // A worker's number is its place, by which the parts of a room find each other.
        let workers = worker::start_joined(settings)?;
        let admin = config.admin.map(listen).transpose()?;
        let live = NodeLive {
            node: config.node,
            boot,
            region: config.region,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workers: announced,
            fingerprint: certificate.fingerprint.clone(),
            max_sessions: config.max_sessions,
        };
        let back_ends: Vec<&str> = workers.iter().map(Handle::back_end).collect();
        tracing::info!(node = %live.node, boot = %live.boot, ?back_ends, addresses = ?live.workers,
            "media node started");
        let (ready, _) = watch::channel(false);
        Ok(Self { live, secret, certificate, workers, admin, metrics: None, ready })
    }

    /// Serves these metrics on the admin pages.
    #[must_use]
    pub fn with_metrics(mut self, metrics: PrometheusHandle) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// What the fleet is told of this node.
    pub fn live(&self) -> &NodeLive {
        &self.live
    }

    /// The name of each worker's back end, as in [`io::IoKind`].
    pub fn back_ends(&self) -> Vec<&'static str> {
        self.workers.iter().map(Handle::back_end).collect()
    }

    /// Where the admin pages are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// True while the node is registered and not fenced: people can join rooms on it.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Serves until `shutdown` ends; stops within 1.5 s then. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Identity`], [`Error::Agent`] at the start, [`Error::WorkerEnded`] later.
    pub async fn run(
        self,
        store: Store,
        links: Links,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        if let Links::Quic(identity) = &links
            && *identity.subject() != Subject::Node(self.live.node.clone())
        {
            let found = identity.subject().to_string();
            return Err(Error::Identity { found, node: self.live.node });
        }
        let parts = agent::Parts {
            live: self.live,
            secret: self.secret,
            certificate: self.certificate,
            workers: self.workers,
            admin: self.admin,
            metrics: self.metrics,
            ready: self.ready,
        };
        agent::run(parts, store, links, shutdown).await
    }
}

fn random<const LEN: usize>() -> Result<[u8; LEN], Error> {
    let mut bytes = [0; LEN];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Entropy)?;
    Ok(bytes)
}

/// A core for each worker. The first core is left to the agent and to interrupts where there is
/// one more than workers; with fewer cores than workers nothing is pinned.
pub fn cores(workers: u16) -> Vec<usize> {
    let found = core_affinity::get_core_ids().unwrap_or_default();
    let workers = usize::from(workers);
    if found.len() < workers {
        return Vec::new();
    }
    found.iter().skip(found.len() - workers).map(|core| core.id).collect()
}

fn bind(
    config: &Config,
    addresses: &config::Addresses,
    worker: WorkerId,
) -> Result<Vec<UdpSocket>, Error> {
    let port = config.port(worker);
    let one = |ip: &std::net::IpAddr| {
        let address = SocketAddr::new(*ip, port);
        io::bind(address).map_err(|source| Error::Bind { address, worker, source })
    };
    addresses.bind.iter().map(one).collect()
}

/// What clients are told of a worker. Where the port was left to the system, it is the one that the
/// address's own socket got, or the first socket's behind an address translation.
fn announce(
    config: &Config,
    addresses: &config::Addresses,
    worker: WorkerId,
    sockets: &[UdpSocket],
) -> Vec<SocketAddr> {
    let bound: Vec<SocketAddr> = sockets.iter().filter_map(|s| s.local_addr().ok()).collect();
    let port_of = |ip: &std::net::IpAddr| match config.port(worker) {
        0 => {
            let own = bound.iter().find(|bound| bound.ip() == *ip).or(bound.first());
            own.map_or(0, SocketAddr::port)
        }
        port => port,
    };
    addresses.announce.iter().map(|ip| SocketAddr::new(*ip, port_of(ip))).collect()
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let open = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|source| Error::Admin { address, source })
}

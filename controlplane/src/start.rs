//! Start and end of a control replica: data directory, keys, store, voice, gateway, HTTP.
//! What fails at start says what to do about it; the end takes at most 1.5 s.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hype_protocol::coordination;
use hype_protocol::id::AuditId;
use hype_protocol::identity::{self, Authority, Identity, Role, Subject};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::app::{App, Shared};
use crate::config::roles::Role as Does;
use crate::config::{self, Config, SealingKey};
use crate::domain::audit;
use crate::domain::auth::keys::{self, KeyRing};
use crate::domain::auth::password::Passwords;
use crate::domain::auth::token::Tokens;
use crate::domain::search;
use crate::event::{Bus, consumers, relay};
use crate::gateway::Gateway;
use crate::http::limit::Limits;
use crate::http::{self, serve, tls};
use crate::store::database::Connections;
use crate::store::id_lease::IdLease;
use crate::store::snowflake::{self, Snowflakes, unix_ms};
use crate::store::{self, Store};
use crate::voice::{self, Voice};
use crate::{Environment, Nodes, error};

/// How often expired sign-ins, idempotency keys and old audit entries are forgotten.
const CLEANING_PERIOD: Duration = Duration::from_secs(3600);
/// When to try again to remove what was deleted, after the database failed.
const DOOMED_RETRY: Duration = Duration::from_secs(5);
/// How long the store may take to close; the log holds whatever it could not write back.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why the control plane did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] config::Invalid),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}", path = path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the data directory.
    #[error("the data directory {path} is in use by another process: stop it, or choose another \
             directory with --data-dir", path = .0.display())]
    InUse(PathBuf),
    /// The database cannot be opened.
    #[error("cannot open the database: {0}")]
    Store(#[from] store::Error),
    /// A certificate is missing or wrong.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// This replica's identity in the fleet is missing or wrong.
    #[error("cannot use the fleet's certificates: {0}")]
    Identity(#[from] identity::Error),
    /// The certificate here is another replica's. Nodes would dial us under our announced name and
    /// refuse what they meet.
    #[error("the certificate in {path} is for {found}, not for {expected}: start with the \
             --control-id that it is for, or give this replica a --pki-dir of its own",
             path = path.display())]
    WrongIdentity {
        /// The folder.
        path: PathBuf,
        /// Who we are by our settings.
        expected: Subject,
        /// Whom the certificate names.
        found: Subject,
    },
    /// The HTTP address cannot be used.
    #[error("cannot listen on {address}: {source}. Choose another one with --http")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The listening socket broke.
    #[error("serving HTTP failed: {0}")]
    Serve(#[source] io::Error),
    /// The bus between replicas cannot be used.
    #[error(transparent)]
    Bus(#[from] crate::event::nats::Error),
    /// A part did not start.
    #[error("cannot start: {0}")]
    Part(#[from] error::Error),
    /// The link listener for nodes did not start.
    #[error("cannot listen for nodes: {0}")]
    Link(#[from] voice::link::Error),
}

/// The data directory, ours alone for as long as this lives.
struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::DataDir { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            // Two processes would make the same ids.
            Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// This replica's identity, and the authority when its key is here.
fn identities(config: &Config, pki_dir: &Path) -> Result<(Identity, Option<Authority>), Error> {
    let has_key = pki_dir.join("ca.key").exists();
    let expected = Subject::Control(config.control.clone());
    if !Identity::exists(pki_dir, Role::Control) {
        let authority = Authority::open(pki_dir)?;
        let identity = authority.issue(&expected, pki_dir)?;
        return Ok((identity, Some(authority)));
    }
    let identity = Identity::load(pki_dir, Role::Control)?;
    if *identity.subject() != expected {
        let found = identity.subject().clone();
        return Err(Error::WrongIdentity { path: pki_dir.to_owned(), expected, found });
    }
    let authority = if has_key { Some(Authority::load(pki_dir)?) } else { None };
    Ok((identity, authority))
}

/// Runs a control replica until `shutdown` completes. `on_bound` gets the HTTP address once it is
/// listening (useful with port 0); people can join once `/healthz` answers 200.
///
/// # Errors
/// When a setting is wrong, or a part cannot start or breaks.
pub async fn run(
    config: Config,
    environment: Environment,
    on_bound: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    config.validate()?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let tls = tls::open(&config.tls, &data_dir.path)?;
    // Bound first: a port that is taken is the likeliest mistake, and the quickest to tell.
    let address = config.http;
    let bind_failed = |source| Error::Bind { address, source };
    let listener = serve::bind(address).map_err(bind_failed)?;
    let bound = listener.local_addr().map_err(bind_failed)?;
    let (stop, stopping) = watch::channel(false);
    let app = build(config, environment, &data_dir, stopping).await?;
    let mut background = JoinSet::new();
    if app.config.roles.has(Does::Api) {
        background.spawn(clean(Arc::clone(&app)));
        background.spawn(remove_doomed(Arc::clone(&app)));
    }
    if app.config.roles.knows_sessions() {
        background.spawn(voice::enforce::run(Arc::clone(&app), app.bus.subscribe()));
    }
    if app.config.roles.has(Does::Events) {
        background.spawn(relay::run(app.store.clone(), app.bus.clone()));
        background.spawn(consumers::count(app.store.clone(), app.bus.clone()));
    }
    background.spawn(tend_keys(Arc::clone(&app)));
    let tls = tls.map(|certificate| {
        let config = certificate.config();
        background.spawn(certificate.follow());
        config
    });
    let handle = axum_server::Handle::new();
    let serving =
        tokio::spawn(serve::serve(listener, tls, handle.clone(), http::router(Arc::clone(&app))));
    on_bound(bound);
    let mut serving = serving;
    let outcome = tokio::select! {
        () = shutdown => None,
        ended = &mut serving => Some(ended),
    };
    // Sockets of the gateway close by themselves once they see this; requests get a moment.
    stop.send_replace(true);
    handle.graceful_shutdown(Some(serve::GRACE));
    let ended = match outcome {
        Some(ended) => ended,
        None => serving.await,
    };
    background.abort_all();
    app.voice.stop().await;
    if tokio::time::timeout(CLOSE_TIMEOUT, app.store.close()).await.is_err() {
        tracing::warn!("the database did not close in time; its log is read at the next start");
    }
    match ended {
        Ok(outcome) => outcome.map_err(Error::Serve),
        Err(error) => Err(Error::Serve(io::Error::other(error))),
    }
}

async fn build(
    config: Config,
    environment: Environment,
    data_dir: &DataDir,
    stopping: watch::Receiver<bool>,
) -> Result<Shared, Error> {
    let passwords = Passwords::new(&config.argon2)?;
    let store = Store::open(
        &config.store.accounts(&config.data_dir),
        &config.store.shards(&config.data_dir),
        Connections {
            sqlite_readers: config.store.readers,
            postgres: config.store.connections,
            ..Connections::default()
        },
    )
    .await?;
    let sealing = SealingKey::open(config.sealing_key.as_ref(), &data_dir.path)
        .map_err(|source| Error::DataDir { path: data_dir.path.clone(), source })?;
    let keys = KeyRing::open(store.clone(), sealing.clone(), config.tokens.access).await?;
    let tokens = Tokens::new(keys, &sealing, config.tokens);
    match store.index_messages(search::words_of).await? {
        0 => {}
        indexed => tracing::info!(indexed, "messages of an older release can be searched now"),
    }
    let bus = Bus::open(&config.bus).await?;
    let Environment { coordination, nodes, metrics } = environment;
    let newest = store.newest_id().await?;
    let ids = match &coordination {
        // It forgets with the process, and the newest id in the one database tells more.
        coordination::Store::Memory(_) => Snowflakes::new(config.id_worker, newest),
        coordination::Store::Etcd(_) => {
            let ids = Snowflakes::unleased(newest);
            let lease =
                IdLease::new(coordination.clone(), config.control.clone(), config.id_worker);
            lease.keep(ids.clone(), stopping.clone()).await;
            ids
        }
    };
    let voice = Voice::start(config.control.clone(), coordination, store.clone(), bus.clone());
    let authority = match nodes {
        Nodes::InProcess(ends) => {
            voice.attach_all(ends);
            None
        }
        Nodes::Quic { pki_dir, link, announce } => {
            let (identity, authority) = identities(&config, &pki_dir)?;
            if config.roles.knows_sessions() {
                voice.listen(identity, link, announce).await?;
            }
            authority.map(Arc::new)
        }
    };
    if config.roles.has(Does::Voice) {
        voice.lead(store.clone());
    }
    Ok(Arc::new(App {
        limits: Limits::new(&config.limits),
        gateway: Gateway::start(bus.clone()),
        config,
        store,
        ids,
        tokens,
        passwords,
        doomed: Notify::new(),
        bus,
        voice,
        metrics,
        authority,
        stopping,
    }))
}

/// Follows the keys of access tokens, which other replicas make too.
async fn tend_keys(app: Shared) {
    let mut period = tokio::time::interval(keys::PERIOD);
    loop {
        period.tick().await;
        if let Err(cause) = app.tokens.keys().tend(unix_ms()).await {
            tracing::warn!(%cause, "signing keys could not be read; those that are known go on");
        }
    }
}

async fn clean(app: Shared) {
    let mut period = tokio::time::interval(CLEANING_PERIOD);
    loop {
        period.tick().await;
        match app.store.forget_expired_sign_ins(unix_ms()).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "expired sign-ins forgotten"),
            Err(cause) => tracing::warn!(%cause, "expired sign-ins could not be forgotten"),
        }
        let before = AuditId(snowflake::first_at_ms(unix_ms().saturating_sub(audit::KEPT_MS)));
        for shard in app.store.shards() {
            if let Err(cause) = shard.forget_audit(before).await {
                tracing::warn!(%cause, "old entries of audit logs could not be forgotten");
            }
        }
        let before_ms = unix_ms().saturating_sub(store::idempotency::KEPT_MS);
        if let Err(cause) = app.store.forget_idempotency_keys(before_ms).await {
            tracing::warn!(%cause, "old idempotency keys could not be forgotten");
        }
    }
}

/// Removes what deleted channels and guilds left behind: at once, and what another replica left when
/// it died.
async fn remove_doomed(app: Shared) {
    loop {
        let wait = match app.store.remove_doomed().await {
            Ok(0) => CLEANING_PERIOD,
            Ok(removed) => {
                tracing::info!(removed, "rows of deleted channels and guilds removed");
                CLEANING_PERIOD
            }
            Err(cause) => {
                tracing::warn!(%cause, "rows of deleted channels and guilds are left for later");
                DOOMED_RETRY
            }
        };
        // Whether something was deleted or it is time makes no difference.
        let _ = tokio::time::timeout(wait, app.doomed.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_of_another_replica_is_refused() {
        let name = format!("hype-start-{}-{:x}", std::process::id(), rand::random::<u64>());
        let folder = std::env::temp_dir().join(name);
        let config = |control: &str| Config {
            control: control.parse().expect("a valid name"),
            ..Config::default()
        };
        let (made, _) = identities(&config("east"), &folder).expect("a new authority");
        let (found, _) = identities(&config("east"), &folder).expect("it is there");
        assert_eq!(made.subject(), found.subject());
        let refused = identities(&config("west"), &folder).map(|_| ());
        std::fs::remove_dir_all(&folder).expect("it was made");
        let Err(error @ Error::WrongIdentity { .. }) = refused else { panic!("{refused:?}") };
        let text = error.to_string();
        assert!(text.contains("for east.control.hype, not for west.control.hype"), "{text}");
    }
}

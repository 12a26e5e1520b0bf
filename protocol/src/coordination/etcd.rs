//! The coordination store of a fleet: etcd 3.4 or later, over gRPC.
//! Calls are bounded by [`Settings::timeout`]; the channel connects lazily and again by itself, so nothing
//! here needs etcd to be there at start. Reads are tried on another endpoint; writes only when
//! the first one certainly never left.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, EventType, GetOptions, Identity, KeyValue, TlsOptions,
    Txn, TxnOp, WatchOptions, WatchStream,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Change, Compare, Entry, Error, Fetched, LeaseId, Listing, Operation, Outcome, TIMEOUT,
    Transaction,
};

/// Entries a page of [`Etcd::list`].
const PAGE: i64 = 1_000;
/// The largest answer or watch message read, in bytes.
const MAX_MESSAGE: usize = 64 << 20;
/// etcd closes connections that ping more often than every 5 s.
const KEEP_ALIVE: Duration = Duration::from_secs(6);

/// How to reach the cluster.
#[derive(Clone)]
pub struct Settings {
    /// `http://HOST:PORT` or `https://HOST:PORT` of its members, at least one.
    pub endpoints: Vec<String>,
    /// For `https`.
    pub tls: Option<Tls>,
    /// Name and password.
    pub user: Option<(String, String)>,
    /// The longest that any call takes, and that a member may leave a ping unanswered; by default
    /// [`TIMEOUT`].
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { endpoints: Vec::new(), tls: None, user: None, timeout: TIMEOUT }
    }
}

/// Certificates for the connection to etcd, as PEM.
#[derive(Clone)]
pub struct Tls {
    /// Who signed the members' certificates.
    pub authority: Vec<u8>,
    /// Our certificate and its key, where etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the members' certificates, where it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// A connection to the cluster. Clones share it.
#[derive(Clone)]
pub struct Etcd(Arc<Shared>);

struct Shared {
    endpoints: Vec<String>,
    options: ConnectOptions,
    timeout: Duration,
    /// None until first used: with a user, connecting needs an answer.
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Etcd").field(&self.0.endpoints).finish()
    }
}

/// Whether a call may be sent twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Freely,
    IfNeverSent,
}

impl Etcd {
    /// Checks the settings; connects when first used.
    ///
    /// # Errors
    /// [`Error::Invalid`] without an endpoint, or with one that is no URL.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        if settings.endpoints.is_empty() {
            return Err(Error::Invalid("no etcd endpoint is configured".into()));
        }
        for endpoint in &settings.endpoints {
            let secure = endpoint.starts_with("https://");
            if !secure && !endpoint.starts_with("http://") {
                let message =
                    format!("etcd endpoint {endpoint} must begin with http:// or https://");
                return Err(Error::Invalid(message));
            }
            if settings.tls.is_some() && !secure {
                let message =
                    format!("etcd endpoint {endpoint} must be https:// as TLS is configured");
                return Err(Error::Invalid(message));
            }
        }
        let mut options = ConnectOptions::new()
            .with_connect_timeout(settings.timeout / 2)
            .with_keep_alive(KEEP_ALIVE, settings.timeout)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true)
            .with_auto_token_refresh(settings.user.is_some());
        if let Some(tls) = settings.tls {
            let mut with = TlsOptions::new().ca_certificate(Certificate::from_pem(tls.authority));
            if let Some((certificate, key)) = tls.identity {
                with = with.identity(Identity::from_pem(certificate, key));
            }
            if let Some(name) = tls.server_name {
                with = with.domain_name(name);
            }
            options = options.with_tls(with);
        }
        if let Some((name, password)) = settings.user {
            options = options.with_user(name, password);
        }
        let (endpoints, timeout) = (settings.endpoints, settings.timeout);
        let client = Mutex::new(None);
        Ok(Self(Arc::new(Shared { endpoints, options, timeout, client })))
    }

    async fn client(&self) -> Result<Client, etcd_client::Error> {
        let mut slot = self.0.client.lock().await;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client = Client::connect(&self.0.endpoints, Some(self.0.options.clone())).await?;
        *slot = Some(client.clone());
        Ok(client)
    }

    /// Runs one call within [`Settings::timeout`], on another endpoint if that is safe and may help.
    async fn call<T, F, Fut>(&self, repeat: Repeat, call: F) -> Result<T, Error>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + self.0.timeout;
        let mut attempts = self.0.endpoints.len() + 1;
        loop {
            attempts -= 1;
            let once = async { call(self.client().await?).await };
            let error = match timeout_at(deadline, once).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => {
                    let message = format!("no answer within {:?}", self.0.timeout);
                    return Err(Error::Unavailable(message));
                }
            };
            let safe = repeat == Repeat::Freely || never_sent(&error);
            let translated = translate(&error);
            if attempts == 0 || !safe || !matches!(translated, Error::Unavailable(_)) {
                return Err(translated);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn get(&self, key: &str) -> Result<Fetched, Error> {
        if key.is_empty() {
            return Ok(Fetched { entry: None, revision: self.list("").await?.revision });
        }
        let call = |client: Client| async move {
            client.kv_client().max_decoding_message_size(MAX_MESSAGE).get(key, None).await
        };
        let answer = self.call(Repeat::Freely, call).await?;
        let revision = answer.header().map_or(0, |header| from_wire(header.revision()));
        Ok(Fetched { entry: answer.kvs().first().map(entry), revision })
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        let end = prefix_end(prefix);
        let mut start = if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() };
        let mut listing = Listing { entries: Vec::new(), revision: 0 };
        loop {
            // All pages show the revision of the first.
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE)
                .with_revision(to_wire(listing.revision));
            let (from, options) = (&start, &options);
            let call = |client: Client| async move {
                let mut client = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                client.get(from.clone(), Some(options.clone())).await
            };
            let page = self.call(Repeat::Freely, call).await?;
            if listing.revision == 0 {
                listing.revision = page.header().map_or(0, |header| from_wire(header.revision()));
            }
            listing.entries.extend(page.kvs().iter().map(entry));
            match page.kvs().last() {
                Some(last) if page.more() => {
                    start = last.key().to_vec();
                    start.push(0);
                }
                Some(_) | None => return Ok(listing),
            }
        }
    }

    pub(super) async fn watch(&self, prefix: &str, from_revision: u64) -> Result<Watch, Error> {
        let options = WatchOptions::new()
            .with_range(prefix_end(prefix))
            .with_start_revision(to_wire(from_revision.max(1)));
        let start = if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() };
        let (start, options) = (&start, &options);
        let call = |client: Client| async move {
            let mut client = client.watch_client().max_decoding_message_size(MAX_MESSAGE);
            client.watch(start.clone(), Some(options.clone())).await
        };
        Ok(Watch { stream: self.call(Repeat::Freely, call).await? })
    }

    pub(super) async fn transact(&self, transaction: Transaction) -> Result<Outcome, Error> {
        let compare: Vec<_> = transaction.compare.iter().map(compare).collect();
        let then: Vec<_> = transaction.then.iter().map(operation).collect();
        let transaction = &Txn::new().when(compare).and_then(then);
        let call =
            |client: Client| async move { client.kv_client().txn(transaction.clone()).await };
        let answer = self.call(Repeat::IfNeverSent, call).await?;
        let revision = answer.header().map_or(0, |header| from_wire(header.revision()));
        Ok(if answer.succeeded() { Outcome::Committed { revision } } else { Outcome::Conflict })
    }

    pub(super) async fn grant(&self, time_to_live: Duration) -> Result<(LeaseId, Duration), Error> {
        let seconds = time_to_live.as_secs() + u64::from(time_to_live.subsec_nanos() > 0);
        let seconds = to_wire(seconds);
        let call = |client: Client| async move { client.lease_client().grant(seconds, None).await };
        // Granted twice, one of the two just runs out.
        let answer = self.call(Repeat::Freely, call).await?;
        Ok((LeaseId(answer.id()), Duration::from_secs(from_wire(answer.ttl()))))
    }

    pub(super) async fn renew(&self, lease: LeaseId) -> Result<(), Error> {
        // A stream for each renewal: one every few seconds, and never a stale one to notice.
        let call = |client: Client| async move {
            match client.lease_client().keep_alive(lease.0).await {
                Ok(_) => Ok(true),
                Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        if self.call(Repeat::Freely, call).await? { Ok(()) } else { Err(Error::LeaseGone) }
    }

    pub(super) async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let call = |client: Client| async move { client.lease_client().revoke(lease.0).await };
        self.call(Repeat::Freely, call).await.map(|_| ())
    }
}

/// An etcd watch stream with one watcher.
pub struct Watch {
    stream: WatchStream,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("etcd::Watch")
    }
}

impl Watch {
    pub(super) async fn next(&mut self) -> Result<Vec<Change>, Error> {
        loop {
            let message = self.stream.message().await.map_err(|error| translate(&error))?;
            let message = message.ok_or_else(|| Error::Unavailable("the watch ended".into()))?;
            if message.compact_revision() > 0 {
                return Err(Error::Compacted);
            }
            if message.canceled() {
                return Err(Error::Unavailable(message.cancel_reason().to_owned()));
            }
            // Without fragmentation, which we do not ask for, a revision comes in one message.
            let changes: Vec<_> = message.events().iter().filter_map(change).collect();
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }
}

fn change(event: &etcd_client::Event) -> Option<Change> {
    let stored = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Change::Put(entry(stored)),
        EventType::Delete => {
            let Entry { key, mod_revision: revision, .. } = entry(stored);
            Change::Delete { key, revision }
        }
    })
}

fn entry(stored: &KeyValue) -> Entry {
    Entry {
        // We only ever write text; a foreign key becomes one that no record is looked for under.
        key: String::from_utf8_lossy(stored.key()).into_owned(),
        value: stored.value().to_vec(),
        create_revision: from_wire(stored.create_revision()),
        mod_revision: from_wire(stored.mod_revision()),
    }
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    use etcd_client::{Compare as Wire, CompareOp};
    match compare {
        Compare::Absent(key) => Wire::create_revision(key.as_str(), CompareOp::Equal, 0),
        Compare::Present(key) => Wire::create_revision(key.as_str(), CompareOp::Greater, 0),
        Compare::Unchanged { key, mod_revision } => {
            // A key that does not exist has revision 0 for etcd: it must not count as unchanged.
            let revision = to_wire((*mod_revision).max(1));
            Wire::mod_revision(key.as_str(), CompareOp::Equal, revision)
        }
    }
}

fn operation(operation: &Operation) -> TxnOp {
    match operation {
        Operation::Put { key, value, lease } => {
            let options = lease.map(|lease| etcd_client::PutOptions::new().with_lease(lease.0));
            TxnOp::put(key.as_str(), value.as_slice(), options)
        }
        Operation::Delete(key) => TxnOp::delete(key.as_str(), None),
    }
}

/// The first key after all that begin with the prefix; a zero byte stands for the end of all.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so the last byte can always grow.
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end
}

fn from_wire(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn to_wire(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// True when the request cannot have reached any member.
fn never_sent(error: &etcd_client::Error) -> bool {
    use std::io::ErrorKind;
    let etcd_client::Error::GRpcStatus(status) = error else { return false };
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::ConnectionRefused
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
            );
        }
        cause = error.source();
    }
    false
}

fn translate(error: &etcd_client::Error) -> Error {
    use etcd_client::Error as Wire;
    match error {
        // etcd's own texts: many of its failures share a gRPC code.
        Wire::GRpcStatus(status) => {
            let text = status.message();
            let has = |needle: &str| text.contains(needle);
            if has("compacted") {
                Error::Compacted
            } else if has("lease not found") {
                Error::LeaseGone
            } else if has("too large") || has("too many operations") || has("space exceeded") {
                Error::TooLarge
            } else if has("duplicate key") || has("key is not provided") {
                Error::Invalid(text.to_owned())
            } else {
                Error::Unavailable(text.to_owned())
            }
        }
        Wire::InvalidArgs(text) => Error::Invalid(text.clone()),
        Wire::InvalidUri(error) => Error::Invalid(error.to_string()),
        other => Error::Unavailable(other.to_string()),
    }
}

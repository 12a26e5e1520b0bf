//! The coordination store: what the fleet must agree on, and nothing else.
//! Two back ends under one contract suite: `etcd` for fleets, `memory` for `hype up`.
//! Keys are text and values are bytes; [`crate::key`] and [`crate::record`] give them meaning.
//! Every call ends within about [`TIMEOUT`], also when the store hangs: media never waits for it.

pub mod etcd;
mod lease;
pub mod memory;
mod transaction;
mod watch;

use std::time::Duration;

pub use lease::{Lease, LeaseId};
pub use transaction::{Compare, MAX_BYTES, MAX_OPERATIONS, Operation, Outcome, Transaction};
pub use watch::Watch;

/// The longest that any call takes.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store did not answer in time or at all. A transaction may still have been committed.
    /// Try again later; a watch that ends so is over: list anew, then watch from there.
    #[error("the coordination store does not answer: {0}")]
    Unavailable(String),
    /// The wanted revision is older than the history that is kept: list anew.
    #[error("the coordination store no longer has this revision")]
    Compacted,
    /// The transaction has more than [`MAX_OPERATIONS`] or [`MAX_BYTES`], or the store is full.
    #[error("too large for the coordination store")]
    TooLarge,
    /// The lease of a [`Operation::Put`] has expired: get a new one.
    #[error("the lease has expired")]
    LeaseGone,
    /// The call itself is wrong: an empty key, a key twice in one transaction, bad settings.
    #[error("invalid coordination request: {0}")]
    Invalid(String),
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision that created the key.
    pub create_revision: u64,
    /// The revision of the last change; what [`Compare::Unchanged`] is about.
    pub mod_revision: u64,
}

/// Answer to [`Store::get`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The entry; none when the key does not exist.
    pub entry: Option<Entry>,
    /// The store's revision when it was read.
    pub revision: u64,
}

/// Answer to [`Store::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// All entries under the prefix, by key, as they were at `revision`.
    pub entries: Vec<Entry>,
    /// The store's revision; a watch from `revision + 1` misses nothing.
    pub revision: u64,
}

/// One change that a [`Watch`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key was created or changed.
    Put(Entry),
    /// The key was deleted, or its lease ended.
    Delete {
        /// Which.
        key: String,
        /// By which revision.
        revision: u64,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision that changed it.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// The store, whatever is behind it. Clones share everything.
#[derive(Debug, Clone)]
pub enum Store {
    /// In this process only.
    Memory(memory::Memory),
    /// An etcd cluster.
    Etcd(etcd::Etcd),
}

impl Store {
    /// Reads one key.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn get(&self, key: &str) -> Result<Fetched, Error> {
        match self {
            Self::Memory(store) => store.get(key),
            Self::Etcd(store) => store.get(key).await,
        }
    }

    /// Reads all keys under a prefix as of one revision.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and [`Error::Compacted`] when history was cut meanwhile.
    pub async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        match self {
            Self::Memory(store) => store.list(prefix),
            Self::Etcd(store) => store.list(prefix).await,
        }
    }

    /// Follows all keys under a prefix. The first change seen is that of `from_revision` or the
    /// next after it: pass [`Listing::revision`]` + 1`.
    ///
    /// # Errors
    /// [`Error::Unavailable`]. A compacted revision is told by [`Watch::next`].
    pub async fn watch(&self, prefix: &str, from_revision: u64) -> Result<Watch, Error> {
        match self {
            Self::Memory(store) => store.watch(prefix, from_revision).map(Watch::Memory),
            Self::Etcd(store) => store.watch(prefix, from_revision).await.map(Watch::Etcd),
        }
    }

    /// Does all operations at one revision if all comparisons hold, else nothing.
    ///
    /// # Errors
    /// Any but [`Error::Compacted`]. After [`Error::Unavailable`] it may or may not have happened.
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome, Error> {
        transaction.check()?;
        match self {
            Self::Memory(store) => store.transact(transaction),
            Self::Etcd(store) => store.transact(transaction).await,
        }
    }

    /// Takes a lease and keeps it alive in the background for as long as it is held. Keys put
    /// under it vanish once it ends. etcd rounds up to whole seconds and has a floor of about 2 s.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and [`Error::Invalid`] for a time below 1 s.
    pub async fn lease(&self, time_to_live: Duration) -> Result<Lease, Error> {
        if time_to_live < Duration::from_secs(1) {
            return Err(Error::Invalid("a lease lives for at least 1 s".into()));
        }
        let asked = tokio::time::Instant::now();
        let (id, granted) = match self {
            Self::Memory(store) => store.grant(time_to_live)?,
            Self::Etcd(store) => store.grant(time_to_live).await?,
        };
        Ok(Lease::keep(self.clone(), id, granted, asked))
    }

    /// Ends a lease by its id, whoever holds it; its keys are deleted at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::LeaseGone`].
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        match self {
            Self::Memory(store) => store.revoke(lease),
            Self::Etcd(store) => store.revoke(lease).await,
        }
    }

    /// Lets a lease live for its whole time from this moment on.
    async fn renew(&self, lease: LeaseId) -> Result<(), Error> {
        match self {
            Self::Memory(store) => store.renew(lease),
            Self::Etcd(store) => store.renew(lease).await,
        }
    }
}

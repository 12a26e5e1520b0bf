//! Accounts, guilds, channels, invites and messages: one file an entity, one small interface over
//! PostgreSQL and SQLite. Accounts, with the directory of what is where, are in one database; guilds
//! are spread over one to sixteen shards. They may all be one database, and are by default.

pub mod access;
pub mod audit;
pub mod ban;
pub mod channel;
pub mod database;
pub mod directory;
pub mod doomed;
pub mod event;
pub mod guild;
pub mod guild_write;
pub mod id_lease;
pub mod idempotency;
pub mod invite;
pub mod member;
pub mod message;
pub mod read_mark;
pub mod role;
pub mod search;
mod shard_claim;
pub mod shard_copy;
pub mod shard_move;
pub mod sign_in;
pub mod signing_key;
pub mod snowflake;
pub mod stay;
pub mod user;
pub mod write;

use std::path::Path;
use std::sync::Arc;

use database::{Connections, Database};
use directory::Directory;
use tokio::sync::Notify;

use crate::config::{Dsn, MAX_SHARDS};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row with this key is there already, or one that it refers to is not.
    #[error("the row conflicts with what is stored")]
    Conflict,
    /// The database is busy, full or away: trying again makes sense.
    #[error("database unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// Ids cannot be made now: trying again makes sense.
    #[error(transparent)]
    NoIds(#[from] snowflake::NoIds),
    /// The database is damaged or of another release.
    #[error("database error: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Broken(error.into())
    }
}

/// What every method returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The store. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    accounts: Database,
    shards: Arc<[Database]>,
    directory: Arc<Directory>,
    written: Arc<Notify>,
}

impl Store {
    /// Opens all databases and brings their schemas up to date. Shards are told apart by their
    /// place in the list, which therefore never changes but at its end.
    ///
    /// # Errors
    /// When one cannot be opened or reached, or was written by a newer release; when there are no
    /// shards or too many.
    pub async fn open(accounts: &Dsn, shards: &[Dsn], connections: Connections) -> Result<Self> {
        if shards.is_empty() || shards.len() > MAX_SHARDS {
            return Err(Error::Broken(format!("1 to {MAX_SHARDS} shards are possible").into()));
        }
        let mut opened = vec![(accounts, Database::open(accounts, connections).await?)];
        for dsn in shards {
            // The same database twice would be two writers of one SQLite file.
            if !opened.iter().any(|(other, _)| *other == dsn) {
                opened.push((dsn, Database::open(dsn, connections).await?));
            }
        }
        let find = |dsn: &Dsn| {
            let mut found = opened.iter().filter(|(other, _)| *other == dsn);
            found.next().map(|(_, database)| database.clone()).expect("each was opened")
        };
        Ok(Self {
            accounts: find(accounts),
            shards: shards.iter().map(find).collect(),
            directory: Arc::default(),
            written: Arc::default(),
        })
    }

    /// Opens one SQLite file for everything.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_sqlite(path: &Path, readers: u32) -> Result<Self> {
        let dsn = Dsn::Sqlite(path.to_owned());
        let connections = Connections { sqlite_readers: readers, ..Connections::default() };
        Self::open(&dsn, std::slice::from_ref(&dsn), connections).await
    }

    /// The database of accounts and the directory.
    pub fn accounts(&self) -> &Database {
        &self.accounts
    }

    /// The databases of guilds, in the configuration's order.
    pub fn shards(&self) -> &[Database] {
        &self.shards
    }

    /// Each database once.
    pub(crate) fn databases(&self) -> Vec<&Database> {
        let mut all = vec![&self.accounts];
        for shard in self.shards.iter() {
            if !all.iter().any(|other| shard.is(other)) {
                all.push(shard);
            }
        }
        all
    }

    /// Answers when every database does.
    ///
    /// # Errors
    /// When one does not.
    pub async fn ping(&self) -> Result<()> {
        for database in self.databases() {
            database.ping().await?;
        }
        Ok(())
    }

    /// Writes back what is in logs and closes all connections.
    pub async fn close(&self) {
        for database in self.databases() {
            database.close().await;
        }
    }
}

/// An id or a time as the database keeps it.
///
/// # Errors
/// Above `i64::MAX`; no id of ours is, so such a row cannot exist.
fn stored(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|error| Error::Broken(error.into()))
}

/// An id to look up: one that cannot be stored is one that nothing has.
fn key(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(-1)
}

/// An id or a time as it was kept.
fn loaded(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|error| Error::Broken(error.into()))
}

/// A number of 32 bits as it was kept.
fn loaded_u32(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|error| Error::Broken(error.into()))
}

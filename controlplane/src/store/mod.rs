//! Accounts, guilds, channels, invites and messages: one file an entity, one small interface.
//! The back end is SQLite (WAL, `synchronous=FULL`): what was acknowledged survives power loss.
//! One connection writes, several read. The SQL keeps to what PostgreSQL also speaks.

pub mod channel;
pub mod guild;
pub mod idempotency;
pub mod invite;
pub mod member;
pub mod message;
pub mod sign_in;
pub mod snowflake;
pub mod user;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

/// How long a request waits for a connection or for SQLite's write lock.
const WAIT: Duration = Duration::from_secs(2);

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row with this key is there already, or one that it refers to is not.
    #[error("the row conflicts with what is stored")]
    Conflict,
    /// The database is busy, full or away: trying again makes sense.
    #[error("database unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database is damaged or of another release.
    #[error("database error: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause)
                if cause.is_unique_violation() || cause.is_foreign_key_violation() =>
            {
                Self::Conflict
            }
            // SQLITE_BUSY (5), SQLITE_FULL (13) and SQLITE_IOERR (10), with their extended codes.
            sqlx::Error::Database(cause)
                if cause
                    .code()
                    .and_then(|code| code.parse::<u32>().ok())
                    .is_some_and(|code| matches!(code & 0xff, 5 | 10 | 13)) =>
            {
                Self::Unavailable(error)
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
                Self::Unavailable(error)
            }
            _ => Self::Broken(error.into()),
        }
    }
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
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the SQLite file at `path`, making it when it is missing, and brings its schema up to
    /// date. `readers` is the number of connections that read.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer release.
    pub async fn open_sqlite(path: &Path, readers: u32) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL would lose acknowledged commits on power loss.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(WAIT);
        let writer = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .acquire_timeout(WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!("../migrations/sqlite").run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(readers)
            .acquire_timeout(WAIT)
            .connect_with(options.create_if_missing(false).read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Answers when the database does.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM (SELECT 1 FROM users LIMIT 1) AS one")
            .fetch_one(&self.readers)
            .await?;
        Ok(())
    }

    /// SQLite's `synchronous` level of the connection that writes: 2 (FULL) loses no commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn durability(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("PRAGMA synchronous").fetch_one(&self.writer).await?)
    }

    /// Writes back what is in the log and closes all connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that takes the write lock at once, so that what it reads stays true.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
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

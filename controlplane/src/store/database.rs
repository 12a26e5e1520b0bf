//! One SQL database: PostgreSQL, or a SQLite file (WAL, `synchronous=FULL`: what was acknowledged
//! survives power loss). All SQL is written once, for what both speak: BIGINT, TEXT and `$1`; where
//! they differ, [`Dialect`] tells which it is. Never decides which guild lives where.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor, Transaction};

use super::write::{Batch, Write};
use super::{Error, Result};
use crate::config::Dsn;

/// A plan that is good for most channels reads all messages for one that has few: so each execution
/// is planned for its own. No statement or forgotten transaction holds a request, or others, for longer than this;
/// whoever is refused may try again.
const POSTGRES_LIMITS: &str = "SET statement_timeout = '15s'; \
     SET idle_in_transaction_session_timeout = '60s'; SET plan_cache_mode = 'force_custom_plan'";
/// The same for a lock, unless a request may wait longer than this anyway.
const LOCK: Duration = Duration::from_secs(5);

/// Which SQL a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite, in this process.
    Sqlite,
    /// PostgreSQL, from 15 on.
    Postgres,
}

/// How many connections a database gets, and how long a request waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// To a SQLite file for reading, 1–64; one more writes.
    pub sqlite_readers: u32,
    /// To a PostgreSQL server for everything, 1–1,000.
    pub postgres: u32,
    /// How long a request waits for one of them, or for SQLite's write lock.
    pub wait: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self { sqlite_readers: 4, postgres: 16, wait: Duration::from_secs(2) }
    }
}

/// A database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Database {
    dialect: Dialect,
    readers: AnyPool,
    writer: Writer,
}

#[derive(Debug, Clone)]
enum Writer {
    /// PostgreSQL: any connection of the pool.
    Any,
    /// SQLite: the one that writes.
    One(Batch),
}

impl Database {
    /// Connects, and brings the schema up to date under a lock.
    ///
    /// # Errors
    /// When the database cannot be reached or opened, or was written by a newer release.
    pub async fn open(dsn: &Dsn, connections: Connections) -> Result<Self> {
        sqlx::any::install_default_drivers();
        match dsn {
            Dsn::Sqlite(path) => Self::open_sqlite(path, connections).await,
            Dsn::Postgres(url) => Self::open_postgres(url.reveal(), connections).await,
        }
    }

    async fn open_sqlite(path: &Path, connections: Connections) -> Result<Self> {
        let Connections { sqlite_readers: readers, wait, .. } = connections;
        let busy_timeout_ms = wait.as_millis();
        let pool = || {
            AnyPoolOptions::new().acquire_timeout(wait).after_connect(move |connection, _| {
                Box::pin(async move {
                    // NORMAL would lose acknowledged commits on power loss.
                    connection.execute("PRAGMA synchronous = FULL").await?;
                    connection.execute("PRAGMA foreign_keys = ON").await?;
                    let busy_timeout = format!("PRAGMA busy_timeout = {busy_timeout_ms}");
                    connection.execute(AssertSqlSafe(busy_timeout)).await?;
                    Ok(())
                })
            })
        };
        let writer = pool()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(sqlite_options(path, "rwc")?)
            .await?;
        sqlx::query("PRAGMA journal_mode = WAL").execute(&writer).await?;
        sqlx::migrate!("../migrations/sqlite").run(&writer).await?;
        let readers = pool()
            .min_connections(1)
            .max_connections(readers)
            .connect_with(sqlite_options(path, "ro")?)
            .await?;
        let writer = Writer::One(Batch::new(writer, wait));
        Ok(Self { dialect: Dialect::Sqlite, readers, writer })
    }

    async fn open_postgres(url: &str, connections: Connections) -> Result<Self> {
        let options = AnyConnectOptions::from_str(url)?;
        // Apart from the others, since a migration may take longer than a request is let to.
        let apart = AnyPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!("../migrations/postgres").run(&apart).await?;
        apart.close().await;
        let lock_ms = LOCK.max(connections.wait).as_millis();
        let limits = format!("{POSTGRES_LIMITS}; SET lock_timeout = '{lock_ms}ms'");
        let pool = AnyPoolOptions::new()
            .min_connections(1)
            .max_connections(connections.postgres)
            .acquire_timeout(connections.wait)
            .after_connect(move |connection, _| {
                let limits = AssertSqlSafe(limits.clone());
                Box::pin(async move {
                    connection.execute(limits).await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self { dialect: Dialect::Postgres, readers: pool, writer: Writer::Any })
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Where to read.
    pub fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// Begins to read as of one moment.
    ///
    /// # Errors
    /// When the database is busy or away.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Any>> {
        Ok(match self.dialect {
            Dialect::Sqlite => self.readers.begin().await?,
            // Its usual transactions see what others commit meanwhile.
            Dialect::Postgres => {
                self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?
            }
        })
    }

    /// Begins a transaction. What SQLite reads in it stays true; on PostgreSQL only what was locked.
    ///
    /// # Errors
    /// When the database is busy or away.
    pub async fn write(&self) -> Result<Write> {
        match &self.writer {
            Writer::Any => Ok(Write::Postgres(self.begin("BEGIN").await?)),
            Writer::One(batch) => batch.write().await,
        }
    }

    /// Begins a transaction of PostgreSQL in a task of its own: whoever asked may go away, but a
    /// BEGIN that is cut would give back a connection that is in a transaction without knowing it,
    /// and what others then do on it by single statements would never be committed.
    async fn begin(&self, statement: &'static str) -> Result<Transaction<'static, Any>> {
        let pool = self.readers.clone();
        let begun = tokio::spawn(async move { pool.begin_with(statement).await });
        Ok(begun.await.map_err(|_| sqlx::Error::WorkerCrashed)??)
    }

    /// Does one statement by itself; returns how many rows it touched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn execute(&self, query: Query<'_, Any, AnyArguments>) -> Result<u64> {
        let done = match &self.writer {
            Writer::Any => query.execute(&self.readers).await?,
            Writer::One(batch) => {
                let mut write = batch.write().await?;
                let done = query.execute(write.connection()).await?;
                write.commit().await?;
                done
            }
        };
        Ok(done.rows_affected())
    }

    /// Answers when the database does.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    /// Writes back what is in the log and closes all connections.
    pub async fn close(&self) {
        self.readers.close().await;
        if let Writer::One(batch) = &self.writer {
            batch.close().await;
        }
    }

    /// True when both are one database.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.readers.options(), other.readers.options())
    }
}

/// A file's URL: whatever its name has, it is not taken for more than a name.
fn sqlite_options(path: &Path, mode: &str) -> Result<AnyConnectOptions> {
    let name: String = path
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    Ok(AnyConnectOptions::from_str(&format!("sqlite://{name}?mode={mode}"))?)
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause)
                if cause.is_unique_violation() || cause.is_foreign_key_violation() =>
            {
                Self::Conflict
            }
            sqlx::Error::Database(cause)
                if cause.code().is_some_and(|code| is_temporary(&code)) =>
            {
                Self::Unavailable(error)
            }
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_) => Self::Unavailable(error),
            _ => Self::Broken(error.into()),
        }
    }
}

/// True for what passes by itself: SQLite's numbers have at most four digits, PostgreSQL's codes
/// five characters.
fn is_temporary(code: &str) -> bool {
    match code.len() {
        // Connection exceptions, resources, operator intervention and time limits; serialization,
        // deadlock, a lock that took too long, and a server that has just become a standby.
        5 => {
            matches!(code.get(..2), Some("08" | "53" | "57"))
                || matches!(code, "40001" | "40P01" | "55P03" | "25006" | "25P03")
        }
        // SQLITE_BUSY (5), SQLITE_FULL (13) and SQLITE_IOERR (10), with their extended codes.
        _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 10 | 13)),
    }
}

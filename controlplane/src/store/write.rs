//! A transaction. On PostgreSQL it is just that. SQLite has one writer and waits for the disk at each
//! commit, so writers that meet share one transaction, each in a savepoint of its own: whoever is
//! done queues again, and the first whose turn comes commits for all before it. Nobody is told of
//! success before the disk has it, and nobody waits for company.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::{Error, Result};

/// A transaction; dropped without [`Self::commit`] it never was.
#[derive(Debug)]
pub enum Write {
    /// On a connection of its own.
    Postgres(Transaction<'static, Any>),
    /// Within the batch that is open.
    Sqlite(Turn),
}

impl Write {
    /// What statements of this transaction run on.
    pub fn connection(&mut self) -> &mut AnyConnection {
        match self {
            Self::Postgres(transaction) => transaction,
            Self::Sqlite(turn) => turn.connection(),
        }
    }

    /// Makes it last.
    ///
    /// # Errors
    /// When the database fails: it may or may not have happened.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Postgres(transaction) => Ok(transaction.commit().await?),
            Self::Sqlite(turn) => turn.commit().await,
        }
    }
}

/// The connection that writes, shared by all.
#[derive(Debug, Clone)]
pub struct Batch {
    pool: AnyPool,
    /// How long a writer waits for a turn.
    wait: Duration,
    open: Arc<Mutex<Open>>,
}

/// What became of a batch, for all who wrote in it: true when the disk has it.
type Outcome = Arc<OnceLock<bool>>;

#[derive(Debug, Default)]
struct Open {
    connection: Option<PoolConnection<Any>>,
    /// Of the batch that is open, or the next to be.
    outcome: Outcome,
    in_transaction: bool,
    /// A savepoint is there that its owner has not released.
    savepoint: bool,
}

/// One writer's turn. Its changes are undone unless it commits.
#[derive(Debug)]
pub struct Turn {
    batch: Batch,
    /// None once it is done.
    open: Option<OwnedMutexGuard<Open>>,
}

/// Does it to the end, even when whoever waits for it goes away: a request whose client hangs up is
/// dropped between two statements, and what [`Open`] says of the connection must stay true.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(Error::Broken(error.into())))
}

impl Batch {
    /// Over a pool of one connection.
    pub fn new(pool: AnyPool, wait: Duration) -> Self {
        Self { pool, wait, open: Arc::default() }
    }

    /// Waits for a turn and opens a savepoint.
    pub async fn write(&self) -> Result<Write> {
        let waiting = timeout(self.wait, Arc::clone(&self.open).lock_owned());
        let mut open = waiting.await.map_err(|_| Error::Unavailable(sqlx::Error::PoolTimedOut))?;
        let batch = self.clone();
        to_the_end(async move {
            if open.connection.is_none() {
                open.connection = Some(batch.pool.acquire().await?);
            }
            open.begin().await?;
            Ok(Write::Sqlite(Turn { batch, open: Some(open) }))
        })
        .await
    }

    /// Commits what is open and closes the connection.
    pub async fn close(&self) {
        let mut open = Arc::clone(&self.open).lock_owned().await;
        // Whoever waits for this batch reads the outcome from it.
        let _ = open.commit().await;
        open.connection = None;
        drop(open);
        self.pool.close().await;
    }
}

impl Open {
    async fn run(&mut self, sql: &'static str) -> Result<()> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        connection.execute(sql).await?;
        Ok(())
    }

    /// Undoes what a writer left who is gone, as if it had never been.
    async fn clear(&mut self) -> Result<()> {
        if !self.savepoint {
            return Ok(());
        }
        if let Err(error) = self.run("ROLLBACK TO turn; RELEASE turn").await {
            self.fail().await;
            return Err(error);
        }
        self.savepoint = false;
        Ok(())
    }

    async fn begin(&mut self) -> Result<()> {
        // When the batch failed with its last writer (the disk was full), this one begins the next.
        let _ = self.clear().await;
        if !self.in_transaction {
            self.run("BEGIN IMMEDIATE").await?;
            self.in_transaction = true;
        }
        if let Err(error) = self.run("SAVEPOINT turn").await {
            self.fail().await;
            return Err(error);
        }
        self.savepoint = true;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        self.clear().await?;
        if !self.in_transaction {
            return Ok(());
        }
        if let Err(error) = self.run("COMMIT").await {
            self.fail().await;
            return Err(error);
        }
        self.end(true);
        Ok(())
    }

    /// Gives the open batch up: none of it has happened.
    async fn fail(&mut self) {
        // It fails when SQLite has rolled back by itself, as it does when the disk is full.
        let _ = self.run("ROLLBACK").await;
        self.end(false);
    }

    fn end(&mut self, lasting: bool) {
        (self.in_transaction, self.savepoint) = (false, false);
        // Only here is it set, and then another one takes its place.
        let _ = std::mem::take(&mut self.outcome).set(lasting);
    }
}

impl Turn {
    fn connection(&mut self) -> &mut AnyConnection {
        let open = self.open.as_mut().expect("a turn that is done is gone");
        open.connection.as_mut().expect("a turn begins with a connection")
    }

    async fn commit(mut self) -> Result<()> {
        let batch = self.batch.clone();
        let mut open = self.open.take().expect("a turn that is done is gone");
        to_the_end(async move {
            if let Err(error) = open.run("RELEASE turn").await {
                open.fail().await;
                return Err(error);
            }
            open.savepoint = false;
            let outcome = Arc::clone(&open.outcome);
            drop(open);
            // The queue is fair: all who waited until now write before our turn comes again.
            let mut open = Arc::clone(&batch.open).lock_owned().await;
            match outcome.get() {
                None => open.commit().await,
                Some(true) => Ok(()),
                Some(false) => Err(Error::Unavailable(sqlx::Error::WorkerCrashed)),
            }
        })
        .await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The file stays locked to other processes until the batch ends, and nobody else may come.
        let Some(mut open) = self.open.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Those who wrote before read the outcome from the batch.
            runtime.spawn(async move { open.commit().await });
        }
    }
}

//! A transaction. On PostgreSQL it is just that. SQLite has one writer and waits for the disk at each
//! commit, so writers that meet share one transaction, each in a savepoint of its own: whoever is
//! done queues again, and the first whose turn comes commits for all before it. Nobody is told of
//! success before the disk has it, and nobody waits for company.

use std::collections::VecDeque;
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::database::WAIT;
use super::{Error, Result};

/// Failed batches that are remembered; nobody waits for older ones any more.
const REMEMBERED_FAILURES: usize = 64;

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
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    connection: Option<PoolConnection<Any>>,
    /// Counts transactions; this one is open or the next to be.
    batch: u64,
    in_transaction: bool,
    /// A savepoint is there that its owner has not released.
    savepoint: bool,
    failed: VecDeque<u64>,
}

/// One writer's turn. Its changes are undone unless it commits.
#[derive(Debug)]
pub struct Turn {
    batch: Batch,
    open: OwnedMutexGuard<Open>,
}

impl Batch {
    /// Over a pool of one connection.
    pub fn new(pool: AnyPool) -> Self {
        Self { pool, open: Arc::default() }
    }

    async fn lock(&self) -> Result<OwnedMutexGuard<Open>> {
        timeout(WAIT, Arc::clone(&self.open).lock_owned())
            .await
            .map_err(|_| Error::Unavailable(sqlx::Error::PoolTimedOut))
    }

    /// Waits for a turn and opens a savepoint.
    pub async fn write(&self) -> Result<Write> {
        let mut open = self.lock().await?;
        if open.connection.is_none() {
            open.connection = Some(self.pool.acquire().await?);
        }
        if let Err(error) = open.begin().await {
            open.fail().await;
            return Err(error);
        }
        Ok(Write::Sqlite(Turn { batch: self.clone(), open }))
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

    async fn begin(&mut self) -> Result<()> {
        if self.savepoint {
            // Its owner is gone, as if it had never been.
            self.run("ROLLBACK TO turn; RELEASE turn").await?;
            self.savepoint = false;
        }
        if !self.in_transaction {
            self.run("BEGIN IMMEDIATE").await?;
            self.in_transaction = true;
        }
        self.run("SAVEPOINT turn").await?;
        self.savepoint = true;
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        if self.savepoint {
            self.run("ROLLBACK TO turn; RELEASE turn").await?;
            self.savepoint = false;
        }
        if !self.in_transaction {
            return Ok(());
        }
        match self.run("COMMIT").await {
            Ok(()) => {
                self.in_transaction = false;
                self.batch += 1;
                Ok(())
            }
            Err(error) => {
                self.fail().await;
                Err(error)
            }
        }
    }

    /// Gives the open batch up: none of it has happened.
    async fn fail(&mut self) {
        // It fails when SQLite has rolled back by itself, as it does when the disk is full.
        let _ = self.run("ROLLBACK").await;
        (self.in_transaction, self.savepoint) = (false, false);
        self.failed.push_back(self.batch);
        if self.failed.len() > REMEMBERED_FAILURES {
            self.failed.pop_front();
        }
        self.batch += 1;
    }
}

impl Turn {
    fn connection(&mut self) -> &mut AnyConnection {
        self.open.connection.as_mut().expect("a turn begins with a connection")
    }

    async fn commit(mut self) -> Result<()> {
        if let Err(error) = self.open.run("RELEASE turn").await {
            self.open.fail().await;
            return Err(error);
        }
        self.open.savepoint = false;
        let Self { batch, open } = self;
        let mine = open.batch;
        drop(open);
        // The queue is fair: all who waited until now write before our turn comes again.
        let mut open = Arc::clone(&batch.open).lock_owned().await;
        if open.batch == mine {
            return open.commit().await;
        }
        if open.failed.contains(&mine) {
            return Err(Error::Unavailable(sqlx::Error::WorkerCrashed));
        }
        Ok(())
    }
}

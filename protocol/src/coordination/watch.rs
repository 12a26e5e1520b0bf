//! A running watch, whatever back end feeds it.

use super::{Change, Error, etcd, memory};

/// Follows the keys under one prefix. Dropping it ends it.
#[derive(Debug)]
pub enum Watch {
    /// Reads the in-process history.
    Memory(memory::Watch),
    /// Reads an etcd stream.
    Etcd(etcd::Watch),
}

impl Watch {
    /// Waits for the next changes: at least one, all changes of a revision together, in order.
    /// Safe to cancel. After an error the watch is over.
    ///
    /// # Errors
    /// [`Error::Compacted`]: list anew. [`Error::Unavailable`]: list anew once the store is back.
    pub async fn next(&mut self) -> Result<Vec<Change>, Error> {
        match self {
            Self::Memory(watch) => watch.next().await,
            Self::Etcd(watch) => watch.next().await,
        }
    }
}

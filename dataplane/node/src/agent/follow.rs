//! Follows one prefix of the coordination store for ever: list, then watch from that revision;
//! list anew after a compaction, an error, and every 60 s in any case. While the store is away
//! nothing is told, so whoever follows goes on with what he knew (DESIGN rule 4).

use std::time::Duration;

use hype_protocol::coordination::{Change, Entry, Error, Store};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::Backoff;

/// A full reconcile at least this often, whatever the watch said.
const RELOAD: Duration = Duration::from_secs(60);

/// What is known of the prefix.
#[derive(Debug)]
pub enum Update {
    /// All there is; what is not in it does not exist.
    Reload(Vec<Entry>),
    /// What changed since.
    Changes(Vec<Change>),
}

/// Runs until nobody listens any more.
pub async fn follow<T>(
    store: Store,
    prefix: String,
    updates: mpsc::Sender<T>,
    wrap: impl Fn(Update) -> T,
) {
    let mut backoff = Backoff::new();
    loop {
        let begun = Instant::now();
        match follow_once(&store, &prefix, &updates, &wrap).await {
            Ok(Ended::Unheard) => return,
            Ok(Ended::Due) => backoff.reset(),
            Err(error) => {
                if begun.elapsed() > super::backoff::LONGEST {
                    backoff.reset();
                }
                tracing::warn!(%error, prefix, "following the coordination store: trying again");
                sleep(backoff.wait()).await;
            }
        }
    }
}

enum Ended {
    /// It is time for a full reload.
    Due,
    /// The listener is gone.
    Unheard,
}

async fn follow_once<T>(
    store: &Store,
    prefix: &str,
    updates: &mpsc::Sender<T>,
    wrap: impl Fn(Update) -> T,
) -> Result<Ended, Error> {
    let listing = store.list(prefix).await?;
    let mut watch = store.watch(prefix, listing.revision + 1).await?;
    if updates.send(wrap(Update::Reload(listing.entries))).await.is_err() {
        return Ok(Ended::Unheard);
    }
    let due = Instant::now() + RELOAD;
    loop {
        let changes = tokio::select! {
            changes = timeout_at(due, watch.next()) => changes,
            () = updates.closed() => return Ok(Ended::Unheard),
        };
        match changes {
            Ok(changes) => {
                if updates.send(wrap(Update::Changes(changes?))).await.is_err() {
                    return Ok(Ended::Unheard);
                }
            }
            Err(_) => return Ok(Ended::Due),
        }
    }
}

//! Follows one prefix of the coordination store for ever: list, then watch from that revision;
//! list anew after a compaction, an error, and every 60 s in any case. While the store is away
//! nothing is told, so whoever follows goes on with what he knew (DESIGN rule 4). A store that came
//! back without its past (empty, or from an older backup) takes nothing away either: see
//! [`Progress`].

use std::time::Duration;

use hype_protocol::coordination::{Change, Entry, Error, Listing, Store};
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

/// How far the store was seen to have come. One that stands at a lower revision has lost what was
/// written since: its listing says what to add, but what it lacks may well exist. So until it has
/// passed the highest revision seen, absence and deletions mean nothing.
#[derive(Debug, Default)]
pub struct Progress {
    highest: u64,
}

impl Progress {
    /// What a listing tells.
    pub fn listed(&mut self, listing: Listing) -> Update {
        let Listing { entries, revision } = listing;
        if revision < self.highest {
            tracing::warn!(
                revision,
                seen = self.highest,
                "the coordination store has lost its latest writes: what it lacks is kept"
            );
            return Update::Changes(entries.into_iter().map(Change::Put).collect());
        }
        self.highest = revision;
        Update::Reload(entries)
    }

    /// What changes tell.
    pub fn changed(&mut self, mut changes: Vec<Change>) -> Update {
        let seen = self.highest;
        changes.retain(|change| matches!(change, Change::Put(_)) || change.revision() >= seen);
        let newest = changes.iter().map(Change::revision).max();
        self.highest = seen.max(newest.unwrap_or(seen));
        Update::Changes(changes)
    }
}

/// Runs until nobody listens any more.
pub async fn follow<T>(
    store: Store,
    prefix: String,
    updates: mpsc::Sender<T>,
    wrap: impl Fn(Update) -> T,
) {
    let mut backoff = Backoff::new();
    let mut progress = Progress::default();
    loop {
        let begun = Instant::now();
        match follow_once(&store, &prefix, &mut progress, &updates, &wrap).await {
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
    progress: &mut Progress,
    updates: &mpsc::Sender<T>,
    wrap: impl Fn(Update) -> T,
) -> Result<Ended, Error> {
    let listing = store.list(prefix).await?;
    let mut watch = store.watch(prefix, listing.revision + 1).await?;
    if updates.send(wrap(progress.listed(listing))).await.is_err() {
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
                if updates.send(wrap(progress.changed(changes?))).await.is_err() {
                    return Ok(Ended::Unheard);
                }
            }
            Err(_) => return Ok(Ended::Due),
        }
    }
}

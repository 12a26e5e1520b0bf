//! Follows the coordination store: list, watch from there, list anew when the watch breaks and
//! every 60 s anyway. While the store is away, what was known last stays.

use std::time::Duration;

use hype_protocol::coordination::{Change, Error, Listing, Store};
use hype_protocol::key;
use tokio::time::{Instant, sleep, sleep_until};

use crate::voice::Voice;

/// How often everything is read anew.
const RECONCILE: Duration = Duration::from_secs(60);
/// Waits between attempts grow from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Follows nodes' records until aborted.
pub async fn nodes(voice: Voice) {
    let all = |listing: Listing, _| {
        voice.state().fleet.handle_records(&listing.entries, Instant::now());
    };
    let change = |change: Change| {
        let mut state = voice.state();
        match change {
            Change::Put(entry) => state.fleet.handle_record(&entry, Instant::now()),
            Change::Delete { key, .. } => state.fleet.handle_record_deleted(&key),
        }
    };
    follow(voice.coordination(), key::NODES, || 0, all, change).await;
}

/// Follows rooms' records until aborted.
pub async fn rooms(voice: Voice) {
    let newest = || voice.state().places.newest();
    let all = |listing: Listing, before| voice.state().places.handle_listing(&listing, before);
    let change = |change: Change| voice.state().places.handle_change(&change);
    follow(voice.coordination(), key::ROOMS, newest, all, change).await;
}

async fn follow(
    store: &Store,
    prefix: &str,
    newest: impl Fn() -> u64,
    mut all: impl FnMut(Listing, u64),
    mut change: impl FnMut(Change),
) {
    let mut wait = RETRY.0;
    loop {
        let began = Instant::now();
        match once(store, prefix, &newest, &mut all, &mut change).await {
            Ok(()) => wait = RETRY.0,
            Err(Error::Compacted) => tracing::info!(prefix, "history is gone; reading anew"),
            Err(error) => {
                if began.elapsed() > RECONCILE / 10 {
                    wait = RETRY.0;
                }
                tracing::warn!(prefix, %error, "coordination store lost; trying again");
                sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
        }
    }
}

async fn once(
    store: &Store,
    prefix: &str,
    newest: &impl Fn() -> u64,
    all: &mut impl FnMut(Listing, u64),
    change: &mut impl FnMut(Change),
) -> Result<(), Error> {
    let before = newest();
    let listing = store.list(prefix).await?;
    let mut watch = store.watch(prefix, listing.revision + 1).await?;
    all(listing, before);
    let until = Instant::now() + RECONCILE;
    loop {
        tokio::select! {
            changes = watch.next() => changes?.into_iter().for_each(&mut *change),
            () = sleep_until(until) => return Ok(()),
        }
    }
}

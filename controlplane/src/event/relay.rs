//! Carries durable events from the databases, where the transactions of their changes left them, to
//! the bus: whatever was committed is published at least once and each guild's events in order,
//! whichever replica dies. One relay at a time serves a database; the others wait behind its lock.
//! Never follows a cursor over ids, which would miss rows that commit late.

use std::time::Duration;

use tokio::time::timeout;

use super::Bus;
use crate::store::Store;
use crate::store::database::Database;

/// Events of one claim.
const BATCH: u32 = 500;
/// How soon the relay looks by itself: a replica may have died between commit and publishing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it tries again after an error.
const RETRY: Duration = Duration::from_millis(500);

/// Runs until it is aborted.
pub async fn run(store: Store, bus: Bus) {
    loop {
        for (number, shard) in store.shards().iter().enumerate() {
            if let Err(cause) = drain(shard, &bus).await {
                metrics::counter!("hype_control_relay_errors_total").increment(1);
                tracing::warn!(%cause, shard = number, "events wait in the outbox");
                tokio::time::sleep(RETRY).await;
            }
        }
        // Whether it was woken or its patience ended makes no difference.
        let _ = timeout(PATIENCE, store.written()).await;
    }
}

async fn drain(shard: &Database, bus: &Bus) -> Result<(), crate::store::Error> {
    loop {
        let claim = shard.claim_events(BATCH).await?;
        if claim.events.is_empty() {
            return Ok(());
        }
        for published in &claim.events {
            bus.forward(published.clone());
        }
        claim.sent().await?;
    }
}

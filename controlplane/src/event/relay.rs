//! Carries durable events from the databases, where the transactions of their changes left them, to
//! the bus: whatever was committed is published at least once and each guild's events in order,
//! whichever replica dies. One relay at a time serves a database; the others wait behind its lock.
//! Never follows a cursor over ids, which would miss rows that commit late.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Bus, Undelivered};
use crate::store::Store;
use crate::store::database::Database;
use crate::store::snowflake::unix_ms;

/// Events of one claim.
const BATCH: u32 = 500;
/// How soon the relay looks by itself: a replica may have died between commit and publishing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon it tries again after an error; each further one in a row doubles it.
const RETRY: Duration = Duration::from_millis(500);
/// The longest wait between two tries.
const RETRY_MOST: Duration = Duration::from_secs(5);
/// How long published events are kept for those who missed them.
pub const KEPT: Duration = Duration::from_secs(3600);
/// How often older ones are looked for.
const FORGET_PERIOD: Duration = Duration::from_secs(60);

/// Why events stay in the outbox.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error(transparent)]
    Bus(#[from] Undelivered),
}

/// Runs until it is aborted.
pub async fn run(store: Store, bus: Bus) {
    let mut wait = RETRY;
    let mut forget = Instant::now();
    loop {
        let mut failed = false;
        for (number, shard) in store.shards().iter().enumerate() {
            if let Err(cause) = drain(shard, &bus).await {
                metrics::counter!("hype_control_relay_errors_total").increment(1);
                if wait == RETRY {
                    tracing::warn!(%cause, shard = number, "events wait in the outbox");
                }
                failed = true;
            }
        }
        if Instant::now() >= forget {
            forget = Instant::now() + FORGET_PERIOD;
            forget_old(&store).await;
        }
        if failed {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MOST);
            continue;
        }
        wait = RETRY;
        // Whether it was woken or its patience ended makes no difference.
        let _ = timeout(PATIENCE, store.written()).await;
    }
}

async fn drain(shard: &Database, bus: &Bus) -> Result<(), Stuck> {
    loop {
        let claim = shard.claim_events(BATCH).await?;
        if claim.events.is_empty() {
            return Ok(());
        }
        bus.deliver(&claim.events).await?;
        claim.sent().await?;
    }
}

async fn forget_old(store: &Store) {
    let kept_ms = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
    for shard in store.shards() {
        if let Err(cause) = shard.forget_events(unix_ms().saturating_sub(kept_ms)).await {
            tracing::warn!(%cause, "old events could not be forgotten");
        }
    }
}

//! Ends stays whose end no replica saw, because none was there when the person left: their minutes
//! would be counted for ever. The leader does it, once every node has told its sessions: who is in
//! none of them has left, at the latest when a leader last looked. Never ends a session.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Voice;
use crate::event::consumers::{Stay, write_stay};
use crate::store::snowflake::unix_ms;
use crate::store::{Result, Store};

/// How often open stays are looked at, which is also how much of a stay may be lost.
const PERIOD: Duration = Duration::from_secs(60);

/// Runs until aborted.
pub(super) async fn run(voice: &Voice, store: &Store) {
    // Later than at once: nodes that are there need a moment until they are known here.
    let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(cause) = end(voice, store, Instant::now(), unix_ms()).await {
            tracing::debug!(%cause, "stays are not looked at now");
        }
    }
}

/// Ends those of which it is known; returns how many.
pub(in crate::voice) async fn end(
    voice: &Voice,
    store: &Store,
    now: Instant,
    now_ms: u64,
) -> Result<usize> {
    if !voice.state().fleet.complete(now) {
        return Ok(0);
    }
    let watched_ms = store.voice_watched().await?;
    // Of newer ones another replica may know more than this one does yet.
    let period_ms = u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX);
    let mut open = store.open_stays(now_ms.saturating_sub(period_ms)).await?;
    {
        let state = voice.state();
        if !state.fleet.complete(now) {
            return Ok(0);
        }
        open.retain(|stay| state.fleet.session(stay.session).is_none());
    }
    for stay in &open {
        let at_ms = stay.at_ms.max(watched_ms.min(now_ms));
        write_stay(store, Stay { at_ms, over: true, ..*stay }).await?;
    }
    store.watch_voice(now_ms).await?;
    if !open.is_empty() {
        metrics::counter!("hype_control_stays_unseen_total").increment(open.len() as u64);
        tracing::info!(stays = open.len(), "stays ended while nobody looked");
    }
    Ok(open.len())
}

//! Every durable event of a guild: written in the transaction of the change that it tells of, taken
//! by the relay that publishes it, and read again by whoever missed it. Forgotten after a while.

use hype_protocol::gateway::{Event, Position};
use hype_protocol::id::GuildId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::database::{Database, Dialect};
use super::write::Write;
use super::{Error, Result, Store, key, loaded, stored};
use crate::event::{Audience, Published};

/// Any number that no other program takes: the lock under which one relay at a time publishes.
const RELAY_LOCK: i64 = 0x6879_7065;

/// What the relay has to publish.
pub const UNSENT: &str = "SELECT guild_id, sequence, audience, body FROM events \
     WHERE sent = 0 ORDER BY guild_id, sequence LIMIT $1";
/// What somebody missed.
pub const AFTER: &str = "SELECT guild_id, sequence, audience, body FROM events \
     WHERE guild_id = $1 AND sequence > $2 \
     ORDER BY sequence LIMIT $3";

pub(super) fn from_row(row: &AnyRow) -> Result<Published> {
    let broken = |error: serde_json::Error| Error::Broken(error.into());
    let audience: Audience = serde_json::from_str(row.try_get("audience")?).map_err(broken)?;
    let event: Event = serde_json::from_str(row.try_get("body")?).map_err(broken)?;
    let position = Position {
        guild_id: GuildId(loaded(row.try_get("guild_id")?)?),
        sequence: loaded(row.try_get("sequence")?)?,
    };
    Ok(Published { audience, event, position: Some(position) })
}

/// Adds an event within the transaction of its change.
pub(super) async fn insert(
    connection: &mut AnyConnection,
    position: Position,
    audience: &Audience,
    event: &Event,
    now_ms: u64,
) -> Result<()> {
    let encoded =
        |text: serde_json::Result<String>| text.map_err(|error| Error::Broken(error.into()));
    sqlx::query(
        "INSERT INTO events (guild_id, sequence, audience, body, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(stored(position.guild_id.0)?)
    .bind(stored(position.sequence)?)
    .bind(encoded(serde_json::to_string(audience))?)
    .bind(encoded(serde_json::to_string(event))?)
    .bind(stored(now_ms)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// Unsent events that one relay has claimed; the claim ends with [`Self::sent`] or when it is
/// dropped.
#[derive(Debug)]
pub struct Claim {
    /// By guild, each guild's in order.
    pub events: Vec<Published>,
    database: Database,
    /// PostgreSQL's, which holds the lock; SQLite has one relay only.
    write: Option<Write>,
}

impl Claim {
    /// All were published.
    ///
    /// # Errors
    /// When the database fails: they will be published again.
    pub async fn sent(self) -> Result<()> {
        let mut positions = self.events.iter().filter_map(|published| published.position);
        let Some(mut first) = positions.next() else { return Ok(()) };
        let mut last = first;
        let mut ranges = Vec::new();
        for position in positions {
            if position.guild_id != last.guild_id || position.sequence != last.sequence + 1 {
                ranges.push((first, last));
                first = position;
            }
            last = position;
        }
        ranges.push((first, last));
        let mut write = match self.write {
            Some(write) => write,
            None => self.database.write().await?,
        };
        for (first, last) in ranges {
            sqlx::query(
                "UPDATE events SET sent = 1 \
                 WHERE guild_id = $1 AND sequence >= $2 AND sequence <= $3",
            )
            .bind(key(first.guild_id.0))
            .bind(key(first.sequence))
            .bind(key(last.sequence))
            .execute(write.connection())
            .await?;
        }
        write.commit().await
    }
}

impl Database {
    /// Claims up to `most` events that were not published yet. One relay at a time holds a claim on
    /// a database, so that a guild's events leave in order; the others wait here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_events(&self, most: u32) -> Result<Claim> {
        if self.dialect() == Dialect::Sqlite {
            // One process, one relay: it need not hold the write lock while it publishes.
            let rows = sqlx::query(UNSENT).bind(i64::from(most)).fetch_all(self.readers()).await?;
            let events = rows.iter().map(from_row).collect::<Result<_>>()?;
            return Ok(Claim { events, database: self.clone(), write: None });
        }
        let mut write = self.write().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(RELAY_LOCK)
            .execute(write.connection())
            .await?;
        let rows = sqlx::query(UNSENT).bind(i64::from(most)).fetch_all(write.connection()).await?;
        let events = rows.iter().map(from_row).collect::<Result<_>>()?;
        Ok(Claim { events, database: self.clone(), write: Some(write) })
    }

    /// Forgets published events from before `before_ms`; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_events(&self, before_ms: u64) -> Result<u64> {
        let query = sqlx::query("DELETE FROM events WHERE created_at_ms < $1 AND sent = 1");
        self.execute(query.bind(stored(before_ms)?)).await
    }
}

impl Store {
    /// The events of a guild after `sequence`, in order, at most `most`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_after(
        &self,
        guild: GuildId,
        sequence: u64,
        most: u32,
    ) -> Result<Vec<Published>> {
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let rows = sqlx::query(AFTER)
            .bind(key(guild.0))
            .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
            .bind(i64::from(most))
            .fetch_all(home.readers())
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// Waits until somebody in this process has committed events. A permit is kept, so none is
    /// missed between two waits.
    pub async fn written(&self) {
        self.written.notified().await;
    }

    pub(super) fn announce_written(&self) {
        self.written.notify_one();
    }
}

//! Who changed what in a guild: written in the transaction of the change, kept for 90 days.

use hype_protocol::id::{AuditId, GuildId, UserId};
use serde_json::Value;
use sqlx::Row;

use super::database::Database;
use super::guild_write::GuildWrite;
use super::{Error, Result, Store, key, loaded, stored};

/// Entries that one statement forgets.
const FORGET_BATCH: i64 = 1000;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Which; grows with time.
    pub id: AuditId,
    /// Who did it.
    pub actor: UserId,
    /// What was done, e.g. `channel.update`.
    pub action: String,
    /// To what: a role, a channel, a person, the guild.
    pub target: u64,
    /// What changed, from and to.
    pub detail: Value,
    /// When, in Unix milliseconds.
    pub created_at_ms: u64,
}

/// A page of the log, newest first, by its index.
pub const AUDIT_PAGE: &str = "SELECT id, actor_id, action, target_id, detail, created_at_ms \
     FROM audit_log WHERE guild_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";

impl GuildWrite {
    /// Adds an entry about this change.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the id is used.
    pub async fn add_audit(&mut self, entry: &Entry) -> Result<()> {
        let guild = self.guild();
        sqlx::query(
            "INSERT INTO audit_log \
             (id, guild_id, actor_id, action, target_id, detail, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(stored(entry.id.0)?)
        .bind(stored(guild.0)?)
        .bind(stored(entry.actor.0)?)
        .bind(&entry.action)
        .bind(stored(entry.target)?)
        .bind(entry.detail.to_string())
        .bind(stored(entry.created_at_ms)?)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

impl Store {
    /// The entries of a guild before `before`, newest first; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, guild: GuildId, before: AuditId, limit: u32) -> Result<Vec<Entry>> {
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let rows = sqlx::query(AUDIT_PAGE)
            .bind(key(guild.0))
            .bind(i64::try_from(before.0).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(home.readers())
            .await?;
        rows.iter()
            .map(|row| {
                let detail = serde_json::from_str(row.try_get("detail")?);
                Ok(Entry {
                    id: AuditId(loaded(row.try_get("id")?)?),
                    actor: UserId(loaded(row.try_get("actor_id")?)?),
                    action: row.try_get("action")?,
                    target: loaded(row.try_get("target_id")?)?,
                    detail: detail.map_err(|error| Error::Broken(error.into()))?,
                    created_at_ms: loaded(row.try_get("created_at_ms")?)?,
                })
            })
            .collect()
    }
}

impl Database {
    /// Forgets entries older than `before`, whose ids are times; returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_audit(&self, before: AuditId) -> Result<u64> {
        let mut forgotten = 0;
        loop {
            let query = sqlx::query(
                "DELETE FROM audit_log WHERE id IN \
                   (SELECT id FROM audit_log WHERE id < $1 ORDER BY id LIMIT $2)",
            );
            let done = self.execute(query.bind(key(before.0)).bind(FORGET_BATCH)).await?;
            forgotten += done;
            if done == 0 {
                return Ok(forgotten);
            }
        }
    }
}

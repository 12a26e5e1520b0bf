//! Who may not come back to a guild, and why.

use hype_protocol::gateway::User;
use hype_protocol::id::{GuildId, UserId};
use sqlx::Row;

use super::guild_write::GuildWrite;
use super::{Result, Store, key, loaded, stored};

/// A ban. The name of the banned is not stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub user: User,
    /// By whom.
    pub moderator: UserId,
    /// Why; may be empty.
    pub reason: String,
    /// Since when, in Unix milliseconds.
    pub created_at_ms: u64,
}

/// A page of bans, by the primary key.
pub const BAN_PAGE: &str = "SELECT user_id, moderator_id, reason, created_at_ms FROM bans \
     WHERE guild_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3";

impl GuildWrite {
    /// True when somebody is banned.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_banned(&mut self, user: UserId) -> Result<bool> {
        let guild = self.guild();
        let count: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM bans WHERE guild_id = $1 AND user_id = $2")
                .bind(key(guild.0))
                .bind(key(user.0))
                .fetch_one(self.connection())
                .await?;
        Ok(count > 0)
    }

    /// Bans somebody who is not banned; false when the guild has `quota` bans already.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when he is banned already.
    pub async fn add_ban(&mut self, ban: &Ban, quota: u32) -> Result<bool> {
        let guild = self.guild();
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM bans WHERE guild_id = $1")
            .bind(key(guild.0))
            .fetch_one(self.connection())
            .await?;
        if count >= i64::from(quota) {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO bans (guild_id, user_id, moderator_id, reason, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(stored(guild.0)?)
        .bind(stored(ban.user.id.0)?)
        .bind(stored(ban.moderator.0)?)
        .bind(&ban.reason)
        .bind(stored(ban.created_at_ms)?)
        .execute(self.connection())
        .await?;
        Ok(true)
    }

    /// Ends a ban; false when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_ban(&mut self, user: UserId) -> Result<bool> {
        let guild = self.guild();
        let done = sqlx::query("DELETE FROM bans WHERE guild_id = $1 AND user_id = $2")
            .bind(key(guild.0))
            .bind(key(user.0))
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

impl Store {
    /// The bans of a guild by the ids of the banned, after `after`; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bans(&self, guild: GuildId, after: UserId, limit: u32) -> Result<Vec<Ban>> {
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let rows = sqlx::query(BAN_PAGE)
            .bind(key(guild.0))
            .bind(i64::try_from(after.0).unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(home.readers())
            .await?;
        let mut bans = Vec::with_capacity(rows.len());
        for row in &rows {
            bans.push(Ban {
                user: User { id: UserId(loaded(row.try_get("user_id")?)?), name: String::new() },
                moderator: UserId(loaded(row.try_get("moderator_id")?)?),
                reason: row.try_get("reason")?,
                created_at_ms: loaded(row.try_get("created_at_ms")?)?,
            });
        }
        let ids: Vec<UserId> = bans.iter().map(|ban| ban.user.id).collect();
        let mut names = self.names(&ids).await?;
        for ban in &mut bans {
            if let Some(name) = names.remove(&ban.user.id) {
                ban.user.name = name;
            }
        }
        Ok(bans)
    }
}

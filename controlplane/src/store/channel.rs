//! Channels, and the directory from a channel to its guild.

use hype_protocol::gateway::{Channel, ChannelKind};
use hype_protocol::id::{ChannelId, GuildId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, Row, Sqlite};

use super::{Error, Result, Store, key, loaded, stored};

pub(super) fn from_row(row: &SqliteRow) -> Result<Channel> {
    let kind = match row.try_get::<&str, _>("kind")? {
        "text" => ChannelKind::Text,
        "voice" => ChannelKind::Voice,
        other => return Err(Error::Broken(format!("unknown channel kind `{other}`").into())),
    };
    let limit: i64 = row.try_get("user_limit")?;
    Ok(Channel {
        id: ChannelId(loaded(row.try_get("id")?)?),
        guild_id: GuildId(loaded(row.try_get("guild_id")?)?),
        name: row.try_get("name")?,
        kind,
        user_limit: u32::try_from(limit).map_err(|error| Error::Broken(error.into()))?,
    })
}

pub(super) async fn insert<'c>(
    executor: impl Executor<'c, Database = Sqlite>,
    channel: &Channel,
    now_ms: u64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO channels (id, guild_id, name, kind, user_limit, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(stored(channel.id.0)?)
    .bind(stored(channel.guild_id.0)?)
    .bind(&channel.name)
    .bind(match channel.kind {
        ChannelKind::Text => "text",
        ChannelKind::Voice => "voice",
    })
    .bind(i64::from(channel.user_limit))
    .bind(stored(now_ms)?)
    .execute(executor)
    .await?;
    Ok(())
}

impl Store {
    /// Adds a channel; false when its guild has `quota` already.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the id is used or the guild is not there.
    pub async fn create_channel(&self, channel: &Channel, quota: u32, now_ms: u64) -> Result<bool> {
        let mut write = self.write().await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM channels WHERE guild_id = $1")
            .bind(key(channel.guild_id.0))
            .fetch_one(&mut *write)
            .await?;
        if count >= i64::from(quota) {
            return Ok(false);
        }
        insert(&mut *write, channel, now_ms).await?;
        write.commit().await?;
        Ok(true)
    }

    /// The channel with this id, whichever guild it belongs to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channel(&self, id: ChannelId) -> Result<Option<Channel>> {
        let row =
            sqlx::query("SELECT id, guild_id, name, kind, user_limit FROM channels WHERE id = $1")
                .bind(key(id.0))
                .fetch_optional(&self.readers)
                .await?;
        row.as_ref().map(from_row).transpose()
    }
}

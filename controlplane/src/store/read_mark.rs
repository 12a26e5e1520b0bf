//! How far somebody has read which channel. Marks live with their guild and only ever go forward.

use hype_protocol::gateway::ReadMark;
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use sqlx::Row;

use super::database::Dialect;
use super::guild_write::MOVES;
use super::{Result, Store, key, loaded, stored};

/// Where the guild lives, and so that it does not move meanwhile; others may change it.
macro_rules! put {
    ($lock:literal) => {
        concat!(
            "INSERT INTO read_marks (user_id, channel_id, guild_id, message_id) \
             SELECT $1, $2, id, $4 FROM guilds WHERE id = $3 AND moved_to < 0 ",
            $lock,
            "ON CONFLICT (user_id, channel_id) DO UPDATE SET message_id = excluded.message_id \
             WHERE read_marks.message_id < excluded.message_id"
        )
    };
}

impl Store {
    /// Notes that somebody has read a channel up to a message; false when he had already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_read(&self, guild: GuildId, user: UserId, mark: ReadMark) -> Result<bool> {
        for _ in 0..MOVES {
            let Some(home) = self.home(guild).await? else { return Ok(false) };
            let sql = match home.dialect() {
                Dialect::Postgres => put!("FOR KEY SHARE "),
                Dialect::Sqlite => put!(""),
            };
            let query = sqlx::query(sql)
                .bind(stored(user.0)?)
                .bind(stored(mark.channel_id.0)?)
                .bind(stored(guild.0)?)
                .bind(stored(mark.message_id.0)?);
            if home.execute(query).await? > 0 {
                return Ok(true);
            }
            let moved_to: Option<i64> =
                sqlx::query_scalar("SELECT moved_to FROM guilds WHERE id = $1")
                    .bind(key(guild.0))
                    .fetch_optional(home.readers())
                    .await?;
            match moved_to {
                Some(shard) if shard >= 0 => self.moved(guild, shard)?,
                Some(_) | None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// How far somebody has read the channels of his guilds, each with its guild.
    ///
    /// # Errors
    /// When a database fails.
    pub async fn read_marks(&self, user: UserId) -> Result<Vec<(GuildId, ReadMark)>> {
        let mut marks = Vec::new();
        for database in self.databases() {
            let rows = sqlx::query(
                "SELECT guild_id, channel_id, message_id FROM read_marks \
                 JOIN guilds ON guilds.id = read_marks.guild_id \
                 WHERE user_id = $1 AND guilds.moved_to < 0 ORDER BY channel_id",
            )
            .bind(key(user.0))
            .fetch_all(database.readers())
            .await?;
            for row in &rows {
                let mark = ReadMark {
                    channel_id: ChannelId(loaded(row.try_get("channel_id")?)?),
                    message_id: MessageId(loaded(row.try_get("message_id")?)?),
                };
                marks.push((GuildId(loaded(row.try_get("guild_id")?)?), mark));
            }
        }
        Ok(marks)
    }
}

//! Guilds: made whole, with their first channels and their owner as a member.

use hype_protocol::gateway::{Guild, User};
use hype_protocol::id::{GuildId, UserId};
use sqlx::Row;

use super::{Result, Store, channel, key, loaded, stored};

impl Store {
    /// Adds a guild with its channels and its owner as the first member; false when the owner is
    /// in `quota` guilds already.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when an id is used or the owner is not there.
    pub async fn create_guild(&self, guild: &Guild, quota: u32, now_ms: u64) -> Result<bool> {
        let mut write = self.write().await?;
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE user_id = $1")
            .bind(key(guild.owner_id.0))
            .fetch_one(&mut *write)
            .await?;
        if count >= i64::from(quota) {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO guilds (id, name, owner_id, created_at_ms) VALUES ($1, $2, $3, $4)",
        )
        .bind(stored(guild.id.0)?)
        .bind(&guild.name)
        .bind(stored(guild.owner_id.0)?)
        .bind(stored(now_ms)?)
        .execute(&mut *write)
        .await?;
        sqlx::query("INSERT INTO members (guild_id, user_id, joined_at_ms) VALUES ($1, $2, $3)")
            .bind(stored(guild.id.0)?)
            .bind(stored(guild.owner_id.0)?)
            .bind(stored(now_ms)?)
            .execute(&mut *write)
            .await?;
        for channel in &guild.channels {
            channel::insert(&mut *write, channel, now_ms).await?;
        }
        write.commit().await?;
        Ok(true)
    }

    /// A guild with its channels (oldest first) and members (first come first), as of one moment.
    /// Its `voice_states` are empty: the store knows nothing of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn guild(&self, id: GuildId) -> Result<Option<Guild>> {
        let mut read = self.readers.begin().await?;
        let row = sqlx::query("SELECT id, name, owner_id FROM guilds WHERE id = $1")
            .bind(key(id.0))
            .fetch_optional(&mut *read)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let channels = sqlx::query(
            "SELECT id, guild_id, name, kind, user_limit FROM channels \
             WHERE guild_id = $1 ORDER BY id",
        )
        .bind(key(id.0))
        .fetch_all(&mut *read)
        .await?;
        let members = sqlx::query(
            "SELECT users.id, users.name FROM members JOIN users ON users.id = members.user_id \
             WHERE members.guild_id = $1 ORDER BY members.joined_at_ms, users.id",
        )
        .bind(key(id.0))
        .fetch_all(&mut *read)
        .await?;
        let members = members.iter().map(|row| {
            Ok(User { id: UserId(loaded(row.try_get("id")?)?), name: row.try_get("name")? })
        });
        Ok(Some(Guild {
            id,
            name: row.try_get("name")?,
            owner_id: UserId(loaded(row.try_get("owner_id")?)?),
            channels: channels.iter().map(channel::from_row).collect::<Result<_>>()?,
            members: members.collect::<Result<_>>()?,
            voice_states: Vec::new(),
        }))
    }

    /// Who owns a guild; none when there is no such guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn guild_owner(&self, id: GuildId) -> Result<Option<UserId>> {
        let owner: Option<i64> = sqlx::query_scalar("SELECT owner_id FROM guilds WHERE id = $1")
            .bind(key(id.0))
            .fetch_optional(&self.readers)
            .await?;
        owner.map(|owner| loaded(owner).map(UserId)).transpose()
    }
}

//! Guilds: made whole, with their first channels and their owner as a member.

use hype_protocol::gateway::Guild;
use hype_protocol::id::{GuildId, UserId};
use sqlx::Row;

use super::guild_write::{GuildWrite, MOVES};
use super::{Result, Store, channel, key, loaded, member, role, stored};

impl Store {
    /// Adds a guild with its roles, channels and its owner as the first member; false when the
    /// owner is in `quota` guilds already.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when an id is used.
    pub async fn create_guild(&self, guild: &Guild, quota: u32, now_ms: u64) -> Result<bool> {
        if !self.note_membership(guild.owner_id, guild.id, quota).await? {
            return Ok(false);
        }
        let shard = self.shard_for(guild.id);
        self.direct_guild(guild.id, shard).await?;
        let channels: Vec<_> = guild.channels.iter().map(|channel| channel.id).collect();
        self.direct_channels(guild.id, &channels).await?;
        let mut write = self.shards()[shard].write().await?;
        let newest = guild.channels.iter().map(|channel| channel.id.0).max();
        sqlx::query(
            "INSERT INTO guilds (id, name, owner_id, created_at_ms, last_id) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(stored(guild.id.0)?)
        .bind(&guild.name)
        .bind(stored(guild.owner_id.0)?)
        .bind(stored(now_ms)?)
        .bind(stored(newest.unwrap_or(guild.id.0))?)
        .execute(write.connection())
        .await?;
        member::insert(write.connection(), guild.id, guild.owner_id, now_ms).await?;
        for role in &guild.roles {
            role::insert(write.connection(), role).await?;
        }
        for channel in &guild.channels {
            channel::insert(write.connection(), channel, now_ms).await?;
        }
        write.commit().await?;
        Ok(true)
    }

    /// A guild with its roles (highest first), channels (in order) and members (first come first),
    /// as of one moment. `voice_states` and `presences` are empty: the store knows nothing of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn guild(&self, id: GuildId) -> Result<Option<Guild>> {
        let mut found = None;
        for _ in 0..MOVES {
            let Some(home) = self.home(id).await? else { return Ok(None) };
            let mut read = home.snapshot().await?;
            let row =
                sqlx::query("SELECT name, owner_id, sequence, moved_to FROM guilds WHERE id = $1")
                    .bind(key(id.0))
                    .fetch_optional(&mut *read)
                    .await?;
            match row {
                Some(row) if row.try_get::<i64, _>("moved_to")? < 0 => {
                    found = Some((read, row));
                    break;
                }
                Some(row) => self.moved(id, row.try_get("moved_to")?)?,
                // Moved and cleared away, or deleted: the directory knows.
                None => self.forget_home(id),
            }
        }
        let Some((mut read, row)) = found else { return Ok(None) };
        let roles = role::of_guild(&mut *read, id).await?;
        let channels = channel::of_guild(&mut read, id).await?;
        let mut members = member::of_guild(&mut read, id).await?;
        drop(read);
        self.name_members(&mut members).await?;
        Ok(Some(Guild {
            id,
            name: row.try_get("name")?,
            owner_id: UserId(loaded(row.try_get("owner_id")?)?),
            sequence: loaded(row.try_get("sequence")?)?,
            roles,
            channels,
            members,
            voice_states: Vec::new(),
            presences: Vec::new(),
        }))
    }
}

impl GuildWrite {
    /// The guild's name and owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn name_and_owner(&mut self) -> Result<Option<(String, UserId)>> {
        let guild = self.guild();
        let row = sqlx::query("SELECT name, owner_id FROM guilds WHERE id = $1")
            .bind(key(guild.0))
            .fetch_optional(self.connection())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((row.try_get("name")?, UserId(loaded(row.try_get("owner_id")?)?))))
    }

    /// Renames the guild and gives it to somebody.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_guild(&mut self, name: &str, owner: UserId) -> Result<()> {
        let guild = self.guild();
        sqlx::query("UPDATE guilds SET name = $1, owner_id = $2 WHERE id = $3")
            .bind(name)
            .bind(stored(owner.0)?)
            .bind(key(guild.0))
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

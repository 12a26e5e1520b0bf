//! Guilds: made whole, with their first channels and their owner as a member.

use hype_protocol::gateway::{Guild, Role};
use hype_protocol::id::{GuildId, UserId};
use sqlx::{AnyConnection, Row};

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
        let mut homes = self.homes(id);
        let (mut read, row) = loop {
            let Some(home) = homes.next().await? else { return Ok(None) };
            let mut read = home.snapshot().await?;
            let row = sqlx::query(
                "SELECT name, owner_id, sequence FROM guilds WHERE id = $1 AND moved_to < 0",
            )
            .bind(key(id.0))
            .fetch_optional(&mut *read)
            .await?;
            if let Some(row) = row {
                break (read, row);
            }
        };
        let roles = roles(&mut read, id).await?;
        let channels = channel::of_guild(&mut read, id).await?;
        let mut members = member::of_guild(&mut read, id).await?;
        drop(read);
        // Names live with the accounts, which may be another database.
        let ids: Vec<UserId> = members.iter().map(|member| member.user.id).collect();
        let names = self.names(&ids).await?;
        for member in &mut members {
            if let Some(name) = names.get(&member.user.id) {
                member.user.name.clone_from(name);
            }
        }
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

    /// Who owns a guild; none when there is no such guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn guild_owner(&self, id: GuildId) -> Result<Option<UserId>> {
        let mut homes = self.homes(id);
        while let Some(home) = homes.next().await? {
            let owner: Option<i64> =
                sqlx::query_scalar("SELECT owner_id FROM guilds WHERE id = $1 AND moved_to < 0")
                    .bind(key(id.0))
                    .fetch_optional(home.readers())
                    .await?;
            if let Some(owner) = owner {
                return Ok(Some(UserId(loaded(owner)?)));
            }
        }
        Ok(None)
    }
}

async fn roles(connection: &mut AnyConnection, guild: GuildId) -> Result<Vec<Role>> {
    let rows = sqlx::query(
        "SELECT id, guild_id, name, color, position, permissions FROM roles \
         WHERE guild_id = $1 ORDER BY position DESC, id",
    )
    .bind(key(guild.0))
    .fetch_all(connection)
    .await?;
    rows.iter().map(role::from_row).collect()
}

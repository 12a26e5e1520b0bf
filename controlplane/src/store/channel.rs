//! Channels of guilds, with what differs there from the roles.

use std::collections::HashMap;

use hype_protocol::gateway::{Channel, ChannelKind, Overwrite, OverwriteKind, VoiceMode};
use hype_protocol::id::{ChannelId, GuildId, MessageId, TargetId};
use hype_protocol::permission::Permissions;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::guild_write::GuildWrite;
use super::{Error, Result, Store, key, loaded, loaded_u32, stored};

fn kind_name(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Text => "text",
        ChannelKind::Voice => "voice",
        ChannelKind::Category => "category",
    }
}

fn mode_name(mode: VoiceMode) -> &'static str {
    match mode {
        VoiceMode::Auto => "auto",
        VoiceMode::P2p => "p2p",
        VoiceMode::Sfu => "sfu",
    }
}

fn from_row(row: &AnyRow) -> Result<Channel> {
    let unknown = |what: &str, text: &str| Error::Broken(format!("unknown {what} `{text}`").into());
    let kind = match row.try_get::<&str, _>("kind")? {
        "text" => ChannelKind::Text,
        "voice" => ChannelKind::Voice,
        "category" => ChannelKind::Category,
        other => return Err(unknown("channel kind", other)),
    };
    let voice_mode = match row.try_get::<&str, _>("voice_mode")? {
        "auto" => VoiceMode::Auto,
        "p2p" => VoiceMode::P2p,
        "sfu" => VoiceMode::Sfu,
        other => return Err(unknown("voice mode", other)),
    };
    let parent = loaded(row.try_get("parent_id")?)?;
    let last_message = loaded(row.try_get("last_message_id")?)?;
    Ok(Channel {
        id: ChannelId(loaded(row.try_get("id")?)?),
        guild_id: GuildId(loaded(row.try_get("guild_id")?)?),
        name: row.try_get("name")?,
        kind,
        parent_id: (parent != 0).then_some(ChannelId(parent)),
        topic: row.try_get("topic")?,
        position: loaded_u32(row.try_get("position")?)?,
        user_limit: loaded_u32(row.try_get("user_limit")?)?,
        bitrate: loaded_u32(row.try_get("bitrate")?)?,
        voice_mode,
        overwrites: Vec::new(),
        last_message_id: (last_message != 0).then_some(MessageId(last_message)),
    })
}

/// Columns as [`from_row`] wants them.
macro_rules! select_channels {
    ($rest:literal) => {
        concat!(
            "SELECT id, guild_id, parent_id, name, kind, topic, position, user_limit, bitrate, \
             voice_mode, last_message_id FROM channels ",
            $rest
        )
    };
}

fn overwrite(row: &AnyRow) -> Result<(ChannelId, Overwrite)> {
    let kind = match row.try_get::<&str, _>("target_kind")? {
        "role" => OverwriteKind::Role,
        _ => OverwriteKind::Member,
    };
    let overwrite = Overwrite {
        target_id: TargetId(loaded(row.try_get("target_id")?)?),
        kind,
        allow: Permissions::from_bits(loaded(row.try_get("allow")?)?),
        deny: Permissions::from_bits(loaded(row.try_get("deny")?)?),
    };
    Ok((ChannelId(loaded(row.try_get("channel_id")?)?), overwrite))
}

/// The channels of a guild.
pub const OF_GUILD: &str = select_channels!("WHERE guild_id = $1 ORDER BY position, id");

/// All channels of a guild, in order.
pub(super) async fn of_guild(
    connection: &mut AnyConnection,
    guild: GuildId,
) -> Result<Vec<Channel>> {
    let rows = sqlx::query(OF_GUILD).bind(key(guild.0)).fetch_all(&mut *connection).await?;
    let mut channels = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
    let rows = sqlx::query(
        "SELECT channel_id, target_id, target_kind, allow, deny FROM overwrites \
         WHERE guild_id = $1 ORDER BY target_id",
    )
    .bind(key(guild.0))
    .fetch_all(connection)
    .await?;
    let mut overwrites: HashMap<ChannelId, Vec<Overwrite>> = HashMap::new();
    for row in &rows {
        let (channel, overwrite) = overwrite(row)?;
        overwrites.entry(channel).or_default().push(overwrite);
    }
    for channel in &mut channels {
        channel.overwrites = overwrites.remove(&channel.id).unwrap_or_default();
    }
    Ok(channels)
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    channel: &Channel,
    now_ms: u64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO channels (id, guild_id, parent_id, name, kind, topic, position, user_limit, \
         bitrate, voice_mode, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(stored(channel.id.0)?)
    .bind(stored(channel.guild_id.0)?)
    .bind(stored(channel.parent_id.map_or(0, |parent| parent.0))?)
    .bind(&channel.name)
    .bind(kind_name(channel.kind))
    .bind(&channel.topic)
    .bind(i64::from(channel.position))
    .bind(i64::from(channel.user_limit))
    .bind(i64::from(channel.bitrate))
    .bind(mode_name(channel.voice_mode))
    .bind(stored(now_ms)?)
    .execute(&mut *connection)
    .await?;
    for overwrite in &channel.overwrites {
        insert_overwrite(connection, channel.guild_id, channel.id, overwrite).await?;
    }
    Ok(())
}

impl GuildWrite {
    /// Adds a channel; false when the guild has `quota` already.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the id is used.
    pub async fn add_channel(
        &mut self,
        channel: &Channel,
        quota: u32,
        now_ms: u64,
    ) -> Result<bool> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM channels WHERE guild_id = $1")
            .bind(key(channel.guild_id.0))
            .fetch_one(self.connection())
            .await?;
        if count >= i64::from(quota) {
            return Ok(false);
        }
        insert(self.connection(), channel, now_ms).await?;
        Ok(true)
    }
}

impl GuildWrite {
    /// All channels of the guild, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channels(&mut self) -> Result<Vec<Channel>> {
        let guild = self.guild();
        of_guild(self.connection(), guild).await
    }

    /// A channel of this guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channel(&mut self, id: ChannelId) -> Result<Option<Channel>> {
        let guild = self.guild();
        Ok(find(self.connection(), id).await?.filter(|channel| channel.guild_id == guild))
    }

    /// Replaces what a channel's row says; its overwrites stay.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_channel(&mut self, channel: &Channel) -> Result<()> {
        sqlx::query(
            "UPDATE channels SET parent_id = $1, name = $2, topic = $3, position = $4, \
             user_limit = $5, bitrate = $6, voice_mode = $7 WHERE id = $8 AND guild_id = $9",
        )
        .bind(stored(channel.parent_id.map_or(0, |parent| parent.0))?)
        .bind(&channel.name)
        .bind(&channel.topic)
        .bind(i64::from(channel.position))
        .bind(i64::from(channel.user_limit))
        .bind(i64::from(channel.bitrate))
        .bind(mode_name(channel.voice_mode))
        .bind(key(channel.id.0))
        .bind(key(channel.guild_id.0))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Removes a channel with its overwrites. What was written in it is removed later, bit by bit
    /// (`store/doomed.rs`).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_channel(&mut self, id: ChannelId) -> Result<()> {
        let guild = self.guild();
        for sql in [
            "DELETE FROM overwrites WHERE channel_id = $1 AND guild_id = $2",
            "DELETE FROM channels WHERE id = $1 AND guild_id = $2",
            "INSERT INTO doomed (channel_id, guild_id) VALUES ($1, $2)",
        ] {
            let query = sqlx::query(sql).bind(key(id.0)).bind(key(guild.0));
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    /// Puts an overwrite in the place of another about the same target; false when the channel has
    /// `quota` others already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_overwrite(
        &mut self,
        channel: ChannelId,
        overwrite: &Overwrite,
        quota: u32,
    ) -> Result<bool> {
        let others: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM overwrites WHERE channel_id = $1 AND target_id <> $2",
        )
        .bind(key(channel.0))
        .bind(key(overwrite.target_id.0))
        .fetch_one(self.connection())
        .await?;
        if others >= i64::from(quota) {
            return Ok(false);
        }
        let guild = self.guild();
        insert_overwrite(self.connection(), guild, channel, overwrite).await?;
        Ok(true)
    }

    /// Removes an overwrite.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_overwrite(&mut self, channel: ChannelId, target: TargetId) -> Result<()> {
        sqlx::query("DELETE FROM overwrites WHERE channel_id = $1 AND target_id = $2")
            .bind(key(channel.0))
            .bind(key(target.0))
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

async fn insert_overwrite(
    connection: &mut AnyConnection,
    guild: GuildId,
    channel: ChannelId,
    overwrite: &Overwrite,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO overwrites (channel_id, target_id, target_kind, guild_id, allow, deny) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (channel_id, target_id) DO UPDATE \
         SET target_kind = excluded.target_kind, allow = excluded.allow, deny = excluded.deny",
    )
    .bind(stored(channel.0)?)
    .bind(stored(overwrite.target_id.0)?)
    .bind(match overwrite.kind {
        OverwriteKind::Role => "role",
        OverwriteKind::Member => "member",
    })
    .bind(stored(guild.0)?)
    .bind(stored(overwrite.allow.bits())?)
    .bind(stored(overwrite.deny.bits())?)
    .execute(connection)
    .await?;
    Ok(())
}

/// A channel with its overwrites.
async fn find(connection: &mut AnyConnection, id: ChannelId) -> Result<Option<Channel>> {
    let row = sqlx::query(select_channels!("WHERE id = $1"))
        .bind(key(id.0))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut channel = from_row(&row)?;
    let rows = sqlx::query(
        "SELECT channel_id, target_id, target_kind, allow, deny FROM overwrites \
         WHERE channel_id = $1 ORDER BY target_id",
    )
    .bind(key(id.0))
    .fetch_all(connection)
    .await?;
    for row in &rows {
        channel.overwrites.push(overwrite(row)?.1);
    }
    Ok(Some(channel))
}

impl Store {
    /// All channels of a guild, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channels(&self, guild: GuildId) -> Result<Vec<Channel>> {
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let mut connection = home.readers().acquire().await?;
        of_guild(&mut connection, guild).await
    }

    /// Adds a channel to the directory, before it is added to its guild.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the id is used.
    pub async fn announce_channel(&self, guild: GuildId, channel: ChannelId) -> Result<()> {
        self.direct_channels(guild, &[channel]).await
    }

    /// The channel with this id, whichever guild it belongs to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channel(&self, id: ChannelId) -> Result<Option<Channel>> {
        let Some(guild) = self.guild_of_channel(id).await? else { return Ok(None) };
        let Some(home) = self.home(guild).await? else { return Ok(None) };
        let mut connection = home.readers().acquire().await?;
        find(&mut connection, id).await
    }
}

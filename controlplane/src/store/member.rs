//! Who is a member of which guild.

use hype_protocol::id::{GuildId, UserId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Result, Store, key, loaded, stored};

/// What became of a try to join a guild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// A member now.
    New,
    /// A member already.
    Already,
    /// The guild has all the members that it may have.
    GuildFull,
    /// The person is in all the guilds that one may be in.
    TooManyGuilds,
}

/// What a moderator decided about a member's voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VoiceDecision {
    /// Nobody hears the member.
    pub mute: bool,
    /// The member hears nobody.
    pub deaf: bool,
}

fn decision(row: &SqliteRow) -> Result<VoiceDecision> {
    Ok(VoiceDecision {
        mute: row.try_get::<i64, _>("server_mute")? != 0,
        deaf: row.try_get::<i64, _>("server_deaf")? != 0,
    })
}

impl Store {
    /// Makes somebody a member.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the guild or the person is not there.
    pub async fn add_member(
        &self,
        guild: GuildId,
        user: UserId,
        guild_quota: u32,
        user_quota: u32,
        now_ms: u64,
    ) -> Result<Added> {
        let mut write = self.write().await?;
        let is_member: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM members WHERE guild_id = $1 AND user_id = $2)",
        )
        .bind(key(guild.0))
        .bind(key(user.0))
        .fetch_one(&mut *write)
        .await?;
        if is_member {
            return Ok(Added::Already);
        }
        let members: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE guild_id = $1")
            .bind(key(guild.0))
            .fetch_one(&mut *write)
            .await?;
        if members >= i64::from(guild_quota) {
            return Ok(Added::GuildFull);
        }
        let guilds: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE user_id = $1")
            .bind(key(user.0))
            .fetch_one(&mut *write)
            .await?;
        if guilds >= i64::from(user_quota) {
            return Ok(Added::TooManyGuilds);
        }
        sqlx::query("INSERT INTO members (guild_id, user_id, joined_at_ms) VALUES ($1, $2, $3)")
            .bind(stored(guild.0)?)
            .bind(stored(user.0)?)
            .bind(stored(now_ms)?)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(Added::New)
    }

    /// True when the person is a member of the guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_member(&self, guild: GuildId, user: UserId) -> Result<bool> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM members WHERE guild_id = $1 AND user_id = $2)",
        )
        .bind(key(guild.0))
        .bind(key(user.0))
        .fetch_one(&self.readers)
        .await?)
    }

    /// The guilds that somebody is a member of, first joined first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn guilds_of(&self, user: UserId) -> Result<Vec<GuildId>> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT guild_id FROM members WHERE user_id = $1 ORDER BY joined_at_ms, guild_id",
        )
        .bind(key(user.0))
        .fetch_all(&self.readers)
        .await?;
        ids.into_iter().map(|id| loaded(id).map(GuildId)).collect()
    }

    /// How many members a guild has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn member_count(&self, guild: GuildId) -> Result<u64> {
        loaded(
            sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE guild_id = $1")
                .bind(key(guild.0))
                .fetch_one(&self.readers)
                .await?,
        )
    }

    /// What was decided about a member's voice; none when the person is no member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voice_decision(
        &self,
        guild: GuildId,
        user: UserId,
    ) -> Result<Option<VoiceDecision>> {
        let row = sqlx::query(
            "SELECT server_mute, server_deaf FROM members WHERE guild_id = $1 AND user_id = $2",
        )
        .bind(key(guild.0))
        .bind(key(user.0))
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(decision).transpose()
    }

    /// Decides about a member's voice; none leaves a thing as it is. Returns what holds now, none
    /// when the person is no member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decide_voice(
        &self,
        guild: GuildId,
        user: UserId,
        mute: Option<bool>,
        deaf: Option<bool>,
    ) -> Result<Option<VoiceDecision>> {
        let row = sqlx::query(
            "UPDATE members SET server_mute = COALESCE($1, server_mute), \
             server_deaf = COALESCE($2, server_deaf) \
             WHERE guild_id = $3 AND user_id = $4 RETURNING server_mute, server_deaf",
        )
        .bind(mute.map(i64::from))
        .bind(deaf.map(i64::from))
        .bind(key(guild.0))
        .bind(key(user.0))
        .fetch_optional(&self.writer)
        .await?;
        row.as_ref().map(decision).transpose()
    }
}

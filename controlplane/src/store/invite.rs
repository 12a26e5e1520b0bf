//! Invites: codes that make whoever has one a member of a guild.

use hype_protocol::id::{GuildId, UserId};
use sqlx::Row;

use super::guild_write::GuildWrite;
use super::{Result, Store, key, loaded, stored};

pub(super) const GUILD_OF_INVITE: &str = "SELECT guild_id FROM invite_directory WHERE code = $1";

/// An invite as stored, with what a stranger may see of its guild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What people pass on.
    pub code: String,
    /// To which guild.
    pub guild: GuildId,
    /// The guild's name.
    pub guild_name: String,
}

impl GuildWrite {
    /// Adds an invite; when the guild has `quota` of them already, the oldest ends.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the code is used.
    pub async fn add_invite(
        &mut self,
        code: &str,
        creator: UserId,
        quota: u32,
        now_ms: u64,
    ) -> Result<()> {
        let guild = self.guild();
        sqlx::query(
            "DELETE FROM invites WHERE code IN (\
               SELECT code FROM invites WHERE guild_id = $1 \
               ORDER BY created_at_ms DESC, code LIMIT 1000000 OFFSET $2)",
        )
        .bind(key(guild.0))
        .bind(i64::from(quota) - 1)
        .execute(self.connection())
        .await?;
        sqlx::query(
            "INSERT INTO invites (code, guild_id, creator_id, created_at_ms) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(code)
        .bind(stored(guild.0)?)
        .bind(stored(creator.0)?)
        .bind(stored(now_ms)?)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

impl Store {
    /// Adds an invite to the directory, before it is added to its guild.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the code is used.
    pub async fn announce_invite(&self, guild: GuildId, code: &str) -> Result<()> {
        let query = sqlx::query("INSERT INTO invite_directory (code, guild_id) VALUES ($1, $2)");
        self.accounts().execute(query.bind(code).bind(stored(guild.0)?)).await?;
        Ok(())
    }

    /// The invite with this code.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invite(&self, code: &str) -> Result<Option<Invite>> {
        let guild =
            sqlx::query_scalar::<_, i64>(GUILD_OF_INVITE)
                .bind(code)
                .fetch_optional(self.accounts().readers())
                .await?;
        let Some(guild) = guild else { return Ok(None) };
        let mut homes = self.homes(GuildId(loaded(guild)?));
        while let Some(home) = homes.next().await? {
            let row = sqlx::query(
                "SELECT invites.code, guilds.id, guilds.name \
                 FROM invites JOIN guilds ON guilds.id = invites.guild_id \
                 WHERE invites.code = $1 AND guilds.moved_to < 0",
            )
            .bind(code)
            .fetch_optional(home.readers())
            .await?;
            if let Some(row) = row {
                return Ok(Some(Invite {
                    code: row.try_get("code")?,
                    guild: GuildId(loaded(row.try_get("id")?)?),
                    guild_name: row.try_get("name")?,
                }));
            }
        }
        Ok(None)
    }
}

//! Invites: codes that make whoever has one a member of a guild, for some time and some people.

use hype_protocol::id::{GuildId, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::guild_write::GuildWrite;
use super::{Result, Store, key, loaded, loaded_u32, stored};

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What people pass on.
    pub code: String,
    /// To which guild.
    pub guild: GuildId,
    /// Who made it.
    pub creator: UserId,
    /// When, in Unix milliseconds.
    pub created_at_ms: u64,
    /// How many people it lets in; 0 for no limit.
    pub max_uses: u32,
    /// How many it has let in.
    pub uses: u32,
    /// Until when, in Unix milliseconds; 0 for ever.
    pub expires_at_ms: u64,
}

impl Invite {
    /// True while it lets somebody in.
    pub fn holds(&self, now_ms: u64) -> bool {
        (self.max_uses == 0 || self.uses < self.max_uses)
            && (self.expires_at_ms == 0 || now_ms < self.expires_at_ms)
    }
}

/// Columns as [`from_row`] wants them.
macro_rules! select_invites {
    ($rest:literal) => {
        concat!(
            "SELECT code, guild_id, creator_id, created_at_ms, max_uses, uses, expires_at_ms \
             FROM invites ",
            $rest
        )
    };
}

fn from_row(row: &AnyRow) -> Result<Invite> {
    Ok(Invite {
        code: row.try_get("code")?,
        guild: GuildId(loaded(row.try_get("guild_id")?)?),
        creator: UserId(loaded(row.try_get("creator_id")?)?),
        created_at_ms: loaded(row.try_get("created_at_ms")?)?,
        max_uses: loaded_u32(row.try_get("max_uses")?)?,
        uses: loaded_u32(row.try_get("uses")?)?,
        expires_at_ms: loaded(row.try_get("expires_at_ms")?)?,
    })
}

async fn find(connection: &mut AnyConnection, code: &str) -> Result<Option<Invite>> {
    let query = sqlx::query(select_invites!("WHERE code = $1")).bind(code);
    query.fetch_optional(connection).await?.as_ref().map(from_row).transpose()
}

impl GuildWrite {
    /// An invite of this guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invite(&mut self, code: &str) -> Result<Option<Invite>> {
        let guild = self.guild();
        Ok(find(self.connection(), code).await?.filter(|invite| invite.guild == guild))
    }

    /// Adds an invite. Those that hold no more end; when the guild has `quota` of them even so, the
    /// oldest does. Returns the codes of all that ended.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the code is used.
    pub async fn add_invite(&mut self, invite: &Invite, quota: u32) -> Result<Vec<String>> {
        let guild = self.guild();
        let rows = sqlx::query(
            "DELETE FROM invites WHERE guild_id = $1 AND \
               ((expires_at_ms > 0 AND expires_at_ms <= $2) OR (max_uses > 0 AND uses >= max_uses) \
                OR code IN (SELECT code FROM invites WHERE guild_id = $1 \
                  ORDER BY created_at_ms DESC, code LIMIT 1000000 OFFSET $3)) RETURNING code",
        )
        .bind(key(guild.0))
        .bind(stored(invite.created_at_ms)?)
        .bind(i64::from(quota) - 1)
        .fetch_all(self.connection())
        .await?;
        sqlx::query(
            "INSERT INTO invites \
             (code, guild_id, creator_id, created_at_ms, max_uses, uses, expires_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&invite.code)
        .bind(stored(guild.0)?)
        .bind(stored(invite.creator.0)?)
        .bind(stored(invite.created_at_ms)?)
        .bind(i64::from(invite.max_uses))
        .bind(i64::from(invite.uses))
        .bind(stored(invite.expires_at_ms)?)
        .execute(self.connection())
        .await?;
        rows.iter().map(|row| Ok(row.try_get("code")?)).collect()
    }

    /// Counts one more use.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn use_invite(&mut self, code: &str) -> Result<()> {
        let query = sqlx::query("UPDATE invites SET uses = uses + 1 WHERE code = $1");
        query.bind(code).execute(self.connection()).await?;
        Ok(())
    }

    /// Ends an invite.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_invite(&mut self, code: &str) -> Result<()> {
        let guild = self.guild();
        sqlx::query("DELETE FROM invites WHERE code = $1 AND guild_id = $2")
            .bind(code)
            .bind(key(guild.0))
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

/// To which guild an invite leads.
pub const GUILD_OF_INVITE: &str = "SELECT guild_id FROM invite_directory WHERE code = $1";
/// A page of a guild's invites.
pub const INVITE_PAGE: &str =
    select_invites!("WHERE guild_id = $1 AND code > $2 ORDER BY code LIMIT $3");

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

    /// Removes invites from the directory, after they are gone from their guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_invites(&self, codes: &[String]) -> Result<()> {
        for code in codes {
            let query = sqlx::query("DELETE FROM invite_directory WHERE code = $1");
            self.accounts().execute(query.bind(code)).await?;
        }
        Ok(())
    }

    /// The invite with this code, and its guild's name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invite(&self, code: &str) -> Result<Option<(Invite, String)>> {
        let guild = sqlx::query_scalar::<_, i64>(GUILD_OF_INVITE)
            .bind(code)
            .fetch_optional(self.accounts().readers())
            .await?;
        let Some(guild) = guild else { return Ok(None) };
        let guild = GuildId(loaded(guild)?);
        let Some(home) = self.home(guild).await? else { return Ok(None) };
        let mut connection = home.readers().acquire().await?;
        let Some(invite) = find(&mut connection, code).await? else { return Ok(None) };
        let name: Option<String> =
            sqlx::query_scalar("SELECT name FROM guilds WHERE id = $1 AND moved_to < 0")
                .bind(key(guild.0))
                .fetch_optional(&mut *connection)
                .await?;
        if name.is_none() {
            // It may have moved: the next call asks the directory.
            self.forget_home(guild);
        }
        Ok(name.map(|name| (invite, name)))
    }

    /// The invites of a guild by their codes, after `after`; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invites(&self, guild: GuildId, after: &str, limit: u32) -> Result<Vec<Invite>> {
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let rows = sqlx::query(INVITE_PAGE)
            .bind(key(guild.0))
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(home.readers())
            .await?;
        rows.iter().map(from_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_holds_for_its_people_and_its_time() {
        let invite = |max_uses, uses, expires_at_ms| Invite {
            code: String::new(),
            guild: GuildId(1),
            creator: UserId(1),
            created_at_ms: 5,
            max_uses,
            uses,
            expires_at_ms,
        };
        for (invite, holds) in [
            (invite(0, 9, 0), true),
            (invite(2, 1, 0), true),
            (invite(2, 2, 0), false),
            (invite(0, 0, 11), true),
            (invite(0, 0, 10), false),
        ] {
            assert_eq!(invite.holds(10), holds, "{invite:?}");
        }
    }
}

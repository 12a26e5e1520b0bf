//! What decides about somebody's rights in a guild, read at once: whether he is a member, who owns
//! the guild, and his roles. How it adds up is `domain/permission.rs`.

use hype_protocol::id::{GuildId, RoleId, UserId};
use hype_protocol::permission::Permissions;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::guild_write::{GuildWrite, MOVES};
use super::{Result, Store, key, loaded, loaded_u32};

/// A member's standing in a guild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Which guild.
    pub guild: GuildId,
    /// Who owns it.
    pub owner: UserId,
    /// The member.
    pub user: UserId,
    /// The member's roles, without that of everybody.
    pub roles: Vec<RoleId>,
    /// What the roles allow together, that of everybody among them.
    pub base: Permissions,
    /// The position of the highest role; 0 without one.
    pub top: u32,
    /// A moderator decided that nobody hears the member.
    pub mute: bool,
    /// A moderator decided that the member hears nobody.
    pub deaf: bool,
}

/// By primary keys, but for the roles: of those there are few in a guild.
pub const ACCESS: &str = "SELECT guilds.owner_id, guilds.moved_to, \
     COALESCE(members.user_id, -1) AS member_id, COALESCE(members.server_mute, 0) AS server_mute, \
     COALESCE(members.server_deaf, 0) AS server_deaf, \
     roles.id AS role_id, roles.position, roles.permissions \
     FROM guilds JOIN roles ON roles.guild_id = guilds.id \
     LEFT JOIN members ON members.guild_id = guilds.id AND members.user_id = $2 \
     WHERE guilds.id = $1 AND (roles.id = $1 OR roles.id IN \
       (SELECT role_id FROM member_roles WHERE guild_id = $1 AND user_id = $2))";

enum Found {
    /// The guild is not in this database.
    NoGuild,
    /// It moved to this shard.
    Moved(i64),
    /// The person is no member.
    Stranger,
    Member(Access),
}

fn from_rows(guild: GuildId, user: UserId, rows: &[AnyRow]) -> Result<Found> {
    let Some(first) = rows.first() else { return Ok(Found::NoGuild) };
    let moved_to: i64 = first.try_get("moved_to")?;
    if moved_to >= 0 {
        return Ok(Found::Moved(moved_to));
    }
    if first.try_get::<i64, _>("member_id")? < 0 {
        return Ok(Found::Stranger);
    }
    let mut access = Access {
        guild,
        owner: UserId(loaded(first.try_get("owner_id")?)?),
        user,
        roles: Vec::new(),
        base: Permissions::NONE,
        top: 0,
        mute: first.try_get::<i64, _>("server_mute")? != 0,
        deaf: first.try_get::<i64, _>("server_deaf")? != 0,
    };
    for row in rows {
        let role = RoleId(loaded(row.try_get("role_id")?)?);
        access.base = access.base | Permissions::from_bits(loaded(row.try_get("permissions")?)?);
        access.top = access.top.max(loaded_u32(row.try_get("position")?)?);
        if role.0 != guild.0 {
            access.roles.push(role);
        }
    }
    access.roles.sort_unstable();
    Ok(Found::Member(access))
}

async fn find(
    executor: impl Executor<'_, Database = Any>,
    guild: GuildId,
    user: UserId,
) -> Result<Found> {
    let query = sqlx::query(ACCESS).bind(key(guild.0)).bind(key(user.0));
    from_rows(guild, user, &query.fetch_all(executor).await?)
}

impl Store {
    /// Somebody's standing in a guild; none when he is no member of it, or there is no such guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn access(&self, guild: GuildId, user: UserId) -> Result<Option<Access>> {
        for _ in 0..MOVES {
            let Some(home) = self.home(guild).await? else { return Ok(None) };
            match find(home.readers(), guild, user).await? {
                Found::Member(access) => return Ok(Some(access)),
                Found::Stranger => return Ok(None),
                Found::Moved(shard) => self.moved(guild, shard)?,
                // Moved and cleared away, or deleted: the directory knows.
                Found::NoGuild => self.forget_home(guild),
            }
        }
        Ok(None)
    }
}

impl GuildWrite {
    /// Somebody's standing in this guild, which nobody changes meanwhile; none when he is no member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn access(&mut self, user: UserId) -> Result<Option<Access>> {
        let guild = self.guild();
        match find(self.connection(), guild, user).await? {
            Found::Member(access) => Ok(Some(access)),
            Found::Stranger | Found::Moved(_) | Found::NoGuild => Ok(None),
        }
    }
}

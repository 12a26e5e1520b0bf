//! Who is a member of which guild, with which roles.

use std::collections::HashMap;

use hype_protocol::gateway::{Member, User};
use hype_protocol::id::{GuildId, RoleId, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::guild_write::GuildWrite;
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
}

/// What a moderator decided about a member's voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VoiceDecision {
    /// Nobody hears the member.
    pub mute: bool,
    /// The member hears nobody.
    pub deaf: bool,
}

fn decision(row: &AnyRow) -> Result<VoiceDecision> {
    Ok(VoiceDecision {
        mute: row.try_get::<i64, _>("server_mute")? != 0,
        deaf: row.try_get::<i64, _>("server_deaf")? != 0,
    })
}

/// A member whose name and roles are not known yet.
fn from_row(row: &AnyRow) -> Result<Member> {
    let decision = decision(row)?;
    Ok(Member {
        user: User { id: UserId(loaded(row.try_get("user_id")?)?), name: String::new() },
        roles: Vec::new(),
        joined_at_ms: loaded(row.try_get("joined_at_ms")?)?,
        server_mute: decision.mute,
        server_deaf: decision.deaf,
    })
}

fn of_users(rows: &[AnyRow]) -> Result<HashMap<UserId, Vec<RoleId>>> {
    let mut roles: HashMap<UserId, Vec<RoleId>> = HashMap::new();
    for row in rows {
        let user = UserId(loaded(row.try_get("user_id")?)?);
        roles.entry(user).or_default().push(RoleId(loaded(row.try_get("role_id")?)?));
    }
    Ok(roles)
}

/// All members of a guild without their names, who came first first.
pub(super) async fn of_guild(
    connection: &mut AnyConnection,
    guild: GuildId,
) -> Result<Vec<Member>> {
    let rows = sqlx::query(
        "SELECT user_id, joined_at_ms, server_mute, server_deaf FROM members \
         WHERE guild_id = $1 ORDER BY joined_at_ms, user_id",
    )
    .bind(key(guild.0))
    .fetch_all(&mut *connection)
    .await?;
    let mut members = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
    let rows = sqlx::query(
        "SELECT user_id, role_id FROM member_roles WHERE guild_id = $1 ORDER BY role_id",
    )
    .bind(key(guild.0))
    .fetch_all(connection)
    .await?;
    let mut roles = of_users(&rows)?;
    for member in &mut members {
        member.roles = roles.remove(&member.user.id).unwrap_or_default();
    }
    Ok(members)
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    guild: GuildId,
    user: UserId,
    now_ms: u64,
) -> Result<()> {
    sqlx::query("INSERT INTO members (guild_id, user_id, joined_at_ms) VALUES ($1, $2, $3)")
        .bind(stored(guild.0)?)
        .bind(stored(user.0)?)
        .bind(stored(now_ms)?)
        .execute(connection)
        .await?;
    Ok(())
}

impl GuildWrite {
    /// Makes somebody a member, unless the guild has `quota` already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_member(&mut self, user: UserId, quota: u32, now_ms: u64) -> Result<Added> {
        let guild = self.guild();
        let member: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE guild_id = $1 AND user_id = $2")
                .bind(key(guild.0))
                .bind(key(user.0))
                .fetch_one(self.connection())
                .await?;
        if member > 0 {
            return Ok(Added::Already);
        }
        let members: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE guild_id = $1")
            .bind(key(guild.0))
            .fetch_one(self.connection())
            .await?;
        if members >= i64::from(quota) {
            return Ok(Added::GuildFull);
        }
        insert(self.connection(), guild, user, now_ms).await?;
        Ok(Added::New)
    }
}

impl GuildWrite {
    /// Removes a member, with his roles and read marks; false when he is none. What overwrites say
    /// about him stays for the case that he comes back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_member(&mut self, user: UserId) -> Result<bool> {
        let guild = self.guild();
        for sql in [
            "DELETE FROM member_roles WHERE guild_id = $1 AND user_id = $2",
            "DELETE FROM read_marks WHERE guild_id = $1 AND user_id = $2",
        ] {
            let query = sqlx::query(sql).bind(key(guild.0)).bind(key(user.0));
            query.execute(self.connection()).await?;
        }
        let done = sqlx::query("DELETE FROM members WHERE guild_id = $1 AND user_id = $2")
            .bind(key(guild.0))
            .bind(key(user.0))
            .execute(self.connection())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// A member without his name; none when the person is no member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn member(&mut self, user: UserId) -> Result<Option<Member>> {
        let guild = self.guild();
        // One person: the same as a page that begins right before him.
        let found = page(self.connection(), guild, before(user), 1).await?;
        Ok(found.into_iter().next().filter(|member| member.user.id == user))
    }
}

fn before(user: UserId) -> i64 {
    key(user.0).saturating_sub(1)
}

/// Members of a guild without their names, by id, after `after`.
async fn page(
    connection: &mut AnyConnection,
    guild: GuildId,
    after: i64,
    limit: u32,
) -> Result<Vec<Member>> {
    let rows = sqlx::query(MEMBER_PAGE)
        .bind(key(guild.0))
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *connection)
        .await?;
    let mut members = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
    let Some(last) = members.last() else { return Ok(members) };
    let rows = sqlx::query(
        "SELECT user_id, role_id FROM member_roles \
         WHERE guild_id = $1 AND user_id > $2 AND user_id <= $3 ORDER BY user_id, role_id",
    )
    .bind(key(guild.0))
    .bind(after)
    .bind(key(last.user.id.0))
    .fetch_all(connection)
    .await?;
    let mut roles = of_users(&rows)?;
    for member in &mut members {
        member.roles = roles.remove(&member.user.id).unwrap_or_default();
    }
    Ok(members)
}

/// A page of members, by the primary key.
pub const MEMBER_PAGE: &str = "SELECT user_id, joined_at_ms, server_mute, server_deaf FROM members \
     WHERE guild_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3";

impl Store {
    /// Members of a guild by their ids, after `after`; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(&self, guild: GuildId, after: UserId, limit: u32) -> Result<Vec<Member>> {
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let mut connection = home.readers().acquire().await?;
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let mut members = page(&mut connection, guild, after, limit).await?;
        drop(connection);
        self.name_members(&mut members).await?;
        Ok(members)
    }

    /// Names live with the accounts, which may be another database.
    pub(super) async fn name_members(&self, members: &mut [Member]) -> Result<()> {
        let ids: Vec<UserId> = members.iter().map(|member| member.user.id).collect();
        let mut names = self.names(&ids).await?;
        for member in members {
            if let Some(name) = names.remove(&member.user.id) {
                member.user.name = name;
            }
        }
        Ok(())
    }

    /// Notes that somebody is about to become a member; false when he is in `quota` guilds already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn announce_member(&self, user: UserId, guild: GuildId, quota: u32) -> Result<bool> {
        self.note_membership(user, guild, quota).await
    }

    /// How many members a guild has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn member_count(&self, guild: GuildId) -> Result<u64> {
        let Some(home) = self.home(guild).await? else { return Ok(0) };
        loaded(
            sqlx::query_scalar("SELECT COUNT(*) FROM members WHERE guild_id = $1")
                .bind(key(guild.0))
                .fetch_one(home.readers())
                .await?,
        )
    }
}

impl GuildWrite {
    /// Decides about a member's voice; none leaves a thing as it is. Returns what holds now, none
    /// when the person is no member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decide_voice(
        &mut self,
        user: UserId,
        mute: Option<bool>,
        deaf: Option<bool>,
    ) -> Result<Option<VoiceDecision>> {
        let guild = self.guild();
        let row = sqlx::query(
            "UPDATE members SET server_mute = COALESCE($1, server_mute), \
             server_deaf = COALESCE($2, server_deaf) \
             WHERE guild_id = $3 AND user_id = $4 RETURNING server_mute, server_deaf",
        )
        .bind(mute.map(i64::from))
        .bind(deaf.map(i64::from))
        .bind(key(guild.0))
        .bind(key(user.0))
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(decision).transpose()
    }
}

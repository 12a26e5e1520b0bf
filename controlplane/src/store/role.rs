//! Roles of a guild, and which member has which.

use hype_protocol::gateway::Role;
use hype_protocol::id::{GuildId, RoleId, UserId};
use hype_protocol::permission::Permissions;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use super::guild_write::GuildWrite;
use super::{Result, Store, key, loaded, loaded_u32, stored};

fn from_row(row: &AnyRow) -> Result<Role> {
    Ok(Role {
        id: RoleId(loaded(row.try_get("id")?)?),
        guild_id: GuildId(loaded(row.try_get("guild_id")?)?),
        name: row.try_get("name")?,
        color: loaded_u32(row.try_get("color")?)?,
        position: loaded_u32(row.try_get("position")?)?,
        permissions: Permissions::from_bits(loaded(row.try_get("permissions")?)?),
    })
}

/// All roles of a guild, the highest first.
pub(super) async fn of_guild(
    executor: impl Executor<'_, Database = Any>,
    guild: GuildId,
) -> Result<Vec<Role>> {
    let rows = sqlx::query(
        "SELECT id, guild_id, name, color, position, permissions FROM roles \
         WHERE guild_id = $1 ORDER BY position DESC, id",
    )
    .bind(key(guild.0))
    .fetch_all(executor)
    .await?;
    rows.iter().map(from_row).collect()
}

pub(super) async fn insert(connection: &mut AnyConnection, role: &Role) -> Result<()> {
    sqlx::query(
        "INSERT INTO roles (id, guild_id, name, color, position, permissions) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(stored(role.id.0)?)
    .bind(stored(role.guild_id.0)?)
    .bind(&role.name)
    .bind(i64::from(role.color))
    .bind(i64::from(role.position))
    .bind(stored(role.permissions.bits())?)
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// The roles of a guild, the highest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn roles(&self, guild: GuildId) -> Result<Vec<Role>> {
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        of_guild(home.readers(), guild).await
    }
}

impl GuildWrite {
    /// The roles of the guild, the highest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn roles(&mut self) -> Result<Vec<Role>> {
        let guild = self.guild();
        of_guild(self.connection(), guild).await
    }

    /// Adds a role.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the id is used.
    pub async fn add_role(&mut self, role: &Role) -> Result<()> {
        insert(self.connection(), role).await
    }

    /// Replaces a role.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_role(&mut self, role: &Role) -> Result<()> {
        sqlx::query(
            "UPDATE roles SET name = $1, color = $2, position = $3, permissions = $4 \
             WHERE id = $5 AND guild_id = $6",
        )
        .bind(&role.name)
        .bind(i64::from(role.color))
        .bind(i64::from(role.position))
        .bind(stored(role.permissions.bits())?)
        .bind(key(role.id.0))
        .bind(key(role.guild_id.0))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Removes a role: nobody has it any more, and no overwrite is about it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_role(&mut self, role: RoleId) -> Result<()> {
        let guild = self.guild();
        for sql in [
            "DELETE FROM member_roles WHERE role_id = $1 AND guild_id = $2",
            "DELETE FROM overwrites WHERE target_id = $1 AND guild_id = $2",
            "DELETE FROM roles WHERE id = $1 AND guild_id = $2",
        ] {
            let query = sqlx::query(sql).bind(key(role.0)).bind(key(guild.0));
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    /// Gives a member exactly these roles.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_roles(&mut self, user: UserId, roles: &[RoleId]) -> Result<()> {
        let guild = self.guild();
        sqlx::query("DELETE FROM member_roles WHERE guild_id = $1 AND user_id = $2")
            .bind(key(guild.0))
            .bind(key(user.0))
            .execute(self.connection())
            .await?;
        for role in roles {
            sqlx::query(
                "INSERT INTO member_roles (guild_id, user_id, role_id) VALUES ($1, $2, $3)",
            )
            .bind(stored(guild.0)?)
            .bind(stored(user.0)?)
            .bind(stored(role.0)?)
            .execute(self.connection())
            .await?;
        }
        Ok(())
    }
}

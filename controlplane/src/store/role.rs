//! Roles of a guild.

use hype_protocol::gateway::Role;
use hype_protocol::id::{GuildId, RoleId};
use hype_protocol::permission::Permissions;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{Result, loaded, loaded_u32, stored};

pub(super) fn from_row(row: &AnyRow) -> Result<Role> {
    Ok(Role {
        id: RoleId(loaded(row.try_get("id")?)?),
        guild_id: GuildId(loaded(row.try_get("guild_id")?)?),
        name: row.try_get("name")?,
        color: loaded_u32(row.try_get("color")?)?,
        position: loaded_u32(row.try_get("position")?)?,
        permissions: Permissions::from_bits(loaded(row.try_get("permissions")?)?),
    })
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

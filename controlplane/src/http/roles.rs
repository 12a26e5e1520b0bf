//! `/api/v1/guilds/{guild}/roles`: named sets of permissions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::Role;
use hype_protocol::id::{GuildId, RoleId};
use hype_protocol::permission::Permissions;
use serde::Deserialize;
use utoipa::ToSchema;

use super::document::Refused;
use super::extract::{Body, Caller, Id, Ids};
use super::idempotency::IdempotencyKey;
use crate::app::Shared;
use crate::domain::role;
use crate::error::{Error, code};

/// What a role shall be; what is left out stays, or is as at first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleChange {
    /// 1–64 characters on one line.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// 0xRRGGBB; 0 for none.
    #[schema(maximum = 16_777_215)]
    color: Option<u32>,
    /// What it allows: only what one has oneself can be added or taken away.
    permissions: Option<Permissions>,
    /// Its place from 1 on, the highest last; the others make way.
    #[schema(minimum = 1)]
    position: Option<u32>,
}

impl From<RoleChange> for role::Change {
    fn from(body: RoleChange) -> Self {
        let RoleChange { name, color, permissions, position } = body;
        Self { name, color, permissions, position }
    }
}

/// A guild's roles
///
/// The highest first; the last is that of everybody, which has the guild's id.
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}/roles", tag = "roles",
    params(("guild" = GuildId, Path)),
    responses((status = 200, body = Vec<Role>))
)]
pub(super) async fn list(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
) -> Result<Json<Vec<Role>>, Error> {
    Ok(Json(role::list(&app, caller.0, id).await?))
}

/// Make a role
///
/// Needs MANAGE_ROLES. It stands lowest unless it says where, which must be below one's own highest.
#[utoipa::path(
    post, path = "/api/v1/guilds/{guild}/roles", tag = "roles",
    params(("guild" = GuildId, Path), IdempotencyKey),
    request_body = RoleChange,
    responses(
        (status = 201, body = Role),
        Refused::<(code::MissingPermission, code::Outranked, code::LimitReached)>
    )
)]
pub(super) async fn create(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Body(body): Body<RoleChange>,
) -> Result<(StatusCode, Json<Role>), Error> {
    app.limits.create(caller.0)?;
    let role = role::create(&app, caller.0, id, body.into()).await?;
    Ok((StatusCode::CREATED, Json(role)))
}

/// Change a role
///
/// Needs MANAGE_ROLES, and stands above the role. Of that of everybody only the permissions change.
#[utoipa::path(
    patch, path = "/api/v1/guilds/{guild}/roles/{role}", tag = "roles",
    params(("guild" = GuildId, Path), ("role" = RoleId, Path)),
    request_body = RoleChange,
    responses((status = 200, body = Role), Refused::<(code::MissingPermission, code::Outranked)>)
)]
pub(super) async fn change(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, role): Ids<GuildId, RoleId>,
    Body(body): Body<RoleChange>,
) -> Result<Json<Role>, Error> {
    Ok(Json(role::change(&app, caller.0, guild, role, body.into()).await?))
}

/// Delete a role
///
/// Nobody has it any more. Needs MANAGE_ROLES, and stands above the role.
#[utoipa::path(
    delete, path = "/api/v1/guilds/{guild}/roles/{role}", tag = "roles",
    params(("guild" = GuildId, Path), ("role" = RoleId, Path)),
    responses(
        (status = 204),
        Refused::<(code::MissingPermission, code::Outranked, code::InvalidRequest)>
    )
)]
pub(super) async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, role): Ids<GuildId, RoleId>,
) -> Result<StatusCode, Error> {
    role::delete(&app, caller.0, guild, role).await?;
    Ok(StatusCode::NO_CONTENT)
}

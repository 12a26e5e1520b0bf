//! `/api/v1/guilds` and `/api/v1/guilds/{guild}`, and the guild's audit log.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::Guild;
use hype_protocol::id::{AuditId, ChannelId, GuildId, TargetId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::document::Refused;
use super::extract::{Body, Caller, Id, Search, page_limit};
use super::idempotency::IdempotencyKey;
use crate::app::Shared;
use crate::domain::{audit, guild};
use crate::error::{Error, code};
use crate::store::audit::Entry;

/// A guild to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGuild {
    /// 1–64 characters on one line.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
}

/// One's guilds
#[utoipa::path(
    get, path = "/api/v1/guilds", tag = "guilds",
    responses((status = 200, body = Vec<Guild>))
)]
pub(super) async fn list(
    State(app): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<Guild>>, Error> {
    Ok(Json(guild::list(&app, caller.0).await?))
}

/// Make a guild
///
/// It has a text and a voice channel, and its maker owns it.
#[utoipa::path(
    post, path = "/api/v1/guilds", tag = "guilds",
    params(IdempotencyKey),
    request_body = NewGuild,
    responses((status = 201, body = Guild), Refused::<code::LimitReached>)
)]
pub(super) async fn create(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body<NewGuild>,
) -> Result<(StatusCode, Json<Guild>), Error> {
    app.limits.create(caller.0)?;
    Ok((StatusCode::CREATED, Json(guild::create(&app, caller.0, &body.name).await?)))
}

/// A guild
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}", tag = "guilds",
    params(("guild" = GuildId, Path)),
    responses((status = 200, body = Guild))
)]
pub(super) async fn get(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
) -> Result<Json<Guild>, Error> {
    Ok(Json(guild::get(&app, caller.0, id).await?))
}

/// What a guild shall be; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GuildChange {
    /// 1–64 characters on one line. Needs MANAGE_GUILD.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// Another member, who owns the guild from now on. Only for its owner.
    owner_id: Option<UserId>,
}

/// Change a guild
#[utoipa::path(
    patch, path = "/api/v1/guilds/{guild}", tag = "guilds",
    params(("guild" = GuildId, Path)),
    request_body = GuildChange,
    responses((status = 200, body = Guild), Refused::<(code::MissingPermission, code::Forbidden)>)
)]
pub(super) async fn change(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Body(body): Body<GuildChange>,
) -> Result<Json<Guild>, Error> {
    let name = body.name.as_deref();
    Ok(Json(guild::change(&app, caller.0, id, name, body.owner_id).await?))
}

/// Delete a guild
///
/// With all that it has. Only its owner may.
#[utoipa::path(
    delete, path = "/api/v1/guilds/{guild}", tag = "guilds",
    params(("guild" = GuildId, Path)),
    responses((status = 204), Refused::<code::Forbidden>)
)]
pub(super) async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
) -> Result<StatusCode, Error> {
    guild::delete(&app, caller.0, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One entry of a guild's audit log.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// Which; grows with time.
    id: AuditId,
    /// Who did it.
    actor_id: UserId,
    /// What, e.g. `channel.update`.
    action: String,
    /// To what: the id of a role, a channel, a person or the guild.
    target_id: TargetId,
    /// In which channel, of what is in one: an overwrite or a message.
    channel_id: Option<ChannelId>,
    /// By field, what it was (`from`) and is (`to`).
    #[schema(value_type = Object)]
    changes: Value,
    /// Why, in the actor's words.
    reason: Option<String>,
    /// When, in Unix milliseconds.
    created_at_ms: u64,
}

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// Only entries older than this one.
    before: Option<AuditId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Read the audit log
///
/// Newest first. Entries are kept for 90 days. Needs VIEW_AUDIT_LOG.
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}/audit-log", tag = "guilds",
    params(("guild" = GuildId, Path), AuditQuery),
    responses((status = 200, body = Vec<AuditEntry>), Refused::<code::MissingPermission>)
)]
pub(super) async fn audit_log(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Search(query): Search<AuditQuery>,
) -> Result<Json<Vec<AuditEntry>>, Error> {
    let before = query.before.unwrap_or(AuditId(u64::MAX));
    let limit = page_limit(query.limit)?;
    let entries = audit::list(&app, caller.0, id, before, limit).await?;
    let shown = |mut entry: Entry| AuditEntry {
        id: entry.id,
        actor_id: entry.actor,
        action: entry.action,
        target_id: TargetId(entry.target),
        channel_id: ChannelId::deserialize(&entry.detail["channel_id"]).ok(),
        changes: entry.detail["changes"].take(),
        reason: entry.detail["reason"].as_str().map(str::to_owned),
        created_at_ms: entry.created_at_ms,
    };
    Ok(Json(entries.into_iter().map(shown).collect()))
}

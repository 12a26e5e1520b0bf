//! `/api/v1/guilds/{guild}/invites` and `/api/v1/invites/{code}`: ways into a guild.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::Guild;
use hype_protocol::id::{GuildId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::document::Refused;
use super::extract::{Caller, Id, Ids, OptionalBody, Search, page_limit};
use super::idempotency::IdempotencyKey;
use crate::app::Shared;
use crate::domain::invite;
use crate::error::{Error, code};

/// An invite to make.
#[derive(Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewInvite {
    /// How many people it lets in; 0 for any number.
    #[schema(maximum = 1000)]
    max_uses: u32,
    /// For how many seconds it holds; 0 for ever.
    #[schema(maximum = 2_592_000)]
    expires_in_s: u64,
}

/// An invite.
#[derive(Serialize, ToSchema)]
pub(super) struct Invite {
    /// What people pass on.
    code: String,
    /// To which guild.
    guild_id: GuildId,
    /// Who made it.
    creator_id: UserId,
    /// When, in Unix milliseconds.
    created_at_ms: u64,
    /// How many people it lets in; 0 for any number.
    max_uses: u32,
    /// How many it has let in.
    uses: u32,
    /// Until when it holds, in Unix milliseconds; 0 for ever.
    expires_at_ms: u64,
}

impl From<crate::store::invite::Invite> for Invite {
    fn from(invite: crate::store::invite::Invite) -> Self {
        Self {
            code: invite.code,
            guild_id: invite.guild,
            creator_id: invite.creator,
            created_at_ms: invite.created_at_ms,
            max_uses: invite.max_uses,
            uses: invite.uses,
            expires_at_ms: invite.expires_at_ms,
        }
    }
}

/// Make an invite
///
/// Needs CREATE_INVITE. Of too many in one guild, the oldest ends.
#[utoipa::path(
    post, path = "/api/v1/guilds/{guild}/invites", tag = "invites",
    params(("guild" = GuildId, Path), IdempotencyKey),
    request_body = Option<NewInvite>,
    responses((status = 201, body = Invite), Refused::<code::MissingPermission>)
)]
pub(super) async fn create(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    OptionalBody(body): OptionalBody<NewInvite>,
) -> Result<(StatusCode, Json<Invite>), Error> {
    app.limits.create(caller.0)?;
    let made = invite::create(&app, caller.0, id, body.max_uses, body.expires_in_s).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Which invites.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteQuery {
    /// Only invites whose code comes after this one.
    #[param(max_length = 64)]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// A guild's invites
///
/// By their codes. Needs MANAGE_GUILD.
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}/invites", tag = "invites",
    params(("guild" = GuildId, Path), InviteQuery),
    responses((status = 200, body = Vec<Invite>), Refused::<code::MissingPermission>)
)]
pub(super) async fn list(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Search(query): Search<InviteQuery>,
) -> Result<Json<Vec<Invite>>, Error> {
    let after = query.after.unwrap_or_default();
    if after.len() > 64 || after.contains('\0') {
        return Err(Error::invalid("after must be a code"));
    }
    let limit = page_limit(query.limit)?;
    let invites = invite::list(&app, caller.0, id, &after, limit).await?;
    Ok(Json(invites.into_iter().map(Into::into).collect()))
}

/// Revoke an invite
///
/// Needs MANAGE_GUILD, but for one's own.
#[utoipa::path(
    delete, path = "/api/v1/guilds/{guild}/invites/{code}", tag = "invites",
    params(("guild" = GuildId, Path), ("code" = String, Path, description = "An invite's code.")),
    responses((status = 204), Refused::<code::MissingPermission>)
)]
pub(super) async fn revoke(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, code): Ids<GuildId, String>,
) -> Result<StatusCode, Error> {
    invite::revoke(&app, caller.0, guild, &code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an invite leads to.
#[derive(Serialize, ToSchema)]
pub(super) struct InvitePreview {
    /// The invite's.
    code: String,
    /// The guild's name.
    guild_name: String,
    /// How many members the guild has.
    member_count: u64,
}

/// What an invite leads to
///
/// Needs no account.
#[utoipa::path(
    get, path = "/api/v1/invites/{code}", tag = "invites", security(()),
    params(("code" = String, Path, description = "An invite's code.")),
    responses((status = 200, body = InvitePreview))
)]
pub(super) async fn preview(
    State(app): State<Shared>,
    Id(code): Id<String>,
) -> Result<Json<InvitePreview>, Error> {
    let preview = invite::preview(&app, &code).await?;
    Ok(Json(InvitePreview {
        code: preview.invite.code,
        guild_name: preview.guild_name,
        member_count: preview.member_count,
    }))
}

/// Accept an invite
///
/// Makes one a member of its guild. Accepting again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/invites/{code}/accept", tag = "invites",
    params(("code" = String, Path, description = "An invite's code.")),
    responses((status = 200, body = Guild), Refused::<(code::LimitReached, code::Banned)>)
)]
pub(super) async fn accept(
    State(app): State<Shared>,
    caller: Caller,
    Id(code): Id<String>,
) -> Result<Json<Guild>, Error> {
    Ok(Json(invite::accept(&app, caller.0, &code).await?))
}

//! `/api/v1/guilds/*` and `/api/v1/invites/*`: guilds, their channels, invites and moderation.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::{Channel, ChannelKind, Guild};
use hype_protocol::id::{GuildId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Refused;
use super::extract::{Body, Caller, Id, Ids};
use super::idempotency::IdempotencyKey;
use crate::app::Shared;
use crate::domain::{channel, guild, invite, moderation};
use crate::error::{Error, code};

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

/// A channel to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewChannel {
    /// 1–64 characters on one line.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// Text or voice.
    kind: ChannelKind,
    /// The most people in a voice channel; 0 for no limit of its own. Only 0 for text.
    #[serde(default)]
    #[schema(maximum = 1000)]
    user_limit: u32,
}

/// Make a channel
///
/// Only the guild's owner may.
#[utoipa::path(
    post, path = "/api/v1/guilds/{guild}/channels", tag = "guilds",
    params(("guild" = GuildId, Path), IdempotencyKey),
    request_body = NewChannel,
    responses((status = 201, body = Channel), Refused::<(code::Forbidden, code::LimitReached)>)
)]
pub(super) async fn create_channel(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Body(body): Body<NewChannel>,
) -> Result<(StatusCode, Json<Channel>), Error> {
    app.limits.create(caller.0)?;
    let new = channel::NewChannel { name: body.name, kind: body.kind, user_limit: body.user_limit };
    Ok((StatusCode::CREATED, Json(channel::create(&app, caller.0, id, new).await?)))
}

/// An invite.
#[derive(Serialize, ToSchema)]
pub(super) struct InviteCode {
    /// What people pass on.
    code: String,
}

/// Make an invite
///
/// Any member may. Of too many in one guild, the oldest ends.
#[utoipa::path(
    post, path = "/api/v1/guilds/{guild}/invites", tag = "invites",
    params(("guild" = GuildId, Path), IdempotencyKey),
    responses((status = 201, body = InviteCode))
)]
pub(super) async fn create_invite(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
) -> Result<(StatusCode, Json<InviteCode>), Error> {
    app.limits.create(caller.0)?;
    let code = invite::create(&app, caller.0, id).await?;
    Ok((StatusCode::CREATED, Json(InviteCode { code })))
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
pub(super) async fn preview_invite(
    State(app): State<Shared>,
    Id(code): Id<String>,
) -> Result<Json<InvitePreview>, Error> {
    let preview = invite::preview(&app, &code).await?;
    Ok(Json(InvitePreview {
        code: preview.invite.code,
        guild_name: preview.invite.guild_name,
        member_count: preview.member_count,
    }))
}

/// Join a guild
///
/// Accepting again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/invites/{code}/accept", tag = "invites",
    params(("code" = String, Path, description = "An invite's code.")),
    responses((status = 200, body = Guild), Refused::<code::LimitReached>)
)]
pub(super) async fn accept_invite(
    State(app): State<Shared>,
    caller: Caller,
    Id(code): Id<String>,
) -> Result<Json<Guild>, Error> {
    Ok(Json(invite::accept(&app, caller.0, &code).await?))
}

/// What shall change; a missing field leaves a thing as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VoiceChange {
    /// Nobody hears the person.
    server_mute: Option<bool>,
    /// The person hears nobody.
    server_deaf: Option<bool>,
    /// The person is put out of the voice channel, and may join again.
    #[serde(default)]
    disconnect: bool,
}

/// Mute, deafen or disconnect a member
///
/// Only the guild's owner may. It holds now and at the member's next joins.
#[utoipa::path(
    patch, path = "/api/v1/guilds/{guild}/members/{user}/voice", tag = "guilds",
    params(("guild" = GuildId, Path), ("user" = UserId, Path)),
    request_body = VoiceChange,
    responses((status = 204), Refused::<(code::Forbidden, code::Overloaded)>)
)]
pub(super) async fn change_voice(
    State(app): State<Shared>,
    caller: Caller,
    Ids(guild, member): Ids<GuildId, UserId>,
    Body(body): Body<VoiceChange>,
) -> Result<StatusCode, Error> {
    let change = moderation::Change {
        server_mute: body.server_mute,
        server_deaf: body.server_deaf,
        disconnect: body.disconnect,
    };
    moderation::change_voice(&app, caller.0, guild, member, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/api/v1/guilds/*` and `/api/v1/invites/*`: guilds, their channels, invites and moderation.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hype_protocol::gateway::{Channel, ChannelKind, Guild};
use hype_protocol::id::{GuildId, UserId};
use serde::{Deserialize, Serialize};

use super::extract::{Body, Caller, Id, Ids};
use crate::app::Shared;
use crate::domain::{channel, guild, invite, moderation};
use crate::error::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGuild {
    name: String,
}

pub(super) async fn list(
    State(app): State<Shared>,
    caller: Caller,
) -> Result<Json<Vec<Guild>>, Error> {
    Ok(Json(guild::list(&app, caller.0).await?))
}

pub(super) async fn create(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body<NewGuild>,
) -> Result<(StatusCode, Json<Guild>), Error> {
    app.limits.create(caller.0)?;
    Ok((StatusCode::CREATED, Json(guild::create(&app, caller.0, &body.name).await?)))
}

pub(super) async fn get(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
) -> Result<Json<Guild>, Error> {
    Ok(Json(guild::get(&app, caller.0, id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewChannel {
    name: String,
    kind: ChannelKind,
    #[serde(default)]
    user_limit: u32,
}

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

#[derive(Serialize)]
pub(super) struct InviteCode {
    code: String,
}

pub(super) async fn create_invite(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
) -> Result<(StatusCode, Json<InviteCode>), Error> {
    app.limits.create(caller.0)?;
    let code = invite::create(&app, caller.0, id).await?;
    Ok((StatusCode::CREATED, Json(InviteCode { code })))
}

#[derive(Serialize)]
pub(super) struct InvitePreview {
    code: String,
    guild_name: String,
    member_count: u64,
}

pub(super) async fn preview_invite(
    State(app): State<Shared>,
    Path(code): Path<String>,
) -> Result<Json<InvitePreview>, Error> {
    let preview = invite::preview(&app, &code).await?;
    Ok(Json(InvitePreview {
        code: preview.invite.code,
        guild_name: preview.invite.guild_name,
        member_count: preview.member_count,
    }))
}

pub(super) async fn accept_invite(
    State(app): State<Shared>,
    caller: Caller,
    Path(code): Path<String>,
) -> Result<Json<Guild>, Error> {
    Ok(Json(invite::accept(&app, caller.0, &code).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VoiceChange {
    server_mute: Option<bool>,
    server_deaf: Option<bool>,
    #[serde(default)]
    disconnect: bool,
}

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

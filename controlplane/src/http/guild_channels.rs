//! Channels themselves: `/api/v1/guilds/{guild}/channels`, `/api/v1/channels/{channel}`, with their
//! overwrites and the members who see them. What is said in them is in `channels.rs`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::{Channel, ChannelKind, Member, Overwrite, OverwriteKind, VoiceMode};
use hype_protocol::id::{ChannelId, GuildId, TargetId};
use hype_protocol::permission::Permissions;
use serde::Deserialize;
use utoipa::ToSchema;

use super::document::Refused;
use super::extract::{Body, Caller, Id, Ids, List, Search, nullable};
use super::idempotency::IdempotencyKey;
use super::members::PeopleQuery;
use crate::app::Shared;
use crate::domain::{channel, member, overwrite};
use crate::error::{Error, code};

/// A channel to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewChannel {
    /// 1–64 characters on one line.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What it is for; it stays so.
    kind: ChannelKind,
    /// The category that it stands in, whose overwrites it begins with.
    parent_id: Option<ChannelId>,
    /// What it is about, on one line. Not for categories.
    #[schema(max_length = 1024)]
    topic: Option<String>,
    /// Its place among its siblings; left out, it stands behind all others.
    #[schema(maximum = 1_000_000)]
    position: Option<u32>,
    /// The most people in a voice channel; 0 for no limit of its own. Only 0 for others.
    #[schema(maximum = 1000)]
    user_limit: Option<u32>,
    /// Of a voice, in bits a second: 0 for the default, or 8,000–510,000. Only 0 for others.
    #[schema(maximum = 510_000)]
    bitrate: Option<u32>,
    /// How people of a voice channel are connected. Only `auto` for others.
    voice_mode: Option<VoiceMode>,
}

/// Make a channel
///
/// Needs MANAGE_CHANNELS.
#[utoipa::path(
    post, path = "/api/v1/guilds/{guild}/channels", tag = "channels",
    params(("guild" = GuildId, Path), IdempotencyKey),
    request_body = NewChannel,
    responses(
        (status = 201, body = Channel),
        Refused::<(code::MissingPermission, code::LimitReached)>
    )
)]
pub(super) async fn create(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Body(body): Body<NewChannel>,
) -> Result<(StatusCode, Json<Channel>), Error> {
    app.limits.create(caller.0)?;
    let change = channel::Change {
        name: Some(body.name),
        parent_id: Some(body.parent_id),
        topic: body.topic,
        position: body.position,
        user_limit: body.user_limit,
        bitrate: body.bitrate,
        voice_mode: body.voice_mode,
    };
    let made = channel::create(&app, caller.0, id, body.kind, change).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// A channel's new place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Which channel.
    id: ChannelId,
    /// Its place among its siblings; equal ones stand by their ids.
    #[schema(maximum = 1_000_000)]
    position: u32,
    /// The category that it shall stand in, or null for none; left out, it stays where it is.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ChannelId>)]
    parent_id: Option<Option<ChannelId>>,
}

/// Order channels
///
/// Channels that are not named stay where they are. Needs MANAGE_CHANNELS.
#[utoipa::path(
    patch, path = "/api/v1/guilds/{guild}/channels", tag = "channels",
    params(("guild" = GuildId, Path)),
    request_body = Vec<Place>,
    responses((status = 204), Refused::<code::MissingPermission>)
)]
pub(super) async fn order(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    List(body): List<Place>,
) -> Result<StatusCode, Error> {
    let place = |Place { id, position, parent_id }| channel::Place { id, position, parent_id };
    let places: Vec<_> = body.into_iter().map(place).collect();
    channel::order(&app, caller.0, id, &places).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A channel
#[utoipa::path(
    get, path = "/api/v1/channels/{channel}", tag = "channels",
    params(("channel" = ChannelId, Path)),
    responses((status = 200, body = Channel))
)]
pub(super) async fn get(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<Json<Channel>, Error> {
    Ok(Json(member::channel(&app, id, caller.0, Permissions::NONE).await?))
}

/// What a channel shall be; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelChange {
    /// 1–64 characters on one line.
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// The category that it stands in, or null for none.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ChannelId>)]
    parent_id: Option<Option<ChannelId>>,
    /// What it is about, on one line.
    #[schema(max_length = 1024)]
    topic: Option<String>,
    /// Its place among its siblings.
    #[schema(maximum = 1_000_000)]
    position: Option<u32>,
    /// The most people in a voice channel; 0 for no limit of its own.
    #[schema(maximum = 1000)]
    user_limit: Option<u32>,
    /// Of a voice, in bits a second: 0 for the default, or 8,000–510,000.
    #[schema(maximum = 510_000)]
    bitrate: Option<u32>,
    /// How people of a voice channel are connected.
    voice_mode: Option<VoiceMode>,
}

/// Change a channel
///
/// Needs MANAGE_CHANNELS there.
#[utoipa::path(
    patch, path = "/api/v1/channels/{channel}", tag = "channels",
    params(("channel" = ChannelId, Path)),
    request_body = ChannelChange,
    responses((status = 200, body = Channel), Refused::<code::MissingPermission>)
)]
pub(super) async fn change(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    Body(body): Body<ChannelChange>,
) -> Result<Json<Channel>, Error> {
    let change = channel::Change {
        name: body.name,
        parent_id: body.parent_id,
        topic: body.topic,
        position: body.position,
        user_limit: body.user_limit,
        bitrate: body.bitrate,
        voice_mode: body.voice_mode,
    };
    Ok(Json(channel::change(&app, caller.0, id, change).await?))
}

/// Delete a channel
///
/// With its messages. The channels of a category stay, in none. Needs MANAGE_CHANNELS there.
#[utoipa::path(
    delete, path = "/api/v1/channels/{channel}", tag = "channels",
    params(("channel" = ChannelId, Path)),
    responses((status = 204), Refused::<code::MissingPermission>)
)]
pub(super) async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<StatusCode, Error> {
    channel::delete(&app, caller.0, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a channel allows and denies a role or a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOverwrite {
    /// Which of the two the target is.
    kind: OverwriteKind,
    /// Allowed, whatever the roles say.
    allow: Permissions,
    /// Denied.
    deny: Permissions,
}

/// Set an overwrite
///
/// Only permissions about channels, and only what one has there oneself. Needs MANAGE_CHANNELS
/// there, and stands above the role or member.
#[utoipa::path(
    put, path = "/api/v1/channels/{channel}/overwrites/{target}", tag = "channels",
    params(("channel" = ChannelId, Path), ("target" = TargetId, Path)),
    request_body = NewOverwrite,
    responses(
        (status = 204),
        Refused::<(code::MissingPermission, code::Outranked, code::LimitReached)>
    )
)]
pub(super) async fn set_overwrite(
    State(app): State<Shared>,
    caller: Caller,
    Ids(channel, target_id): Ids<ChannelId, TargetId>,
    Body(body): Body<NewOverwrite>,
) -> Result<StatusCode, Error> {
    let NewOverwrite { kind, allow, deny } = body;
    let wanted = Overwrite { target_id, kind, allow, deny };
    overwrite::set(&app, caller.0, channel, wanted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove an overwrite
///
/// Needs what setting it needs.
#[utoipa::path(
    delete, path = "/api/v1/channels/{channel}/overwrites/{target}", tag = "channels",
    params(("channel" = ChannelId, Path), ("target" = TargetId, Path)),
    responses((status = 204), Refused::<(code::MissingPermission, code::Outranked)>)
)]
pub(super) async fn remove_overwrite(
    State(app): State<Shared>,
    caller: Caller,
    Ids(channel, target): Ids<ChannelId, TargetId>,
) -> Result<StatusCode, Error> {
    overwrite::remove(&app, caller.0, channel, target).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who sees a channel
///
/// By their ids.
#[utoipa::path(
    get, path = "/api/v1/channels/{channel}/members", tag = "channels",
    params(("channel" = ChannelId, Path), PeopleQuery),
    responses((status = 200, body = Vec<Member>))
)]
pub(super) async fn members(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    Search(query): Search<PeopleQuery>,
) -> Result<Json<Vec<Member>>, Error> {
    let (after, limit) = query.page()?;
    Ok(Json(member::list_of_channel(&app, caller.0, id, after, limit).await?))
}

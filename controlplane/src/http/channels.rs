//! `/api/v1/channels/*`: messages, and who is in a voice channel.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hype_protocol::gateway::{Message, VoiceState};
use hype_protocol::id::{ChannelId, MessageId};
use hype_protocol::permission::Permissions;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::document::Refused;
use super::extract::{Body, Caller, Id, Search, page_limit};
use super::idempotency::IdempotencyKey;
use crate::app::Shared;
use crate::domain::{guild, member, message};
use crate::error::{Error, code};
use crate::store::message::Page;

/// Which messages.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Only messages older than this one. Not together with `after`.
    before: Option<MessageId>,
    /// Only messages newer than this one.
    after: Option<MessageId>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// Read messages
///
/// Newest first. Without `before` and `after`, the newest of the channel.
#[utoipa::path(
    get, path = "/api/v1/channels/{channel}/messages", tag = "channels",
    params(("channel" = ChannelId, Path), PageQuery),
    responses((status = 200, body = Vec<Message>), Refused::<code::MissingPermission>)
)]
pub(super) async fn messages(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    Search(query): Search<PageQuery>,
) -> Result<Json<Vec<Message>>, Error> {
    let page = match (query.before, query.after) {
        (None, None) => Page::Newest,
        (Some(id), None) => Page::Before(id),
        (None, Some(id)) => Page::After(id),
        (Some(_), Some(_)) => {
            return Err(Error::invalid("give `before` or `after`, not both"));
        }
    };
    let limit = page_limit(query.limit)?;
    Ok(Json(message::page(&app, caller.0, id, page, limit).await?))
}

/// A message to send.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMessage {
    /// 1–4,000 characters without control characters but line breaks and tabs; white space at
    /// both ends is taken away.
    #[schema(min_length = 1, max_length = 4000)]
    content: String,
}

/// Send a message
#[utoipa::path(
    post, path = "/api/v1/channels/{channel}/messages", tag = "channels",
    params(("channel" = ChannelId, Path), IdempotencyKey),
    request_body = NewMessage,
    responses(
        (status = 201, body = Message),
        Refused::<(code::NotATextChannel, code::MissingPermission)>
    )
)]
pub(super) async fn send(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
    Body(body): Body<NewMessage>,
) -> Result<(StatusCode, Json<Message>), Error> {
    app.limits.message(caller.0)?;
    let message = message::send(&app, caller.0, id, &body.content).await?;
    Ok((StatusCode::CREATED, Json(message)))
}

/// Who is in a voice channel
#[utoipa::path(
    get, path = "/api/v1/channels/{channel}/voice", tag = "channels",
    params(("channel" = ChannelId, Path)),
    responses((status = 200, body = Vec<VoiceState>), Refused::<code::NotAVoiceChannel>)
)]
pub(super) async fn voice(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<ChannelId>,
) -> Result<Json<Vec<VoiceState>>, Error> {
    let channel = member::voice_channel(&app, id, caller.0, Permissions::NONE).await?;
    Ok(Json(guild::voice_states(&app, channel.guild_id, channel.id)))
}
